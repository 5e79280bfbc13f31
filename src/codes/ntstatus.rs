//! NTSTATUS values of logon: CredSSP's errorCode, and the extended error of a Windows KDC.

use super::{Code, Notation, Range, Space, as_it_is, sspi};

const SPEC: &str = "MS-ERREF 2.3.1 (NTSTATUS); MS-CSSP 2.2.1 (errorCode)";

/// NTSTATUS and SSPI values: a CredSSP errorCode may be either.
pub static NTSTATUS: Space = Space {
    slug: "ntstatus",
    title: "NTSTATUS and SSPI status (CredSSP errorCode, Kerberos e-data, Security event 4625)",
    about: "Sent by the server in the last TSRequest of a refused NLA logon (hidden by TLS: 15 bytes of plaintext), by a Windows KDC in the e-data of KRB-ERROR in clear, and written to Security event 4625.",
    notation: Notation::Hex,
    ranges: &[
        Range {
            from: 0xC000_0000,
            to: 0xC000_FFFF,
            what: "an NTSTATUS error of the system",
        },
        Range {
            from: 0xC00A_0000,
            to: 0xC00A_FFFF,
            what: "an NTSTATUS error of Remote Desktop Services",
        },
        Range {
            from: 0x8009_0000,
            to: 0x8009_FFFF,
            what: "an HRESULT of the security facility (SSPI, certificates)",
        },
        Range {
            from: 0x8007_0000,
            to: 0x8007_FFFF,
            what: "a Win32 error wrapped in an HRESULT: the low 16 bits are the Win32 number (net helpmsg N)",
        },
    ],
    tables: &[CODES, sspi::CODES],
    canonical: as_it_is,
};

pub(super) const REFUSED: &str = "CredSSP: the client's AUTHENTICATE, then a record of 15 bytes of plaintext from the server (39 in TLS 1.2 GCM, 32 in TLS 1.3) and the client's RST. On port 88 in clear if the KDC said it.";
const NO_DC: &str = "A pause before the server's short refusal while it looks for a domain controller; on the client's side lookups or port 88 without answer.";
const CARD: &str = "Smart card logon: the client closes, or the server's short refusal follows the Kerberos tickets; PKINIT errors on port 88 in clear.";

const CREDENTIALS: &[&str] = &[
    "Type user and password again with the domain (DOMAIN\\user, user@domain, HOST\\user for a local account).",
    "Remove saved credentials on the client: cmdkey /list, then cmdkey /delete:TERMSRV/HOST.",
    "On the host, Security event 4625: the Sub Status is the exact reason (Get-WinEvent -FilterHashtable @{LogName='Security';Id=4625}).",
];
const DC: &[&str] = &[
    "On the host: nltest /dsgetdc:DOMAIN, nltest /sc_verify:DOMAIN; DNS must point to the domain's servers.",
    "Open the way from host to domain controllers (88, 389, 445, 135 and dynamic RPC).",
];
const TRUST: &[&str] = &[
    "On the host: Test-ComputerSecureChannel, then Test-ComputerSecureChannel -Repair -Credential (Get-Credential).",
    "If that fails, rejoin the host to the domain.",
];
const CARD_REMEDY: &[&str] = &[
    "certutil -scinfo on the client: card, certificate, chain.",
    "Check that client, host and domain controller trust the chain and reach its CRL.",
];
const KDC_CERT: &[&str] = &[
    "On the domain controller: a valid Domain Controller (Kerberos Authentication) certificate; certutil -dcinfo verify.",
    "Let its chain and CRL be reachable from the client.",
];

const fn status(
    number: u32,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new(number, name, meaning, picture, remedy, SPEC)
}

pub(super) const CODES: &[Code] = &[
    status(
        0xC000_006D,
        "STATUS_LOGON_FAILURE",
        "Wrong user name or password (or the right ones with the wrong domain).",
        REFUSED,
        CREDENTIALS,
    ),
    status(
        0xC000_006A,
        "STATUS_WRONG_PASSWORD",
        "The user exists and the password is wrong.",
        REFUSED,
        CREDENTIALS,
    ),
    status(
        0xC000_0064,
        "STATUS_NO_SUCH_USER",
        "The user does not exist.",
        REFUSED,
        CREDENTIALS,
    ),
    status(
        0xC000_006C,
        "STATUS_PASSWORD_RESTRICTION",
        "The password does not meet the policy.",
        REFUSED,
        &["Choose a password that meets the domain's policy."],
    ),
    status(
        0xC000_006E,
        "STATUS_ACCOUNT_RESTRICTION",
        "An account restriction forbids the logon: a member of Protected Users over NTLM, a blank password over the network, or a policy.",
        REFUSED,
        &[
            "Make Kerberos possible: connect by the host's full name, let the client reach a domain controller on port 88 or a KDC proxy. Protected Users cannot use NTLM.",
            "Set a password: blank ones are refused over the network.",
            "On the host, Security event 4625 with this Sub Status; on the domain controller the ProtectedUser logs.",
        ],
    ),
    status(
        0xC000_006F,
        "STATUS_INVALID_LOGON_HOURS",
        "Outside the account's logon hours.",
        REFUSED,
        &["Logon hours of the account (Active Directory Users and Computers, Account tab)."],
    ),
    status(
        0xC000_0070,
        "STATUS_INVALID_WORKSTATION",
        "The account may log on only from other workstations.",
        REFUSED,
        &["Put the client's name in the account's 'Log On To' list, or clear the list."],
    ),
    status(
        0xC000_0071,
        "STATUS_PASSWORD_EXPIRED",
        "The password has expired. NLA cannot change it.",
        REFUSED,
        &["Change it at the console, on the RD Web password page, or with Ctrl+Alt+End in another session."],
    ),
    status(
        0xC000_0072,
        "STATUS_ACCOUNT_DISABLED",
        "The account is disabled.",
        REFUSED,
        &["Enable-ADAccount NAME, or net user NAME /active:yes for a local one."],
    ),
    status(
        0xC000_0193,
        "STATUS_ACCOUNT_EXPIRED",
        "The account has expired.",
        REFUSED,
        &["Set-ADAccountExpiration NAME."],
    ),
    status(
        0xC000_0224,
        "STATUS_PASSWORD_MUST_CHANGE",
        "The password must change before the first logon. NLA cannot change it.",
        REFUSED,
        &["Change it elsewhere first, or clear 'User must change password at next logon'."],
    ),
    status(
        0xC000_0234,
        "STATUS_ACCOUNT_LOCKED_OUT",
        "The account is locked out.",
        REFUSED,
        &["Find what locks it first (Security event 4740 on the domain controller), then Unlock-ADAccount NAME."],
    ),
    status(
        0xC000_015B,
        "STATUS_LOGON_TYPE_NOT_GRANTED",
        "The user lacks the right to log on this way.",
        REFUSED,
        &[
            "User rights on the host: 'Access this computer from the network' and 'Allow log on through Remote Desktop Services', and neither 'Deny'.",
            "Group 'Remote Desktop Users' on the host.",
        ],
    ),
    status(
        0xC000_0155,
        "STATUS_LOGON_NOT_GRANTED",
        "The logon right was not granted.",
        REFUSED,
        &[
            "User rights on the host: 'Access this computer from the network' and 'Allow log on through Remote Desktop Services', and neither 'Deny'.",
        ],
    ),
    status(
        0xC000_0022,
        "STATUS_ACCESS_DENIED",
        "Access denied.",
        REFUSED,
        &["On the host, Security event 4625 and the log Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational."],
    ),
    status(
        0xC000_0061,
        "STATUS_PRIVILEGE_NOT_HELD",
        "A needed privilege is missing.",
        REFUSED,
        &["User rights on the host (secpol.msc, Local Policies, User Rights Assignment)."],
    ),
    status(
        0xC000_0413,
        "STATUS_AUTHENTICATION_FIREWALL_FAILED",
        "Selective authentication of a trust does not let this account authenticate to this host.",
        REFUSED,
        &["Give the account 'Allowed to authenticate' on the host's computer object."],
    ),
    status(
        0xC000_0418,
        "STATUS_NTLM_BLOCKED",
        "NTLM is blocked by policy.",
        REFUSED,
        &[
            "Make Kerberos possible: full host name, domain controller reachable on port 88.",
            "Policy 'Network security: Restrict NTLM': an exception for this host, if NTLM is meant.",
        ],
    ),
    status(
        0xC000_0388,
        "STATUS_DOWNGRADE_DETECTED",
        "A fall-back from Kerberos to NTLM was noticed and refused, or no domain controller could be reached.",
        REFUSED,
        &[
            "Let the client reach a domain controller (88, 389); nltest /dsgetdc:DOMAIN.",
            "Look for a device that blocks port 88.",
        ],
    ),
    status(
        0xC000_005E,
        "STATUS_NO_LOGON_SERVERS",
        "The host can reach no domain controller.",
        NO_DC,
        DC,
    ),
    status(
        0xC000_00DF,
        "STATUS_NO_SUCH_DOMAIN",
        "The domain does not exist or is not reachable.",
        NO_DC,
        DC,
    ),
    status(
        0xC000_0233,
        "STATUS_DOMAIN_CONTROLLER_NOT_FOUND",
        "No domain controller was found.",
        NO_DC,
        DC,
    ),
    status(
        0xC000_0192,
        "STATUS_NETLOGON_NOT_STARTED",
        "The Netlogon service of the host is not running.",
        NO_DC,
        &["On the host: Start-Service Netlogon; System event log for why it stopped."],
    ),
    status(
        0xC000_00B5,
        "STATUS_IO_TIMEOUT",
        "The domain controller did not answer in time.",
        NO_DC,
        DC,
    ),
    status(
        0xC000_018A,
        "STATUS_NO_TRUST_LSA_SECRET",
        "The host has lost its machine password.",
        REFUSED,
        TRUST,
    ),
    status(
        0xC000_018B,
        "STATUS_NO_TRUST_SAM_ACCOUNT",
        "The domain has no account for the host.",
        REFUSED,
        TRUST,
    ),
    status(
        0xC000_018C,
        "STATUS_TRUSTED_DOMAIN_FAILURE",
        "The trust between the domains is broken.",
        REFUSED,
        &["netdom trust /verify between the domains; clocks of their domain controllers."],
    ),
    status(
        0xC000_018D,
        "STATUS_TRUSTED_RELATIONSHIP_FAILURE",
        "The trust between host and domain is broken.",
        REFUSED,
        TRUST,
    ),
    status(
        0xC000_0133,
        "STATUS_TIME_DIFFERENCE_AT_DC",
        "The clocks of client, host or domain controller differ by more than five minutes.",
        REFUSED,
        &["w32tm /query /status on each, then w32tm /resync; check the hypervisor's time synchronisation."],
    ),
    status(
        0xC000_009A,
        "STATUS_INSUFFICIENT_RESOURCES",
        "The host is out of resources.",
        REFUSED,
        &["Memory and pool usage on the host; restart it if nothing else frees them."],
    ),
    status(
        0xC000_005F,
        "STATUS_NO_SUCH_LOGON_SESSION",
        "The logon session does not exist: often saved credentials or Remote Credential Guard without a usable ticket.",
        REFUSED,
        &[
            "Type the credentials; lock and unlock the client to renew its tickets (klist purge).",
            "As a test connect without /remoteGuard to a host that you trust.",
        ],
    ),
    status(
        0xC000_0408,
        "STATUS_USER2USER_REQUIRED",
        "Kerberos User2User is required.",
        REFUSED,
        &["Use the host's full name; let the client reach a domain controller on port 88."],
    ),
    status(
        0xC000_02FD,
        "STATUS_KDC_UNKNOWN_ETYPE",
        "No Kerberos encryption type in common.",
        REFUSED,
        &[
            "msDS-SupportedEncryptionTypes of account and host: AES on both; set the account's password anew so that AES keys exist.",
        ],
    ),
    status(
        0xC000_02FA,
        "STATUS_SMARTCARD_LOGON_REQUIRED",
        "The account may log on with a smart card only.",
        REFUSED,
        &["Use the card; or clear 'Smart card is required for interactive logon' if it is not meant."],
    ),
    status(
        0xC000_0380,
        "STATUS_SMARTCARD_WRONG_PIN",
        "Wrong PIN.",
        CARD,
        &["Type the PIN again; the card blocks after a few."],
    ),
    status(
        0xC000_0381,
        "STATUS_SMARTCARD_CARD_BLOCKED",
        "The card is blocked.",
        CARD,
        &["Have it unblocked with its PUK or by its issuer."],
    ),
    status(
        0xC000_0382,
        "STATUS_SMARTCARD_CARD_NOT_AUTHENTICATED",
        "No PIN was presented to the card.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0383,
        "STATUS_SMARTCARD_NO_CARD",
        "No card in the reader.",
        CARD,
        &["Insert the card; check the reader."],
    ),
    status(
        0xC000_0384,
        "STATUS_SMARTCARD_NO_KEY_CONTAINER",
        "The card lacks the key container.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0385,
        "STATUS_SMARTCARD_NO_CERTIFICATE",
        "The card lacks the certificate.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0386,
        "STATUS_SMARTCARD_NO_KEYSET",
        "The card lacks the key set.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0387,
        "STATUS_SMARTCARD_IO_ERROR",
        "The card could not be read.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0389,
        "STATUS_SMARTCARD_CERT_REVOKED",
        "The card's certificate was revoked.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_038A,
        "STATUS_ISSUING_CA_UNTRUSTED",
        "The issuer of the card's certificate is not trusted.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_038B,
        "STATUS_REVOCATION_OFFLINE_C",
        "The revocation of the card's certificate could not be checked.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_038C,
        "STATUS_PKINIT_CLIENT_FAILURE",
        "The smart card's Kerberos logon failed on the client.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_038D,
        "STATUS_SMARTCARD_CERT_EXPIRED",
        "The card's certificate has expired.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_0320,
        "STATUS_PKINIT_FAILURE",
        "The smart card's Kerberos logon failed.",
        CARD,
        CARD_REMEDY,
    ),
    status(
        0xC000_040C,
        "STATUS_REVOCATION_OFFLINE_KDC",
        "The revocation of the domain controller's certificate could not be checked.",
        CARD,
        KDC_CERT,
    ),
    status(
        0xC000_040D,
        "STATUS_ISSUING_CA_UNTRUSTED_KDC",
        "The issuer of the domain controller's certificate is not trusted.",
        CARD,
        KDC_CERT,
    ),
    status(
        0xC000_040E,
        "STATUS_KDC_CERT_EXPIRED",
        "The domain controller's certificate has expired.",
        CARD,
        KDC_CERT,
    ),
    status(
        0xC000_040F,
        "STATUS_KDC_CERT_REVOKED",
        "The domain controller's certificate was revoked.",
        CARD,
        KDC_CERT,
    ),
    status(
        0xC00A_0037,
        "STATUS_CTX_LOGON_DISABLED",
        "Logons through Remote Desktop Services are disabled on the host.",
        REFUSED,
        &["On the host: change logon /query, then change logon /enable; drain mode of the host in its collection."],
    ),
];
