//! CredSSP by the sizes of its messages. The legs alternate strictly, and each has a size that follows from its structure.

use std::borrow::Cow;

use crate::flow::Side;
use crate::protocol::tls::size::PlaintextLength;
use crate::transcript::hidden::records::Record;
use crate::transcript::hidden::said::{Line, Said, Words};

/// NTLM NEGOTIATE of 32 to 40 bytes in a TSRequest, with the nonce that FreeRDP adds, with SPNEGO around it or not.
const NTLM_NEGOTIATE: (usize, usize) = (45, 134);
/// Kerberos TGT-REQ in SPNEGO: 146 bytes and the server's name. The answer holds a ticket.
const TICKET_REQUEST: (usize, usize) = (135, 420);
/// A Kerberos ticket in AP-REQ or TGT-REP is at least this long with the authorisation data of Windows.
const TICKET: usize = 650;
/// `errorCode` in a TSRequest: 15 bytes, or 16 as a positive INTEGER; 14 where the code is short.
const ERROR_CODE: (usize, usize) = (10, 18);
/// The same with a nonce sent back.
const ERROR_CODE_NONCE: (usize, usize) = (50, 53);
/// Early User Authorization Result.
const EARLY_RESULT: (usize, usize) = (4, 4);
/// KRB-ERROR in a TSRequest. AP-REP is larger, `pubKeyAuth` follows it.
const KERBEROS_ERROR: (usize, usize) = (85, 210);
/// MCS Connect-Initial is at least this long: its GCC blocks of core, security and network data.
const CONNECT_INITIAL: usize = 300;

/// No leg of the client's is shorter: NTLM NEGOTIATE without a version has 32 bytes, TSRequest adds 17.
const SHORTEST_LEG: usize = 32;

/// Several records of one side in a row, or one alert.
struct Burst {
    first: usize,
    records: Vec<Record>,
    /// The place among all records behind its last.
    end: usize,
}

impl Burst {
    fn side(&self) -> Side {
        self.records.first().map_or(Side::Client, |record| record.side)
    }

    fn alert(&self) -> bool {
        self.records.first().is_some_and(|record| record.alert)
    }

    /// All of it as one message.
    fn whole(&self) -> Option<Record> {
        let (first, last) = (self.records.first()?, self.records.last()?);
        Some(Record {
            at: last.at,
            frames: crate::transcript::moment::Frames {
                first: first.frames.first,
                last: last.frames.last,
            },
            size: PlaintextLength {
                min: self.records.iter().map(|record| record.size.min).sum(),
                max: self.records.iter().map(|record| record.size.max).sum(),
            },
            ..*first
        })
    }
}

fn bursts(records: &[Record]) -> Vec<Burst> {
    let mut bursts: Vec<Burst> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match bursts.last_mut() {
            Some(burst) if burst.side() == record.side && !burst.alert() && !record.alert => {
                burst.records.push(*record);
                burst.end = at + 1;
            }
            _ => bursts.push(Burst {
                first: at,
                records: vec![*record],
                end: at + 1,
            }),
        }
    }
    bursts
}

/// What the first leg shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Package {
    Ntlm,
    /// Kerberos user-to-user, as mstsc does it: a ticket of the server comes first.
    UserToUser,
    /// Kerberos that begins with AP-REQ.
    Kerberos,
    Unknown,
}

impl Package {
    /// The client's messages, in order; the last are the credentials.
    fn client(self) -> &'static [Said] {
        match self {
            Package::Ntlm => &[Said::NtlmNegotiate, Said::NtlmAuthenticate, Said::Credentials],
            Package::UserToUser => &[
                Said::KerberosTicket,
                Said::KerberosApRequest,
                Said::PublicKey,
                Said::Credentials,
            ],
            Package::Kerberos => &[Said::KerberosApRequest, Said::PublicKey, Said::Credentials],
            Package::Unknown => &[],
        }
    }

    fn server(self) -> &'static [Said] {
        match self {
            Package::Ntlm => &[Said::NtlmChallenge, Said::PublicKey],
            Package::UserToUser => &[Said::KerberosTicket, Said::KerberosApReply, Said::PublicKey],
            Package::Kerberos => &[Said::KerberosApReply, Said::PublicKey],
            Package::Unknown => &[],
        }
    }

    fn of(first: &Record, answer: Option<&Record>) -> Package {
        let ticket_comes = answer.is_some_and(|answer| answer.at_least(TICKET));
        if first.at_least(TICKET) {
            Package::Kerberos
        } else if first.fits(TICKET_REQUEST.0, TICKET_REQUEST.1) && (ticket_comes || answer.is_none()) {
            Package::UserToUser
        } else if first.fits(NTLM_NEGOTIATE.0, NTLM_NEGOTIATE.1)
            || (first.fits(TICKET_REQUEST.0, TICKET_REQUEST.1) && !ticket_comes)
        {
            // SPNEGO around NTLM can be as long as a TGT-REQ; the answer tells them apart.
            Package::Ntlm
        } else {
            Package::Unknown
        }
    }
}

/// Reads the legs; returns how many records they take. What follows is MCS.
pub(super) fn read(records: &[Record], early_result: bool, lines: &mut Vec<Line>) -> usize {
    let bursts = bursts(records);
    let answer = bursts.get(1).filter(|burst| !burst.alert()).and_then(Burst::whole);
    let Some(first) = bursts.first().and_then(Burst::whole).filter(|first| !first.alert) else {
        return alerts_only(records, lines);
    };
    if first.side == Side::Server {
        return 0;
    }
    let package = Package::of(&first, answer.as_ref());
    let (mut of_client, mut of_server) = (0, 0);
    let mut handed_over = false;
    for (place, burst) in bursts.iter().enumerate() {
        let Some(whole) = burst.whole() else { break };
        if burst.alert() {
            lines.push(alert(&whole));
            continue;
        }
        if whole.side == Side::Client {
            // Credentials and MCS Connect-Initial may come in one go where no early result stands between.
            let refused = lines
                .iter()
                .any(|line| matches!(line.said, Said::LogonError(_) | Said::Alert(_)) && line.side == Side::Server);
            // No leg is as short as the messages with which a client says goodbye.
            if handed_over || refused || !whole.at_least(SHORTEST_LEG) {
                return burst.first;
            }
            let said = package.client().get(of_client).copied().unwrap_or(Said::CredSspLeg);
            of_client += 1;
            if said == Said::Credentials {
                let Some(credentials) = burst.records.first() else { break };
                lines.push(credentials.line(said, "the client hands its credentials over (authInfo)"));
                handed_over = true;
                if burst.records.get(1).is_some_and(|next| next.at_least(CONNECT_INITIAL)) {
                    return burst.first + 1;
                }
                continue;
            }
            lines.push(whole.line(said, client_words(said)));
            continue;
        }
        let goes_on = bursts
            .get(place + 1..)
            .unwrap_or_default()
            .iter()
            .any(|next| next.side() == Side::Client && !next.alert() && next.whole().is_some_and(|next| next.at_least(50)));
        if handed_over {
            let Some(result) = burst.records.first() else { break };
            if early_result && result.fits(EARLY_RESULT.0, EARLY_RESULT.1) {
                lines.push(result.line(Said::EarlyResult(None), "the server's Early User Authorization Result"));
                return burst.first + 1;
            }
            if !goes_on && result.fits(ERROR_CODE.0, ERROR_CODE.1) {
                lines.push(refusal(result, "after the credentials were handed over"));
                return burst.end;
            }
            return burst.first;
        }
        let expected = package.server().get(of_server).copied().unwrap_or(Said::CredSspLeg);
        of_server += 1;
        if !goes_on && is_refusal(&whole, expected) {
            lines.push(refusal(&whole, accepted_words(expected)));
            continue;
        }
        if expected == Said::KerberosApReply && !goes_on && whole.fits(KERBEROS_ERROR.0, KERBEROS_ERROR.1) {
            lines.push(whole.line(
                Said::KerberosError(None),
                "too short for an AP-REP of 220 to 260 bytes, long enough for a KRB-ERROR, and the client does not go on",
            ));
            continue;
        }
        lines.push(whole.line(expected, server_words(expected)));
    }
    records.len()
}

/// Nothing but alerts: the legs never began.
fn alerts_only(records: &[Record], lines: &mut Vec<Line>) -> usize {
    lines.extend(records.iter().filter(|record| record.alert).map(alert));
    records.len()
}

pub(super) fn alert(record: &Record) -> Line {
    Line {
        text: Words::Plain(Cow::Borrowed("an encrypted TLS alert")),
        ..record.line(Said::Alert(None), "")
    }
}

/// An error code is far shorter than what an accepted leg brings. Where a server sends the nonce back it is as long as the shortest
/// acceptance, so that only an exact size tells.
fn is_refusal(whole: &Record, expected: Said) -> bool {
    whole.fits(ERROR_CODE.0, ERROR_CODE.1)
        || (matches!(expected, Said::PublicKey | Said::KerberosApReply)
            && whole.size.exact().is_some()
            && whole.fits(ERROR_CODE_NONCE.0, ERROR_CODE_NONCE.1))
}

fn refusal(record: &Record, otherwise: &str) -> Line {
    record.line(
        Said::LogonError(None),
        format!("a TSRequest with an error code, and the client does not go on ({otherwise})"),
    )
}

fn accepted_words(expected: Said) -> &'static str {
    match expected {
        Said::PublicKey => "an accepted logon answers with 55 bytes or more, and the client goes on with its credentials",
        Said::KerberosApReply => "an accepted ticket is answered with 220 to 260 bytes, and the client goes on",
        _ => "an accepted first leg is answered with 150 bytes or more, and the client goes on",
    }
}

fn client_words(said: Said) -> &'static str {
    match said {
        Said::NtlmNegotiate => "NTLM NEGOTIATE, the first leg of CredSSP",
        Said::NtlmAuthenticate => "NTLM AUTHENTICATE, the third leg of CredSSP",
        Said::KerberosTicket => "Kerberos TGT-REQ, the first leg of CredSSP",
        Said::KerberosApRequest => "Kerberos AP-REQ: the client shows its ticket",
        Said::PublicKey => "pubKeyAuth: the client binds the logon to the server's key",
        _ => "a leg of CredSSP",
    }
}

fn server_words(said: Said) -> &'static str {
    match said {
        Said::NtlmChallenge => "NTLM CHALLENGE, the second leg of CredSSP",
        Said::KerberosTicket => "Kerberos TGT-REP with the server's own ticket",
        Said::KerberosApReply => "Kerberos AP-REP: the server takes the ticket",
        Said::PublicKey => "pubKeyAuth: the server accepts the logon",
        _ => "a leg of CredSSP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::hidden::records::tests::{exact, windows};

    fn said(sizes: &[i64], early: bool) -> (usize, Vec<Said>) {
        let mut lines = Vec::new();
        let used = read(&exact(sizes), early, &mut lines);
        (used, lines.iter().map(|line| line.said).collect())
    }

    #[test]
    fn ntlm_accepted_goes_on_to_mcs() {
        let (used, said) = said(&[57, -262, 543, -59, 76, -4, 462, -126], true);
        assert_eq!(used, 6);
        assert_eq!(
            said,
            [
                Said::NtlmNegotiate,
                Said::NtlmChallenge,
                Said::NtlmAuthenticate,
                Said::PublicKey,
                Said::Credentials,
                Said::EarlyResult(None),
            ]
        );
    }

    #[test]
    fn without_an_early_result_credentials_and_connect_initial_follow_each_other() {
        let (used, said) = said(&[57, -313, 900, -313, 136, 440, -120], false);
        assert_eq!((used, said.last()), (5, Some(&Said::Credentials)));
    }

    #[test]
    fn kerberos_is_told_by_the_ticket() {
        let (used, said) = said(&[175, -1351, 1887, -227, 191, -103, 183, -4, 462], true);
        assert_eq!(used, 8);
        assert_eq!(said.first(), Some(&Said::KerberosTicket));
        assert_eq!(said.get(3), Some(&Said::KerberosApReply));
        assert_eq!(said.last(), Some(&Said::EarlyResult(None)));
    }

    #[test]
    fn a_short_answer_to_the_third_leg_is_a_refusal() {
        for answer in [-15, -16, -51] {
            let (_, said) = said(&[57, -295, 677, answer], true);
            assert_eq!(said.last(), Some(&Said::LogonError(None)), "{answer}");
        }
        let (_, accepted) = self::said(&[57, -295, 677, -59], true);
        assert_eq!(accepted.last(), Some(&Said::PublicKey));
    }

    #[test]
    fn a_refusal_is_told_in_the_windows_of_cbc() {
        // TLS 1.2 CBC with SHA-256: 16 bytes of uncertainty.
        let window = |size: usize| {
            let blocks = (size + 33).div_ceil(16) * 16;
            (blocks.saturating_sub(48), blocks - 33)
        };
        let mut lines = Vec::new();
        read(&windows(&[57, -295, 677, -15], window), true, &mut lines);
        assert_eq!(lines.last().map(|line| line.said), Some(Said::LogonError(None)));
        lines.clear();
        read(&windows(&[57, -295, 677, -59, 76, -4], window), true, &mut lines);
        assert_eq!(lines.last().map(|line| line.said), Some(Said::EarlyResult(None)));
    }

    #[test]
    fn an_alert_after_the_third_leg_is_kept() {
        let (_, said) = said(&[57, -191, 609, -2, 37, 9], false);
        assert_eq!(said.get(3), Some(&Said::Alert(None)));
    }

    #[test]
    fn a_ticket_that_is_turned_down() {
        let (_, said) = said(&[175, -1351, 1887, -120], true);
        assert_eq!(said.last(), Some(&Said::KerberosError(None)));
    }
}
