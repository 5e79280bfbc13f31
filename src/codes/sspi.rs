//! SSPI status values (SEC_E_*): the other code space of CredSSP's errorCode.

use super::{Code, ntstatus};

const SPEC: &str = "MS-ERREF 2.1.1 (HRESULT, facility 9); MS-CSSP 2.2.1 (errorCode)";

const CLIENT_SIDE: &str = "The client closes within CredSSP with no refusal from the server; the number shows in its own log.";
const NO_DC: &str = "DNS SRV lookups, port 88 or 389 without answer; CredSSP ends early.";
const BINDING: &str =
    "CredSSP reaches pubKeyAuth and ends there; up to TLS 1.2 the certificate's issuer in the capture shows who terminates TLS.";
const INTERCEPTION: &[&str] = &[
    "Compare the certificate's fingerprint seen by the client with the host's own: if they differ, a device terminates TLS in between; exclude the host from inspection.",
    "Update both sides (CredSSP version 6).",
];
const LOGON: &[&str] = &[
    "Type user and password again with the domain.",
    "Remove saved credentials: cmdkey /delete:TERMSRV/HOST.",
    "On the host, Security event 4625.",
];
const DC: &[&str] = &[
    "nltest /dsgetdc:DOMAIN on client and host; SRV records _kerberos._tcp.dc._msdcs.DOMAIN.",
    "From outside: VPN, or a KDC proxy on the gateway.",
];

const fn sspi(
    number: u32,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new(number, name, meaning, picture, remedy, SPEC)
}

pub(super) const CODES: &[Code] = &[
    sspi(0x8009_0300, "SEC_E_INSUFFICIENT_MEMORY", "Not enough memory for the request.", ntstatus::REFUSED, &["Memory of the host; restart it if nothing else frees it."]),
    sspi(0x8009_0302, "SEC_E_UNSUPPORTED_FUNCTION", "The function is not supported: in an NLA logon the server refuses inbound NTLM, or the CredSSP versions are kept apart by policy.", ntstatus::REFUSED, &[
        "Make Kerberos possible: full host name, domain controller reachable on port 88 (or a KDC proxy).",
        "Host policy 'Network security: Restrict NTLM: Incoming NTLM traffic': an exception or another value, if NTLM is meant.",
        "If the client's text speaks of CredSSP encryption oracle remediation: update the older side. 'Vulnerable' is a test at most.",
    ]).not("It does not always mean oracle remediation: measured on a host that blocks inbound NTLM."),
    sspi(0x8009_0303, "SEC_E_TARGET_UNKNOWN", "The target (SPN) is unknown or not reachable.", "KDC_ERR_S_PRINCIPAL_UNKNOWN (7) on port 88, or no port 88 at all.", &["Connect by the host's full name; setspn -L HOST must list TERMSRV/HOST.FQDN."]),
    sspi(0x8009_0304, "SEC_E_INTERNAL_ERROR", "The security package failed.", ntstatus::REFUSED, &["On the host: System event log (LSA, Kerberos, Schannel) at that time."]),
    sspi(0x8009_0305, "SEC_E_SECPKG_NOT_FOUND", "The security package does not exist.", CLIENT_SIDE, &["Update the side that reports it; check HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa, value Security Packages."]),
    sspi(0x8009_0308, "SEC_E_INVALID_TOKEN", "The token is damaged or of a kind that the other side does not take.", ntstatus::REFUSED, &["Update both sides (CredSSP versions).", "Compare captures of both ends: a device that rewrites TLS causes this."]),
    sspi(0x8009_030C, "SEC_E_LOGON_DENIED", "The logon was denied.", ntstatus::REFUSED, LOGON),
    sspi(0x8009_030D, "SEC_E_UNKNOWN_CREDENTIALS", "The package does not recognise the credentials.", CLIENT_SIDE, LOGON),
    sspi(0x8009_030E, "SEC_E_NO_CREDENTIALS", "No credentials in the package.", CLIENT_SIDE, &["Type the credentials; check the delegation policy for saved or default ones."]),
    sspi(0x8009_030F, "SEC_E_MESSAGE_ALTERED", "A message was altered: the public key that the server proves is not the one of the TLS connection.", BINDING, INTERCEPTION),
    sspi(0x8009_0310, "SEC_E_OUT_OF_SEQUENCE", "A message came out of sequence.", BINDING, INTERCEPTION),
    sspi(0x8009_0311, "SEC_E_NO_AUTHENTICATING_AUTHORITY", "No authority could be contacted: no domain controller.", NO_DC, DC),
    sspi(0x8009_0317, "SEC_E_CONTEXT_EXPIRED", "The security context has expired.", CLIENT_SIDE, &["Connect again; renew tickets with klist purge."]),
    sspi(0x8009_0322, "SEC_E_WRONG_PRINCIPAL", "The target is not the one the ticket is for: wrong SPN, old machine password, or a DNS alias.", "KRB_AP_ERR_MODIFIED (41), or the end of CredSSP after the client's AP-REQ.", &["Connect by the host's own full name, not an alias; correct the DNS record.", "setspn -Q TERMSRV/HOST: exactly one owner; Test-ComputerSecureChannel on the host."]),
    sspi(0x8009_0324, "SEC_E_TIME_SKEW", "The clocks differ too much.", "KRB_AP_ERR_SKEW (37) on port 88 in clear, with both times.", &["w32tm /query /status, then w32tm /resync on the side that is wrong."]),
    sspi(0x8009_0325, "SEC_E_UNTRUSTED_ROOT", "The chain ends in a root that is not trusted.", "Server flight, then the client's alert or close.", &["Install the root on the side that reports it, or use a certificate of a trusted authority."]),
    sspi(0x8009_0326, "SEC_E_ILLEGAL_MESSAGE", "A message was unexpected or badly formed.", "TLS handshake that ends with an alert or a close.", &["Schannel events of both sides; TLS versions and cipher suites in common."]),
    sspi(0x8009_0327, "SEC_E_CERT_UNKNOWN", "An unknown error with the certificate.", "Server flight, then the client's alert or close.", &["CAPI2 event log of the side that reports it."]),
    sspi(0x8009_0328, "SEC_E_CERT_EXPIRED", "The certificate has expired.", "Server flight, then the client's alert or close; up to TLS 1.2 the dates are readable.", &["Compare with both clocks, then renew and bind the certificate."]),
    sspi(0x8009_0331, "SEC_E_ALGORITHM_MISMATCH", "No common algorithm.", "ClientHello, then handshake_failure (40) or a close.", &["Update the older side; Get-TlsCipherSuite on Windows."]),
    sspi(0x8009_033D, "SEC_E_PKINIT_NAME_MISMATCH", "The name in the card's certificate is not the account's.", "KDC_ERR_CLIENT_NAME_MISMATCH (75) on port 88.", &["UPN in the certificate's subject alternative name, or altSecurityIdentities of the account."]),
    sspi(0x8009_033E, "SEC_E_SMARTCARD_LOGON_REQUIRED", "The account may log on with a smart card only.", ntstatus::REFUSED, &["Use the card."]),
    sspi(0x8009_0342, "SEC_E_KDC_UNKNOWN_ETYPE", "No Kerberos encryption type in common.", "KDC_ERR_ETYPE_NOSUPP (14) on port 88.", &["msDS-SupportedEncryptionTypes: AES on account and host; new password so that AES keys exist."]),
    sspi(0x8009_0346, "SEC_E_BAD_BINDINGS", "The channel bindings do not match: the TLS connection that the client sees is not the one that the server sees.", BINDING, INTERCEPTION),
    sspi(0x8009_0350, "SEC_E_DOWNGRADE_DETECTED", "A fall-back to a weaker way was noticed, or no domain controller could be reached.", NO_DC, DC),
    sspi(0x8009_0351, "SEC_E_SMARTCARD_CERT_REVOKED", "The card's certificate was revoked.", "PKINIT error on port 88.", &["Issue a new certificate to the card."]),
    sspi(0x8009_0353, "SEC_E_REVOCATION_OFFLINE_C", "The revocation of the card's certificate could not be checked.", "PKINIT error on port 88; requests for a CRL that fail.", &["Let host and domain controller reach the CRL."]),
    sspi(0x8009_0355, "SEC_E_SMARTCARD_CERT_EXPIRED", "The card's certificate has expired.", "PKINIT error on port 88.", &["Issue a new certificate to the card."]),
    sspi(0x8009_035A, "SEC_E_KDC_CERT_EXPIRED", "The domain controller's certificate has expired.", "PKINIT exchange on port 88 that the client gives up.", &["Renew the domain controller's certificate (certutil -dcinfo verify)."]),
    sspi(0x8009_035E, "SEC_E_DELEGATION_POLICY", "Policy does not allow delegating the credentials to this server.", CLIENT_SIDE, &["Make Kerberos work (full name, domain controller reachable).", "Policy 'Allow delegating ... credentials' for TERMSRV/HOST."]),
    sspi(0x8009_035F, "SEC_E_POLICY_NLTM_ONLY", "Policy does not allow delegating the credentials when only NTLM is possible.", CLIENT_SIDE, &["Make Kerberos work (full name, domain controller reachable).", "Policy '... with NTLM-only server authentication' for this server alone, if NTLM is meant."]),
];
