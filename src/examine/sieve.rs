//! The first look at every frame. Most frames of a big capture belong to flows that are known to be nothing of ours, and end here.
//!
//! It is done in rounds. What a frame is, is marked where the frame is found, in the thread that reads. Of a batch of frames it is then
//! asked which flows were dismissed: no answer waits for the one before, so that the processor fetches several lines of the table at a
//! time. Only then come the frames that are left, one after the other.

use crate::attempt::tickets::KERBEROS;
use crate::capture::{Batch, Frame, LinkType, Mark};
use crate::examine::names::DNS;
use crate::examine::{Examiner, Options, RDP_PORTS, strays, udp};
use crate::packet::glimpse::{Glimpse, glimpse, glimpse_inside};
use crate::transcript::Window;

/// The ports whose packets are of interest whatever they hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Interest {
    /// Ports of RDP, by default, by option, and where content has shown it.
    services: PortSet,
    /// The same for UDP.
    udp_services: PortSet,
    /// Ports on which segments and datagrams are looked at: services, lookups, tickets.
    tcp: PortSet,
    udp: PortSet,
    /// Grows with every port that is added.
    changes: u64,
}

impl Interest {
    pub(super) fn new(options: &Options) -> Interest {
        let mut interest = Interest::default();
        for port in RDP_PORTS.iter().chain(&options.ports) {
            interest.add_service(*port);
        }
        for port in udp::PORTS.iter().chain(&options.ports).chain(&strays::PORTS) {
            interest.add_udp_service(*port);
        }
        for port in [DNS, KERBEROS] {
            interest.tcp.add(port);
            interest.udp.add(port);
        }
        interest
    }

    pub(super) fn add_service(&mut self, port: u16) {
        self.services.add(port);
        self.tcp.add(port);
        self.changes += 1;
    }

    pub(super) fn add_udp_service(&mut self, port: u16) {
        if !self.udp_services.has(port) {
            self.udp_services.add(port);
            self.udp.add(port);
            self.changes += 1;
        }
    }

    /// Whether a TCP service of interest may have this port.
    #[inline]
    pub(super) fn has_service(&self, port: u16) -> bool {
        self.services.has(port)
    }

    /// The same for UDP.
    #[inline]
    pub(super) fn has_udp_service(&self, port: u16) -> bool {
        self.udp_services.has(port)
    }

    /// What a frame with this mark is.
    #[inline(always)]
    fn look(&self, mark: Mark) -> Look {
        let [fingerprint, about] = mark;
        let (from, to) = (about as u16, (about >> 16) as u16);
        match about >> 32 {
            PAST => Look::Past,
            TCP if !self.tcp.has(from) && !self.tcp.has(to) => Look::Flow(fingerprint),
            UDP if !self.udp.has(from) && !self.udp.has(to) => Look::Past,
            _ => Look::Asked,
        }
    }
}

// What a mark holds: the fingerprint of a TCP flow, and in another word the ports and, above them, one of these.
/// Nothing of ours.
const PAST: u64 = 1;
/// A TCP segment of interest unless its flow was dismissed.
const TCP: u64 = 2;
/// A UDP datagram that could be of interest only on a port of interest.
const UDP: u64 = 3;
/// It has to be decoded. A frame without a mark has a zero here.
const UNCLEAR: u64 = 0;

/// The first look at a frame, which depends on nothing but the frame: for [`Source::mark_with`](crate::capture::Source::mark_with), so that
/// it is done where frames are found.
pub fn mark(link: LinkType, bytes: &[u8]) -> Mark {
    match glimpse(link, bytes) {
        Glimpse::Unclear => mark_inside(link, bytes),
        found => mark_of(&found),
    }
}

/// The mark of a frame that may be a tunnel's.
#[cold]
fn mark_inside(link: LinkType, bytes: &[u8]) -> Mark {
    mark_of(&glimpse_inside(link, bytes))
}

#[inline(always)]
fn mark_of(found: &Glimpse<'_>) -> Mark {
    let word = |kind: u64, [from, to]: [u16; 2]| kind << 32 | u64::from(to) << 16 | u64::from(from);
    match *found {
        Glimpse::Tcp {
            fingerprint,
            ports,
            syn: false,
        } => [fingerprint, word(TCP, ports)],
        Glimpse::Udp { ports, payload } if !udp::could_begin(payload) => [0, word(UDP, ports)],
        Glimpse::Other => [0, word(PAST, [0; 2])],
        _ => [0, word(UNCLEAR, [0; 2])],
    }
}

/// What the first look says about a frame.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// Nothing of ours.
    Past,
    /// A segment of the flow with this fingerprint, that is of interest unless the flow was dismissed.
    Flow(u64),
    /// More must be read.
    Asked,
}

impl Examiner {
    /// Takes one frame.
    pub fn push(&mut self, frame: &Frame<'_>) {
        self.keep_time(frame.at);
        if self.is_asked(mark(frame.link, frame.bytes)) {
            self.take(frame);
        }
    }

    /// Takes many frames; the same as taking one after the other, and quick where the source [marks](mark) them.
    pub fn push_all(&mut self, batch: &Batch<'_>) {
        let mut from = 0;
        while from < batch.len() {
            from = self.push_from(batch, from);
        }
    }

    /// Takes the frames from the one at `from` on, until one of them changes what is of interest; gives the place of the next frame.
    fn push_from(&mut self, batch: &Batch<'_>, from: usize) -> usize {
        let until = batch.len().min(Batch::MOST);
        let mut asked = self.asked(batch, from, until);
        let lobby = &self.state.lobby;
        let (interested, dismissals, mut readmissions) = (self.state.interest.changes, lobby.dismissals(), lobby.readmissions());
        let mut timed = from;
        while asked != 0 {
            let place = asked.trailing_zeros() as usize;
            asked &= asked - 1;
            // A packet before it may have dismissed its flow.
            let is_stale = self.state.lobby.dismissals() != dismissals;
            if is_stale && !batch.marks().get(place).is_some_and(|mark| self.is_asked(*mark)) {
                continue;
            }
            self.keep_times(batch, timed, place + 1);
            timed = place + 1;
            if let Some(frame) = batch.frame(place) {
                self.take(&frame);
            }
            if self.state.interest.changes != interested {
                return place + 1;
            }
            if self.state.lobby.readmissions() != readmissions {
                readmissions = self.state.lobby.readmissions();
                asked = self.asked(batch, place + 1, until);
            }
        }
        self.keep_times(batch, timed, until);
        until
    }

    /// Which frames from one place to before another are to be taken: a bit for each.
    #[inline]
    fn asked(&self, batch: &Batch<'_>, from: usize, until: usize) -> u64 {
        let mut asked = 0;
        for (place, mark) in batch.marks().iter().enumerate().take(until).skip(from) {
            asked |= u64::from(self.is_asked(*mark)) << place;
        }
        asked
    }

    /// Whether a frame with this mark is to be taken.
    #[inline(always)]
    fn is_asked(&self, mark: Mark) -> bool {
        match self.state.interest.look(mark) {
            Look::Past => false,
            Look::Flow(fingerprint) => !self.state.lobby.is_dismissed(fingerprint),
            Look::Asked => true,
        }
    }

    /// Keeps the time of the frames from one place to before another: of all at once, unless something is due within it.
    #[inline]
    fn keep_times(&mut self, batch: &Batch<'_>, from: usize, until: usize) {
        let Some((first, last)) = batch.span(from, until) else {
            return;
        };
        if last >= self.state.next_sweep && self.door.is_none() {
            let times = batch.times(from).take(until - from);
            return times.for_each(|at| self.keep_time(at));
        }
        Window::widen(&mut self.state.window, first, last);
    }
}

const _: () = assert!(Batch::MOST <= u64::BITS as usize, "a bit for each frame");

/// A set of ports.
#[derive(Clone, Debug)]
struct PortSet(Box<[u64; 1024]>);

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet(Box::new([0; 1024]))
    }
}

impl PortSet {
    fn add(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }

    #[inline(always)]
    fn has(&self, port: u16) -> bool {
        self.0
            .get(usize::from(port >> 6))
            .is_some_and(|word| word >> (port & 63) & 1 == 1)
    }
}
