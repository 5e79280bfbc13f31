//! Numbers in, names, meanings and remedies out: the one dictionary of reports and of `rdpwhy explain`.
//!
//! One file per code space; to add a space, write its file and add a line to [`SPACES`].

use std::borrow::Cow;

mod client;
mod client_gateway;
mod dns;
mod early_user_auth;
mod errinfo;
mod errinfo_protocol;
mod extended;
mod gateway;
mod http;
mod icmp;
mod kerberos;
mod licensing;
mod logon_notification;
mod mcs;
mod negotiation;
mod ntstatus;
mod pairs;
mod rdstls;
mod search;
mod sspi;
mod tls_alert;

pub use client::CLIENT;
pub use dns::DNS;
pub use early_user_auth::EARLY_USER_AUTH;
pub use errinfo::ERRINFO;
pub use extended::EXTENDED;
pub use gateway::GATEWAY;
pub use http::HTTP;
pub use icmp::{ICMP, ICMPV6};
pub use kerberos::KERBEROS;
pub use licensing::{LICENSING, LICENSING_TRANSITION};
pub use logon_notification::{LOGON_NOTIFICATION, LOGON_NOTIFICATION_DATA};
pub use mcs::{MCS_DISCONNECT, MCS_RESULT};
pub use negotiation::NEGOTIATION;
pub use ntstatus::NTSTATUS;
pub use pairs::Pair;
pub use rdstls::RDSTLS;
pub use search::{Answer, Hit, Stray, search};
pub use tls_alert::TLS_ALERT;

/// One number of one space, as the specification names it and as an administrator needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The value on the wire or in the client's window; `type << 8 | code` for ICMP.
    pub number: u32,
    /// The specification's own name.
    pub name: &'static str,
    /// What it says, in one or two sentences.
    pub meaning: &'static str,
    /// What a capture of it most likely shows.
    pub picture: &'static str,
    /// What to do, the safest first.
    pub remedy: &'static [&'static str],
    /// The section or page that defines it.
    pub source: &'static str,
    /// What popular pages get wrong about it.
    pub not: Option<&'static str>,
}

impl Code {
    const fn new(
        number: u32,
        name: &'static str,
        meaning: &'static str,
        picture: &'static str,
        remedy: &'static [&'static str],
        source: &'static str,
    ) -> Self {
        Self {
            number,
            name,
            meaning,
            picture,
            remedy,
            source,
            not: None,
        }
    }

    const fn not(mut self, claim: &'static str) -> Self {
        self.not = Some(claim);
        self
    }

    /// The same facts under another name and source, for enumerations that repeat one another.
    const fn twin(&self, name: &'static str, source: &'static str) -> Self {
        Self {
            number: self.number,
            name,
            meaning: self.meaning,
            picture: self.picture,
            remedy: self.remedy,
            source,
            not: self.not,
        }
    }
}

/// The entry of `table` with this number. For use in constants: a missing number stops the build.
const fn entry(table: &'static [Code], number: u32) -> &'static Code {
    let mut at = 0;
    while at < table.len() {
        if table[at].number == number {
            return &table[at];
        }
        at += 1;
    }
    panic!("no such entry")
}

/// How a space's numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `0x904`.
    Hex,
    /// `40`.
    Decimal,
    /// `type 3 code 13`: ICMP, the type in the upper byte.
    TypeCode,
}

/// A part of a space's numbers that has a common meaning, known entries or not.
#[derive(Debug, PartialEq, Eq)]
pub struct Range {
    /// First number.
    pub from: u32,
    /// Last number.
    pub to: u32,
    /// What a number in it would be.
    pub what: &'static str,
}

/// A code space: a set of numbers that one field of one protocol draws from.
#[derive(Debug)]
pub struct Space {
    /// Short name for scripts, and a search word that narrows a search to this space.
    pub slug: &'static str,
    /// Title for people.
    pub title: &'static str,
    /// Who writes these numbers, and where one reads them.
    pub about: &'static str,
    /// How its numbers are written.
    pub notation: Notation,
    /// Where numbers that the tables do not know would lie.
    pub ranges: &'static [Range],
    /// The entries.
    pub tables: &'static [&'static [Code]],
    /// Other writings of the same number (a bare Win32 code for its HRESULT) brought to the one of the tables.
    pub canonical: fn(u32) -> u32,
}

/// The slug is the identity of a space: a test keeps slugs unique.
impl PartialEq for Space {
    fn eq(&self, other: &Self) -> bool {
        self.slug == other.slug
    }
}

impl Eq for Space {}

impl Space {
    /// Every entry, in the order of the tables.
    pub fn codes(&self) -> impl Iterator<Item = &'static Code> + use<> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// A number in this space's notation.
    pub fn show(&self, number: u32) -> String {
        match self.notation {
            Notation::Hex => format!("{number:#x}"),
            Notation::Decimal => number.to_string(),
            Notation::TypeCode => format!("type {} code {}", number >> 8, number & 0xFF),
        }
    }

    /// What a number that has no entry would be, where its range tells.
    pub fn range(&self, number: u32) -> Option<&'static Range> {
        self.ranges.iter().find(|range| (range.from..=range.to).contains(&number))
    }
}

fn as_it_is(number: u32) -> u32 {
    number
}

/// The entry for `number` in `space`, also under the other writings of the same number.
pub fn lookup(space: &Space, number: u32) -> Option<&'static Code> {
    let canonical = (space.canonical)(number);
    space
        .codes()
        .find(|code| code.number == number)
        .or_else(|| space.codes().find(|code| code.number == canonical))
}

/// `NAME (0x7)`, or `unknown 0x7`: a code point never loses its number.
pub fn name(space: &Space, number: u32) -> Cow<'static, str> {
    let shown = space.show(number);
    match lookup(space, number) {
        Some(code) => Cow::Owned(format!("{} ({shown})", code.name)),
        None => Cow::Owned(format!("unknown {shown}")),
    }
}

/// Every code space, in the order in which `explain --list` prints them.
pub const SPACES: &[&Space] = &[
    &CLIENT,
    &EXTENDED,
    &ERRINFO,
    &NEGOTIATION,
    &TLS_ALERT,
    &NTSTATUS,
    &EARLY_USER_AUTH,
    &LICENSING,
    &LICENSING_TRANSITION,
    &GATEWAY,
    &HTTP,
    &KERBEROS,
    &DNS,
    &RDSTLS,
    &LOGON_NOTIFICATION,
    &LOGON_NOTIFICATION_DATA,
    &MCS_RESULT,
    &MCS_DISCONNECT,
    &ICMP,
    &ICMPV6,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_unique_within_a_space_and_slugs_among_spaces() {
        let mut slugs = HashSet::new();
        for space in SPACES {
            assert!(slugs.insert(space.slug), "{}", space.slug);
            let mut numbers = HashSet::new();
            for code in space.codes() {
                assert!(numbers.insert(code.number), "{} {:#x}", space.slug, code.number);
            }
            assert!(!numbers.is_empty(), "{}", space.slug);
        }
    }

    #[test]
    fn no_field_is_empty_and_every_sentence_ends() {
        for space in SPACES {
            assert!(!space.title.is_empty() && space.about.ends_with('.'), "{}", space.slug);
            for code in space.codes() {
                let place = format!("{} {:#x} {}", space.slug, code.number, code.name);
                assert!(!code.name.is_empty() && !code.source.is_empty(), "{place}");
                assert!(code.meaning.ends_with('.'), "{place}: {}", code.meaning);
                assert!(code.picture.ends_with('.'), "{place}: {}", code.picture);
                assert!(!code.remedy.is_empty(), "{place}");
                assert!(
                    code.remedy.iter().all(|step| step.ends_with(['.', '?'])),
                    "{place}: {:?}",
                    code.remedy
                );
                assert!(code.not.is_none_or(|claim| claim.ends_with('.')), "{place}");
            }
        }
    }

    #[test]
    fn the_first_advice_never_weakens_security() {
        const WEAK: &[&str] = &[
            "UserAuthentication = 0",
            "SecurityLayer = 0",
            "Vulnerable",
            "As a test",
            "TLS 1.0",
        ];
        let first_steps = SPACES
            .iter()
            .flat_map(|space| space.codes())
            .filter_map(|code| code.remedy.first());
        let first_of_pairs = pairs::PAIRS.iter().filter_map(|pair| pair.remedy.first());
        for step in first_steps.chain(first_of_pairs) {
            assert!(WEAK.iter().all(|weak| !step.contains(weak)), "{step}");
        }
        for step in SPACES.iter().flat_map(|space| space.codes()).flat_map(|code| code.remedy) {
            if step.contains("UserAuthentication = 0") || step.contains("SecurityLayer = 0") {
                assert!(step.starts_with("As a test"), "{step}");
            }
        }
    }

    #[test]
    fn pairs_name_known_codes() {
        for pair in pairs::PAIRS {
            assert!(lookup(&CLIENT, pair.reason).is_some(), "{:#x}", pair.reason);
            assert!(lookup(&EXTENDED, pair.extended).is_some(), "{:#x}", pair.extended);
            assert!(!pair.pictures.is_empty() && !pair.remedy.is_empty() && !pair.source.is_empty());
        }
    }

    #[test]
    fn names_keep_the_number() {
        assert_eq!(name(&CLIENT, 0x904), "disconnectReasonAtClientWinsockFDCLOSE (0x904)");
        assert_eq!(name(&TLS_ALERT, 40), "handshake_failure (40)");
        assert_eq!(name(&TLS_ALERT, 200), "unknown 200");
        assert_eq!(name(&NTSTATUS, 0xC000_FFFE), "unknown 0xc000fffe");
        assert_eq!(
            name(&ICMP, 0x030D),
            "communication administratively prohibited (type 3 code 13)"
        );
        assert_eq!(name(&GATEWAY, 0x59DA), "E_PROXY_RAP_ACCESSDENIED (0x59da)");
        assert_eq!(name(&RDSTLS, 0x8007_052E), "RDSTLS_RESULT_LOGON_FAILURE (0x8007052e)");
    }

    #[test]
    fn every_set_error_info_code_is_an_extended_reason_or_of_the_broker() {
        for code in ERRINFO.codes() {
            let broker = (0x400..0x500).contains(&code.number);
            let server_only = (0x0F..0x20).contains(&code.number);
            assert!(
                broker || server_only || lookup(&EXTENDED, code.number).is_some(),
                "{}",
                code.name
            );
        }
    }
}
