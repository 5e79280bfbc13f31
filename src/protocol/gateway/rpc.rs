//! RPC over HTTP to an RD Gateway (MS-RPCH, MS-TSGU 3.2): connection-oriented RPC fragments, read as far as they tell success from failure.

use super::super::bytes::Reader;
use super::super::open::open_number;
use super::super::{Flaw, Parsed};

/// Bytes of the common header (C706 section 12.6.3.1).
const HEADER: usize = 16;

open_number! {
    /// Fragment type (C706 section 12.6.4.1; RTS: MS-RPCH 2.2.3.6.1).
    FragmentType: u8 {
        /// A call.
        REQUEST = 0x00;
        /// Its result.
        RESPONSE = 0x02;
        /// The call failed in the run-time.
        FAULT = 0x03;
        /// Asks for the interface.
        BIND = 0x0B;
        /// Grants it.
        BIND_ACK = 0x0C;
        /// Refuses it.
        BIND_NAK = 0x0D;
        /// Another leg of authentication.
        ALTER_CONTEXT = 0x0E;
        /// Its answer.
        ALTER_CONTEXT_RESP = 0x0F;
        /// The last leg of authentication.
        AUTH3 = 0x10;
        /// Manages the pair of HTTP connections.
        RTS = 0x14;
    }
}

open_number! {
    /// Methods of TsProxyRpcInterface (MS-TSGU 3.2), without `TsProxy` in front.
    Method: u16 {
        /// Asks for a tunnel.
        CREATE_TUNNEL = 1;
        /// Asks whether this user and computer may.
        AUTHORIZE_TUNNEL = 2;
        /// Waits for messages.
        MAKE_TUNNEL_CALL = 3;
        /// Asks for a connection to a host.
        CREATE_CHANNEL = 4;
        /// Ends the channel.
        CLOSE_CHANNEL = 6;
        /// Ends the tunnel.
        CLOSE_TUNNEL = 7;
        /// Opens the way from the gateway; its result says how the channel ended.
        SETUP_RECEIVE_PIPE = 8;
        /// RDP to the host.
        SEND_TO_SERVER = 9;
    }
}

/// One fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its type.
    pub kind: FragmentType,
    /// Which call it belongs to.
    pub call: u32,
    /// Whether authentication data stands at its end.
    pub authenticated: bool,
    /// What its type adds.
    pub body: Body,
}

/// What the type of a fragment adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The method that is called.
    Request(Method),
    /// The last four bytes of the result, where the methods of this interface have their HRESULT; `None` in a shorter result, or where
    /// more fragments follow.
    Response(Option<u32>),
    /// Why the call failed: an RPC status, or a Win32 code such as 0x59DA.
    Fault(u32),
    /// `provider_reject_reason`.
    BindNak(u16),
    /// How many commands.
    Rts(u16),
    /// Nothing that is read.
    Other,
}

/// Reads one fragment.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Fragment> {
    /// Version 5.0, and the little-endian data representation that Windows always uses.
    const VERSION: &[u8] = &[5, 0];
    if !bytes.iter().zip(VERSION).all(|(left, right)| left == right) {
        return Parsed::NotMine;
    }
    let mut r = Reader::new(bytes);
    let Some(head) = r.array::<HEADER>() else {
        return Parsed::More;
    };
    let [
        _,
        _,
        kind,
        flags,
        order,
        _,
        _,
        _,
        length,
        length_high,
        auth,
        auth_high,
        c0,
        c1,
        c2,
        c3,
    ] = head;
    let kind = FragmentType(kind);
    if order != 0x10 || kind.name().is_none() {
        return Parsed::NotMine;
    }
    let length = usize::from(u16::from_le_bytes([length, length_high]));
    let auth = usize::from(u16::from_le_bytes([auth, auth_high]));
    if length < HEADER {
        return Parsed::Malformed(Flaw {
            at: 8,
            why: "RPC fragment shorter than its header",
        });
    }
    let Some(contents) = r.take(length - HEADER) else {
        return Parsed::More;
    };
    let call = u32::from_le_bytes([c0, c1, c2, c3]);
    Parsed::Done(
        Fragment {
            kind,
            call,
            authenticated: auth > 0,
            body: body(kind, flags, contents, auth),
        },
        length,
    )
}

fn body(kind: FragmentType, flags: u8, contents: &[u8], auth: usize) -> Body {
    let mut r = Reader::new(contents);
    let read = match kind {
        FragmentType::REQUEST => r.take(6).and_then(|_| r.u16_le()).map(|it| Body::Request(Method(it))),
        FragmentType::RESPONSE => Some(Body::Response(result(flags, contents, auth))),
        FragmentType::FAULT => r.take(8).and_then(|_| r.u32_le()).map(Body::Fault),
        FragmentType::BIND_NAK => r.u16_le().map(Body::BindNak),
        FragmentType::RTS => r.u16_le().and_then(|_| r.u16_le()).map(Body::Rts),
        _ => None,
    };
    read.unwrap_or(Body::Other)
}

fn result(flags: u8, contents: &[u8], auth: usize) -> Option<u32> {
    /// PFC_LAST_FRAG.
    const LAST: u8 = 0x02;
    /// Bytes before the stub of a response.
    const FIXED: usize = 8;
    /// Bytes of the security trailer in front of the authentication data; its third byte counts the padding before it.
    const TRAILER: usize = 8;
    let mut end = contents.len();
    if auth > 0 {
        end = end.checked_sub(auth)?.checked_sub(TRAILER)?;
        end = end.checked_sub(usize::from(*contents.get(end + 2)?))?;
    }
    let stub = contents.get(FIXED..end)?;
    let (_, last) = stub.split_last_chunk::<4>()?;
    (flags & LAST != 0).then(|| u32::from_le_bytes(*last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    fn fragment_of(bytes: &[u8]) -> Fragment {
        match parse(bytes) {
            Parsed::Done(fragment, used) if used == bytes.len() => fragment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_and_its_result() {
        let call = hex("0500 00 03 10000000 1a00 0000 02000000 02000000 0000 0400 ffff");
        let fragment = fragment_of(&call);
        assert_eq!((fragment.call, fragment.body), (2, Body::Request(Method::CREATE_CHANNEL)));
        let denied = hex("0500 02 03 10000000 2000 0000 02000000 08000000 0000 00 00 00000000 da590780");
        assert_eq!(fragment_of(&denied).body, Body::Response(Some(0x8007_59DA)));
        // Two bytes of padding, a trailer, sixteen bytes of NTLM signature.
        let signed = hex(
            "0500 02 03 10000000 3600 1000 02000000 06000000 0000 00 00 da590780 0000 0a 05 02 00 00000000 \
             01000000000000000000000000000000",
        );
        let fragment = fragment_of(&signed);
        assert!(fragment.authenticated);
        assert_eq!(fragment.body, Body::Response(Some(0x8007_59DA)));
    }

    #[test]
    fn failures_of_the_run_time() {
        let fault = hex("0500 03 03 10000000 2000 0000 03000000 20000000 0000 00 00 da590000 00000000");
        assert_eq!(fragment_of(&fault).body, Body::Fault(0x59DA));
        let refused = hex("0500 0d 03 10000000 1200 0000 01000000 0400");
        assert_eq!(fragment_of(&refused).body, Body::BindNak(4));
        let rts = hex("0500 14 03 10000000 1400 0000 00000000 0000 0400");
        assert_eq!(fragment_of(&rts).body, Body::Rts(4));
        let bind = hex("0500 0b 03 10000000 1000 0000 01000000");
        assert_eq!(fragment_of(&bind).body, Body::Other);
    }

    #[test]
    fn other_bytes() {
        assert_eq!(parse(&hex("0500 14 03")), Parsed::More);
        assert_eq!(parse(&hex("0501 14 03 10000000 1400 0000 00000000")), Parsed::NotMine);
        assert_eq!(parse(&hex("0500 63 03 10000000 1400 0000 00000000")), Parsed::NotMine);
        assert_eq!(parse(b"HTTP/1.1"), Parsed::NotMine);
        assert!(matches!(
            parse(&hex("0500 14 03 10000000 0400 0000 00000000")),
            Parsed::Malformed(_)
        ));
    }

    proptest! {
        #[test]
        fn never_panics(kind in 0u8..0x18, auth in 0u8..40, contents in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = vec![5, 0, kind, 3, 0x10, 0, 0, 0, (contents.len() + HEADER) as u8, 0, auth, 0, 1, 0, 0, 0];
            bytes.extend(contents);
            if let Parsed::Done(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
