//! Which HTTPS is an RD Gateway's. Most HTTPS is not, and leaves after its ClientHello; what is followed on a mere hint is judged only
//! where it behaves like a gateway's client.

use std::net::SocketAddr;

use crate::attempt::GATEWAY_LABELS;
use crate::examine::Examiner;
use crate::flow::Side;
use crate::protocol::Parsed;
use crate::protocol::gateway::http::Purpose;
use crate::protocol::tls::handshake::{Handshake, HandshakeBuffer};
use crate::protocol::tls::hello::ClientHello;
use crate::protocol::tls::record::{self, ContentType};
use crate::transcript::hidden::tunnel;
use crate::transcript::{Depth, GatewaySays, Transcript, What};

/// How many gateways are remembered.
pub(super) const GATEWAYS: usize = 4_096;

/// Big services whose names look alike and carry other things.
const OTHERS: &[&str] = &["google.com", "googleapis.com", "icloud.com", "apple.com", "amazonaws.com"];

/// Why a connection is taken for a gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was named on the command line, or content has shown it before: what fails here is judged.
    Known(String),
    /// Its name looks like one: a hint.
    Named(String),
    /// Keys will open it, and its content will tell.
    Keys,
}

impl Reason {
    /// In words, for the report.
    pub(super) fn words(&self) -> String {
        match self {
            Reason::Known(why) => why.clone(),
            Reason::Named(name) => {
                format!("the name {name} looks like an RD Gateway's: a hint, not proof; --gateway {name} would say so")
            }
            Reason::Keys => "the TLS keys open it, and gateway requests are inside".to_owned(),
        }
    }
}

/// A ClientHello at the start of a flow.
pub(super) enum Hello {
    /// It is here.
    Whole(Box<ClientHello>),
    /// More of it comes in another segment.
    Part,
    /// None.
    No,
}

/// Looks for a ClientHello in the first bytes of a flow.
pub(super) fn hello(payload: &[u8]) -> Hello {
    // A handshake record, and in it a ClientHello.
    if !matches!(payload, [0x16, 3, _, _, _, 1, ..]) {
        return Hello::No;
    }
    let Parsed::Done(header, used) = record::header(payload) else {
        return Hello::No;
    };
    let Some(fragment) = payload.get(used..used + usize::from(header.length)) else {
        return Hello::Part;
    };
    if header.content_type != ContentType::HANDSHAKE {
        return Hello::No;
    }
    let messages = HandshakeBuffer::default().push(fragment);
    match messages.first().map(|message| Handshake::parse(message, None)) {
        Some(Ok(Handshake::ClientHello(hello))) => Hello::Whole(hello),
        Some(_) => Hello::No,
        None => Hello::Part,
    }
}

/// Whether a name looks like a gateway's.
fn looks_like_gateway(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if OTHERS.iter().any(|other| name.ends_with(other)) {
        return false;
    }
    let Some((first, _domain)) = name.split_once('.') else {
        return false;
    };
    first
        .split('-')
        .any(|part| GATEWAY_LABELS.contains(&part.trim_end_matches(|c: char| c.is_ascii_digit())))
}

impl Examiner {
    /// Whether a flow to `server` that begins with this ClientHello could be a gateway's.
    pub(super) fn gateway_reason(&self, server: SocketAddr, hello: &ClientHello) -> Option<Reason> {
        let name = hello.server_name.as_deref();
        if let Some(why) = self.known_gateway(server, name) {
            return Some(why);
        }
        if self.keys.knows(&hello.random) {
            return Some(Reason::Keys);
        }
        let known_name = name.or_else(|| self.state.context.names.get(&server.ip()).map(String::as_str));
        known_name
            .filter(|name| looks_like_gateway(name))
            .map(|name| Reason::Named(name.to_owned()))
    }

    /// Whether this end is a gateway that was named or has shown itself.
    pub(super) fn known_gateway(&self, server: SocketAddr, name: Option<&str>) -> Option<Reason> {
        let given = |name: &str| {
            self.options
                .gateways
                .iter()
                .find(|gateway| gateway.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.')))
        };
        let address = server.ip().to_string();
        let resolved = self.state.context.names.get(&server.ip()).map(String::as_str);
        if let Some(gateway) = name
            .and_then(given)
            .or_else(|| given(&address))
            .or_else(|| resolved.and_then(given))
        {
            return Some(Reason::Known(format!("--gateway {gateway} names it")));
        }
        self.state
            .gateways
            .contains(&server)
            .then(|| Reason::Known("another connection to it has shown that it is an RD Gateway".to_owned()))
    }

    /// Whether what was followed as a gateway's connection is one, and what is known from it on. Web traffic is dropped.
    pub(super) fn is_gateway(&mut self, t: &Transcript, reason: &Reason) -> bool {
        let purposes = || {
            t.moments.iter().filter_map(|moment| match &moment.what {
                What::Gateway(says) if moment.depth == Depth(1) => Some(&**says),
                _ => None,
            })
        };
        let shown = purposes().any(|says| match says {
            GatewaySays::Request(request) => !matches!(request.purpose, Purpose::Other | Purpose::Tunnel),
            GatewaySays::Packet { .. } | GatewaySays::KdcRequest | GatewaySays::Kdc(_) => true,
            _ => false,
        });
        if shown {
            self.learn_gateway(t.server);
            return true;
        }
        let opened = t.moments.iter().any(|moment| moment.depth > Depth::OUTER);
        if opened || *reason == Reason::Keys {
            return false;
        }
        // HTTP/2 is for browsers, and for the KDC proxy beside a gateway's own connection.
        let web = t
            .client_hello()
            .is_some_and(|(_, hello)| hello.alpn.iter().any(|protocol| protocol == "h2"));
        match reason {
            Reason::Known(_) => !web,
            _ => !web && (tunnel::behaves(t) || t.finished(Side::Server).is_none()),
        }
    }

    fn learn_gateway(&mut self, server: SocketAddr) {
        if self.state.gateways.len() < GATEWAYS {
            self.state.gateways.insert(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gateways() {
        for name in [
            "rdgw.corp.example",
            "rdg01.example.com",
            "RDWEB.example.com.",
            "remote.example.com",
            "eu-rdgateway.example.com",
            "tsg.example.org",
            "gateway.example.org",
        ] {
            assert!(looks_like_gateway(name), "{name}");
        }
        for name in [
            "www.example.com",
            "gateway.icloud.com",
            "remotedesktop.google.com",
            "rdg",
            "api.example.com",
            "remoteness.example.com",
        ] {
            assert!(!looks_like_gateway(name), "{name}");
        }
    }
}
