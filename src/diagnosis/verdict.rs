//! The words of the verdict contract: causes, confidence, who acts, and the [`Verdict`] that carries its evidence.

use serde::Serialize;

use crate::capture::{FrameNo, Timestamp};
use crate::words::words;

words! {
    /// How sure a verdict is, calibrated on captures that were not used to build the rules.
    Confidence {
        /// Right 6 times in 10.
        Possible = "possible",
        /// Right 9 times in 10.
        Likely = "likely",
        /// Somebody said it in clear on the wire; right 99 times in 100.
        Certain = "certain",
    }
}

words! {
    /// Who must act first.
    Act {
        /// The user or the client machine.
        Client = "client",
        /// The administrator of the Remote Desktop host.
        Server = "server",
        /// Whoever runs the path: firewall, VPN, router, DNS.
        Network = "network",
        /// The administrator of the RD Gateway.
        Gateway = "gateway",
        /// Whoever runs accounts and domain controllers.
        Identity = "identity",
        /// Nothing has to be done.
        Nobody = "nobody",
    }
}

words! {
    /// Who took the decision to end the connection.
    EndedBy {
        /// The client.
        Client = "client",
        /// The server (in phase `dns`: the resolver).
        Server = "server",
        /// Something between them spoke.
        Middlebox = "middlebox",
        /// Packets vanished and nobody spoke.
        Path = "path",
        /// Still alive when the capture ends.
        Open = "open",
    }
}

words! {
    /// How the connection ended.
    Mechanism {
        /// An orderly TCP close.
        Fin = "fin",
        /// A TCP reset.
        Rst = "rst",
        /// An ICMP error.
        Icmp = "icmp",
        /// A TLS alert.
        TlsAlert = "tls_alert",
        /// A protocol message that says no.
        Refusal = "refusal",
        /// Nothing more arrived.
        Silence = "silence",
        /// It did not end.
        None = "none",
    }
}

words! {
    /// Whether a piece of evidence speaks for the verdict or against it.
    Leans {
        /// For.
        For = "for",
        /// Against.
        Against = "against",
    }
}

/// One cause of the contract. Identity is the slug.
#[derive(Debug)]
pub struct Cause {
    /// The contract's slug.
    pub slug: &'static str,
    /// The family in the contract, for grouping in lists.
    pub family: Family,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// Whether a connection with this cause is healthy.
    pub healthy: bool,
}

impl PartialEq for Cause {
    fn eq(&self, other: &Cause) -> bool {
        self.slug == other.slug
    }
}

impl Eq for Cause {}

impl Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.slug)
    }
}

words! {
    /// The families of causes, in the order in which a connection meets them.
    Family {
        /// Nothing wrong.
        NothingWrong = "nothing wrong",
        /// The name and the way to the host.
        Way = "the name and the way to the host",
        /// X.224 negotiation.
        Negotiation = "X.224 negotiation",
        /// TLS, to the host or to the gateway.
        Tls = "TLS",
        /// After TLS.
        AfterTls = "after TLS",
        /// Resets, time-outs and loss, where nothing else is more specific.
        Transport = "resets, time-outs and loss",
        /// UDP.
        Udp = "UDP",
    }
}

/// A claim that a reader can check: the frames, and what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The source, an index into the report's sources.
    pub source: u32,
    /// The frame that Wireshark shows for it.
    pub frame: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
    /// For or against the verdict.
    pub leans: Leans,
    /// What the frame shows, in words, with both values where two are compared.
    pub text: String,
}

/// What else would explain the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The other cause.
    pub cause: &'static Cause,
    /// Why it is possible, and what would tell the two apart.
    pub why: String,
}

/// One thing to do, with the real host and port filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to do.
    pub text: String,
    /// A test that proves the cause but weakens security or hides the fault; never a cure.
    pub test_only: bool,
}

/// The judgement of one connection or one attempt. It cannot be made without evidence.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The cause.
    pub cause: &'static Cause,
    /// How sure.
    pub confidence: Confidence,
    /// One sentence: what happened.
    pub summary: String,
    /// Who must act first.
    pub act: Act,
    /// The frames that show it, most telling first.
    pub evidence: Vec<Evidence>,
    /// What else it could be.
    pub alternatives: Vec<Alternative>,
    /// What to do, safest first.
    pub remedies: Vec<Remedy>,
}

impl Verdict {
    /// A verdict from its first piece of evidence.
    pub fn new(cause: &'static Cause, confidence: Confidence, act: Act, summary: impl Into<String>, first: Evidence) -> Verdict {
        Verdict {
            cause,
            confidence,
            summary: summary.into(),
            act,
            evidence: vec![first],
            alternatives: Vec::new(),
            remedies: Vec::new(),
        }
    }

    /// Adds evidence.
    #[must_use]
    pub fn because(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Verdict {
        for one in evidence {
            if !self.evidence.contains(&one) {
                self.evidence.push(one);
            }
        }
        self
    }

    /// Names an alternative.
    #[must_use]
    pub fn or(mut self, cause: &'static Cause, why: impl Into<String>) -> Verdict {
        self.alternatives.push(Alternative { cause, why: why.into() });
        self
    }

    /// Adds a cure.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Verdict {
        self.remedies.push(Remedy {
            text: text.into(),
            test_only: false,
        });
        self
    }

    /// Adds a cure where it applies.
    #[must_use]
    pub fn remedy_if(self, applies: bool, text: impl Into<String>) -> Verdict {
        if applies { self.remedy(text) } else { self }
    }

    /// Adds a test that proves the cause and is no cure.
    #[must_use]
    pub fn test(mut self, text: impl Into<String>) -> Verdict {
        self.remedies.push(Remedy {
            text: text.into(),
            test_only: true,
        });
        self
    }

    /// Whether nothing was wrong.
    pub fn healthy(&self) -> bool {
        self.cause.healthy
    }
}
