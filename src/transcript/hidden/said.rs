//! What a hidden or an opened message means for the course of a connection, whichever way it became known.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::capture::Timestamp;
use crate::flow::Side;
use crate::protocol::tls::size::PlaintextLength;
use crate::transcript::moment::Frames;

/// The meaning of one message behind TLS. A code is `None` where only the message's size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// An HTTP request to a gateway.
    HttpRequest,
    /// The gateway's HTTP status.
    HttpStatus(Option<u16>),
    /// A tunnel packet of a gateway that is in order.
    Tunnel,
    /// A negative status in the gateway's tunnel.
    TunnelError(Option<u32>),
    /// The gateway has opened the channel to the host.
    ChannelOpen,
    /// The channel or the tunnel is closed, with a status.
    ChannelClosed(Option<u32>),
    /// The KDC proxy beside a gateway, with the HTTP status of its answer.
    KdcProxy(Option<u16>),
    /// NTLM NEGOTIATE.
    NtlmNegotiate,
    /// NTLM CHALLENGE.
    NtlmChallenge,
    /// NTLM AUTHENTICATE, in CredSSP together with the proof that binds it to the server's key.
    NtlmAuthenticate,
    /// Kerberos TGT-REQ or TGT-REP: user-to-user authentication begins.
    KerberosTicket,
    /// Kerberos AP-REQ: the client shows its ticket.
    KerberosApRequest,
    /// Kerberos AP-REP: the server takes the ticket.
    KerberosApReply,
    /// Kerberos KRB-ERROR in place of AP-REP.
    KerberosError(Option<u32>),
    /// A leg of CredSSP that is not told further.
    CredSspLeg,
    /// `pubKeyAuth`: of the client its proof, of the server the acceptance of the logon.
    PublicKey,
    /// `authInfo`: the client hands its credentials over.
    Credentials,
    /// `errorCode` of CredSSP: the server refuses the logon.
    LogonError(Option<u32>),
    /// Early User Authorization Result.
    EarlyResult(Option<u32>),
    /// RDSTLS or RDS AAD Auth, anything but the result.
    RedirectedLogon,
    /// The result of RDSTLS.
    RdstlsResult(Option<u32>),
    /// The result of RDS AAD Auth.
    AadResult(Option<u32>),
    /// MCS Connect-Initial.
    ConnectInitial,
    /// MCS Connect-Response, with its result.
    ConnectResponse(Option<u8>),
    /// MCS Erect Domain or Attach User Request.
    AttachUser,
    /// MCS Attach User Confirm, with its result.
    AttachConfirm(Option<u8>),
    /// MCS Channel Join Request.
    Join,
    /// MCS Channel Join Confirm, with its result.
    JoinConfirm(Option<u8>),
    /// Security Exchange of Standard RDP Security.
    SecurityExchange,
    /// Client Info.
    ClientInfo,
    /// Network auto-detection.
    AutoDetect,
    /// License Request or Platform Challenge of the server, or the client's answer to it.
    License,
    /// The end of licensing. By size alone it may be an error message as well.
    LicenseDone(Option<u32>),
    /// A licensing error message: code.
    LicenseError(u32),
    /// Server Redirection.
    Redirection,
    /// Demand Active.
    DemandActive,
    /// Confirm Active.
    ConfirmActive,
    /// Synchronize, Control, Persistent Key List, Font List.
    Finalization,
    /// Font Map: the session begins.
    FontMap,
    /// Save Session Info: the user is logged on.
    LoggedOn,
    /// Save Session Info: what winlogon says about the logon.
    LogonNotice(Option<u32>),
    /// Shutdown Request: the user closes the window.
    ShutdownRequest,
    /// Set Error Info.
    SetErrorInfo(Option<u32>),
    /// MCS Disconnect Provider Ultimatum, with its reason.
    Ultimatum(Option<u8>),
    /// A TLS alert under encryption; level and description where it was opened.
    Alert(Option<(u8, u8)>),
    /// Data of the session.
    Data,
}

/// One message behind TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it means.
    pub said: Said,
    /// Who said it.
    pub side: Side,
    /// When its last byte passed.
    pub at: Timestamp,
    /// In which frames.
    pub frames: Frames,
    /// Told from size, direction and place, not from content.
    pub inferred: bool,
    /// What the message is, and where it was inferred, by which size. Empty for what would only fill the page.
    pub text: Words,
}

/// The words of a line, written out when they are read: those of most lines never are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// What the message is.
    Plain(Cow<'static, str>),
    /// What a record is taken for by its size.
    Taken {
        /// How long its plaintext is.
        size: PlaintextLength,
        /// What protects it.
        under: &'static str,
        /// What it is taken for.
        what: Cow<'static, str>,
    },
}

/// What protects a record, where nothing else does.
pub(super) const TLS: &str = "under TLS";

impl Words {
    /// No words.
    pub const NONE: Words = Words::Plain(Cow::Borrowed(""));

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Words::Plain(text) if text.is_empty())
    }

    /// The memory that they take beside themselves, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Words::Plain(Cow::Owned(text))
            | Words::Taken {
                what: Cow::Owned(text), ..
            } => text.capacity(),
            Words::Plain(Cow::Borrowed(_))
            | Words::Taken {
                what: Cow::Borrowed(_), ..
            } => 0,
        }
    }

    /// As text.
    pub fn written(&self) -> String {
        let (size, under, what) = match self {
            Words::Plain(text) => return text.clone().into_owned(),
            Words::Taken { size, under, what } => (size, *under, what),
        };
        let mut text = String::with_capacity(under.len() + what.len() + 24);
        // A String takes everything.
        let _ = match size.exact() {
            Some(exact) => write!(text, "{exact} bytes "),
            None => write!(text, "{} to {} bytes ", size.min, size.max),
        };
        text.push_str(under);
        text.push_str(": ");
        // What is under TLS according to the words is under the same.
        if under == TLS {
            text.push_str(what);
        } else {
            text.push_str(&what.replace(TLS, under));
        }
        text
    }

    /// Says that a record is protected by something else than TLS alone.
    pub(super) fn protect(&mut self, by: &'static str) {
        if let Words::Taken { under, .. } = self {
            *under = by;
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written())
    }
}
