//! Kerberos error codes, as a KDC says them in clear on port 88 beside an RDP connection.

use super::{Code, Notation, Range, Space, as_it_is};

const SPEC: &str = "RFC 4120 7.5.9";
const PKINIT: &str = "RFC 4556 (PKINIT) 3.1.3";
const FAST: &str = "RFC 6113 (FAST)";

/// Kerberos error codes.
pub static KERBEROS: Space = Space {
    slug: "kerberos",
    title: "Kerberos error (KRB-ERROR)",
    about: "Sent by a domain controller in clear on port 88, or by a host within AP-REP. A Windows KDC adds an NTSTATUS in e-data (MS-KILE 2.2.1).",
    notation: Notation::Decimal,
    ranges: &[
        Range {
            from: 0,
            to: 30,
            what: "an error of the KDC (KDC_ERR_*)",
        },
        Range {
            from: 31,
            to: 51,
            what: "an error of the application exchange (KRB_AP_ERR_*)",
        },
        Range {
            from: 62,
            to: 81,
            what: "an error of PKINIT (smart card)",
        },
        Range {
            from: 82,
            to: 127,
            what: "a Kerberos error of a later extension",
        },
    ],
    tables: &[CODES],
    canonical: as_it_is,
};

const AS: &str = "AS-REQ to port 88, KRB-ERROR in clear; then the client often falls back to NTLM (first CredSSP message of 57 bytes of plaintext) or gives up.";
const TGS: &str = "TGS-REQ for TERMSRV/HOST to port 88, KRB-ERROR in clear; then usually NTLM.";
const AP: &str = "A ticket was issued; the host turns it down inside CredSSP (hidden by TLS), or the KDC turns down the ticket-granting ticket.";
const CARD: &str = "AS-REQ with PKINIT data to port 88, KRB-ERROR in clear.";

const CLOCK: &[&str] = &[
    "w32tm /query /status on client, host and domain controller; w32tm /resync on the one that is wrong.",
    "On virtual machines check the hypervisor's time synchronisation; the default tolerance is five minutes.",
];
const SPN: &[&str] = &[
    "Connect by the host's own full name (no alias, no address).",
    "setspn -Q TERMSRV/HOST: exactly one owner, the host's computer account.",
    "Restart TermService on the host: it registers its SPN.",
];
const KEYS: &[&str] = &[
    "Does the name lead to the right machine (DNS)? A ticket for one machine cannot be read by another.",
    "setspn -Q TERMSRV/HOST: exactly one owner; Test-ComputerSecureChannel -Repair on the host.",
    "klist purge on the client, then again.",
];
const ETYPE: &[&str] = &[
    "msDS-SupportedEncryptionTypes of user and host: AES on both.",
    "Set the account's password anew, so that AES keys exist.",
    "Do not bring RC4 back for good; as a test it shows only which side is old.",
];
const ACCOUNT: &[&str] = &[
    "The NTSTATUS in e-data says which: disabled, locked, expired, logon hours.",
    "Get-ADUser NAME -Properties LockedOut,Enabled,AccountExpirationDate.",
];
const CARD_REMEDY: &[&str] = &[
    "certutil -scinfo on the client; chain and CRL of the card's certificate reachable from the domain controller.",
    "certutil -dcinfo verify on the domain controller.",
];
const RARE: &[&str] = &[
    "klist purge on the client, then again; update the older side.",
    "On the domain controller: System event log, source Kerberos-Key-Distribution-Center.",
];

const fn code(
    number: u32,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new(number, name, meaning, picture, remedy, SPEC)
}

const fn card(number: u32, name: &'static str, meaning: &'static str) -> Code {
    Code::new(number, name, meaning, CARD, CARD_REMEDY, PKINIT)
}

const CODES: &[Code] = &[
    code(0, "KDC_ERR_NONE", "No error.", AS, &["Nothing to cure."]),
    code(1, "KDC_ERR_NAME_EXP", "The client's entry in the database has expired.", AS, ACCOUNT),
    code(2, "KDC_ERR_SERVICE_EXP", "The server's entry in the database has expired.", TGS, ACCOUNT),
    code(3, "KDC_ERR_BAD_PVNO", "The protocol version is not supported.", AS, RARE),
    code(4, "KDC_ERR_C_OLD_MAST_KVNO", "The client's key is encrypted in an old master key.", AS, RARE),
    code(5, "KDC_ERR_S_OLD_MAST_KVNO", "The server's key is encrypted in an old master key.", TGS, RARE),
    code(6, "KDC_ERR_C_PRINCIPAL_UNKNOWN", "The user is not known in this realm.", AS, &["Check user name and domain; the UPN suffix must be one that the forest knows.", "Is the domain controller one of the right domain?"]),
    code(7, "KDC_ERR_S_PRINCIPAL_UNKNOWN", "The service is not known: no account owns the SPN TERMSRV/<the name that was typed>. Usual with an alias, an address, or a host outside the domain; the client then uses NTLM.", TGS, SPN)
        .not("7 here has nothing to do with mstsc's extended reason 7."),
    code(8, "KDC_ERR_PRINCIPAL_NOT_UNIQUE", "Several accounts own the SPN.", TGS, &["setspn -X finds duplicates; setspn -D TERMSRV/HOST ACCOUNT removes the wrong one."]),
    code(9, "KDC_ERR_NULL_KEY", "The client or server has no key.", AS, RARE),
    code(10, "KDC_ERR_CANNOT_POSTDATE", "The ticket may not be postdated.", AS, CLOCK),
    code(11, "KDC_ERR_NEVER_VALID", "The requested time span is not valid.", AS, CLOCK),
    code(12, "KDC_ERR_POLICY", "The KDC's policy refuses: logon hours, workstation, authentication policy or silo.", AS, &["The NTSTATUS in e-data says more; logon hours, 'Log On To' list, authentication policies of the account."]),
    code(13, "KDC_ERR_BADOPTION", "The KDC cannot grant the requested option (delegation, User2User).", TGS, &["For delegation: 'Account is sensitive and cannot be delegated', membership of Protected Users.", "For User2User the client falls back by itself."]),
    code(14, "KDC_ERR_ETYPE_NOSUPP", "No encryption type in common.", AS, ETYPE),
    code(15, "KDC_ERR_SUMTYPE_NOSUPP", "No checksum type in common.", AS, ETYPE),
    code(16, "KDC_ERR_PADATA_TYPE_NOSUPP", "The kind of pre-authentication is not supported: for a smart card the domain controller has no suitable certificate.", CARD, CARD_REMEDY),
    code(17, "KDC_ERR_TRTYPE_NOSUPP", "The transited type is not supported.", TGS, RARE),
    code(18, "KDC_ERR_CLIENT_REVOKED", "The user's account is disabled, locked, expired or outside its logon hours.", AS, ACCOUNT),
    code(19, "KDC_ERR_SERVICE_REVOKED", "The server's account is disabled or expired.", TGS, &["Enable the host's computer account."]),
    code(20, "KDC_ERR_TGT_REVOKED", "The ticket-granting ticket was revoked.", TGS, RARE),
    code(21, "KDC_ERR_CLIENT_NOTYET", "The user's account is not yet valid.", AS, CLOCK),
    code(22, "KDC_ERR_SERVICE_NOTYET", "The server's account is not yet valid.", TGS, CLOCK),
    code(23, "KDC_ERR_KEY_EXPIRED", "The password has expired or must change.", AS, &["Change it at the console, on the RD Web password page, or with Ctrl+Alt+End in another session; NLA cannot."]),
    code(24, "KDC_ERR_PREAUTH_FAILED", "Wrong password (or, rarely, a wrong salt or key).", AS, &["Type the password again; remove saved ones: cmdkey /delete:TERMSRV/HOST.", "Security event 4771 on the domain controller names user and client address."]),
    code(25, "KDC_ERR_PREAUTH_REQUIRED", "Pre-authentication is wanted. The ordinary first answer.", "The first AS-REQ answered so, then a second AS-REQ and an AS-REP.", &["Nothing to cure."])
        .not("It is not an error: nearly every Kerberos logon begins with it."),
    code(26, "KDC_ERR_SERVER_NOMATCH", "The ticket is not for this server.", TGS, SPN),
    code(27, "KDC_ERR_MUST_USE_USER2USER", "The service takes User2User only.", TGS, SPN),
    code(28, "KDC_ERR_PATH_NOT_ACCEPTED", "The path of trusts is not accepted.", TGS, &["netdom trust /verify along the path; selective authentication."]),
    code(29, "KDC_ERR_SVC_UNAVAILABLE", "A service that the KDC needs is not available.", AS, &["On the domain controller: services NTDS, Kdc, Netlogon; another domain controller."]),
    code(31, "KRB_AP_ERR_BAD_INTEGRITY", "A check sum did not verify: keys differ.", AP, KEYS),
    code(32, "KRB_AP_ERR_TKT_EXPIRED", "The ticket has expired.", AP, CLOCK),
    code(33, "KRB_AP_ERR_TKT_NYV", "The ticket is not yet valid.", AP, CLOCK),
    code(34, "KRB_AP_ERR_REPEAT", "The request was seen before.", AP, &["Look for doubled packets on the path; klist purge on the client."]),
    code(35, "KRB_AP_ERR_NOT_US", "The ticket is not for us.", AP, KEYS),
    code(36, "KRB_AP_ERR_BADMATCH", "Ticket and authenticator do not match.", AP, KEYS),
    code(37, "KRB_AP_ERR_SKEW", "The clocks differ by more than the KDC tolerates (five minutes by default).", "KRB-ERROR in clear, with the server's time (stime) beside the client's (ctime): the difference is the skew.", CLOCK),
    code(38, "KRB_AP_ERR_BADADDR", "The address in the ticket is another.", AP, &["Look for NAT between client and KDC; Windows tickets carry no addresses by default."]),
    code(39, "KRB_AP_ERR_BADVERSION", "Protocol versions differ.", AP, RARE),
    code(40, "KRB_AP_ERR_MSG_TYPE", "The message type is not valid.", AP, RARE),
    code(41, "KRB_AP_ERR_MODIFIED", "The ticket could not be decrypted: it is for another machine or an older machine password, or the SPN belongs to another account.", AP, KEYS),
    code(42, "KRB_AP_ERR_BADORDER", "A message came out of order.", AP, RARE),
    code(44, "KRB_AP_ERR_BADKEYVER", "The version of the key is not available.", AP, KEYS),
    code(45, "KRB_AP_ERR_NOKEY", "The service key is not available.", AP, KEYS),
    code(46, "KRB_AP_ERR_MUT_FAIL", "Mutual authentication failed.", AP, KEYS),
    code(47, "KRB_AP_ERR_BADDIRECTION", "The direction of a message is wrong.", AP, RARE),
    code(48, "KRB_AP_ERR_METHOD", "Another authentication method is wanted.", AP, RARE),
    code(49, "KRB_AP_ERR_BADSEQ", "A sequence number is wrong.", AP, RARE),
    code(50, "KRB_AP_ERR_INAPP_CKSUM", "The kind of check sum is not suitable.", AP, ETYPE),
    code(51, "KRB_AP_PATH_NOT_ACCEPTED", "The path of trusts is not accepted.", AP, &["netdom trust /verify along the path."]),
    code(52, "KRB_ERR_RESPONSE_TOO_BIG", "The answer does not fit into UDP; the client asks again over TCP. Ordinary.", "UDP 88 answered so, then TCP 88. Only if TCP 88 is blocked does it end here.", &["Nothing to cure, unless TCP 88 to the domain controller stays unanswered: then open it."]),
    code(60, "KRB_ERR_GENERIC", "A general error; e-text or e-data say more.", AS, RARE),
    code(61, "KRB_ERR_FIELD_TOOLONG", "A field is longer than this implementation takes.", AS, RARE),
    card(62, "KDC_ERR_CLIENT_NOT_TRUSTED", "The card's certificate is not trusted by the KDC (chain, or not in NTAuth)."),
    card(63, "KDC_ERR_KDC_NOT_TRUSTED", "The client's list of trusted authorities fits no certificate of the KDC."),
    card(64, "KDC_ERR_INVALID_SIG", "The signature of the PKINIT request does not verify."),
    card(65, "KDC_ERR_DH_KEY_PARAMETERS_NOT_ACCEPTED", "The Diffie-Hellman parameters are not accepted (RFC 4120 calls it KDC_ERR_KEY_TOO_WEAK)."),
    card(66, "KDC_ERR_CERTIFICATE_MISMATCH", "The certificate is not the account's."),
    code(67, "KRB_AP_ERR_NO_TGT", "User2User: no ticket-granting ticket was given.", AP, SPN),
    code(68, "KDC_ERR_WRONG_REALM", "The realm is wrong: a referral to another domain.", AS, &["Use the UPN or the right domain; netdom trust /verify if a trust is crossed."]),
    code(69, "KRB_AP_ERR_USER_TO_USER_REQUIRED", "The service takes User2User only.", AP, SPN),
    card(70, "KDC_ERR_CANT_VERIFY_CERTIFICATE", "The chain of the card's certificate could not be verified."),
    card(71, "KDC_ERR_INVALID_CERTIFICATE", "A certificate of the chain is not valid."),
    card(72, "KDC_ERR_REVOKED_CERTIFICATE", "A certificate of the chain was revoked."),
    card(73, "KDC_ERR_REVOCATION_STATUS_UNKNOWN", "The revocation could not be determined."),
    card(74, "KDC_ERR_REVOCATION_STATUS_UNAVAILABLE", "The revocation could not be checked: CRL or OCSP not reachable from the KDC."),
    card(75, "KDC_ERR_CLIENT_NAME_MISMATCH", "The name in the card's certificate is not the account's."),
    card(76, "KDC_ERR_KDC_NAME_MISMATCH", "The name in the KDC's certificate is not the KDC's."),
    card(77, "KDC_ERR_INCONSISTENT_KEY_PURPOSE", "The certificate's extended key usage does not permit smart card logon."),
    card(78, "KDC_ERR_DIGEST_IN_CERT_NOT_ACCEPTED", "The digest of the certificate's signature is not accepted."),
    card(79, "KDC_ERR_PA_CHECKSUM_MUST_BE_INCLUDED", "The PKINIT check sum is missing."),
    card(80, "KDC_ERR_DIGEST_IN_SIGNED_DATA_NOT_ACCEPTED", "The digest of the signed data is not accepted."),
    card(81, "KDC_ERR_PUBLIC_KEY_ENCRYPTION_NOT_SUPPORTED", "Public key encryption is not supported; Diffie-Hellman is."),
    Code::new(90, "KDC_ERR_PREAUTH_EXPIRED", "The pre-authentication has expired.", AS, CLOCK, FAST),
    Code::new(91, "KDC_ERR_MORE_PREAUTH_DATA_REQUIRED", "More pre-authentication is wanted. Ordinary in several-step methods.", AS, &["Nothing to cure."], FAST),
    Code::new(93, "KDC_ERR_UNKNOWN_CRITICAL_FAST_OPTIONS", "A critical FAST option is not known.", AS, RARE, FAST),
];
