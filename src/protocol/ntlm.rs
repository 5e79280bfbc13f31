//! NTLM (MS-NLMP 2.2.1): who talks to whom. Responses, hashes and keys are not kept.

use super::Flaw;
use super::bytes::{Reader, narrow, utf16};
use super::open::open_bits;

/// One NTLM message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// NEGOTIATE_MESSAGE, from the client.
    Negotiate {
        /// `NegotiateFlags`.
        flags: NtlmFlags,
        /// `Version`.
        version: Option<Version>,
    },
    /// CHALLENGE_MESSAGE, from the server.
    Challenge {
        /// `TargetName`: the server's domain, or its own name outside a domain.
        target_name: String,
        /// `NegotiateFlags`.
        flags: NtlmFlags,
        /// `TargetInfo`.
        target: TargetInfo,
        /// `Version`.
        version: Option<Version>,
    },
    /// AUTHENTICATE_MESSAGE, from the client.
    Authenticate(Authenticate),
    /// Another `MessageType`.
    Other {
        /// `MessageType`.
        kind: u32,
    },
}

/// AUTHENTICATE_MESSAGE (MS-NLMP 2.2.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authenticate {
    /// `DomainName`.
    pub domain: String,
    /// `UserName`; empty with an empty response is an anonymous logon.
    pub user: String,
    /// `Workstation`.
    pub workstation: String,
    /// `NegotiateFlags`.
    pub flags: NtlmFlags,
    /// Bytes of `NtChallengeResponse`: 24 is NTLMv1, more is NTLMv2, 0 is none.
    pub response_length: u16,
    /// `MsvAvTargetName` of an NTLMv2 response: the service that the client means to reach, such as `TERMSRV/host`.
    pub target_name: Option<String>,
    /// `Version`.
    pub version: Option<Version>,
}

/// The attribute-value pairs of a server (MS-NLMP 2.2.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetInfo {
    /// `MsvAvNbComputerName`.
    pub netbios_computer: Option<String>,
    /// `MsvAvNbDomainName`.
    pub netbios_domain: Option<String>,
    /// `MsvAvDnsComputerName`.
    pub dns_computer: Option<String>,
    /// `MsvAvDnsDomainName`.
    pub dns_domain: Option<String>,
    /// `MsvAvDnsTreeName`.
    pub dns_tree: Option<String>,
    /// `MsvAvTimestamp`: the sender's clock, in units of 100 ns since 1601.
    pub filetime: Option<u64>,
    /// `MsvAvTargetName`.
    pub target_name: Option<String>,
}

/// VERSION (MS-NLMP 2.2.2.10): the sender's Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// `ProductMajorVersion`.
    pub major: u8,
    /// `ProductMinorVersion`.
    pub minor: u8,
    /// `ProductBuild`.
    pub build: u16,
}

open_bits! {
    /// `NegotiateFlags` (MS-NLMP 2.2.2.5).
    NtlmFlags: u32, empty "none" {
        /// Text is UTF-16.
        NTLMSSP_NEGOTIATE_UNICODE = 0x0000_0001;
        /// Text is of the code page.
        NTLM_NEGOTIATE_OEM = 0x0000_0002;
        /// `TargetName` is wanted.
        NTLMSSP_REQUEST_TARGET = 0x0000_0004;
        /// Signatures.
        NTLMSSP_NEGOTIATE_SIGN = 0x0000_0010;
        /// Encryption.
        NTLMSSP_NEGOTIATE_SEAL = 0x0000_0020;
        /// Connectionless.
        NTLMSSP_NEGOTIATE_DATAGRAM = 0x0000_0040;
        /// LAN Manager session keys.
        NTLMSSP_NEGOTIATE_LM_KEY = 0x0000_0080;
        /// NTLM.
        NTLMSSP_NEGOTIATE_NTLM = 0x0000_0200;
        /// Anonymous.
        NTLMSSP_ANONYMOUS = 0x0000_0800;
        /// The message has a domain.
        NTLMSSP_NEGOTIATE_OEM_DOMAIN_SUPPLIED = 0x0000_1000;
        /// The message has a workstation.
        NTLMSSP_NEGOTIATE_OEM_WORKSTATION_SUPPLIED = 0x0000_2000;
        /// Signatures always.
        NTLMSSP_NEGOTIATE_ALWAYS_SIGN = 0x0000_8000;
        /// `TargetName` is a domain.
        NTLMSSP_TARGET_TYPE_DOMAIN = 0x0001_0000;
        /// `TargetName` is a server.
        NTLMSSP_TARGET_TYPE_SERVER = 0x0002_0000;
        /// Extended session security.
        NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY = 0x0008_0000;
        /// Identification only.
        NTLMSSP_NEGOTIATE_IDENTIFY = 0x0010_0000;
        /// LM responses.
        NTLMSSP_REQUEST_NON_NT_SESSION_KEY = 0x0040_0000;
        /// `TargetInfo` is there.
        NTLMSSP_NEGOTIATE_TARGET_INFO = 0x0080_0000;
        /// `Version` is there.
        NTLMSSP_NEGOTIATE_VERSION = 0x0200_0000;
        /// 128 bits.
        NTLMSSP_NEGOTIATE_128 = 0x2000_0000;
        /// An explicit session key.
        NTLMSSP_NEGOTIATE_KEY_EXCH = 0x4000_0000;
        /// 56 bits.
        NTLMSSP_NEGOTIATE_56 = 0x8000_0000;
    }
}

/// `Signature`.
pub const SIGNATURE: &[u8] = b"NTLMSSP\0";

/// Reads one NTLM message.
///
/// # Errors
///
/// The flaw's place counts from the start of `message`. A text that lies outside the message is no error: it is empty.
pub fn parse(message: &[u8]) -> Result<Message, Flaw> {
    if !message.starts_with(SIGNATURE) {
        return Err(Flaw {
            at: 0,
            why: "an NTLM message has no signature",
        });
    }
    fixed_part(message).ok_or(Flaw {
        at: SIGNATURE.len(),
        why: "an NTLM message is cut short in its fixed part",
    })
}

fn fixed_part(message: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(message);
    reader.take(SIGNATURE.len())?;
    Some(match reader.u32_le()? {
        1 => {
            let flags = NtlmFlags(reader.u32_le()?);
            // DomainNameFields, WorkstationFields; old clients end before them.
            let _fields = reader.take(16);
            Message::Negotiate {
                flags,
                version: version(flags, &mut reader),
            }
        }
        2 => {
            let target_name = field(&mut reader, message)?;
            let flags = NtlmFlags(reader.u32_le()?);
            // ServerChallenge, Reserved; NTLMv1 servers end here.
            let target = reader
                .take(16)
                .and_then(|_| field(&mut reader, message))
                .map(target_info)
                .unwrap_or_default();
            Message::Challenge {
                target_name: text(target_name, flags),
                flags,
                target,
                version: version(flags, &mut reader),
            }
        }
        3 => {
            let _lm_response = field(&mut reader, message)?;
            let response = field(&mut reader, message)?;
            let domain = field(&mut reader, message)?;
            let user = field(&mut reader, message)?;
            let workstation = field(&mut reader, message)?;
            // The oldest clients end before the session key and the flags, and speak UTF-16 all the same.
            let _session_key = field(&mut reader, message);
            let flags = reader.u32_le().map_or(NtlmFlags::NTLMSSP_NEGOTIATE_UNICODE, NtlmFlags);
            Message::Authenticate(Authenticate {
                domain: text(domain, flags),
                user: text(user, flags),
                workstation: text(workstation, flags),
                flags,
                response_length: u16::try_from(response.len()).unwrap_or(u16::MAX),
                target_name: response_target(response),
                version: version(flags, &mut reader),
            })
        }
        kind => Message::Other { kind },
    })
}

/// Length, allocated length and offset of a part of the payload; one that lies outside is empty.
fn field<'a>(reader: &mut Reader<'_>, message: &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(reader.u16_le()?);
    let _allocated = reader.u16_le()?;
    let start = usize::try_from(reader.u32_le()?).ok()?;
    let end = start.saturating_add(length);
    Some(message.get(start..end).unwrap_or_default())
}

fn text(bytes: &[u8], flags: NtlmFlags) -> String {
    if flags.contains(NtlmFlags::NTLMSSP_NEGOTIATE_UNICODE) {
        utf16(bytes)
    } else {
        narrow(bytes)
    }
}

fn version(flags: NtlmFlags, reader: &mut Reader<'_>) -> Option<Version> {
    if !flags.contains(NtlmFlags::NTLMSSP_NEGOTIATE_VERSION) {
        return None;
    }
    let [major, minor, low, high, ..] = reader.array::<8>()?;
    Some(Version {
        major,
        minor,
        build: u16::from_le_bytes([low, high]),
    })
}

fn target_info(pairs: &[u8]) -> TargetInfo {
    let mut info = TargetInfo::default();
    let mut reader = Reader::new(pairs);
    let mut pair = || {
        let id = reader.u16_le()?;
        let length = usize::from(reader.u16_le()?);
        Some((id, reader.take(length)?))
    };
    while let Some((id, value)) = pair() {
        match id {
            0 => break,
            1 => info.netbios_computer = Some(utf16(value)),
            2 => info.netbios_domain = Some(utf16(value)),
            3 => info.dns_computer = Some(utf16(value)),
            4 => info.dns_domain = Some(utf16(value)),
            5 => info.dns_tree = Some(utf16(value)),
            7 => info.filetime = value.try_into().ok().map(u64::from_le_bytes),
            9 => info.target_name = Some(utf16(value)),
            _ => {}
        }
    }
    info
}

/// The pairs of an NTLMv2 response stand behind a proof of 16 bytes and a header of 28.
fn response_target(response: &[u8]) -> Option<String> {
    target_info(response.get(16 + 28..)?).target_name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    const NEGOTIATE: &str = "4e544c4d5353500001000000b78208e2000000000000000000000000000000000a005d580000000f";
    const CHALLENGE: &str = "
        4e544c4d53535000020000000e000e0038000000358289e24c7699a0e3800fdc0000000000000000c400c400460000000a007c4f0000000f
        490054002d00480045004c00500002000e00490054002d00480045004c00500001001800490054002d00480045004c0050002d0054004500
        5300540004002000610064002e00690074002d00680065006c0070002e006e0069006e006a00610003003a00490054002d00480045004c00
        50002d0054004500530054002e00610064002e00690074002d00680065006c0070002e006e0069006e006a00610005002000610064002e00
        690074002d00680065006c0070002e006e0069006e006a00610007000800ace7c367f19fda0100000000";

    #[test]
    fn the_client_offers() {
        let Ok(Message::Negotiate { flags, version }) = parse(&hex(NEGOTIATE)) else {
            panic!("not a NEGOTIATE_MESSAGE");
        };
        assert!(flags.contains(NtlmFlags::NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY));
        assert_eq!(
            version,
            Some(Version {
                major: 10,
                minor: 0,
                build: 22621
            })
        );
    }

    #[test]
    fn the_server_introduces_itself() {
        let Ok(Message::Challenge {
            target_name,
            target,
            version,
            ..
        }) = parse(&hex(CHALLENGE))
        else {
            panic!("not a CHALLENGE_MESSAGE");
        };
        assert_eq!(target_name, "IT-HELP");
        assert_eq!(target.netbios_computer.as_deref(), Some("IT-HELP-TEST"));
        assert_eq!(target.dns_computer.as_deref(), Some("IT-HELP-TEST.ad.it-help.ninja"));
        assert_eq!(target.dns_domain.as_deref(), Some("ad.it-help.ninja"));
        assert_eq!(target.filetime, Some(0x01DA_9FF1_67C3_E7AC));
        assert_eq!(version.map(|it| it.build), Some(20348));
    }

    /// An AUTHENTICATE_MESSAGE with these parts of the payload; the flags decide the encoding.
    fn authenticate(parts: [&[u8]; 6], flags: u32) -> Vec<u8> {
        let mut message = [SIGNATURE, &[3, 0, 0, 0]].concat();
        let mut at = 64;
        for part in parts {
            let length = u16::try_from(part.len()).expect("short").to_le_bytes();
            message.extend(length);
            message.extend(length);
            message.extend(u32::try_from(at).expect("short").to_le_bytes());
            at += part.len();
        }
        message.extend(flags.to_le_bytes());
        message.extend(parts.concat());
        message
    }

    #[test]
    fn the_user_is_named_and_the_response_only_counted() {
        let mut response = vec![0x11; 16];
        response.extend([1, 1, 0, 0, 0, 0, 0, 0]);
        response.extend([0x22; 20]);
        response.extend([9, 0, 6, 0, b'T', 0, b'/', 0, b'h', 0, 0, 0, 0, 0]);
        let message = authenticate([&[0; 24], &response, b"D\0", b"u\0s\0", b"W\0", &[]], 1);
        let Ok(Message::Authenticate(who)) = parse(&message) else {
            panic!("not an AUTHENTICATE_MESSAGE");
        };
        assert_eq!(
            (who.domain.as_str(), who.user.as_str(), who.workstation.as_str()),
            ("D", "us", "W")
        );
        assert_eq!(usize::from(who.response_length), response.len());
        assert_eq!(who.target_name.as_deref(), Some("T/h"));
        let narrow = authenticate([&[], &[], b"DOM", b"user", b"PC", &[]], 2);
        let Ok(Message::Authenticate(who)) = parse(&narrow) else {
            panic!("not an AUTHENTICATE_MESSAGE");
        };
        assert_eq!((who.user.as_str(), who.response_length), ("user", 0));
    }

    #[test]
    fn cuts_and_strangers() {
        let challenge = hex(CHALLENGE);
        for cut in 0..24 {
            assert!(parse(&challenge[..cut]).is_err(), "cut at {cut}");
        }
        // From there on the texts may be missing, and nothing is invented.
        for cut in 24..challenge.len() {
            assert!(parse(&challenge[..cut]).is_ok(), "cut at {cut}");
        }
        assert!(parse(b"NTLMSSX\0").is_err());
        assert_eq!(parse(&hex("4e544c4d5353500009000000")), Ok(Message::Other { kind: 9 }));
    }

    proptest! {
        #[test]
        fn never_panics(at in 0usize..266, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = hex(CHALLENGE);
            bytes[at] = value;
            let _ = parse(&bytes);
            for kind in 1..=3 {
                let _ = parse(&[SIGNATURE, &[kind, 0, 0, 0], &tail].concat());
            }
        }
    }
}
