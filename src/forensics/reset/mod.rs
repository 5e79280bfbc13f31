//! Who made a RST: the side whose address it bears, or something on the path. Measured against that side's own habits.

pub mod stack;
pub mod trigger;
pub mod weights;
mod order;
mod signs;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{Habits, Reset, Side, Values};
use crate::forensics::vantage::{View, initial_ttl, is_initial};
use crate::transcript::{Transcript, Vantage, What};
use weights::{BELIEVED, CERTAIN, DECISIVE, Group, Sign, Stage, TELLING};

/// Who made a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The TCP stack of the side whose address it bears, or something on that very host.
    Peer,
    /// A device on the path.
    Middlebox,
    /// The packets do not tell.
    CannotTell,
}

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The owner of the socket aborted: close with unread data, `SO_LINGER` 0, the process killed, a timer of its own.
    ActiveAbort,
    /// A host that knows no such connection answered a stray segment.
    NoSocket,
    /// The SYN was refused.
    Refused,
    /// It left the host on which the capture was taken.
    LocalHost,
    /// A device answered in the host's place; the packet that triggered it was swallowed or never answered.
    Rejected,
    /// A device wrote it while the packet that triggered it went through.
    Injected,
    /// A device out of silence, when its timer ran out.
    Expired,
    /// A proxy that speaks for the host.
    Proxy,
}

/// Something measured about a RST.
#[derive(Clone, Debug)]
pub struct Signal {
    /// What.
    pub sign: Sign,
    /// What it weighs here, in decibans; positive speaks for a device on the path.
    pub weight: f32,
    /// The frame that shows it.
    pub frame: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
    /// In words, with both values.
    pub text: String,
}

/// How far away a RST was made, in routers from the capture point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Routers between the capture point and the sender, if it began with `initial`.
    pub hops: u8,
    /// The initial TTL that this takes for granted.
    pub initial: u8,
    /// The same for the side whose address it bears.
    pub peer_hops: Option<u8>,
}

impl Distance {
    /// Paths of the Internet are no longer than this; a TTL that lies further below every initial one was written by chance.
    const LONGEST: u8 = 40;

    /// Whether the TTL tells how far away the sender is.
    pub fn is_told(&self) -> bool {
        self.hops <= Distance::LONGEST
    }
}

/// From here on the path alone makes a device ten times as likely.
const ANOTHER_WAY: f32 = 10.0;

/// What was found out about the origin of a RST.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// Who made it.
    pub maker: Maker,
    /// In which way.
    pub manner: Manner,
    /// The sum in decibans; positive speaks for a device.
    pub score: f32,
    /// What each group adds, capped.
    pub groups: [(Group, f32); 5],
    /// The moment that sets the prior.
    pub stage: Stage,
    /// The signs, the weightiest first.
    pub signals: Vec<Signal>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
    /// Whether the peer is ruled out by the order of events; then what fits the peer is mimicry.
    pub peer_excluded: bool,
    /// How far away it was made.
    pub distance: Distance,
    /// What it answers, if it answers anything.
    pub trigger: Option<trigger::Trigger>,
}

impl Attribution {
    /// The probability that a device on the path made it, within 1 to 99 in 100.
    pub fn probability(&self) -> f32 {
        (1.0 / (1.0 + 10f32.powf(-self.score / 10.0))).clamp(0.01, 0.99)
    }

    /// The weight of one group.
    pub fn group(&self, group: Group) -> f32 {
        self.groups
            .iter()
            .find(|(of, _)| *of == group)
            .map_or(0.0, |(_, weight)| *weight)
    }

    /// Whether its TTL or its hardware address is not that of the host's packets, by a sign that seldom misleads: a route that changed, or a
    /// device beside it.
    pub fn came_another_way(&self) -> bool {
        self.group(Group::Path) >= ANOTHER_WAY
    }

    /// Whether this sign was found.
    pub fn shows(&self, sign: Sign) -> bool {
        self.signals.iter().any(|signal| signal.sign == sign)
    }
}

/// What else was captured of the address that a RST bears.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'a> {
    /// The TTLs of its packets other than resets, over all connections.
    pub ttl: &'a Values<u8>,
    /// Its smallest round trip from the capture point, over all connections.
    pub round_trip: Option<trigger::RoundTrip>,
}

/// What the measurements need to know.
pub(super) struct Scene<'a> {
    t: &'a Transcript,
    reset: &'a Reset,
    side: Side,
    /// The habits of the alleged sender before the first reset.
    habits: &'a Habits,
    elsewhere: Option<Elsewhere<'a>>,
    stack: stack::Stack,
    stage: Stage,
    trigger: Option<trigger::Trigger>,
    rtt: Option<trigger::RoundTrip>,
    /// Silence in both directions before the packet that it answers, or before itself.
    idle: Span,
    signals: Vec<Signal>,
    missing: Vec<String>,
}

impl Scene<'_> {
    fn add(&mut self, sign: Sign, share: f32, frame: FrameNo, at: Timestamp, text: String) {
        self.signals.push(Signal {
            sign,
            weight: sign.weight().1 * share,
            frame,
            at,
            text,
        });
    }

    fn note(&mut self, sign: Sign, text: String) {
        let seen = self.reset.seen;
        self.add(sign, 1.0, seen.no, seen.at, text);
    }

    fn is_plain(&self) -> bool {
        !self.reset.seen.flags.has(crate::packet::TcpFlags::ACK)
    }

    /// How the RST would be written down: `RST` or `RST,ACK`.
    fn form(&self) -> &'static str {
        if self.is_plain() { "RST" } else { "RST,ACK" }
    }
}

/// Silence before a RST from which it counts as one out of idleness.
pub const IDLE: Span = Span::secs(60);

/// Tells who made `reset`. `elsewhere` is what other connections of the same address show, where there are any: for a RST that answers
/// a SYN there is nothing else to compare with.
pub fn attribute(t: &Transcript, reset: &Reset, elsewhere: Option<Elsewhere<'_>>) -> Attribution {
    let side = reset.seen.side;
    let none = Habits::default();
    let habits = t.tcp.before_reset.as_deref().map_or(&none, |before| &before[side]);
    let rtt = trigger::RoundTrip::to(t, side).or(elsewhere.and_then(|elsewhere| elsewhere.round_trip));
    let trigger = trigger::find(t, reset, rtt);
    let idle = trigger::idle_before(t, reset, trigger.as_ref());
    let mut scene = Scene {
        t,
        reset,
        side,
        habits,
        elsewhere,
        stack: stack::Stack::of(habits),
        stage: stage(t, reset, idle),
        trigger,
        rtt,
        idle,
        signals: Vec::new(),
        missing: Vec::new(),
    };
    scene.path();
    scene.header();
    scene.tcp_form();
    scene.order();
    scene.moment();
    weigh(scene)
}

fn weigh(scene: Scene<'_>) -> Attribution {
    let Scene {
        t,
        reset,
        side,
        habits,
        stage,
        trigger,
        mut signals,
        missing,
        ..
    } = scene;
    let sum = |group: Group| -> f32 {
        let (least, most) = group.cap();
        signals
            .iter()
            .filter(|signal| signal.sign.weight().0 == group)
            .map(|signal| signal.weight)
            .sum::<f32>()
            .clamp(least, most)
    };
    // Where the order of events rules the peer out, whatever fits the peer was copied from it.
    let peer_excluded = sum(Group::Order) >= DECISIVE;
    let groups = Group::ALL.map(|group| {
        let weight = sum(group);
        (group, if peer_excluded { weight.max(0.0) } else { weight })
    });
    let score = stage.prior() + groups.iter().map(|(_, weight)| weight).sum::<f32>();
    let of = |wanted: Group| {
        groups
            .iter()
            .find(|(group, _)| *group == wanted)
            .map_or(0.0, |(_, weight)| *weight)
    };
    let telling = groups.iter().filter(|(_, weight)| *weight >= TELLING).count() >= 2
        || of(Group::Order) >= DECISIVE
        || of(Group::Path) >= DECISIVE;
    let view = View::of(&t.tcp);
    // A host firewall may reset what the host's own socket goes on with; that is still this host, and nothing on the path.
    let local = view.is_at(side) && view.sure && leaves_here(reset, habits);
    let maker = if local {
        Maker::Peer
    } else if score >= BELIEVED && telling {
        Maker::Middlebox
    } else if score <= -BELIEVED {
        Maker::Peer
    } else {
        Maker::CannotTell
    };
    signals.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let manner = manner(t, reset, maker, local, trigger.as_ref(), &signals);
    let score = if local { score.min(-CERTAIN) } else { score };
    let usual = habits.ttl.usual().or(habits.handshake_ttl.usual());
    Attribution {
        maker,
        manner,
        score,
        groups,
        stage,
        signals,
        missing,
        peer_excluded,
        distance: Distance {
            hops: initial_ttl(reset.seen.ttl) - reset.seen.ttl,
            initial: initial_ttl(reset.seen.ttl),
            peer_hops: usual.map(|ttl| initial_ttl(ttl.value) - ttl.value),
        },
        trigger,
    }
}

/// Whether the RST left the host on which the capture was taken: its TTL has not crossed a router, or is the host's own.
fn leaves_here(reset: &Reset, habits: &Habits) -> bool {
    let ttl = reset.seen.ttl;
    use crate::capture::Direction;
    match reset.seen.direction {
        Some(Direction::Outbound) => true,
        Some(Direction::Inbound) => false,
        None => is_initial(ttl) || habits.ttl.contains(ttl) || habits.handshake_ttl.contains(ttl),
    }
}

fn manner(
    t: &Transcript,
    reset: &Reset,
    maker: Maker,
    local: bool,
    trigger: Option<&trigger::Trigger>,
    signals: &[Signal],
) -> Manner {
    let shows = |sign: Sign| signals.iter().any(|signal| signal.sign == sign);
    let plain = !reset.seen.flags.has(crate::packet::TcpFlags::ACK);
    let refused = t.tcp.half[reset.seen.side].isn.is_none() && t.tcp.handshake.syn.is_some() && reset.seen.side == Side::Server;
    match maker {
        Maker::Middlebox if shows(Sign::TtlOfHandshake) || shows(Sign::WindowCode) => Manner::Proxy,
        Maker::Middlebox if trigger.is_none() && !refused => Manner::Expired,
        Maker::Middlebox if shows(Sign::LifeAfter) || shows(Sign::LifeAfterById) => Manner::Injected,
        Maker::Middlebox => Manner::Rejected,
        _ if refused => Manner::Refused,
        _ if plain => Manner::NoSocket,
        _ if local => Manner::LocalHost,
        _ => Manner::ActiveAbort,
    }
}

fn stage(t: &Transcript, reset: &Reset, idle: Span) -> Stage {
    let at = (reset.seen.at, reset.seen.no);
    let half = &t.tcp.half;
    let finished = |side: Side| half[side].fin.is_some_and(|(no, when, _)| (when, no) < at);
    if finished(Side::Client) || finished(Side::Server) {
        return Stage::Closing;
    }
    let answered = t.tcp.handshake.syn_ack.is_some_and(|(no, when)| (when, no) < at);
    if t.tcp.handshake.syn.is_some() && !answered {
        return Stage::Syn;
    }
    if idle >= IDLE {
        return Stage::Idle;
    }
    let last = t.outer().rfind(|moment| (moment.at, moment.frames.last) < at);
    let asked =
        last.is_some_and(|moment| moment.side == Side::Client && matches!(moment.what, What::Request(_) | What::ClientHello(_)));
    if asked { Stage::Opening } else { Stage::Active }
}

/// Where a device stands, as far as its TTL tells, in words. `side` is the one whose address the RST bears.
pub fn place(distance: &Distance, view: &View, side: Side) -> String {
    let Distance {
        hops,
        initial,
        peer_hops,
    } = *distance;
    let routers = |n: u8| match n {
        0 => "no router".to_owned(),
        1 => "1 router".to_owned(),
        n => format!("{n} routers"),
    };
    let from = match view.vantage {
        Vantage::Client => "the client",
        Vantage::Server => "the server",
        Vantage::Between | Vantage::Unknown => "the capture point",
    };
    if !distance.is_told() {
        return format!(
            "on the {side}'s side of the capture; how far away, the TTL {} that it wrote does not tell",
            initial.saturating_sub(hops)
        );
    }
    let mut words = format!(
        "on the {side}'s side of the capture, {} away from {from} if it began with TTL {initial}",
        routers(hops)
    );
    if let Some(peer) = peer_hops {
        words.push_str(&format!("; the {side} itself is {} away", routers(peer)));
    }
    words
}
