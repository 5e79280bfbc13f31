//! The tables are what the contract says, and every row says what it means.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rdpwhy::diagnosis::{CAUSES, Family};
use rdpwhy::report::FORMATS;

/// The contract's causes, in its order.
const CONTRACT: &str = "\
completed established capture_incomplete no_rdp
dns_name_not_found dns_server_failure dns_no_answer port_closed syn_reset_by_middlebox syn_prohibited host_unreachable
syn_dropped one_way_path
nla_required tls_required tls_not_allowed server_certificate_missing negotiation_inconsistent user_auth_tls_required
negotiation_closed_by_server not_rdp_service
tls_version_mismatch tls_cipher_mismatch certificate_expired certificate_not_yet_valid certificate_name_mismatch
certificate_untrusted certificate_bad tls_inspection tls_alert tls_closed_by_server tls_closed_by_client
nla_logon_failed credssp_policy kerberos_failed licensing_failed server_denied session_closed_by_server gateway_http_error
gateway_denied gateway_closed
peer_reset middlebox_reset idle_timeout_reset nat_mapping_lost handshake_timeout path_loss pmtu_black_hole aborted_by_client
udp_blocked udp_rejected udp_dropped dtls_failed";

#[test]
fn the_table_of_causes_is_the_contracts() {
    let slugs: Vec<&str> = CAUSES.iter().map(|cause| cause.slug).collect();
    assert_eq!(slugs, CONTRACT.split_whitespace().collect::<Vec<_>>());
    let healthy: Vec<&str> = CAUSES.iter().filter(|cause| cause.healthy).map(|cause| cause.slug).collect();
    assert_eq!(healthy, ["completed", "established"]);
}

#[test]
fn the_contract_beside_the_repository_names_no_other_cause() {
    let Ok(text) = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/verdicts.md")) else {
        eprintln!("SKIPPED: no contract beside the repository");
        return;
    };
    let (_, causes) = text.split_once("\n## cause\n").expect("a section on causes");
    let rows = causes.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let named: Vec<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(named, CAUSES.iter().map(|cause| cause.slug).collect::<Vec<_>>());
}

#[test]
fn every_cause_says_what_it_means_and_stands_with_its_family() {
    let mut slugs = HashSet::new();
    for cause in CAUSES {
        assert!(slugs.insert(cause.slug), "{} twice", cause.slug);
        assert!(
            cause.meaning.len() > 10 && !cause.meaning.ends_with('.'),
            "{}: {:?}",
            cause.slug,
            cause.meaning
        );
        assert!(
            cause
                .slug
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{}",
            cause.slug
        );
    }
    assert!(CAUSES.is_sorted_by_key(|cause| cause.family));
    assert!(
        Family::ALL
            .iter()
            .all(|family| CAUSES.iter().any(|cause| cause.family == *family))
    );
}

#[test]
fn every_format_has_a_name_of_its_own() {
    let names: HashSet<&str> = FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(names.len(), FORMATS.len());
    assert_eq!(FORMATS[0].name, "text");
    assert!(FORMATS.iter().all(|format| !format.description.is_empty()));
}
