//! From MCS to the session by the sizes of PDUs. Landmarks are found first: the fixed sizes of the MCS domain, and the client's row of
//! finalization PDUs. What lies between them is told by its place.

use crate::capture::Span;
use crate::flow::Side;
use crate::transcript::hidden::credssp;
use crate::transcript::hidden::records::Record;
use crate::transcript::hidden::said::{Line, Said};

/// MCS Connect-Initial: GCC core, security, cluster and network data, and monitors.
const CONNECT_INITIAL: (usize, usize) = (300, 2_000);
/// MCS Connect-Response; under Standard RDP Security with the server's certificate.
const CONNECT_RESPONSE: (usize, usize) = (80, 4_500);
const ERECT: usize = 12;
const ATTACH: usize = 8;
const ATTACH_CONFIRM: usize = 11;
const JOIN: usize = 12;
const JOIN_CONFIRM: usize = 15;
/// At most 31 static channels, the I/O, the user's and the message channel.
const JOINS: usize = 34;
/// Client Info with empty strings: the fixed part and the extended information with its time zone.
const CLIENT_INFO: usize = 180;
/// STATUS_VALID_CLIENT; FreeRDP writes one byte more.
const VALID_CLIENT: (usize, usize) = (34, 35);
/// Set Error Info, and Synchronize; FreeRDP writes one byte more.
const SET_ERROR_INFO: (usize, usize) = (36, 37);
/// Control, Font List and Font Map; FreeRDP writes one byte more.
const CONTROL: (usize, usize) = (40, 41);
/// Synchronize, Cooperate, Granted Control and Font Map of the server together.
const FINALIZATION: usize = 36 + 3 * 40;
/// Disconnect Provider Ultimatum.
const ULTIMATUM: usize = 9;
/// Demand Active carries 10 capability sets or more, Confirm Active 15 or more.
const DEMAND_ACTIVE: usize = 200;
const CONFIRM_ACTIVE: (usize, usize) = (300, 1_600);
/// An answer to a License Request is shorter than a Confirm Active.
const LICENSE_ANSWER: (usize, usize) = (60, 449);
const LICENSE_REQUEST: usize = 100;
/// Auto-detection on the message channel.
const AUTO_DETECT: (usize, usize) = (18, 32);
/// Save Session Info: the pair that Windows sends at the end of a logon.
const SAVE_SESSION_INFO: (usize, usize) = (613, 800);
const AUTO_RECONNECT_COOKIE: usize = 645;
/// The pair follows itself at once, an ultimatum its Set Error Info within a moment, a close its ultimatum at once.
const PAIR: Span = Span::millis(50);
const ANNOUNCED: Span = Span::secs(2);

/// The place of MCS Connect-Initial: a large message, its answer, and then the three small ones whose sizes never change.
pub(super) fn find_connect_initial(records: &[Record]) -> Option<usize> {
    (0..records.len()).find(|at| {
        let mut rest = records.get(*at..).unwrap_or_default().iter().filter(|record| !record.alert);
        let initial = rest.next();
        let mut next = rest.next();
        if next.is_some_and(|record| record.side == Side::Client && record.at_least(SMALLEST_LARGE)) {
            next = rest.next();
        }
        let large =
            initial.is_some_and(|record| record.side == Side::Client && record.fits(CONNECT_INITIAL.0, CONNECT_INITIAL.1));
        let answer =
            next.is_some_and(|record| record.side == Side::Server && record.fits(CONNECT_RESPONSE.0, CONNECT_RESPONSE.1));
        let mut small = rest.filter(|record| record.side == Side::Client);
        let domain = match (small.next(), small.next()) {
            (Some(first), _) if first.fits(ERECT + ATTACH, ERECT + ATTACH) && first.size.exact().is_some() => true,
            (Some(first), Some(second)) => first.fits(ERECT, ERECT) && second.fits(ATTACH, ATTACH),
            _ => false,
        };
        large && answer && domain
    })
}

/// Whether the first message is Connect-Initial, as far as its size and that of its answer tell: what CredSSP begins with is smaller, or
/// answered with a ticket.
pub(super) fn begins(records: &[Record]) -> bool {
    let mut first = records.iter().filter(|record| !record.alert);
    let initial = first
        .next()
        .is_some_and(|record| record.side == Side::Client && record.fits(CONNECT_INITIAL.0, CONNECT_INITIAL.1));
    initial
        && first
            .next()
            .is_some_and(|record| record.side == Side::Server && record.fits(CONNECT_RESPONSE.0, SHORT_RESPONSE))
}

/// A Connect-Response without the server's certificate.
const SHORT_RESPONSE: usize = 250;

/// A second record of one large message.
const SMALLEST_LARGE: usize = 64;

/// A place among records, one after the other.
struct Cursor<'a> {
    records: &'a [Record],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<&'a Record> {
        self.records.get(self.at)
    }

    fn ahead(&self) -> &'a [Record] {
        self.records.get(self.at..).unwrap_or_default()
    }

    /// Takes the next record if it is of this side and has this size.
    fn take(&mut self, side: Side, from: usize, to: usize) -> Option<&'a Record> {
        let record = self.peek().filter(|record| record.side == side && record.fits(from, to))?;
        self.at += 1;
        Some(record)
    }
}

/// Reads records from MCS Connect-Initial on.
pub(super) fn read(records: &[Record], lines: &mut Vec<Line>) {
    let mut cursor = Cursor { records, at: 0 };
    let Some(initial) = cursor.take(Side::Client, CONNECT_INITIAL.0, usize::MAX) else {
        return ending(records, false, lines);
    };
    lines.push(initial.line(Said::ConnectInitial, "MCS Connect-Initial"));
    while cursor.take(Side::Client, SMALLEST_LARGE, usize::MAX).is_some() {}
    let Some(response) = cursor.take(Side::Server, CONNECT_RESPONSE.0, CONNECT_RESPONSE.1) else {
        return ending(cursor.ahead(), false, lines);
    };
    lines.push(response.line(Said::ConnectResponse(None), "MCS Connect-Response"));
    // The rest of it, or what came before it in the same go, such as session tickets inside a gateway's tunnel.
    while cursor.take(Side::Server, CONNECT_RESPONSE.0, CONNECT_RESPONSE.1).is_some() {}
    domain(&mut cursor, lines);
    let Some(info) = cursor.take(Side::Client, CLIENT_INFO, usize::MAX) else {
        return ending(cursor.ahead(), false, lines);
    };
    lines.push(info.line(Said::ClientInfo, "Client Info"));
    after_client_info(cursor.ahead(), lines);
}

/// Reads what follows Client Info.
pub(super) fn after_client_info(records: &[Record], lines: &mut Vec<Line>) {
    let active = match find_confirm_active(records) {
        Some(confirm) => {
            let (before, after) = records.split_at(confirm);
            licensing(before, true, lines);
            activation(after, lines)
        }
        None => {
            licensing(records, false, lines);
            None
        }
    };
    match active {
        Some(session) => {
            logged_on(session, lines);
            ending(session, true, lines);
        }
        None => ending(records, false, lines),
    }
}

/// Erect Domain, Attach User and the joins.
fn domain(cursor: &mut Cursor<'_>, lines: &mut Vec<Line>) {
    let mut joined = 0;
    while let Some(record) = cursor.peek() {
        let fixed = |size: usize| record.fits(size, size);
        let several = |size: usize| {
            record
                .size
                .exact()
                .is_some_and(|exact| exact > 0 && exact.is_multiple_of(size) && exact <= size * JOINS)
        };
        let line = match record.side {
            Side::Client if record.at_least(CLIENT_INFO) => return,
            Side::Client if joined == 0 && (fixed(ERECT) || fixed(ATTACH) || fixed(ERECT + ATTACH)) => {
                record.line(Said::AttachUser, "")
            }
            Side::Client if fixed(JOIN) || several(JOIN) => record.line(Said::Join, ""),
            Side::Server if joined == 0 && fixed(ATTACH_CONFIRM) => {
                joined = 1;
                record.line(Said::AttachConfirm(None), "MCS Attach User Confirm")
            }
            Side::Server if fixed(JOIN_CONFIRM) || several(JOIN_CONFIRM) => {
                let first = joined == 1;
                joined = 2;
                record.line(
                    Said::JoinConfirm(None),
                    if first { "MCS Channel Join Confirm, the first" } else { "" },
                )
            }
            _ => return,
        };
        lines.push(line);
        cursor.at += 1;
    }
}

/// Confirm Active: a large message of the client that Synchronize and Control follow at once.
fn find_confirm_active(records: &[Record]) -> Option<usize> {
    (0..records.len()).find(|at| {
        let mut client = records
            .get(*at..)
            .unwrap_or_default()
            .iter()
            .filter(|record| record.side == Side::Client && !record.alert);
        let starts = records.get(*at).is_some_and(|record| record.side == Side::Client);
        let large = client
            .next()
            .is_some_and(|record| record.fits(CONFIRM_ACTIVE.0, CONFIRM_ACTIVE.1));
        let synchronize = client
            .next()
            .is_some_and(|record| record.fits(SET_ERROR_INFO.0, SET_ERROR_INFO.1));
        let control = client.next().is_some_and(|record| record.fits(CONTROL.0, CONTROL.1));
        starts && large && synchronize && control
    })
}

/// From Client Info to Demand Active. `active` tells that Confirm Active follows, so that the last large message of the server is
/// Demand Active.
fn licensing(records: &[Record], active: bool, lines: &mut Vec<Line>) {
    let demand = active
        .then(|| {
            records
                .iter()
                .rposition(|record| record.side == Side::Server && record.at_least(DEMAND_ACTIVE))
        })
        .flatten();
    let mut done = false;
    for (at, record) in records.iter().enumerate() {
        if record.alert {
            continue;
        }
        let exact_enough = |from: usize, to: usize| record.fits(from, to) && record.size.max <= to + 15;
        let line = match record.side {
            Side::Server if demand == Some(at) => record.line(Said::DemandActive, "Demand Active"),
            Side::Server if exact_enough(AUTO_DETECT.0, AUTO_DETECT.1) && record.size.exact().is_some() => {
                record.line(Said::AutoDetect, "")
            }
            Side::Server if !done && exact_enough(VALID_CLIENT.0, VALID_CLIENT.1) => {
                done = true;
                record.line(
                    Said::LicenseDone(None),
                    "the size of the licensing message STATUS_VALID_CLIENT, or of a licensing error",
                )
            }
            Side::Server if !done && record.at_least(LICENSE_REQUEST) => {
                let answered = records
                    .get(at + 1..)
                    .unwrap_or_default()
                    .iter()
                    .find(|next| next.side == Side::Client && !next.fits(AUTO_DETECT.0, AUTO_DETECT.1))
                    .is_some_and(|next| next.fits(LICENSE_ANSWER.0, LICENSE_ANSWER.1));
                match answered {
                    true => record.line(Said::License, "a licensing request, which the client answers"),
                    false => record.line(Said::Data, "a message of the server after Client Info"),
                }
            }
            Side::Server if done && record.at_least(DEMAND_ACTIVE) => record.line(Said::DemandActive, "Demand Active"),
            Side::Client if !done && record.fits(LICENSE_ANSWER.0, LICENSE_ANSWER.1) => {
                record.line(Said::License, "the client's answer in licensing")
            }
            Side::Client if done && record.fits(CONFIRM_ACTIVE.0, CONFIRM_ACTIVE.1) => {
                record.line(Said::ConfirmActive, "Confirm Active")
            }
            _ => continue,
        };
        lines.push(line);
    }
}

/// From Confirm Active on; returns what follows Font Map, if it came.
fn activation<'a>(records: &'a [Record], lines: &mut Vec<Line>) -> Option<&'a [Record]> {
    let mut from_server = 0;
    for (at, record) in records.iter().enumerate() {
        if record.alert {
            continue;
        }
        if at == 0 {
            lines.push(record.line(Said::ConfirmActive, "Confirm Active"));
            continue;
        }
        if record.side == Side::Client {
            continue;
        }
        if record.fits(ULTIMATUM, ULTIMATUM) && record.size.max < SET_ERROR_INFO.0 {
            return None;
        }
        from_server += record.size.max;
        // Font Map is the last of four; graphics cannot come before it.
        if from_server >= FINALIZATION {
            lines.push(record.line(Said::FontMap, "Font Map, the end of the activation"));
            return records.get(at + 1..);
        }
    }
    None
}

/// Windows ends a logon with two Save Session Info PDUs: the user's name, and the auto-reconnect cookie.
fn logged_on(session: &[Record], lines: &mut Vec<Line>) {
    let server: Vec<&Record> = session
        .iter()
        .filter(|record| record.side == Side::Server && !record.alert)
        .collect();
    let pair = server.iter().zip(server.iter().skip(1)).find(|(name, cookie)| {
        name.fits(SAVE_SESSION_INFO.0, SAVE_SESSION_INFO.1)
            && cookie.fits(AUTO_RECONNECT_COOKIE, AUTO_RECONNECT_COOKIE)
            && cookie.at.since(name.at) <= PAIR
    });
    if let Some((_, cookie)) = pair {
        lines.push(cookie.line(
            Said::LoggedOn,
            "the second of the pair of Save Session Info PDUs that ends a logon on Windows",
        ));
    }
}

/// The last words: Set Error Info and the ultimatum of the server, the ultimatum of the client, alerts.
fn ending(records: &[Record], session: bool, lines: &mut Vec<Line>) {
    let plain = |side: Side| records.iter().filter(move |record| record.side == side && !record.alert);
    let is_ultimatum = |record: &Record| record.fits(ULTIMATUM, ULTIMATUM) && record.size.max < SET_ERROR_INFO.0;
    let mut server = plain(Side::Server).rev();
    let mut announced = None;
    if let Some(last) = server.next() {
        let before = server.next().filter(|before| {
            before.fits(SET_ERROR_INFO.0, SET_ERROR_INFO.1) && before.size.max < 60 && last.at.since(before.at) <= ANNOUNCED
        });
        let exact = last.size.exact().is_some();
        // Where a window of sizes leaves room for a small update, close_notify right behind it tells.
        let closes = records.iter().any(|record| {
            record.alert && record.side == Side::Server && record.at >= last.at && record.at.since(last.at) <= ANNOUNCED
        });
        if is_ultimatum(last) && (exact || before.is_some() || closes || !session) {
            if let Some(before) = before {
                lines.push(before.line(
                    Said::SetErrorInfo(None),
                    "the size of Set Error Info, which names the reason of the end that follows; the code is under TLS",
                ));
            }
            announced = Some(last.at);
            lines.push(last.line(
                Said::Ultimatum(None),
                "the size of MCS Disconnect Provider Ultimatum: the server announces the end",
            ));
        } else if !session && before_activation_error(last, lines) {
            lines.push(last.line(
                Said::SetErrorInfo(None),
                "the size of Set Error Info; before the activation nothing else of the server has it",
            ));
        }
    }
    // A key that was typed has the same size: only the last message counts, and not one before the server's own end.
    let last = plain(Side::Client).next_back().filter(|last| {
        is_ultimatum(last) && (last.size.exact().is_some() || !session) && announced.is_none_or(|announced| last.at > announced)
    });
    if let Some(last) = last {
        lines.push(last.line(
            Said::Ultimatum(None),
            "the size of MCS Disconnect Provider Ultimatum as the client's last message: the user closes the client",
        ));
    }
    for record in records.iter().filter(|record| record.alert) {
        lines.push(credssp::alert(record));
    }
}

/// Set Error Info and Synchronize have one size; the server synchronizes only after Confirm Active. A licensing message of the same
/// window of sizes must have come before.
fn before_activation_error(record: &Record, lines: &[Line]) -> bool {
    let said = |wanted: fn(Said) -> bool| lines.iter().any(|line| wanted(line.said));
    let active = said(|said| matches!(said, Said::ConfirmActive));
    let known = said(|said| matches!(said, Said::ClientInfo));
    let already = record.size.exact().is_none()
        && lines
            .iter()
            .any(|line| line.frames == record.frames && line.side == Side::Server);
    known && !active && !already && record.fits(SET_ERROR_INFO.0, SET_ERROR_INFO.1) && record.size.max < 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::hidden::records::tests::{exact, windows};

    const DOMAIN: &[i64] = &[462, -126, 12, 8, -11, 12, -15, 12, -15, 12, -15, 433];
    const ACTIVATION: &[i64] = &[-472, 611, 36, 40, 40, -36, -40, -40, 40, -40];

    fn said(parts: &[&[i64]]) -> Vec<Said> {
        let mut lines = Vec::new();
        read(&exact(&parts.concat()), &mut lines);
        let mut said: Vec<Said> = lines.iter().map(|line| line.said).collect();
        said.retain(|said| !matches!(said, Said::Join | Said::JoinConfirm(_) | Said::AttachUser));
        said
    }

    #[test]
    fn a_session_from_connect_initial_to_font_map() {
        assert_eq!(
            said(&[DOMAIN, &[-34], ACTIVATION]),
            [
                Said::ConnectInitial,
                Said::ConnectResponse(None),
                Said::AttachConfirm(None),
                Said::ClientInfo,
                Said::LicenseDone(None),
                Said::DemandActive,
                Said::ConfirmActive,
                Said::FontMap,
            ]
        );
    }

    #[test]
    fn a_full_licensing_exchange_is_not_taken_for_the_activation() {
        let said = said(&[DOMAIN, &[-536, 360, -41 - 300, 200, -1900], ACTIVATION]);
        assert_eq!(said.iter().filter(|said| **said == Said::DemandActive).count(), 1);
        assert!(said.contains(&Said::License) && said.last() == Some(&Said::FontMap));
    }

    #[test]
    fn the_end_that_the_server_announces() {
        let said = said(&[DOMAIN, &[-34], ACTIVATION, &[-900, 9, -1200, -36, -9]]);
        assert_eq!(
            said.get(said.len() - 2..),
            Some(&[Said::SetErrorInfo(None), Said::Ultimatum(None)][..])
        );
    }

    #[test]
    fn a_key_in_mid_session_is_no_ultimatum() {
        let said = said(&[DOMAIN, &[-34], ACTIVATION, &[9, -1200, 35, -300]]);
        assert_eq!(said.last(), Some(&Said::FontMap));
    }

    #[test]
    fn a_denial_before_the_activation() {
        assert_eq!(
            said(&[DOMAIN, &[-34, -36, -9]]).get(3..),
            Some(
                &[
                    Said::ClientInfo,
                    Said::LicenseDone(None),
                    Said::SetErrorInfo(None),
                    Said::Ultimatum(None)
                ][..]
            )
        );
        assert_eq!(
            said(&[DOMAIN, &[-36]]).last(),
            Some(&Said::SetErrorInfo(None)),
            "Set Error Info without an ultimatum"
        );
    }

    #[test]
    fn connect_initial_is_found_behind_credssp_and_in_the_windows_of_cbc() {
        let sizes = [&[175, -1351, 1887, -227, 191, -103, 361, -4], DOMAIN].concat();
        assert_eq!(find_connect_initial(&exact(&sizes)), Some(8));
        let window = |size: usize| {
            let blocks = (size + 49).div_ceil(16) * 16;
            (blocks.saturating_sub(64), blocks - 49)
        };
        assert_eq!(find_connect_initial(&windows(&sizes, window)), Some(8));
    }

    #[test]
    fn logged_on_is_a_pair_in_one_moment() {
        let said = said(&[DOMAIN, &[-34], ACTIVATION, &[-657, -645]]);
        assert_eq!(said.last(), Some(&Said::LoggedOn));
    }
}
