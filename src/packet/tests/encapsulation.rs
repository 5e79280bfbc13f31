//! One frame for each link type and each tunnel.

use crate::capture::{Direction, LinkType};

use super::super::{Body, CutReason, Packet, Tunnel, TunnelKind, decode};
use super::{before, ethernet, frame, ip4, segment, tcp4, tcp6, udp4};

/// Decodes and checks that the inner TCP packet was found.
fn inner<'a>(link: LinkType, bytes: &'a [u8]) -> Packet<'a> {
    let packet = decode(&frame(link, bytes)).unwrap();
    let s = segment(&packet);
    assert_eq!(
        (s.src_port, s.dst_port, s.seq, s.ack),
        (50_000, 3389, 0x0102_0304, 0x0A0B_0C0D)
    );
    assert_eq!((s.payload, s.payload_len), (&b"rdp"[..], 3));
    assert_eq!(packet.cut, None);
    packet
}

fn tunnel(kind: TunnelKind, id: u32) -> Option<Tunnel> {
    Some(Tunnel { kind, id })
}

#[test]
fn ethernet_with_padding_and_stacked_tags() {
    let mut bytes = ethernet(0x0800, &tcp4(b"rdp"));
    bytes.extend([0; 5]);
    let packet = inner(LinkType::ETHERNET, &bytes);
    assert_eq!(packet.link.dst_mac, Some([2, 0, 0, 0, 0, 0xD]));
    assert_eq!(packet.link.src_mac, Some([2, 0, 0, 0, 0, 0x5]));
    assert_eq!((packet.link.trailer, packet.link.vlan, packet.link.tunnel), (5, None, None));
    assert_eq!((packet.ip.ttl, packet.ip.total_len), (117, 43));

    let tagged = ethernet(0x8100, &before(&[0xE0, 42, 0x86, 0xDD], &tcp6(b"rdp")));
    let packet = inner(LinkType::ETHERNET, &tagged);
    assert_eq!((packet.link.vlan, packet.ip.ttl, packet.ip.id), (Some(42), 55, None));

    let stacked = ethernet(0x88A8, &before(&[0, 1, 0x91, 0, 0, 2, 0x81, 0, 0, 3, 8, 0], &tcp4(b"rdp")));
    assert_eq!(inner(LinkType::ETHERNET, &stacked).link.vlan, Some(3));

    let snap = ethernet(51, &before(&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &tcp4(b"rdp")));
    inner(LinkType::ETHERNET, &snap);
}

#[test]
fn frames_without_ip_say_why() {
    let arp = ethernet(0x0806, &[0; 28]);
    let cut = decode(&frame(LinkType::ETHERNET, &arp)).unwrap_err();
    assert_eq!((cut.layer, cut.why), ("ethertype", CutReason::Unsupported));
    let cut = decode(&frame(LinkType(147), &arp)).unwrap_err();
    assert_eq!((cut.layer, cut.why), ("link type", CutReason::Unsupported));
}

#[test]
fn linux_cooked_tells_direction_and_sender() {
    let v1 = |kind: u8| before(&[0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0], &tcp4(b"rdp"));
    let (to_us, from_us) = (v1(0), v1(4));
    let packet = inner(LinkType::LINUX_SLL, &to_us);
    assert_eq!(packet.link.direction, Some(Direction::Inbound));
    assert_eq!((packet.link.src_mac, packet.link.dst_mac), (Some([2, 0, 0, 0, 0, 9]), None));
    assert_eq!(inner(LinkType::LINUX_SLL, &from_us).link.direction, Some(Direction::Outbound));

    let v2 = before(
        &[0x86, 0xDD, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 8, 0, 0],
        &tcp6(b"rdp"),
    );
    let packet = inner(LinkType::LINUX_SLL2, &v2);
    assert_eq!(
        (packet.link.direction, packet.link.src_mac),
        (Some(Direction::Outbound), Some([2, 0, 0, 0, 0, 8]))
    );
}

#[test]
fn raw_and_loopback() {
    for link in [LinkType::RAW, LinkType::RAW_BSD, LinkType::IPV4, LinkType(14)] {
        inner(link, &tcp4(b"rdp"));
    }
    inner(LinkType::IPV6, &tcp6(b"rdp"));
    inner(LinkType::NULL, &before(&[2, 0, 0, 0], &tcp4(b"rdp")));
    inner(LinkType::LOOP, &before(&[0, 0, 0, 2], &tcp4(b"rdp")));
    for family in [10, 23, 24, 28, 30] {
        inner(LinkType::NULL, &before(&[family, 0, 0, 0], &tcp6(b"rdp")));
        inner(LinkType::NULL, &before(&[0, 0, 0, family], &tcp6(b"rdp")));
    }
    let other = before(&[7, 0, 0, 0], &tcp4(b"rdp"));
    assert_eq!(decode(&frame(LinkType::NULL, &other)).unwrap_err().layer, "loopback");
}

#[test]
fn wireless_data_frames() {
    let snap = before(&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &tcp4(b"rdp"));
    let addresses = |flags: u8, kind: u8| [&[kind, flags, 0, 0][..], &[1; 6], &[2; 6], &[3; 6], &[0, 0]].concat();
    let plain = before(&addresses(1, 0x08), &snap);
    let packet = inner(LinkType(105), &plain);
    assert_eq!((packet.link.dst_mac, packet.link.src_mac), (Some([3; 6]), Some([2; 6])));
    let qos = before(&before(&addresses(2, 0x88), &[0, 0]), &snap);
    let packet = inner(LinkType(105), &qos);
    assert_eq!((packet.link.dst_mac, packet.link.src_mac), (Some([1; 6]), Some([3; 6])));
    inner(LinkType(127), &before(&[0, 0, 8, 0, 0, 0, 0, 0], &qos));
    inner(LinkType(192), &before(&[0, 0, 8, 0, 105, 0, 0, 0], &plain));
    let bridge = [&addresses(3, 0x88)[..], &[4; 6], &[0, 0], &snap].concat();
    assert_eq!(inner(LinkType(105), &bridge).link.src_mac, Some([4; 6]));

    let encrypted = before(&addresses(0x41, 0x08), &snap);
    let cut = decode(&frame(LinkType(105), &encrypted)).unwrap_err();
    assert_eq!((cut.layer, cut.why), ("802.11", CutReason::Unsupported));
}

#[test]
fn ppp_and_pppoe() {
    inner(LinkType::PPP, &before(&[0xFF, 3, 0, 0x21], &tcp4(b"rdp")));
    inner(LinkType::PPP, &before(&[0x57], &tcp6(b"rdp")));
    let mut session = ethernet(0x8864, &before(&[0x11, 0, 0xBE, 0xEF, 0, 45, 0, 0x21], &tcp4(b"rdp")));
    session.extend([0; 9]);
    let packet = inner(LinkType::ETHERNET, &session);
    assert_eq!(packet.link.tunnel, tunnel(TunnelKind::Pppoe, 0xBEEF));
    assert_eq!(packet.link.trailer, 0, "the padding is the outer frame's");
}

#[test]
fn mpls_guesses_what_it_carries() {
    let label = |label: u32, bottom: u32| (label << 12 | bottom << 8 | 64).to_be_bytes();
    let stack = [label(16, 0), label(99, 1)].concat();
    let ip = ethernet(0x8847, &before(&stack, &tcp4(b"rdp")));
    assert_eq!(inner(LinkType::ETHERNET, &ip).link.tunnel, tunnel(TunnelKind::Mpls, 99));
    inner(LinkType::ETHERNET, &ethernet(0x8847, &before(&stack, &tcp6(b"rdp"))));
    let pseudowire = before(&stack, &ethernet(0x0800, &tcp4(b"rdp")));
    inner(LinkType::ETHERNET, &ethernet(0x8847, &pseudowire));
    let control_word = before(&stack, &before(&[0; 4], &ethernet(0x0800, &tcp4(b"rdp"))));
    inner(LinkType::ETHERNET, &ethernet(0x8848, &control_word));
    // A hardware address that begins with a 4 is not IPv4.
    let mut misleading = ethernet(0x0800, &tcp4(b"rdp"));
    misleading[0] = 0x40;
    inner(LinkType::ETHERNET, &ethernet(0x8847, &before(&stack, &misleading)));
}

#[test]
fn gre_with_every_optional_field() {
    let plain = ip4(47, &before(&[0, 0, 8, 0], &tcp4(b"rdp")));
    assert_eq!(inner(LinkType::RAW, &plain).link.tunnel, tunnel(TunnelKind::Gre, 0));
    let all = before(
        &[0xB0, 0, 0x86, 0xDD, 1, 2, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 9],
        &tcp6(b"rdp"),
    );
    assert_eq!(
        inner(LinkType::RAW, &ip4(47, &all)).link.tunnel,
        tunnel(TunnelKind::Gre, 0x1234)
    );
    let bridged = before(&[0, 0, 0x65, 0x58], &ethernet(0x0800, &tcp4(b"rdp")));
    let bridged = ip4(47, &bridged);
    assert_eq!(inner(LinkType::RAW, &bridged).link.src_mac, Some([2, 0, 0, 0, 0, 5]));
    let pptp = before(
        &[0x30, 0x81, 0x88, 0x0B, 0, 47, 0, 77, 0, 0, 0, 1, 0, 0, 0, 1, 0xFF, 3, 0, 0x21],
        &tcp4(b"rdp"),
    );
    assert_eq!(inner(LinkType::RAW, &ip4(47, &pptp)).link.tunnel, tunnel(TunnelKind::Gre, 77));
}

#[test]
fn erspan_types() {
    let mirrored = ethernet(0x0800, &tcp4(b"rdp"));
    let one = ip4(47, &before(&[0, 0, 0x88, 0xBE], &mirrored));
    assert_eq!(inner(LinkType::RAW, &one).link.tunnel, tunnel(TunnelKind::Erspan, 0));
    let two = [
        &[0x10, 0, 0x88, 0xBE, 0, 0, 0, 1][..],
        &[0x10, 5, 0x08, 0x65, 0, 0, 0, 0],
        &mirrored,
    ]
    .concat();
    assert_eq!(
        inner(LinkType::RAW, &ip4(47, &two)).link.tunnel,
        tunnel(TunnelKind::Erspan, 0x65)
    );
    let three = [
        &[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1][..],
        &[0x20, 5, 0, 0x65, 0, 0, 0, 0, 0, 0, 0x80, 0],
        &mirrored,
    ]
    .concat();
    assert_eq!(
        inner(LinkType::RAW, &ip4(47, &three)).link.tunnel,
        tunnel(TunnelKind::Erspan, 0x65)
    );
    let subheader = [
        &[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1][..],
        &[0x20, 5, 0, 0x65, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0; 8],
        &mirrored,
    ];
    inner(LinkType::RAW, &ip4(47, &subheader.concat()));
}

#[test]
fn vxlan_geneve_and_what_only_uses_their_ports() {
    let mirrored = ethernet(0x0800, &tcp4(b"rdp"));
    for port in [4789, 8472] {
        let bytes = udp4(port, &before(&[8, 0, 0, 0, 0, 1, 2, 0], &mirrored));
        assert_eq!(inner(LinkType::RAW, &bytes).link.tunnel, tunnel(TunnelKind::Vxlan, 0x0102));
    }
    let bridged = udp4(6081, &before(&[1, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 4], &mirrored));
    assert_eq!(inner(LinkType::RAW, &bridged).link.tunnel, tunnel(TunnelKind::Geneve, 9));
    let routed = udp4(6081, &before(&[0, 0, 8, 0, 0, 0, 9, 0], &tcp4(b"rdp")));
    inner(LinkType::RAW, &routed);

    let bytes = udp4(8472, b"an ordinary datagram to a client's port");
    let packet = decode(&frame(LinkType::RAW, &bytes)).unwrap();
    assert!(
        matches!(&packet.body, Body::Udp(d) if d.dst_port == 8472 && d.payload_len == 39),
        "{packet:?}"
    );
    assert_eq!((packet.link.tunnel, packet.cut), (None, None));
}

#[test]
fn ip_in_ip_and_the_bound_on_nesting() {
    assert_eq!(
        inner(LinkType::RAW, &ip4(4, &tcp4(b"rdp"))).link.tunnel,
        tunnel(TunnelKind::IpInIp, 0)
    );
    inner(LinkType::RAW, &ip4(41, &tcp6(b"rdp")));
    let nest = |times: usize| (0..times).fold(tcp4(b"rdp"), |inside, _| ip4(4, &inside));
    inner(LinkType::RAW, &nest(8));
    let nine = nest(9);
    let packet = decode(&frame(LinkType::RAW, &nine)).unwrap();
    assert!(matches!(packet.body, Body::Other(4)));
    assert_eq!(packet.cut.map(|cut| cut.layer), Some("tunnels"));
}
