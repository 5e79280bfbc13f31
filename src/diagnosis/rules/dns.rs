//! `dns_name_not_found`, `dns_server_failure`, `dns_no_answer`: the way ended before the first SYN.
//!
//! Failed lookups are everywhere; only one that is tied to RDP becomes a verdict (see [`crate::attempt::lookups::Tie`]).

use crate::attempt::lookups::{Lookup, Outcome, Refusal, Tie};
use crate::capture::Span;
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{DNS_NAME_NOT_FOUND, DNS_NO_ANSWER, DNS_SERVER_FAILURE, SYN_DROPPED};
use crate::diagnosis::rules::way::icmp_words_of;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Leans, Mechanism, Verdict};

/// Judges a lookup that is tied to RDP; nothing where it was answered or too little was seen.
pub fn judge(lookup: &Lookup, tie: Tie, watched_after: Span) -> Option<Finding> {
    let outcome = lookup.outcome(watched_after);
    let evidence: Vec<Evidence> = match outcome {
        Outcome::NoAnswer => lookup
            .queries
            .iter()
            .map(|query| {
                shows(
                    lookup,
                    query.no,
                    query.at,
                    format!(
                        "{} asks {} for {} ({}); no answer",
                        lookup.client, query.resolver, lookup.name, query.kind
                    ),
                )
            })
            .collect(),
        _ => lookup
            .replies
            .iter()
            .map(|reply| {
                shows(
                    lookup,
                    reply.no,
                    reply.at,
                    format!(
                        "{} answers for {} ({}): {}",
                        reply.resolver,
                        lookup.name,
                        reply.kind,
                        rcode(reply.rcode)
                    ),
                )
            })
            .collect(),
    };
    let sure = |when_tied: Confidence| {
        if tie == Tie::SameName {
            when_tied
        } else {
            Confidence::Possible
        }
    };
    let first = evidence.first()?.clone();
    let name = &lookup.name;
    let (verdict, ended_by, mechanism) = match outcome {
        Outcome::NotFound => {
            let exists = lookup.replies.iter().all(|reply| reply.rcode == 0);
            let words = if exists {
                "exists but has no address"
            } else {
                "does not exist"
            };
            let verdict = Verdict::new(&DNS_NAME_NOT_FOUND, sure(Confidence::Certain), Act::Network, format!("the name {name} {words}, says the resolver; no connection was tried"), first)
                .remedy(format!("check the spelling in the client, and the record: `nslookup {name}`"))
                .remedy("on a VPN: is the resolver of the company asked, and the search suffix set? `Get-DnsClientServerAddress`, `ipconfig /all`")
                .remedy("a host that registers itself may have lost its record: `ipconfig /registerdns` on the host");
            (verdict, EndedBy::Server, Mechanism::Refusal)
        }
        Outcome::Failed(code) => {
            let verdict = Verdict::new(
                &DNS_SERVER_FAILURE,
                sure(Confidence::Certain),
                Act::Network,
                format!("the resolver answers {} for {name}; no connection was tried", rcode(code)),
                first,
            )
            .remedy(format!("ask another resolver: `nslookup {name} <resolver>`; if that works, the first one has a fault (forwarder, DNSSEC, zone transfer)"))
            .remedy("REFUSED means that this resolver does not serve this client: check which resolver the network hands out");
            (verdict, EndedBy::Server, Mechanism::Refusal)
        }
        Outcome::NoAnswer => {
            let (from, to) = (lookup.started(), lookup.last);
            if let Some(finding) = refused(lookup, sure(Confidence::Likely)) {
                return Some(finding);
            }
            let verdict = Verdict::new(
                &DNS_NO_ANSWER,
                sure(Confidence::Likely),
                Act::Network,
                match lookup.replies.len() {
                    0 => format!("nobody answers the lookup of {name}: {} queries in {}", lookup.queries.len(), human(to.since(from))),
                    n => format!("the lookup of {name} gets no whole answer: {n} were cut (TC), and the same over TCP does not come"),
                },
                first,
            )
            .because(lookup.replies.iter().map(|reply| {
                shows(lookup, reply.no, reply.at, format!("{} answers, cut (TC): to be asked again over TCP", reply.resolver))
            }))
            .remedy_if(!lookup.replies.is_empty(), "let TCP 53 to the resolver pass: answers that do not fit into a datagram need it")
            .or(&SYN_DROPPED, "if the whole path is down, connections to addresses fail as well")
            .remedy("check that the resolver is reachable: `Test-NetConnection <resolver> -Port 53`, and that UDP and TCP 53 may pass")
            .remedy("on a VPN: a resolver that belongs to the other side of the tunnel is a common reason");
            (verdict, EndedBy::Path, Mechanism::Silence)
        }
        Outcome::Found | Outcome::Unknown => return None,
    };
    Some(Finding::new(verdict.because(evidence), ended_by, mechanism))
}

/// The queries do not arrive, and a device or the resolver's own host says so.
fn refused(lookup: &Lookup, confidence: Confidence) -> Option<Finding> {
    let first = lookup.refusals.first()?;
    let (v6, kind, code) = first.says;
    let (_, words) = icmp_words_of(first.says)?;
    let by_host = first.from == first.resolver;
    let who = match by_host {
        true => format!("the host of the resolver {}", first.resolver),
        false => format!("the device {} on the way to the resolver {}", first.from, first.resolver),
    };
    let of = |refusal: &Refusal| {
        let text = format!(
            "ICMP{} type {kind} code {code} from {}: {words}",
            if v6 { "v6" } else { "" },
            refusal.from
        );
        shows(lookup, refusal.no, refusal.at, text)
    };
    let queries = lookup.queries.iter().map(|query| {
        let text = format!(
            "{} asks {} for {} ({})",
            lookup.client, query.resolver, lookup.name, query.kind
        );
        shows(lookup, query.no, query.at, text)
    });
    let verdict = Verdict::new(
        &DNS_NO_ANSWER,
        confidence,
        Act::Network,
        format!(
            "{who} turns the lookup of {} down with ICMP: {words}; nobody answers it",
            lookup.name
        ),
        of(first),
    )
    .because(lookup.refusals.iter().skip(1).map(of))
    .because(queries)
    .or(
        &SYN_DROPPED,
        "if the whole path is down, connections to addresses fail as well",
    )
    .remedy(match by_host {
        true => format!(
            "on {}: does its DNS service run and listen on UDP 53? Else another resolver must be handed out",
            first.resolver
        ),
        false => format!(
            "ask whoever runs {} for the route or the rule that lets UDP and TCP 53 through to {}",
            first.from, first.resolver
        ),
    })
    .remedy("on a VPN: a resolver that belongs to the other side of the tunnel is a common reason");
    let ended_by = if by_host { EndedBy::Server } else { EndedBy::Middlebox };
    Some(Finding::new(verdict, ended_by, Mechanism::Icmp))
}

fn shows(lookup: &Lookup, frame: crate::capture::FrameNo, at: crate::capture::Timestamp, text: String) -> Evidence {
    Evidence {
        source: lookup.source,
        frame,
        at,
        leans: Leans::For,
        text,
    }
}

/// A response code by name.
pub fn rcode(code: u16) -> String {
    match code {
        0 => "no error, and no address".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("rcode {other}"),
    }
}
