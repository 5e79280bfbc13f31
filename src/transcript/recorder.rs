//! Listens to the bytes of one connection and writes down what is said. Whatever stands next is asked of the bytes, not of a state
//! machine, so that captures that start in the middle and switches from TPKT to TLS need no special case.

use crate::flow::stream::Listener;
use crate::flow::{Limits, PerSide, Seen, Side};
use crate::protocol::sniff::{Sniffed, sniff};
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::hello::ClientHello;
use crate::protocol::tls::record::{self, ContentType, RecordHeader};
use crate::protocol::x224::{self, Tpdu};
use crate::protocol::{Parsed, mcs, preamble, tpkt};
use crate::transcript::domain::Domain;
use crate::transcript::inbox::{Inbox, Stamp};
use crate::transcript::keys::Keys;
use crate::transcript::moment::{Depth, Foreign, Frames, Moment, Moments, What};
use crate::transcript::opened::{Opened, Opening};
use crate::transcript::tls::Tls;

/// How many bytes of a foreign protocol are kept.
const FOREIGN_START: usize = 32;

/// TLS is opened on the connection itself and inside a gateway's tunnel, and no deeper.
const DEEPEST: Depth = Depth(2);

/// Writes the transcript of one connection.
#[derive(Debug)]
pub struct Recorder {
    layer: Layer,
    moments: Moments,
}

impl Recorder {
    /// A recorder of a connection whose start was seen, or not (`midstream`), which opens TLS with `keys` where they fit.
    pub fn new(limits: &Limits, midstream: bool, keys: Keys) -> Recorder {
        Recorder {
            layer: Layer::new(Depth::OUTER, limits, midstream, keys),
            moments: Moments::new(limits.moments_head, limits.moments_tail),
        }
    }

    /// What was said so far, in a recorder of its own; what is half-said is not in it.
    pub fn snapshot(&self) -> Recorder {
        Recorder {
            layer: Layer::new(self.layer.depth, &self.layer.limits, true, Keys::default()),
            moments: self.moments.clone(),
        }
    }

    /// What was said so far.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The memory that it takes, in bytes; what lies deeper than one TLS connection is not counted.
    pub fn weight(&self) -> usize {
        let inbox = &self.layer.inbox;
        size_of::<Recorder>() + self.moments.weight() + inbox.client.weight() + inbox.server.weight()
    }

    /// From here on keeps fewer moments; see [`Moments::narrow`].
    pub fn narrow(&mut self, head_max: usize, tail_max: usize) {
        self.moments.narrow(head_max, tail_max);
    }

    /// What was said, at the end.
    pub fn into_moments(mut self) -> Moments {
        self.layer.finish(&mut self.moments);
        self.moments
    }
}

impl Listener for Recorder {
    fn bytes(&mut self, side: Side, bytes: &[u8], seen: &Seen) {
        self.layer.bytes(side, bytes, Stamp::from(seen), &mut self.moments);
    }

    fn gap(&mut self, side: Side, missing: u32, seen: &Seen) {
        self.layer.gap(side, missing, Stamp::from(seen), &mut self.moments);
    }
}

/// What reading at the front of the bytes led to.
enum Step {
    /// So many bytes are done with.
    Used(usize),
    /// A TLS record whose content is not wanted: its header was read, the rest passes by.
    Pass(RecordHeader),
    /// More bytes are needed.
    More,
    /// Nothing that is understood.
    Stray,
}

/// One protocol stack: TPKT or TLS records, and what is inside them where keys open it.
#[derive(Debug)]
pub(super) struct Layer {
    depth: Depth,
    message_bytes: usize,
    inbox: PerSide<Inbox>,
    /// The record that passes by, and the frame of its first byte.
    passing: PerSide<Option<(RecordHeader, Stamp)>>,
    /// Whether this side's bytes have to be found again after a hole or a start in the middle.
    lost: PerSide<bool>,
    /// What this side speaks instead of RDP.
    foreign: PerSide<bool>,
    /// Whether MCS was spoken in clear here: fast-path PDUs may follow.
    mcs: bool,
    tls: Option<Box<Tls>>,
    /// What MCS has agreed on.
    domain: Domain,
    keys: Keys,
    limits: Limits,
    /// The last ClientHello, while keys may still be found for it.
    hello: Option<Box<ClientHello>>,
    opened: Option<Box<Opened>>,
}

impl Layer {
    pub(super) fn new(depth: Depth, limits: &Limits, midstream: bool, keys: Keys) -> Layer {
        Layer {
            depth,
            message_bytes: limits.message_bytes,
            inbox: PerSide::default(),
            passing: PerSide::default(),
            lost: PerSide {
                client: midstream,
                server: midstream,
            },
            foreign: PerSide::default(),
            mcs: false,
            tls: None,
            domain: Domain::default(),
            keys,
            limits: *limits,
            hello: None,
            opened: None,
        }
    }

    /// Hands over what was said in other connections on behalf of this one.
    pub(super) fn finish(&mut self, moments: &mut Moments) {
        if let Some(opened) = &mut self.opened {
            opened.finish(moments);
        }
    }

    /// Some of this side's bytes are missing, nobody knows how many.
    pub(super) fn lose(&mut self, side: Side) {
        self.inbox[side].clear();
        self.passing[side] = None;
        self.lost[side] = true;
        if let Some(tls) = &mut self.tls {
            tls.gap(side);
        }
        if let Some(opened) = &mut self.opened {
            opened.gap(side, u32::MAX);
        }
    }

    /// Bytes that another layer has taken out of its own messages.
    pub(super) fn content(&mut self, side: Side, bytes: &[u8], stamp: Stamp, moments: &mut Moments) {
        self.bytes(side, bytes, stamp, moments);
    }

    fn bytes(&mut self, side: Side, bytes: &[u8], stamp: Stamp, moments: &mut Moments) {
        let mut rest = bytes;
        if self.inbox[side].skip > 0 {
            let passed = self.inbox[side].skip.min(rest.len());
            self.inbox[side].skip -= passed;
            rest = rest.get(passed..).unwrap_or_default();
            if self.inbox[side].skip > 0 {
                return;
            }
            self.passed(side, stamp, moments);
        }
        if rest.is_empty() {
            return;
        }
        if self.foreign[side] {
            return;
        }
        if self.inbox[side].is_empty() {
            let used = self.read_all(side, rest, stamp, stamp, moments);
            if let Some(left) = rest.get(used..)
                && !left.is_empty()
            {
                self.inbox[side].push(left, stamp);
            }
        } else {
            self.inbox[side].push(rest, stamp);
            self.drain(side, stamp, moments);
        }
        if self.inbox[side].bytes().len() > self.message_bytes {
            self.inbox[side].clear();
            self.lost[side] = true;
        }
    }

    fn drain(&mut self, side: Side, stamp: Stamp, moments: &mut Moments) {
        loop {
            let mut inbox = std::mem::take(&mut self.inbox[side]);
            let first = inbox.first().unwrap_or(stamp);
            let step = if inbox.is_empty() {
                Step::More
            } else {
                self.read(side, inbox.bytes(), first, stamp, moments)
            };
            let (used, go_on) = self.take(side, step, inbox.bytes().len(), first, stamp, moments);
            let skip = self.inbox[side].skip;
            inbox.consume(used);
            inbox.skip = skip;
            self.inbox[side] = inbox;
            if !go_on {
                return;
            }
        }
    }

    /// Reads messages off the front of bytes of one frame; returns how many bytes are done with.
    fn read_all(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && !rest.is_empty()
        {
            let step = self.read(side, rest, first, last, moments);
            let (used, go_on) = self.take(side, step, rest.len(), first, last, moments);
            at += used;
            if !go_on {
                break;
            }
        }
        at.min(bytes.len())
    }

    /// Turns a step into the number of bytes that are done with, and whether there may be more to read.
    fn take(
        &mut self,
        side: Side,
        step: Step,
        available: usize,
        first: Stamp,
        last: Stamp,
        moments: &mut Moments,
    ) -> (usize, bool) {
        match step {
            Step::Used(n) => (n, n > 0),
            Step::More => (0, false),
            Step::Stray => (available, false),
            Step::Pass(header) => {
                let whole = record::HEADER_LEN + usize::from(header.length);
                self.passing[side] = Some((header, first));
                if whole <= available {
                    self.passed(side, last, moments);
                    (whole, true)
                } else {
                    self.inbox[side].skip = whole - available;
                    (available, false)
                }
            }
        }
    }

    fn passed(&mut self, side: Side, last: Stamp, moments: &mut Moments) {
        if let (Some((header, first)), Some(tls)) = (self.passing[side].take(), &mut self.tls) {
            let sealed = tls.sealed_record(side, header);
            self.say(side, first, last, What::Sealed(sealed), moments);
        }
    }

    fn say(&self, side: Side, first: Stamp, last: Stamp, what: What, moments: &mut Moments) {
        say_at(self.depth, side, first, last, what, moments);
    }

    fn gap(&mut self, side: Side, missing: u32, stamp: Stamp, moments: &mut Moments) {
        let missing_bytes = missing as usize;
        if self.inbox[side].skip > missing_bytes {
            self.inbox[side].skip -= missing_bytes;
            return;
        }
        if self.inbox[side].skip == missing_bytes && missing_bytes > 0 {
            self.inbox[side].skip = 0;
            self.passed(side, stamp, moments);
            return;
        }
        self.salvage(side, missing_bytes, stamp, moments);
        self.say(side, stamp, stamp, What::Gap(missing), moments);
    }

    /// A message is torn by a hole. The front of a handshake record is read as far as it goes, and where the hole ends inside the
    /// record the reading stays in step.
    fn salvage(&mut self, side: Side, missing: usize, stamp: Stamp, moments: &mut Moments) {
        let inbox = std::mem::take(&mut self.inbox[side]);
        let first = inbox.first().unwrap_or(stamp);
        let torn = match record::header(inbox.bytes()) {
            Parsed::Done(header, used) => Some((header, used)),
            _ => None,
        };
        self.lost[side] = true;
        self.passing[side] = None;
        if let Some((header, used)) = torn
            && let Some(fragment) = inbox.bytes().get(used..)
        {
            let left = usize::from(header.length).saturating_sub(fragment.len());
            if header.content_type == ContentType::HANDSHAKE && !self.tls().is_sealed(side, header) {
                let said = self.tls().clear(side, header, fragment, first);
                for (began, what) in said {
                    self.say(side, began, stamp, what, moments);
                }
            }
            if missing <= left {
                self.inbox[side].skip = left - missing;
                self.lost[side] = false;
                // What keys cannot open for the hole still has a size.
                if self.tls().is_sealed(side, header) {
                    self.passing[side] = Some((header, first));
                    if missing == left {
                        self.passed(side, stamp, moments);
                    }
                }
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.gap(side);
        }
        if let Some(opened) = &mut self.opened {
            opened.gap(side, u32::try_from(missing).unwrap_or(u32::MAX));
        }
    }

    fn read(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> Step {
        if self.lost[side] {
            if !begins_plausibly(bytes) {
                return Step::Stray;
            }
            self.lost[side] = false;
        }
        match record::header(bytes) {
            Parsed::Done(header, _) => return self.read_record(side, header, bytes, first, last, moments),
            Parsed::More => return Step::More,
            Parsed::NotMine | Parsed::Malformed(_) => {}
        }
        if let Parsed::Done(hello, used) = record::sslv2_client_hello(bytes)
            && self.tls.is_none()
            && side == Side::Client
        {
            self.tls = Some(Box::new(Tls::new(&self.keys.shelf)));
            self.say(side, first, last, What::ClientHello(Box::new(hello)), moments);
            return Step::Used(used);
        }
        if self.tls.is_some() {
            // After TLS began only TLS can follow: what does not look like it is out of step.
            self.lost[side] = true;
            return Step::Stray;
        }
        match x224::parse(bytes) {
            Parsed::Done(tpdu, used) => {
                self.tpdu(side, &tpdu, first, last, moments);
                Step::Used(used)
            }
            Parsed::More => Step::More,
            Parsed::Malformed(flaw) => {
                self.say(side, first, last, What::Malformed("X.224", Box::new(flaw)), moments);
                self.lost[side] = true;
                Step::Stray
            }
            Parsed::NotMine => self.other(side, bytes, first, last, moments),
        }
    }

    /// Neither TLS nor X.224: fast-path PDUs of Standard RDP Security, a preamble, or another protocol.
    fn other(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> Step {
        if self.mcs {
            return match tpkt::unit(bytes) {
                Parsed::Done(_, used) => {
                    self.say(side, first, last, What::FastPath(used), moments);
                    Step::Used(used)
                }
                Parsed::More => Step::More,
                Parsed::NotMine | Parsed::Malformed(_) => {
                    self.lost[side] = true;
                    Step::Stray
                }
            };
        }
        if side == Side::Client {
            match preamble::parse(bytes) {
                Parsed::Done(preamble, used) => {
                    self.say(side, first, last, What::Preamble(Box::new(preamble)), moments);
                    return Step::Used(used);
                }
                Parsed::More => return Step::More,
                Parsed::NotMine | Parsed::Malformed(_) => {}
            }
        }
        self.foreign[side] = true;
        let start = bytes.get(..FOREIGN_START).unwrap_or(bytes).to_vec();
        let looks_like = looks_like(bytes);
        self.say(
            side,
            first,
            last,
            What::Foreign(Box::new(Foreign { looks_like, start })),
            moments,
        );
        Step::Stray
    }

    fn read_record(
        &mut self,
        side: Side,
        header: RecordHeader,
        bytes: &[u8],
        first: Stamp,
        last: Stamp,
        moments: &mut Moments,
    ) -> Step {
        let tls = self.tls.get_or_insert_with(|| Box::new(Tls::new(&self.keys.shelf)));
        if tls.is_sealed(side, header) && self.opened.is_none() {
            return Step::Pass(header);
        }
        let end = record::HEADER_LEN + usize::from(header.length);
        let Some(fragment) = bytes.get(record::HEADER_LEN..end) else {
            return Step::More;
        };
        if tls.is_sealed(side, header) {
            let sealed = tls.sealed_record(side, header);
            self.say(side, first, last, What::Sealed(sealed), moments);
            self.open(side, header, fragment, first, last, moments);
            return Step::Used(end);
        }
        let said = tls.clear(side, header, fragment, first);
        if let Some(opened) = &mut self.opened {
            opened.pass(side, header, fragment);
        }
        for (began, what) in said {
            self.look_for_keys(&what);
            self.say(side, began, last, what, moments);
        }
        Step::Used(end)
    }

    /// The hellos tell which keys belong to the connection.
    fn look_for_keys(&mut self, what: &What) {
        match what {
            What::ClientHello(hello) if self.depth <= DEEPEST && !self.keys.is_empty() => self.hello = Some(hello.clone()),
            What::ServerHello(answer) if !answer.hello_retry_request => {
                if let Some(hello) = self.hello.take()
                    && let Ok(decryptor) = self.keys.decryptor(&hello, answer)
                {
                    let depth = Depth(self.depth.0 + 1);
                    self.opened = Some(Box::new(Opened::new(decryptor, depth, &self.limits, &self.keys)));
                }
            }
            _ => {}
        }
    }

    fn tls(&mut self) -> &mut Tls {
        self.tls.get_or_insert_with(|| Box::new(Tls::new(&self.keys.shelf)))
    }

    fn open(&mut self, side: Side, header: RecordHeader, fragment: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) {
        let Some(mut opened) = self.opened.take() else { return };
        match opened.record(side, header, fragment, (first, last), moments) {
            Opening::Handshake(bytes) => {
                let tls = self.tls.get_or_insert_with(|| Box::new(Tls::new(&self.keys.shelf)));
                let said = tls.opened_handshake(side, &bytes, first);
                for (began, what) in said {
                    match what {
                        // Another handshake, whose keys come into use with its ChangeCipherSpec.
                        What::ClientHello(hello) => self.hello = Some(hello),
                        What::ServerHello(answer) => {
                            if let Some(hello) = self.hello.take() {
                                opened.renegotiate(&hello, &answer);
                            }
                        }
                        what => self.say(side, began, last, what, moments),
                    }
                }
            }
            Opening::Alert(bytes) => {
                if let Some(alert) = Alert::parse(&bytes) {
                    // After the handshake it belongs to what is inside.
                    let over = self.tls.as_ref().is_some_and(|tls| tls.is_over());
                    let depth = if over { opened.depth() } else { self.depth };
                    say_at(depth, side, first, last, What::Alert(alert), moments);
                }
            }
            Opening::Failed(why) => self.say(side, first, last, What::Unopened(why), moments),
            Opening::Content | Opening::Nothing => {}
        }
        self.opened = Some(opened);
    }

    fn tpdu(&mut self, side: Side, tpdu: &Tpdu<'_>, first: Stamp, last: Stamp, moments: &mut Moments) {
        let what = match tpdu {
            Tpdu::Data(data) => {
                let said = match mcs::parse(data.payload) {
                    Ok(pdu) => {
                        self.mcs = true;
                        self.domain.says(&pdu)
                    }
                    Err(flaw) => vec![What::Malformed("MCS", Box::new(flaw))],
                };
                for what in said {
                    self.say(side, first, last, what, moments);
                }
                return;
            }
            Tpdu::ConnectionRequest(request) => {
                // It comes first: whatever the server says now is its first word, wherever the capture began.
                self.lost[side.other()] = false;
                What::Request(Box::new(request.clone()))
            }
            Tpdu::ConnectionConfirm(confirm) => What::Confirm(Box::new(confirm.clone())),
            Tpdu::DisconnectRequest(request) => What::X224Disconnect(request.reason),
            Tpdu::Error(error) => What::X224Error(error.cause),
        };
        self.say(side, first, last, what, moments);
    }
}

fn say_at(depth: Depth, side: Side, first: Stamp, last: Stamp, what: What, moments: &mut Moments) {
    moments.push(Moment {
        at: last.at,
        began: first.at,
        side,
        frames: Frames {
            first: first.no,
            last: last.no,
        },
        depth,
        what,
    });
}

/// Whether bytes in the middle of a stream look like the beginning of a TLS record or of a TPKT.
fn begins_plausibly(bytes: &[u8]) -> bool {
    match record::header(bytes) {
        Parsed::Done(header, _) => header.length > 0,
        _ => matches!(x224::parse(bytes), Parsed::Done(..) | Parsed::More) && bytes.len() >= 6,
    }
}

/// What the first bytes of a stream look like, when they are no RDP.
fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    match sniff(bytes) {
        Sniffed::Is(service, _) if !service.is_rdp() => Some(service.name()),
        _ => None,
    }
}
