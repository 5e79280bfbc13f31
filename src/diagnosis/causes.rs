//! The table of causes: the contract's slugs with their meaning, one line each.

use super::verdict::{Cause, Family};

macro_rules! causes {
    ($($family:ident { $($(#[$healthy:ident])? $name:ident = $slug:literal: $meaning:literal;)+ })+) => {
        $($(
            #[doc = $meaning]
            pub static $name: Cause = Cause { slug: $slug, family: Family::$family, meaning: $meaning, healthy: causes!(@healthy $($healthy)?) };
        )+)+

        /// Every cause, in the contract's order.
        pub static CAUSES: &[&Cause] = &[$($(&$name,)+)+];
    };
    (@healthy healthy) => { true };
    (@healthy) => { false };
}

causes! {
    NothingWrong {
        #[healthy] COMPLETED = "completed": "reached the session and was closed in an ordinary way";
        #[healthy] ESTABLISHED = "established": "reached the session and is alive at the end of the capture";
        CAPTURE_INCOMPLETE = "capture_incomplete": "too little in the capture to judge";
        NO_RDP = "no_rdp": "no Remote Desktop, RD Gateway or RDP-UDP traffic at all";
    }
    Way {
        DNS_NAME_NOT_FOUND = "dns_name_not_found": "the name does not exist, or has no address";
        DNS_SERVER_FAILURE = "dns_server_failure": "the resolver answered SERVFAIL or REFUSED";
        DNS_NO_ANSWER = "dns_no_answer": "the query was repeated and never answered";
        PORT_CLOSED = "port_closed": "the host itself refused the SYN";
        SYN_RESET_BY_MIDDLEBOX = "syn_reset_by_middlebox": "a device on the path refused the SYN";
        SYN_PROHIBITED = "syn_prohibited": "ICMP: administratively prohibited";
        HOST_UNREACHABLE = "host_unreachable": "ICMP: no route, host or port unreachable";
        SYN_DROPPED = "syn_dropped": "the SYNs were never answered";
        ONE_WAY_PATH = "one_way_path": "the SYN was answered, but one direction does not arrive";
    }
    Negotiation {
        NLA_REQUIRED = "nla_required": "the server insists on NLA (HYBRID_REQUIRED_BY_SERVER)";
        TLS_REQUIRED = "tls_required": "the server insists on TLS (SSL_REQUIRED_BY_SERVER)";
        TLS_NOT_ALLOWED = "tls_not_allowed": "the server is set to Standard RDP Security only (SSL_NOT_ALLOWED_BY_SERVER)";
        SERVER_CERTIFICATE_MISSING = "server_certificate_missing": "the server has no certificate that it can use (SSL_CERT_NOT_ON_SERVER)";
        NEGOTIATION_INCONSISTENT = "negotiation_inconsistent": "the server found the requested flags contradictory (INCONSISTENT_FLAGS)";
        USER_AUTH_TLS_REQUIRED = "user_auth_tls_required": "the server insists on TLS with a client certificate (SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER)";
        NEGOTIATION_CLOSED_BY_SERVER = "negotiation_closed_by_server": "the server took the Connection Request and closed or reset without an answer";
        NOT_RDP_SERVICE = "not_rdp_service": "something answers on the port, and it is not RDP";
    }
    Tls {
        TLS_VERSION_MISMATCH = "tls_version_mismatch": "client and server have no TLS version in common";
        TLS_CIPHER_MISMATCH = "tls_cipher_mismatch": "client and server have no cipher suite in common";
        CERTIFICATE_EXPIRED = "certificate_expired": "the certificate was turned down because it has expired";
        CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid": "the certificate was turned down because it is not valid yet";
        CERTIFICATE_NAME_MISMATCH = "certificate_name_mismatch": "the certificate was turned down because it is made out to another name";
        CERTIFICATE_UNTRUSTED = "certificate_untrusted": "the certificate was turned down because its issuer is not trusted";
        CERTIFICATE_BAD = "certificate_bad": "the certificate was turned down as bad, unsupported, revoked or unknown";
        TLS_INSPECTION = "tls_inspection": "a device re-signed the connection, and it failed for that";
        TLS_ALERT = "tls_alert": "one side ended the TLS handshake with another fatal alert";
        TLS_CLOSED_BY_SERVER = "tls_closed_by_server": "the server closed during the TLS handshake without an alert";
        TLS_CLOSED_BY_CLIENT = "tls_closed_by_client": "the client closed during the TLS handshake without an alert";
    }
    AfterTls {
        NLA_LOGON_FAILED = "nla_logon_failed": "CredSSP ended in a refusal of the credentials or of the logon";
        CREDSSP_POLICY = "credssp_policy": "policy keeps the two sides' CredSSP versions apart (Encryption Oracle Remediation)";
        KERBEROS_FAILED = "kerberos_failed": "a KDC's error is why";
        LICENSING_FAILED = "licensing_failed": "a licensing error message, or closed in licensing";
        SERVER_DENIED = "server_denied": "the server said no by Set Error Info or a disconnect message";
        SESSION_CLOSED_BY_SERVER = "session_closed_by_server": "the server ended an established session with an error";
        GATEWAY_HTTP_ERROR = "gateway_http_error": "the gateway answered with an HTTP error status";
        GATEWAY_DENIED = "gateway_denied": "the gateway's tunnel, authorisation or channel response is an error";
        GATEWAY_CLOSED = "gateway_closed": "the gateway took the request and closed without an answer";
    }
    Transport {
        PEER_RESET = "peer_reset": "the peer's own TCP stack sent the RST";
        MIDDLEBOX_RESET = "middlebox_reset": "the RST was made on the path";
        IDLE_TIMEOUT_RESET = "idle_timeout_reset": "a device's idle or half-open timer ran out and it sent a RST";
        NAT_MAPPING_LOST = "nat_mapping_lost": "after an idle time the path stopped carrying the connection";
        HANDSHAKE_TIMEOUT = "handshake_timeout": "a side waited too long for the other's answer and gave up";
        PATH_LOSS = "path_loss": "retransmissions went unanswered until a side gave up";
        PMTU_BLACK_HOLE = "pmtu_black_hole": "only large packets vanish";
        ABORTED_BY_CLIENT = "aborted_by_client": "the client left on its own with no fault in sight";
    }
    Udp {
        UDP_BLOCKED = "udp_blocked": "requests to UDP 3389 or 3391 are never answered";
        UDP_REJECTED = "udp_rejected": "ICMP refuses the UDP datagrams";
        UDP_DROPPED = "udp_dropped": "UDP was up, and then one or both directions stopped arriving";
        DTLS_FAILED = "dtls_failed": "the TLS or DTLS handshake over UDP failed otherwise";
    }
}

/// The cause with this slug.
pub fn by_slug(slug: &str) -> Option<&'static Cause> {
    CAUSES.iter().copied().find(|cause| cause.slug == slug)
}
