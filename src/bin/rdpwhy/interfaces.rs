//! The interfaces of this machine in, a list out: what can be given to `watch -i`, with addresses, link type and state.

use std::io;

use pnet::datalink::{self, NetworkInterface};
use rdpwhy::capture::live::{self, Listed};
use rdpwhy::report::page::{BOLD, CARE, DIM, GOOD, PLAIN, Page};

/// Lists the interfaces.
///
/// # Errors
/// Those of libpcap and of the page.
pub fn list(page: &mut Page<'_>, listed: &[Listed]) -> io::Result<()> {
    let known = datalink::interfaces();
    for one in listed {
        let system = known.iter().find(|interface| interface.name == one.name);
        let (state, style) = match (one.name == live::ANY, one.up, one.running) {
            (true, _, _) => ("every interface", PLAIN),
            (_, true, true) => ("up", GOOD),
            (_, true, false) => ("up, no link", CARE),
            (_, false, _) => ("down", CARE),
        };
        page.row(&[(&format!("{:<16}", one.name), BOLD), (state, style)], ("", PLAIN))?;
        if let Some(description) = &one.description {
            page.row(&[("  ", PLAIN)], (description, DIM))?;
        }
        if one.name != live::ANY {
            page.field("Kind", &kind(one, system))?;
        }
        let addresses = addresses(one, system);
        if !addresses.is_empty() {
            page.field("Addresses", &addresses.join(", "))?;
        }
    }
    Ok(())
}

fn kind(one: &Listed, system: Option<&NetworkInterface>) -> String {
    let point_to_point = system.is_some_and(NetworkInterface::is_point_to_point);
    let mut kind = match (one.loopback, one.wireless, point_to_point) {
        (true, _, _) => "loopback",
        (_, true, _) => "wireless",
        (_, _, true) => "point to point",
        _ => "Ethernet",
    }
    .to_owned();
    if let Some(mac) = system.and_then(|interface| interface.mac).filter(|mac| !mac.is_zero()) {
        kind.push_str(&format!(", {mac}"));
    }
    kind
}

/// With the lengths of their prefixes, where the system tells.
fn addresses(one: &Listed, system: Option<&NetworkInterface>) -> Vec<String> {
    match system.filter(|interface| !interface.ips.is_empty()) {
        Some(interface) => interface.ips.iter().map(ToString::to_string).collect(),
        None => one.addresses.iter().map(ToString::to_string).collect(),
    }
}
