//! The JSON document against its schema and against the contract.

use super::*;
use crate::report::{SCHEMA_TEXT, samples};

fn value(report: &Report) -> Value {
    let mut bytes = Vec::new();
    render(report, &View::default(), &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn every_document_follows_the_schema() {
    let schema = serde_json::from_str(SCHEMA_TEXT).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, report) in samples::all() {
        let errors: Vec<String> = validator
            .iter_errors(&value(&report))
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn the_schema_refuses_what_the_contract_does_not_know() {
    let schema = serde_json::from_str(SCHEMA_TEXT).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = value(&samples::failed_logon());
    for (path, wrong) in [
        ("/schema", Value::from("rdpwhy.report/2")),
        ("/connections/0/phase", Value::from("handshake")),
        ("/connections/0/ended_by", Value::from("nobody")),
        ("/connections/0/started", Value::from("2026-03-04 10:53")),
        ("/connections/0/verdict/evidence", Value::Array(Vec::new())),
        ("/attempts/0/verdict/confidence", Value::from("sure")),
        ("/overall/cause", Value::Null),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).expect(path) = wrong;
        assert!(!validator.is_valid(&bad), "{path}");
    }
}

#[test]
fn names_and_nesting_are_the_contracts() {
    let report = value(&samples::failed_logon());
    let keys = |at: &str| -> Vec<String> { report.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect() };
    let has = |at: &str, names: &str| {
        let keys = keys(at);
        for name in names.split(' ') {
            assert!(keys.iter().any(|key| key == name), "{at} lacks {name}: {keys:?}");
        }
    };
    has("", "schema tool sources connections attempts overall");
    has("/tool", "name version");
    has(
        "/sources/0",
        "path sha256 format link_types packets bytes first last shortfalls",
    );
    has(
        "/connections/0",
        "id attempt role transport client server server_name community_id vantage started duration_s phase phase_inferred \
         ended_by mechanism verdict timeline metrics",
    );
    has("/connections/0/client", "addr port");
    has("/attempts/0", "id client server started connections verdict");
    has("/overall", "cause healthy confidence attempt connection summary");
    has(
        "/attempts/0/verdict",
        "cause healthy confidence summary act evidence alternatives remedies",
    );
    has("/attempts/0/verdict/evidence/0", "source frame time_s leans text");
    has("/attempts/0/verdict/alternatives/0", "cause why");
    assert_eq!(report["connections"][0]["started"], "2026-03-04T10:53:00.000000000Z");
    assert_eq!(report["connections"][0]["duration_s"], 1.204);
    assert_eq!(report["attempts"][0]["verdict"]["evidence"][0]["time_s"], 0.412);
}

#[test]
fn a_lookup_has_a_name_and_no_address() {
    let report = value(&samples::unknown_name());
    let lookup = &report["connections"][0];
    assert_eq!(
        (&lookup["transport"], &lookup["server"]["addr"]),
        (&Value::from("dns"), &Value::Null)
    );
    assert_eq!(lookup["server_name"], "rds1.contoso.com");
    assert_eq!(lookup["client"]["port"], Value::Null);
    assert_eq!(lookup["community_id"], Value::Null);
}

#[test]
fn without_rdp_there_are_no_connections() {
    let report = value(&samples::no_rdp());
    assert_eq!(report["connections"], Value::Array(Vec::new()));
    assert_eq!(
        (&report["overall"]["cause"], &report["overall"]["confidence"]),
        (&Value::from("no_rdp"), &Value::Null)
    );
}
