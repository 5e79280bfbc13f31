//! The signs in the RST itself: TTL, hardware address, IP header, TCP form, and the moment in the protocol.

use crate::capture::Span;
use crate::flow::{Reset, Side, Values};
use crate::forensics::reset::stack::Stack;
use crate::forensics::reset::weights::{Sign, Stage};
use crate::forensics::reset::{IDLE, Scene};
use crate::forensics::timers;
use crate::forensics::vantage::{initial_ttl, is_initial};
use crate::packet::TcpFlags;
use crate::transcript::What;

/// ECN bits of TOS and traffic class.
const ECN: u8 = 0x03;
/// With fewer packets than this to compare with, a TTL counts half.
const FEW: u64 = 3;
/// With so many packets of one TTL a step of one or two is remarkable.
const MANY: u64 = 3;

impl Scene<'_> {
    /// Which way did it come?
    pub(super) fn path(&mut self) {
        let seen = self.reset.seen;
        let own = &self.habits.ttl;
        let handshake = &self.habits.handshake_ttl;
        // The SYN+ACK sits beside the data where both have one TTL; elsewhere is the same address in other connections.
        let none = Values::default();
        let elsewhere = self.elsewhere.map_or(&none, |elsewhere| elsewhere.ttl);
        let known: Vec<(u8, u64)> = if own.total() > 0 {
            let also = own.usual().map_or(0, |ttl| count(handshake, ttl.value));
            let mut all: Vec<(u8, u64)> = own.iter().map(|ttl| (ttl.value, ttl.count)).collect();
            if let Some(most) = all.iter_mut().max_by_key(|(_, n)| *n) {
                most.1 += also;
            }
            all
        } else if elsewhere.total() > 0 {
            elsewhere.iter().map(|ttl| (ttl.value, ttl.count)).collect()
        } else {
            handshake.iter().map(|ttl| (ttl.value, ttl.count)).collect()
        };
        let Some((usual, _)) = known.iter().copied().max_by_key(|(_, n)| *n) else {
            self.missing.push(format!(
                "TTL: no other packet of the {} was captured to compare with",
                self.side
            ));
            return;
        };
        let total: u64 = known.iter().map(|(_, n)| n).sum();
        if total < FEW {
            self.missing.push(format!(
                "TTL: only {total} other packet{} of the {} to compare with",
                if total == 1 { "" } else { "s" },
                self.side
            ));
        }
        let away = known.iter().map(|(ttl, _)| ttl.abs_diff(seen.ttl)).min().unwrap_or(0);
        let others = match known.as_slice() {
            [(ttl, n)] => format!(
                "the {}'s other {n} packet{}: {ttl}",
                self.side,
                if *n == 1 { "" } else { "s" }
            ),
            several => {
                let list: Vec<String> = several.iter().map(|(ttl, n)| format!("{ttl} ({n} times)")).collect();
                format!("the {}'s other packets: {}", self.side, list.join(", "))
            }
        };
        let text = format!("TTL {}, {others}", seen.ttl);
        let proxied = own.total() > 0 && !own.contains(seen.ttl) && handshake.contains(seen.ttl);
        let sign = if proxied {
            Sign::TtlOfHandshake
        } else if away == 0 {
            Sign::TtlSame
        } else if away >= 5 || (away >= 3 && initial_ttl(usual) != initial_ttl(seen.ttl)) {
            Sign::TtlFar
        } else if away >= 2 && is_initial(seen.ttl) && known.iter().all(|(ttl, _)| *ttl < seen.ttl) {
            Sign::TtlUnrouted
        } else if away >= 3 {
            Sign::TtlNear
        } else if known.len() == 1 && total >= MANY {
            Sign::TtlBeside
        } else {
            Sign::TtlShifted
        };
        // No route is so short that routers vanish from it; any packet of the host shows that there are some.
        let share = if total < FEW && sign != Sign::TtlUnrouted { 0.5 } else { 1.0 };
        let text = if sign == Sign::TtlUnrouted {
            format!("{text}; its maker is on this link, the {} is not", self.side)
        } else if proxied {
            format!("{text}; only its SYN+ACK had {} as well", seen.ttl)
        } else {
            text
        };
        self.add(sign, share, seen.no, seen.at, text);
        self.hardware();
    }

    fn hardware(&mut self) {
        let Some(mac) = self.reset.seen.src_mac else {
            self.missing.push("hardware address: the link layer has none".to_owned());
            return;
        };
        let usual = self.habits.mac.only();
        if let Some(usual) = usual
            && usual.value != mac
            && usual.count >= FEW
            && self.t.tcp.copies.routed == 0
        {
            self.note(
                Sign::MacChanged,
                format!(
                    "sent to this link by {}, the {}'s other {} packets by {}",
                    hardware(mac),
                    self.side,
                    usual.count,
                    hardware(usual.value)
                ),
            );
        }
    }

    /// Who wrote the IP header?
    pub(super) fn header(&mut self) {
        self.identification();
        let seen = self.reset.seen;
        let form = self.form();
        if !seen.df
            && let Some(always) = self.habits.df.only().filter(|df| df.value && df.count >= 2)
        {
            let sign = if self.is_plain() {
                Sign::DfClearedPlain
            } else {
                Sign::DfCleared
            };
            self.note(
                sign,
                format!(
                    "Don't Fragment is clear in the {form}, set in the {}'s other {} packets",
                    self.side, always.count
                ),
            );
        }
        let tos = seen.tos & !ECN;
        let answered = self.trigger.map(|trigger| trigger.seen.tos & !ECN);
        if let Some(usual) = self.habits.tos.only().filter(|usual| usual.value != tos && usual.count >= 2)
            && answered != Some(tos)
        {
            let sign = if tos == 0x10 { Sign::TosLowDelay } else { Sign::TosChanged };
            self.note(
                sign,
                format!(
                    "TOS {:#04x}, the {}'s other {} packets: {:#04x}",
                    tos, self.side, usual.count, usual.value
                ),
            );
        }
        if self.habits.tos.total() == 0 && tos == 0x10 && answered.is_some_and(|answered| answered != 0x10) {
            self.note(
                Sign::TosLowDelay,
                format!(
                    "TOS 0x10, which packet filters write; the packet that it answers has {:#04x}",
                    answered.unwrap_or(0)
                ),
            );
        }
        self.flow_label();
    }

    fn identification(&mut self) {
        let seen = self.reset.seen;
        let Some(id) = seen.ip_id else {
            self.missing.push("IP identification: IPv6 has none".to_owned());
            return;
        };
        let gait = self.habits.ip_id;
        let form = self.form();
        // Another connection to the same host may have moved the counter on meanwhile.
        let share = if self.idle >= IDLE { 0.5 } else { 1.0 };
        let answered = [self.trigger.map(|trigger| trigger.seen), self.reset.trigger];
        if let Some(copied) = answered.into_iter().flatten().find(|answered| answered.ip_id == Some(id))
            && id > 1
            && gait.repeats == 0
            && gait.last.is_none_or(|(last, _, _)| id.wrapping_sub(last) > 64)
        {
            self.note(
                Sign::IdCopied,
                format!("IP-ID {id:#06x} is that of frame {}, which it answers", copied.no),
            );
            if seen.window != 0 && seen.window == copied.window && self.habits.window.is_some_and(|own| own != seen.window) {
                self.note(
                    Sign::WindowCopied,
                    format!("window {} is that of frame {}, which it answers", seen.window, copied.no),
                );
            }
            return;
        }
        let Some((last, frame, _)) = gait.last.filter(|_| gait.counts()) else {
            if gait.packets < FEW {
                self.missing.push(format!(
                    "IP identification: {} packets of the {} are too few for a gait",
                    gait.packets, self.side
                ));
            }
            return;
        };
        let step = id.wrapping_sub(last);
        let text = format!(
            "IP-ID {id}, the {}'s packet before (frame {frame}): {last}, counting up over {} packets",
            self.side, gait.packets
        );
        if id == 0 {
            let sign = match (self.stack, self.is_plain()) {
                (Stack::Windows, _) => Some(Sign::IdZeroWindows),
                (Stack::Mixed, _) => Some(Sign::IdZeroMixed),
                // What a Linux host answers without a socket has identification 0.
                (_, true) => None,
                (_, false) => Some(Sign::IdZeroUnix),
            };
            if let Some(sign) = sign {
                self.add(sign, share, seen.no, seen.at, text);
            }
        } else if (1..=64).contains(&step) {
            self.note(Sign::IdContinues, text);
        } else if step > 1000 {
            let sign = match (self.stack, self.is_plain()) {
                (Stack::Windows, _) => Some(Sign::IdJumpsWindows),
                (Stack::Mixed, _) => Some(Sign::IdJumpsMixed),
                (_, false) => Some(Sign::IdJumpsUnix),
                // Older Linux and Apple number such answers apart.
                (_, true) => None,
            };
            if let Some(sign) = sign {
                self.add(sign, share, seen.no, seen.at, format!("{text} ({form})"));
            }
        }
    }

    fn flow_label(&mut self) {
        let Some(label) = self.reset.seen.flow_label else { return };
        let Some(usual) = self.habits.flow_label.only().filter(|usual| usual.value != 0) else {
            return;
        };
        let text = format!(
            "flow label {label:#07x}, the {}'s other {} packets: {:#07x}",
            self.side, usual.count, usual.value
        );
        if label == usual.value {
            self.note(Sign::LabelSame, text);
        } else if label == 0 {
            let sign = if self.stack == Stack::Linux {
                Sign::LabelZeroLinux
            } else {
                Sign::LabelZero
            };
            self.note(sign, text);
        }
    }

    /// Who wrote the TCP header?
    pub(super) fn tcp_form(&mut self) {
        self.timestamp();
        self.form_of_stack();
        self.sequence();
        self.several();
        let seen = self.reset.seen;
        if seen.flags.has(TcpFlags::RESERVED) {
            self.note(
                Sign::ReservedBits,
                format!("reserved bits are set in the TCP header (flags {:#05x})", seen.flags.0),
            );
        }
        if self.stage == Stage::Syn && self.t.tcp.half[self.side.other()].isn == Some(seen.ack) && seen.flags.has(TcpFlags::ACK) {
            self.note(
                Sign::AckOfIsn,
                format!(
                    "acknowledges {}, the SYN's own number: a TCP stack acknowledges the next",
                    seen.ack
                ),
            );
        }
        if let Some(product) = names_itself(self.reset) {
            self.note(Sign::NamesItself, format!("its payload says \u{201c}{product}\u{201d}"));
        }
    }

    fn timestamp(&mut self) {
        let habits = self.habits;
        let seen = self.reset.seen;
        let negotiated = habits.with_timestamps >= 2 && habits.with_timestamps * 10 >= habits.packets * 9;
        if !negotiated {
            if habits.with_timestamps == 0 {
                self.missing.push("TCP timestamps: not in use on this connection".to_owned());
            }
            return;
        }
        let Some((last, last_at, last_frame)) = habits.ts_last else {
            return;
        };
        let Some((value, echo)) = seen.timestamps else {
            if !self.is_plain() && self.stack == Stack::Linux {
                self.note(
                    Sign::TimestampMissing,
                    format!(
                        "RST,ACK without timestamp option, which all {} of the {}'s other packets carry",
                        habits.with_timestamps, self.side
                    ),
                );
            }
            return;
        };
        // Ticks per second: measured over the connection, at most 1000 (RFC 7323 section 5.4).
        let rate = habits
            .ts_first
            .filter(|(_, first, _)| last_at.since(*first) >= Span::secs(1))
            .map_or(1000.0, |(first, at, _)| {
                f64::from(last.wrapping_sub(first)) / last_at.since(at).as_secs_f64()
            });
        let step = value.wrapping_sub(last) as i32;
        let due = seen.at.since(last_at).as_secs_f64() * rate;
        let known_echo = self
            .t
            .tcp
            .log
            .iter()
            .filter(|packet| packet.side != self.side && packet.no < seen.no)
            .filter_map(|packet| packet.timestamps)
            .any(|(theirs, _)| theirs == echo);
        let copied = self
            .trigger
            .is_some_and(|trigger| trigger.seen.timestamps.is_some_and(|(theirs, _)| theirs == value));
        let text = format!(
            "TSval {value}, the {}'s packet before (frame {last_frame}): {last}, {} earlier",
            self.side,
            seen.at.since(last_at).human()
        );
        if step >= 0 && f64::from(step) <= due + 2.0 * rate.max(1.0) && known_echo && !copied {
            self.note(Sign::TimestampValid, text);
        } else if step < -1 || f64::from(step) > due + 60.0 * rate.max(1.0) {
            self.note(Sign::TimestampWrong, text);
        }
    }

    fn form_of_stack(&mut self) {
        let seen = self.reset.seen;
        if self.stage == Stage::Syn {
            return;
        }
        let plain = self.is_plain();
        let form = format!("{} with acknowledgment {} and window {}", self.form(), seen.ack, seen.window);
        let name = self.stack.name();
        let sign = match self.stack {
            Stack::Windows if plain && seen.ack == 0 && seen.window == 0 => Some(Sign::FormForeign),
            Stack::Windows if !plain && seen.window != 0 => Some(Sign::FormForeign),
            Stack::Windows => Some(Sign::FormFits),
            Stack::Linux if plain && seen.ack != 0 => Some(Sign::FormForeign),
            Stack::Linux if !plain && seen.window == 0 => Some(Sign::FormRare),
            // A Linux firewall writes the same plain RST as a Linux host.
            Stack::Linux if plain => None,
            Stack::Linux => Some(Sign::FormFits),
            Stack::Mixed | Stack::Apple | Stack::Unknown => None,
        };
        match sign {
            Some(sign @ Sign::FormFits) => self.note(sign, format!("{form}, as {name} writes it")),
            Some(sign) => self.note(sign, format!("{form}, which {name} does not write by itself")),
            None => {}
        }
        if !plain && (9300..9400).contains(&seen.window) {
            self.note(
                Sign::WindowCode,
                format!(
                    "window {}: application delivery controllers write a reason code there",
                    seen.window
                ),
            );
        }
    }

    fn sequence(&mut self) {
        let seen = self.reset.seen;
        if self.stage == Stage::Syn {
            return;
        }
        let Some(next) = self.reset.sender_next else { return };
        let off = seen.seq.wrapping_sub(next) as i32;
        let answers = self.is_plain() && self.trigger.is_some_and(|trigger| trigger.seen.ack == seen.seq);
        let half = &self.t.tcp.half[self.side.other()];
        let window = self
            .trigger
            .map_or(65_535, |trigger| u32::from(trigger.seen.window) << half.window_scale.min(14));
        let lost = self.t.tcp.half[self.side].unseen > 0 || self.t.tcp.cut > 0;
        let text = format!("sequence number {}, the {}'s next one: {next}", seen.seq, self.side);
        let finished = self.t.tcp.half[self.side].fin.is_some();
        match off {
            0 => self.note(Sign::SequenceExact, text),
            _ if answers || lost || finished => {}
            off if off > 0 && off.unsigned_abs() <= window => self.note(Sign::SequenceAhead, format!("{text} ({off} ahead)")),
            off if off > 0 => self.note(Sign::SequenceBeyond, format!("{text} ({off} ahead, beyond the window)")),
            off => self.note(Sign::SequenceBehind, format!("{text} ({} behind)", off.unsigned_abs())),
        }
    }

    /// Several resets in this side's name.
    fn several(&mut self) {
        let first = self.reset.seen;
        let near: Vec<&Reset> = self
            .t
            .tcp
            .resets
            .iter()
            .filter(|other| {
                other.seen.side == self.side && other.seen.no >= first.no && other.seen.at.since(first.at) <= Span::secs(2)
            })
            .collect();
        let [_, second, ..] = near.as_slice() else { return };
        // Each stray segment may have its own answer: such numbers follow the segments.
        let stray = |reset: &Reset| {
            super::trigger::before(self.t, &reset.seen).any(|segment| {
                segment.side != self.side
                    && (segment.ack == reset.seen.seq || (reset.seen.seq == 0 && segment.end() == reset.seen.ack))
            })
        };
        let unpaired: Vec<&&Reset> = near
            .iter()
            .filter(|reset| reset.seen.seq != first.seq && !stray(reset) && Some(reset.seen.seq) != reset.sender_next)
            .collect();
        let counting = near.len() >= 3
            && near
                .windows(2)
                .all(|pair| matches!(pair, [a, b] if b.seen.window == a.seen.window.wrapping_add(1)));
        if counting {
            self.note(
                Sign::WindowsCount,
                format!(
                    "{} resets whose windows count up from {} (frames {} to {})",
                    near.len(),
                    first.window,
                    first.no,
                    near.last().map_or(first.no, |reset| reset.seen.no)
                ),
            );
        } else if let Some(other) = unpaired.first() {
            self.note(
                Sign::Fan,
                format!(
                    "{} resets in {}, with sequence numbers {} apart (frame {}), and no packet that each would answer",
                    near.len(),
                    near.last().unwrap_or(second).seen.at.since(first.at).human(),
                    other.seen.seq.wrapping_sub(first.seq),
                    other.seen.no
                ),
            );
        }
    }

    /// What moment was it?
    pub(super) fn moment(&mut self) {
        let seen = self.reset.seen;
        let last = self
            .t
            .outer()
            .rfind(|moment| (moment.at, moment.frames.last) < (seen.at, seen.no));
        if self.stage == Stage::Opening
            && let Some(last) = last
            && self.side == Side::Server
        {
            let what = match last.what {
                What::ClientHello(_) => "ClientHello",
                _ => "Connection Request",
            };
            self.note(
                Sign::AfterTrigger,
                format!(
                    "comes {} after the {what} of frame {}, with no answer between",
                    seen.at.since(last.at).human(),
                    last.frames.last
                ),
            );
        }
        let came_by = |wanted: &[Sign]| self.signals.iter().any(|signal| wanted.contains(&signal.sign));
        let share = match (came_by(&[Sign::TtlSame]), came_by(&[Sign::TtlBeside, Sign::TtlShifted])) {
            (true, _) => 1.0,
            (_, true) => 0.5,
            _ => 0.0,
        };
        let plain = self.is_plain();
        if share > 0.0 && self.side == Side::Client && !plain && self.idle < IDLE && !matches!(self.stage, Stage::Syn) {
            // The last thing before it were the server's words, or the client's own: then the client has read and leaves.
            let server_last = self.t.tcp.half.server.last_data.filter(|data| data.no < seen.no);
            let wait = self
                .rtt
                .map_or(Span::millis(50), |rtt| rtt.least.times(2))
                .max(Span::millis(50));
            if let Some(data) = server_last
                && seen.at.since(data.at) <= wait
            {
                self.add(
                    Sign::Goodbye,
                    share,
                    seen.no,
                    seen.at,
                    format!(
                        "comes {} after the server's last words (frame {}), as Remote Desktop clients leave",
                        seen.at.since(data.at).human(),
                        data.no
                    ),
                );
            }
        }
        if self.trigger.is_none()
            && let Some(timer) = timers::struck(self.idle)
        {
            self.note(
                Sign::TimerStruck,
                format!(
                    "comes out of {} of silence, at the timer of {} ({} s)",
                    self.idle.human(),
                    timer.device,
                    timer.seconds
                ),
            );
        }
    }
}

fn count(values: &Values<u8>, ttl: u8) -> u64 {
    values
        .iter()
        .filter(|value| value.value == ttl)
        .map(|value| value.count)
        .sum()
}

/// A hardware address as it is usually written.
pub(super) fn hardware(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Printable text in the payload of a RST (RFC 1122 section 4.2.2.12 allows it).
fn names_itself(reset: &Reset) -> Option<String> {
    let text: String = reset
        .payload
        .iter()
        .take(reset.seen.len as usize)
        .take_while(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect();
    let known = ["BIG-IP", "F5", "RST", "policy", "firewall", "Firewall"];
    (text.len() >= 4 && known.iter().any(|word| text.contains(word))).then_some(text)
}
