//! The one table of weights: how much each sign speaks for a device on the path (positive) or for the peer's own stack (negative).
//!
//! Weights are decibans, ten times the decimal logarithm of a likelihood ratio: +10 makes a device ten times as likely. Signs that
//! share a cause stand in one group, and a group is capped, so that one cause is not counted twice.

/// Signs that share a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Which way the packet took: TTL, hardware address.
    Path,
    /// Who wrote the IP header: identification, DF, TOS, flow label.
    Header,
    /// Who wrote the TCP header: numbers, timestamps, window, form.
    Form,
    /// What came before and after: too early, life after death, both ends at once.
    Order,
    /// The moment in the protocol.
    Moment,
}

impl Group {
    /// Every group, in the order of the report.
    pub const ALL: [Group; 5] = [Group::Path, Group::Header, Group::Form, Group::Order, Group::Moment];

    /// The least and the most that this group may weigh.
    pub fn cap(self) -> (f32, f32) {
        match self {
            Group::Path => (-10.0, 24.0),
            Group::Header => (-8.0, 15.0),
            Group::Form => (-15.0, 12.0),
            Group::Order => (-10.0, 25.0),
            Group::Moment => (-12.0, 8.0),
        }
    }
}

macro_rules! signs {
    ($($(#[$doc:meta])* $sign:ident: $group:ident, $weight:literal;)+) => {
        /// A sign: something about a RST that fits one origin better than the other.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Sign { $($(#[$doc])* $sign,)+ }

        impl Sign {
            /// Every sign.
            pub const ALL: &'static [Sign] = &[$(Sign::$sign,)+];

            /// Its group and its weight in decibans.
            pub fn weight(self) -> (Group, f32) {
                match self { $(Sign::$sign => (Group::$group, $weight),)+ }
            }
        }
    };
}

signs! {
    /// The TTL is one that this side uses.
    TtlSame: Path, -7.0;
    /// The TTL is five or more away, or of another initial class.
    TtlFar: Path, 20.0;
    /// The TTL is three or four away.
    TtlNear: Path, 12.0;
    /// The TTL is one that no router has touched, on a link that this side's packets reach through two routers or more.
    TtlUnrouted: Path, 20.0;
    /// The TTL is one or two away from the only one that this side ever had, over five packets or more.
    TtlBeside: Path, 10.0;
    /// The TTL is one or two away; routes do that.
    TtlShifted: Path, 3.0;
    /// The TTL is that of the SYN+ACK, and the data have another: something answers in the host's place.
    TtlOfHandshake: Path, 15.0;
    /// Another hardware address.
    MacChanged: Path, 8.0;

    /// The identification continues this side's count.
    IdContinues: Header, -6.0;
    /// Another identification count than that of a Windows host.
    IdJumpsWindows: Header, 12.0;
    /// Another count in a RST,ACK of a host with a round TTL of 128 that is no plain Windows.
    IdJumpsMixed: Header, 8.0;
    /// Another count in a RST,ACK of a Unix host.
    IdJumpsUnix: Header, 4.0;
    /// Identification zero, from a Windows host.
    IdZeroWindows: Header, 10.0;
    /// Identification zero, from a host with a TTL of 128 that is no plain Windows.
    IdZeroMixed: Header, 4.0;
    /// Identification zero in a RST,ACK of a Unix host.
    IdZeroUnix: Header, 3.0;
    /// The identification is copied from the packet that it answers.
    IdCopied: Header, 17.0;
    /// The window is copied from the packet that it answers.
    WindowCopied: Header, 6.0;
    /// Don't Fragment is clear in a RST, this side always sets it; Apple's stacks do that, too.
    DfClearedPlain: Header, 3.0;
    /// Don't Fragment is clear in a RST,ACK, this side always sets it.
    DfCleared: Header, 5.0;
    /// TOS 0x10: pf and ipfw write that.
    TosLowDelay: Header, 8.0;
    /// Another TOS.
    TosChanged: Header, 2.0;
    /// The flow label is zero, that of a Linux host never is.
    LabelZeroLinux: Header, 10.0;
    /// The flow label is zero, this side's was not.
    LabelZero: Header, 2.0;
    /// The flow label is the connection's own.
    LabelSame: Header, -8.0;

    /// A timestamp that continues this side's clock: only the owner of the socket has it at hand.
    TimestampValid: Form, -15.0;
    /// A RST,ACK without the timestamp that a Linux host would have sent.
    TimestampMissing: Form, 5.0;
    /// A timestamp that runs backwards or far ahead.
    TimestampWrong: Form, 12.0;
    /// A form that this side's operating system does not write.
    FormForeign: Form, 6.0;
    /// A form that this side's operating system seldom writes.
    FormRare: Form, 3.0;
    /// The form that this side's operating system writes.
    FormFits: Form, -2.0;
    /// The window carries a reason code, as an application delivery controller writes.
    WindowCode: Form, 10.0;
    /// The sequence number is exactly the next one.
    SequenceExact: Form, -1.0;
    /// The sequence number is ahead, inside the window.
    SequenceAhead: Form, 6.0;
    /// The sequence number is beyond the window.
    SequenceBeyond: Form, 10.0;
    /// The sequence number is behind.
    SequenceBehind: Form, 3.0;
    /// Several resets whose numbers spread.
    Fan: Form, 12.0;
    /// Several resets whose windows count upwards.
    WindowsCount: Form, 15.0;
    /// Reserved bits are set.
    ReservedBits: Form, 12.0;
    /// The acknowledgment of the SYN is its own number, not the next.
    AckOfIsn: Form, 12.0;
    /// The payload names a product.
    NamesItself: Form, 20.0;

    /// It answers a packet that this side cannot have seen yet, by far and by many measurements.
    FarTooEarly: Order, 25.0;
    /// It answers a packet that this side cannot have seen yet.
    TooEarly: Order, 20.0;
    /// The same by less, or against a single measurement of the round trip.
    RatherEarly: Order, 10.0;
    /// It comes when this side's answer is due.
    OnTime: Order, -5.0;
    /// This side goes on afterwards as if it had sent nothing.
    LifeAfter: Order, 18.0;
    /// The same, and its identifications leave the RST out.
    LifeAfterById: Order, 22.0;
    /// Later a RST of this side's own kind answers: the first one had another face.
    SecondFace: Order, 12.0;
    /// Both ends are reset at one moment.
    BothEnds: Order, 15.0;
    /// The receiver asked back and the exact RST followed (RFC 5961).
    ChallengeAnswered: Order, -10.0;

    /// Right after a message at which filters strike, before any answer.
    AfterTrigger: Moment, 4.0;
    /// As Remote Desktop clients and servers say goodbye.
    Goodbye: Moment, -10.0;
    /// Out of silence, at a known timer's time.
    TimerStruck: Moment, 6.0;
}

/// How likely a device is before anything is measured, by the moment at which connections are reset, in decibans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Answers a SYN.
    Syn,
    /// After the Connection Request or the ClientHello, before any answer of the server.
    Opening,
    /// In a connection that is active.
    Active,
    /// After a minute of silence or more.
    Idle,
    /// After FIN.
    Closing,
}

impl Stage {
    /// The prior in decibans.
    pub fn prior(self) -> f32 {
        match self {
            Stage::Syn => -3.0,
            Stage::Opening => -5.0,
            Stage::Active => -10.0,
            Stage::Idle => -5.0,
            Stage::Closing => -17.0,
        }
    }
}

/// From this many decibans on a side is believed: ten to one.
pub const BELIEVED: f32 = 10.0;
/// From this many on it is called almost certain: a hundred to one.
pub const CERTAIN: f32 = 20.0;
/// A group that weighs so much stands for itself.
pub const TELLING: f32 = 5.0;
/// The path or the order alone decide from here.
pub const DECISIVE: f32 = 18.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sign_outweighs_its_group() {
        for sign in Sign::ALL {
            let (group, weight) = sign.weight();
            let (least, most) = group.cap();
            assert!(weight != 0.0, "{sign:?} weighs nothing");
            assert!(
                weight >= least && (weight <= most || matches!(sign, Sign::IdCopied | Sign::WindowsCount | Sign::NamesItself)),
                "{sign:?}"
            );
        }
    }
}
