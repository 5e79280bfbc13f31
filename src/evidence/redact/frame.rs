//! One frame in, the same frame redacted out: every address that it holds, its payload, and the checksums over them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::Pseudonyms;
use super::content;
use super::streams::Streams;
use super::text::{be16, le16};
use crate::capture::{Frame, LinkType};
use crate::packet::{IEEE802_11, PPI, PPP_ETHER, PPP_HDLC, RADIOTAP, RAW_BSDOS, Segment, TcpFlags, TcpOptions};

/// How deep tunnels may stand in one another.
const DEPTH: u8 = 8;

/// A rewritten frame.
pub(super) struct Rewritten {
    /// What is left of its bytes.
    pub bytes: Vec<u8>,
    /// Whether payload was cut away.
    pub cut: bool,
    /// Whether it is no IP, and only the link header is left.
    pub not_ip: bool,
}

/// Redacts a frame.
pub(super) fn rewrite(frame: &Frame<'_>, by: &mut Pseudonyms, streams: &mut Streams) -> Rewritten {
    let mut walk = Walk {
        bytes: frame.bytes.to_vec(),
        end: None,
        cut: false,
        not_ip: false,
        whole: frame.bytes.len() == frame.wire_len as usize,
        by,
        streams,
    };
    walk.link(frame.link);
    let mut bytes = walk.bytes;
    if let Some(end) = walk.end {
        bytes.truncate(end);
    }
    Rewritten {
        bytes,
        cut: walk.cut,
        not_ip: walk.not_ip,
    }
}

struct Walk<'a> {
    bytes: Vec<u8>,
    /// Where the frame is to be cut.
    end: Option<usize>,
    cut: bool,
    not_ip: bool,
    whole: bool,
    by: &'a mut Pseudonyms,
    streams: &'a mut Streams,
}

/// The addresses of a packet, before and after.
#[derive(Clone, Copy)]
struct Ends {
    src: IpAddr,
    dst: IpAddr,
    /// The sum over both, before and after.
    sums: (u32, u32),
}

impl Walk<'_> {
    fn link(&mut self, link: LinkType) {
        match link {
            LinkType::ETHERNET => self.ethernet(0, 0),
            LinkType::RAW | LinkType::RAW_BSD | RAW_BSDOS | LinkType::IPV4 | LinkType::IPV6 => self.ip(0, self.bytes.len(), 0),
            LinkType::LINUX_SLL => {
                self.cooked_address(be16(&self.bytes, 4).unwrap_or(0), 6);
                self.ether_type(14, 16, 0);
            }
            LinkType::LINUX_SLL2 => {
                self.cooked_address(self.bytes.get(11).copied().unwrap_or(0).into(), 12);
                self.ether_type(0, 20, 0);
            }
            LinkType::NULL | LinkType::LOOP => self.ip(4, self.bytes.len(), 0),
            LinkType::PPP | PPP_HDLC => self.ppp(0, 0),
            PPP_ETHER => self.ppp(6, 0),
            IEEE802_11 => self.wifi(0),
            RADIOTAP => self.wifi(self.le16(2).max(4)),
            PPI => {
                let (next, link) = (self.le16(2).max(8), self.le16(4));
                match u16::try_from(link).map(LinkType) {
                    Ok(IEEE802_11) => self.wifi(next),
                    Ok(LinkType::ETHERNET) => self.ethernet(next, 0),
                    _ => self.stop(next),
                }
            }
            _ => self.stop(0),
        }
    }

    fn le16(&self, at: usize) -> usize {
        le16(&self.bytes, at).unwrap_or(0)
    }

    /// The link address in a Linux cooked header: eight bytes of which `len` are used.
    fn cooked_address(&mut self, len: usize, at: usize) {
        match len {
            6 => self.hardware(at),
            // The far end of a tunnel.
            4 => {
                self.v4(at);
            }
            _ => self.empty(at..at + len.min(8)),
        }
        self.empty(at + len.min(8)..at + 8);
    }

    /// IEEE 802.11: three addresses or four, of stations and of the access point. Of what is no data in clear only the header is left.
    fn wifi(&mut self, at: usize) {
        const BOTH: u8 = 3;
        let Some([kind, flags, ..]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<24>()).copied() else {
            return self.stop(at);
        };
        if kind & 0x0c == 0x04 {
            // Control frames have one address or two, and nothing else that is of use.
            return self.stop(at + 4);
        }
        let is_data = kind & 0x0c == 0x08;
        let mut header = 24;
        for place in [4, 10, 16] {
            self.hardware(at + place);
        }
        if is_data && flags & BOTH == BOTH {
            self.hardware(at + 24);
            header = 30;
        }
        let quality = is_data && kind & 0x80 != 0;
        let aggregated = quality && self.bytes.get(at + header).is_some_and(|byte| byte & 0x80 != 0);
        header += match (quality, flags & 0x80 != 0) {
            (true, true) => 6,
            (true, false) => 2,
            (false, _) => 0,
        };
        if is_data && kind & 0x40 == 0 && flags & 0x40 == 0 && !aggregated {
            self.llc(at + header, self.bytes.len(), 0);
        } else {
            self.stop(at + header);
        }
    }

    /// IEEE 802.2 with SNAP (RFC 1042).
    fn llc(&mut self, at: usize, end: usize, depth: u8) {
        let kind = match self.bytes.get(at..end.min(at + 8)) {
            Some([0xaa, 0xaa, 3, 0, 0, 0, high, low]) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        match kind {
            0x0800 | 0x86dd => self.ip(at + 8, end, depth),
            _ => self.stop(at),
        }
    }

    /// What begins at `at` is no IP.
    fn stop(&mut self, at: usize) {
        if at < self.bytes.len() {
            self.not_ip = true;
            self.cut_at(at);
        }
    }

    fn cut_at(&mut self, at: usize) {
        if at < self.bytes.len() {
            self.end = Some(self.end.map_or(at, |end| end.min(at)));
        }
    }

    /// Cuts payload away.
    fn cut_payload(&mut self, at: usize, end: usize) {
        if at < end {
            self.cut = true;
            self.cut_at(at);
        }
    }

    fn hardware(&mut self, at: usize) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<6>()) {
            *place = self.by.addresses.hardware(*place);
        }
    }

    fn ethernet(&mut self, at: usize, depth: u8) {
        self.hardware(at);
        self.hardware(at + 6);
        self.ether_type(at + 12, at + 14, depth);
    }

    fn ether_type(&mut self, kind_at: usize, mut next: usize, depth: u8) {
        let mut kind_at = kind_at;
        loop {
            match be16(&self.bytes, kind_at) {
                Some(0x8100 | 0x88a8 | 0x9100 | 0x9200) => {
                    kind_at = next + 2;
                    next += 4;
                }
                Some(0x0800 | 0x86dd) => return self.ip(next, self.bytes.len(), depth),
                Some(0x0806) => return self.arp(next),
                Some(0x8847 | 0x8848) => return self.mpls(next, depth),
                Some(0x8864) => return self.ppp(next + 6, depth),
                // A length and not a type.
                Some(len @ 8..=1500) => {
                    let end = (next + len).min(self.bytes.len());
                    self.empty(end..self.bytes.len());
                    return self.llc(next, end, depth);
                }
                _ => return self.stop(next),
            }
        }
    }

    fn ppp(&mut self, at: usize, depth: u8) {
        let framed = self.bytes.get(at..).is_some_and(|rest| rest.starts_with(&[0xff, 3]));
        let at = if framed { at + 2 } else { at };
        let (kind, next) = match self.bytes.get(at) {
            Some(first) if first & 1 == 1 => (usize::from(*first), at + 1),
            _ => (be16(&self.bytes, at).unwrap_or(0), at + 2),
        };
        match kind {
            0x21 | 0x57 => self.ip(next, self.bytes.len(), depth),
            0x0281 | 0x0283 => self.mpls(next, depth),
            _ => self.stop(at),
        }
    }

    fn mpls(&mut self, mut at: usize, depth: u8) {
        while let Some([_, _, label, _]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let bottom = label & 1 == 1;
            at += 4;
            if bottom {
                break;
            }
        }
        match self.bytes.get(at).map(|first| first >> 4) {
            Some(4 | 6) => self.ip(at, self.bytes.len(), depth + 1),
            Some(0) if depth < DEPTH => self.ethernet(at + 4, depth + 1),
            _ if depth < DEPTH => self.ethernet(at, depth + 1),
            _ => self.stop(at),
        }
    }

    /// RFC 826, for Ethernet and IPv4.
    fn arp(&mut self, at: usize) {
        if self.bytes.get(at..at + 6) != Some(&[0, 1, 8, 0, 6, 4]) {
            return self.stop(at);
        }
        for (hardware, address) in [(at + 8, at + 14), (at + 18, at + 24)] {
            self.hardware(hardware);
            self.v4(address);
        }
        self.empty(at + 28..self.bytes.len());
    }

    fn empty(&mut self, range: Range<usize>) {
        let end = range.end.min(self.bytes.len());
        if let Some(bytes) = self.bytes.get_mut(range.start..end) {
            bytes.fill(0);
        }
    }

    fn v4(&mut self, at: usize) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let place: &mut [u8; 4] = self.bytes.get_mut(at..)?.first_chunk_mut()?;
        let before = Ipv4Addr::from(*place);
        let after = match self.by.addresses.of(before.into()) {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(_) => return None,
        };
        *place = after.octets();
        Some((before, after))
    }

    fn v6(&mut self, at: usize) -> Option<(Ipv6Addr, Ipv6Addr)> {
        let place: &mut [u8; 16] = self.bytes.get_mut(at..)?.first_chunk_mut()?;
        let before = Ipv6Addr::from(*place);
        let after = match self.by.addresses.of(before.into()) {
            IpAddr::V6(v6) => v6,
            IpAddr::V4(_) => return None,
        };
        *place = after.octets();
        Some((before, after))
    }

    fn ip(&mut self, at: usize, end: usize, depth: u8) {
        let done = match self.bytes.get(at).map(|first| first >> 4) {
            _ if depth > DEPTH => None,
            Some(4) => self.ipv4(at, end, depth),
            Some(6) => self.ipv6(at, end, depth),
            _ => None,
        };
        if done.is_none() {
            self.stop(at);
        }
    }

    fn ipv4(&mut self, at: usize, end: usize, depth: u8) -> Option<()> {
        let header: [u8; 20] = *self.bytes.get(at..end)?.first_chunk()?;
        let len = usize::from(header[0] & 15) * 4;
        if len < 20 || at + len > end {
            return None;
        }
        let total = be16(&header, 2)?;
        // With segmentation offload the length is left to the card.
        let packet_end = if total < len { end } else { (at + total).min(end) };
        // Padding may be a rest of something else.
        self.empty(packet_end..end);
        let before = sum(self.bytes.get(at..at + len)?);
        let (src, new_src) = self.v4(at + 12)?;
        let (dst, new_dst) = self.v4(at + 16)?;
        // Options may record a route: each becomes a no-operation.
        self.bytes.get_mut(at + 20..at + len)?.fill(1);
        let after = sum(self.bytes.get(at..at + len)?);
        self.adjust(at + 10, before, after);
        let ends = Ends {
            src: src.into(),
            dst: dst.into(),
            sums: (
                add(sum(&src.octets()), sum(&dst.octets())),
                add(sum(&new_src.octets()), sum(&new_dst.octets())),
            ),
        };
        let fragment = be16(&header, 6)?;
        let offset = fragment & 0x1fff;
        let body = at + len..packet_end;
        if offset != 0 || fragment & 0x2000 != 0 {
            self.fragment(header[9], offset == 0, body, ends);
        } else {
            self.transport(header[9], body, ends, depth);
        }
        Some(())
    }

    fn ipv6(&mut self, at: usize, end: usize, depth: u8) -> Option<()> {
        let header: [u8; 40] = *self.bytes.get(at..end)?.first_chunk()?;
        let payload = be16(&header, 4)?;
        let packet_end = if payload == 0 { end } else { (at + 40 + payload).min(end) };
        self.empty(packet_end..end);
        let (src, new_src) = self.v6(at + 8)?;
        let (dst, new_dst) = self.v6(at + 24)?;
        let ends = Ends {
            src: src.into(),
            dst: dst.into(),
            sums: (
                add(sum(&src.octets()), sum(&dst.octets())),
                add(sum(&new_src.octets()), sum(&new_dst.octets())),
            ),
        };
        let mut next = header[6];
        let mut place = at + 40;
        for _ in 0..DEPTH {
            match next {
                0 | 60 => {
                    let [after, len] = *self.bytes.get(place..packet_end)?.first_chunk()?;
                    let len = 8 + usize::from(len) * 8;
                    // A mobile host's home address may be among the options. Zeros are padding.
                    self.empty(place + 2..(place + len).min(packet_end));
                    next = after;
                    place += len;
                }
                44 => {
                    let first: [u8; 8] = *self.bytes.get(place..packet_end)?.first_chunk()?;
                    let offset = be16(&first, 2)?;
                    if offset & !7 == 0 && offset & 1 == 0 {
                        next = first[0];
                        place += 8;
                    } else {
                        self.fragment(first[0], offset & !7 == 0, place + 8..packet_end, ends);
                        return Some(());
                    }
                }
                _ => break,
            }
        }
        self.transport(next, place.min(packet_end)..packet_end, ends, depth);
        Some(())
    }

    /// A fragment: of the first one the ports are kept.
    fn fragment(&mut self, protocol: u8, first: bool, body: Range<usize>, ends: Ends) {
        let keep = if first && matches!(protocol, 6 | 17) { 8 } else { 0 };
        if first && protocol == 17 {
            self.adjust(body.start + 6, ends.sums.0, ends.sums.1);
        }
        self.cut_payload(body.start + keep, body.end);
    }

    fn transport(&mut self, protocol: u8, body: Range<usize>, ends: Ends, depth: u8) {
        let done = match protocol {
            6 => self.tcp(body.clone(), ends),
            17 => self.udp(body.clone(), ends, depth),
            1 | 58 => self.icmp(body.clone(), ends, protocol == 58),
            4 | 41 => {
                self.ip(body.start, body.end, depth + 1);
                Some(())
            }
            47 => self.gre(body.start, depth),
            _ => None,
        };
        if done.is_none() {
            self.cut_payload(body.start, body.end);
        }
    }

    fn tcp(&mut self, body: Range<usize>, ends: Ends) -> Option<()> {
        let header: [u8; 20] = *self.bytes.get(body.clone())?.first_chunk()?;
        let len = usize::from(header[12] >> 4) * 4;
        if len < 20 {
            return None;
        }
        let payload = (body.start + len).min(body.end);
        let before = sum(self.bytes.get(body.clone())?);
        let stored = be16(&header, 16)? as u32;
        let length = body.len() as u32;
        // A sending host leaves the sum over the pseudo-header to the card.
        let pseudo = fold(add(ends.sums.0, 6 + (length >> 16) + (length & 0xffff)));
        let left_to_card = self.whole && stored == pseudo;
        self.options(body.start + 20..payload);
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let flags = TcpFlags((u16::from(header[12]) << 8 | u16::from(header[13])) & 0xfff);
        let [src, dst] = [be16(&header, 0)?, be16(&header, 2)?].map(|port| port as u16);
        let said = self.bytes.get(payload..body.end)?.to_vec();
        let segment = Segment {
            src_port: src,
            dst_port: dst,
            seq: number(4),
            ack: number(8),
            flags,
            window: 0,
            options: TcpOptions::default(),
            payload: &said,
            payload_len: said.len() as u32,
            checksum_ok: None,
        };
        let (from, to) = (SocketAddr::new(ends.src, src), SocketAddr::new(ends.dst, dst));
        let mut redacted = said.clone();
        let understood = self.streams.redact(from, to, &segment, &mut redacted);
        self.bytes.get_mut(payload..body.end)?.copy_from_slice(&redacted);
        if left_to_card {
            let pseudo = fold(add(ends.sums.1, 6 + (length >> 16) + (length & 0xffff)));
            self.store(body.start + 16, pseudo);
        } else {
            let after = sum(self.bytes.get(body.clone())?);
            self.adjust(body.start + 16, add(before, ends.sums.0), add(after, ends.sums.1));
        }
        self.cut_payload(payload + understood, body.end);
        Some(())
    }

    /// Options that may hold addresses (Multipath TCP, experiments of load balancers) are emptied.
    fn options(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let (kind, len) = match self.bytes.get(at..at + 2) {
                Some([0, _]) | None => return,
                Some([1, _]) => {
                    at += 1;
                    continue;
                }
                Some([kind, len]) => (*kind, usize::from(*len)),
                Some(_) => return,
            };
            if len < 2 {
                return;
            }
            if kind > 19 && kind != 34 {
                self.empty(at + 2..(at + len).min(range.end));
            }
            at += len;
        }
    }

    fn udp(&mut self, body: Range<usize>, ends: Ends, depth: u8) -> Option<()> {
        let header: [u8; 8] = *self.bytes.get(body.clone())?.first_chunk()?;
        let [src, dst] = [be16(&header, 0)?, be16(&header, 2)?].map(|port| port as u16);
        let before = sum(self.bytes.get(body.clone())?);
        let payload = body.start + 8;
        match dst {
            4789 | 8472 if depth < DEPTH => self.ethernet(payload + 8, depth + 1),
            6081 if depth < DEPTH => {
                let options = usize::from(self.bytes.get(payload)? & 0x3f) * 4;
                self.empty(payload + 8..payload + 8 + options);
                match be16(&self.bytes, payload + 2) {
                    Some(0x6558) => self.ethernet(payload + 8 + options, depth + 1),
                    _ => self.ether_type(payload + 2, payload + 8 + options, depth + 1),
                }
            }
            _ => {
                let mut said = self.bytes.get(payload..body.end)?.to_vec();
                let side = self
                    .streams
                    .is_side_channel(SocketAddr::new(ends.src, src), SocketAddr::new(ends.dst, dst));
                let plan = content::datagram(&said, [src, dst], side, self.by);
                plan.apply(&mut said);
                let understood = plan.kept_from(0).min(said.len());
                self.bytes.get_mut(payload..body.end)?.copy_from_slice(&said);
                self.cut_payload(payload + understood, body.end);
            }
        }
        // Zero says that there is none.
        if be16(&header, 6) != Some(0) {
            let after = sum(self.bytes.get(body.clone())?);
            self.adjust(body.start + 6, add(before, ends.sums.0), add(after, ends.sums.1));
            if be16(&self.bytes, body.start + 6) == Some(0) {
                self.store(body.start + 6, 0xffff);
            }
        }
        Some(())
    }

    fn gre(&mut self, at: usize, depth: u8) -> Option<()> {
        let (flags, kind) = (be16(&self.bytes, at)?, be16(&self.bytes, at + 2)?);
        if depth >= DEPTH || flags & 0x4000 != 0 || flags & 7 > 1 {
            return None;
        }
        let mut next = at + 4;
        for bit in [0x8000, 0x2000, 0x1000] {
            next += if flags & bit != 0 { 4 } else { 0 };
        }
        if flags & 7 == 1 {
            next += if flags & 0x80 != 0 { 4 } else { 0 };
            self.ppp(next, depth + 1);
            return Some(());
        }
        match kind {
            0x88be if flags & 0x1000 == 0 => self.ethernet(next, depth + 1),
            0x88be | 0x22eb => {
                let (header, is_ip) = match self.bytes.get(next)? >> 4 {
                    1 => (8, false),
                    2 => {
                        let last = be16(&self.bytes, next + 10)?;
                        (if last & 1 == 1 { 20 } else { 12 }, last >> 10 & 0x1f == 2)
                    }
                    _ => return None,
                };
                if is_ip {
                    self.ip(next + header, self.bytes.len(), depth + 1);
                } else {
                    self.ethernet(next + header, depth + 1);
                }
            }
            0x6558 => self.ethernet(next, depth + 1),
            _ => self.ether_type(at + 2, next, depth + 1),
        }
        Some(())
    }

    /// An error quotes the packet that it is about; of other messages the first words are kept.
    fn icmp(&mut self, body: Range<usize>, ends: Ends, v6: bool) -> Option<()> {
        let kind = *self.bytes.get(body.clone())?.first()?;
        let before = sum(self.bytes.get(body.clone())?);
        let quotes = if v6 {
            (1..=4).contains(&kind)
        } else {
            matches!(kind, 3 | 4 | 5 | 11 | 12)
        };
        if quotes {
            if !v6 && kind == 5 {
                self.v4(body.start + 4);
            }
            self.quoted(body.start + 8, body.end);
        } else if v6 && matches!(kind, 133..=137) {
            // Of neighbour discovery (RFC 4861): what it is about, then options.
            let targets: &[usize] = match kind {
                135 | 136 => &[8],
                137 => &[8, 24],
                _ => &[],
            };
            targets.iter().for_each(|at| {
                self.v6(body.start + at);
            });
            let fixed = if kind == 134 { 16 } else { 8 };
            self.neighbour_options(body.start + fixed + targets.len() * 16..body.end);
        } else if v6 && kind == 143 {
            self.groups(body.start + 6, body.end);
        } else if v6 && matches!(kind, 130..=132) {
            self.v6(body.start + 8);
            self.empty(body.start + 28..body.end);
        } else {
            self.empty(body.start + 8..body.end);
        }
        let after = sum(self.bytes.get(body.clone())?);
        let sums = if v6 { ends.sums } else { (0, 0) };
        self.adjust(body.start + 2, add(before, sums.0), add(after, sums.1));
        Some(())
    }

    /// Options of neighbour discovery: hardware addresses and prefixes are replaced, others emptied.
    fn neighbour_options(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while let Some([kind, len]) = self
            .bytes
            .get(at..range.end)
            .and_then(|rest| rest.first_chunk::<2>())
            .copied()
        {
            let end = (at + usize::from(len) * 8).min(range.end);
            if len == 0 {
                break;
            }
            match kind {
                1 | 2 => {
                    self.hardware(at + 2);
                    self.empty(at + 8..end);
                }
                3 if end >= at + 32 => {
                    self.v6(at + 16);
                }
                // The largest packet.
                5 => {}
                _ => self.empty(at + 2..end),
            }
            at = end;
        }
        self.empty(at..range.end);
    }

    /// The groups of a report on multicast listeners (RFC 3810 section 5.2): a host names the ends of its own addresses by them.
    fn groups(&mut self, count_at: usize, end: usize) -> Option<()> {
        let count = be16(&self.bytes, count_at)?;
        let mut at = count_at + 2;
        for _ in 0..count {
            let [_, words, high, low] = *self.bytes.get(at..end)?.first_chunk()?;
            let sources = usize::from(u16::from_be_bytes([high, low]));
            for source in 0..=sources {
                let place = at + 4 + source * 16;
                if place + 16 > end {
                    self.empty(place..end);
                    return None;
                }
                self.v6(place);
            }
            let from = at + 4 + (sources + 1) * 16;
            at = from + usize::from(words) * 4;
            self.empty(from..at.min(end));
        }
        self.empty(at..end);
        Some(())
    }

    /// A quoted packet: its headers are kept, its payload is emptied.
    fn quoted(&mut self, at: usize, end: usize) -> Option<()> {
        let (header, protocol, sums) = if self.bytes.get(at)? >> 4 == 4 {
            let header: [u8; 20] = *self.bytes.get(at..end)?.first_chunk()?;
            let len = usize::from(header[0] & 15) * 4;
            let before = sum(self.bytes.get(at..end.min(at + len))?);
            let (src, new_src) = self.v4(at + 12)?;
            let (dst, new_dst) = self.v4(at + 16)?;
            self.empty(at + 20..end.min(at + len));
            let after = sum(self.bytes.get(at..end.min(at + len))?);
            self.adjust(at + 10, before, after);
            let pair = |a: Ipv4Addr, b: Ipv4Addr| add(sum(&a.octets()), sum(&b.octets()));
            (len, header[9], (pair(src, dst), pair(new_src, new_dst)))
        } else {
            let header: [u8; 40] = *self.bytes.get(at..end)?.first_chunk()?;
            let (src, new_src) = self.v6(at + 8)?;
            let (dst, new_dst) = self.v6(at + 24)?;
            let pair = |a: Ipv6Addr, b: Ipv6Addr| add(sum(&a.octets()), sum(&b.octets()));
            (40, header[6], (pair(src, dst), pair(new_src, new_dst)))
        };
        let start = at + header;
        let (keep, checksum) = match protocol {
            6 => {
                let len = self.bytes.get(start + 12).map_or(20, |byte| usize::from(byte >> 4) * 4);
                self.options(start + 20..end.min(start + len));
                (len.max(20), Some(16))
            }
            17 => (8, Some(6)),
            _ => (8, None),
        };
        let before = sum(self.bytes.get(start.min(end)..end)?);
        self.empty((start + keep).min(end)..end);
        let after = sum(self.bytes.get(start.min(end)..end)?);
        if let Some(checksum) = checksum
            && start + checksum + 2 <= end
            && be16(&self.bytes, start + checksum) != Some(0)
        {
            self.adjust(start + checksum, add(before, sums.0), add(after, sums.1));
        }
        Some(())
    }

    /// Changes the checksum at `at` as much as the sum over what it covers has changed (RFC 1624): a right one stays right, and a
    /// wrong one stays as wrong as it was. Both sums may count the checksum itself, which is the same in both.
    fn adjust(&mut self, at: usize, before: u32, after: u32) {
        let Some(stored) = be16(&self.bytes, at) else { return };
        let inverse = !(stored as u32) & 0xffff;
        let changed = fold(add(add(inverse, fold(before) ^ 0xffff), fold(after)));
        self.store(at, !changed & 0xffff);
    }

    fn store(&mut self, at: usize, value: u32) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            *place = (value as u16).to_be_bytes();
        }
    }
}

/// The sum of the 16-bit words of `bytes`, as checksums count (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let word = match pair {
            [a, b] => u32::from(*a) << 8 | u32::from(*b),
            [a] => u32::from(*a) << 8,
            _ => 0,
        };
        sum = add(sum, word);
    }
    sum
}

fn add(a: u32, b: u32) -> u32 {
    fold(fold(a) + fold(b))
}

fn fold(sum: u32) -> u32 {
    let once = (sum >> 16) + (sum & 0xffff);
    (once >> 16) + (once & 0xffff)
}
