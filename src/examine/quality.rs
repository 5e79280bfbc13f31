//! What is wrong with a capture itself, told before any verdict, with the command that captures better.

use crate::capture::{FrameNo, SourceSummary};
use crate::flow::{Opening, Side};
use crate::packet::fragments::FragmentStats;
use crate::report::model::QualityNote;
use crate::transcript::{Transcript, What};

/// How many of a thing were seen, and the first frame that shows it.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    n: u64,
    example: Option<FrameNo>,
}

impl Count {
    fn add(&mut self, n: u64, example: Option<FrameNo>) {
        self.n += n;
        if n > 0 {
            self.example = self.example.or(example);
        }
    }
}

/// What the connections of one source show about the capture.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quality {
    connections: u64,
    packets: u64,
    cut: Count,
    copies: Count,
    routed: u64,
    apart: Count,
    without_acks: Count,
    midstream: Count,
    one_sided: Count,
    unseen: Count,
    backwards: Count,
    offloaded: Count,
    unfinished_checksums: Count,
    conflicts: Count,
}

impl Quality {
    /// Adds what one connection shows.
    pub(super) fn learn(&mut self, t: &Transcript) {
        let tcp = &t.tcp;
        let first = Some(tcp.first().no);
        self.connections += 1;
        self.packets += tcp.copies.packets;
        let cut = tcp
            .log
            .iter()
            .find(|seen| seen.marks.has(crate::flow::Marks::CUT))
            .map(|seen| seen.no);
        self.cut.add(tcp.cut, cut);
        self.copies.add(tcp.copies.count, tcp.copies.example.map(|(_, copy)| copy));
        self.routed += tcp.copies.routed;
        self.apart
            .add(u64::from(tcp.copies.apart.is_some()), tcp.copies.apart.map(|(_, copy)| copy));
        self.without_acks.add(u64::from(t.lacks_acknowledgments()), first);
        self.midstream.add(u64::from(tcp.opening == Opening::MidStream), first);
        self.one_sided.add(u64::from(t.only_side().is_some()), first);
        let gap = t
            .outer()
            .find(|moment| matches!(moment.what, What::Gap(_)))
            .map(|moment| moment.frames.last);
        let unseen: u64 = Side::BOTH.iter().map(|side| tcp.half[*side].unseen).sum();
        if t.only_side().is_none() {
            let acked = tcp
                .log
                .iter()
                .find(|seen| seen.marks.has(crate::flow::Marks::ACKS_UNSEEN))
                .map(|seen| seen.no);
            self.unseen.add(unseen, acked.or(gap));
        }
        self.backwards.add(tcp.clock_steps_back, first);
        for side in Side::BOTH {
            self.offloaded.add(tcp.habits[side].oversized, first);
            self.unfinished_checksums.add(tcp.habits[side].bad_checksums, first);
        }
        self.conflicts
            .add(tcp.conflicts.len() as u64, tcp.conflicts.first().map(|(_, second)| *second));
    }

    /// The notes of one source.
    pub(super) fn notes(&self, source: u32, summary: &SourceSummary, fragments: FragmentStats) -> Vec<QualityNote> {
        let mut notes = Vec::new();
        let mut note = |count: Count, text: String, better: Option<&str>| {
            if count.n > 0 {
                notes.push(QualityNote {
                    source,
                    text,
                    better: better.map(str::to_owned),
                    frame: count.example,
                });
            }
        };
        let snaplen = summary
            .interfaces
            .iter()
            .map(|interface| interface.snaplen)
            .filter(|snaplen| *snaplen > 0 && *snaplen < 262_144)
            .min();
        note(
            self.cut,
            match snaplen {
                Some(snaplen) => format!(
                    "{} segments are cut at the snap length of {snaplen} bytes: messages behind the cut are not read",
                    self.cut.n
                ),
                None => format!(
                    "{} segments are cut by a snap length: messages behind the cut are not read",
                    self.cut.n
                ),
            },
            Some("pktmon start --capture --pkt-size 0 --comp nics -f rdp.etl   (or dumpcap -s 0)"),
        );
        note(
            self.apart,
            format!(
                "two capture points are in one file: {} of {} connections appear twice, with other TTLs and some time apart; what one of the two alone shows is not told from what it lost",
                self.apart.n, self.connections
            ),
            Some("do not merge them: rdpwhy client.pcapng server.pcapng compares the two"),
        );
        note(
            self.without_acks,
            format!(
                "of {} of {} connections no bare acknowledgment was captured: a filter left them out, and who heard whom is not known",
                self.without_acks.n, self.connections
            ),
            Some("filter by hosts and ports alone, not by TCP flags: tcpdump -w - port 3389"),
        );
        let where_from = if self.routed * 2 > self.copies.n {
            "the copies have another TTL: both sides of a router were captured"
        } else {
            "a mirror port that copies both directions, or several components of pktmon"
        };
        note(
            self.copies,
            format!(
                "{} of {} packets are in the capture twice or more ({where_from}); the copies are left out and are no retransmissions",
                self.copies.n, self.packets
            ),
            Some("mirror one direction of each port only, or pktmon with --comp nics"),
        );
        note(
            self.one_sided,
            format!(
                "of {} of {} connections only one direction was captured: what the other side said is not known",
                self.one_sided.n, self.connections
            ),
            Some("capture on the client or on the server itself, or mirror both directions"),
        );
        note(
            self.midstream,
            format!(
                "{} of {} connections were already open when the capture began: their handshakes are missing",
                self.midstream.n, self.connections
            ),
            Some("start the capture before the client connects"),
        );
        note(
            self.unseen,
            format!(
                "{} bytes were acknowledged by their receiver but never captured: the capture lost packets, not the network",
                self.unseen.n
            ),
            Some("dumpcap -B 64 with a filter on the host; on a mirror port check that it is not overbooked"),
        );
        note(
            self.backwards,
            format!(
                "the clock of the capture runs backwards at {} packets: short times are not reliable",
                self.backwards.n
            ),
            None,
        );
        let late = summary
            .late
            .map_or(Count::default(), |(n, first)| Count { n, example: Some(first) });
        note(
            late,
            match late.n {
                1 => "a packet stands later in the file than its time (with several interfaces or queues of a card it happens); it was looked at where its time is".to_owned(),
                n => format!(
                    "{n} packets stand later in the file than their time (with several interfaces or queues of a card it happens); they were looked at in the order of time"
                ),
            },
            None,
        );
        note(
            self.offloaded,
            format!(
                "{} packets are longer than the path allows: the network card cuts or joins them (offload); sizes and retransmissions are those of the card's view",
                self.offloaded.n
            ),
            None,
        );
        note(
            self.unfinished_checksums,
            format!(
                "{} segments have checksums that the network card fills in later: they were captured on the host that sent them, and are not damaged",
                self.unfinished_checksums.n
            ),
            None,
        );
        note(
            self.conflicts,
            format!(
                "{} segments carry other bytes than a segment before with the same sequence numbers: somebody answers in another's name, or the capture is damaged",
                self.conflicts.n
            ),
            None,
        );
        let incomplete = Count {
            n: fragments.incomplete,
            example: None,
        };
        note(
            incomplete,
            format!(
                "of {} fragmented IP packets some pieces are missing; they were not read",
                incomplete.n
            ),
            None,
        );
        for interface in &summary.interfaces {
            if let Some(dropped) = interface.dropped.filter(|dropped| *dropped > 0) {
                let name = interface.name.as_deref().unwrap_or("an interface");
                notes.push(QualityNote {
                    source,
                    text: format!("the capture itself dropped {dropped} packets on {name}, by its own count"),
                    better: Some("dumpcap -B 64 with a filter on the host".to_owned()),
                    frame: None,
                });
            }
        }
        notes
    }
}
