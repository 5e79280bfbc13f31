//! Finds what people type: hex, decimal, signed, names, words, and the two numbers of mstsc's window.

use super::{CLIENT, EXTENDED, ICMP, ICMPV6};
use super::{Code, Notation, Pair, Range, SPACES, Space, lookup, pairs};

/// One entry that answers a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it stands.
    pub space: &'static Space,
    /// The entry.
    pub code: &'static Code,
}

/// A number that was asked for and has no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The number, as its first reading.
    pub number: u32,
    /// As it was typed.
    pub typed: String,
    /// The ranges in which it would lie, by space.
    pub ranges: Vec<(&'static Space, &'static Range)>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What two numbers say together, where that is more than their parts.
    pub pair: Option<&'static Pair>,
    /// Entries, the best first. For a pair: the client's reason, then the extended one.
    pub hits: Vec<Hit>,
    /// Numbers without an entry.
    pub strays: Vec<Stray>,
}

impl Answer {
    /// Whether nothing at all is known of what was typed.
    pub fn is_empty(&self) -> bool {
        self.pair.is_none() && self.hits.is_empty() && self.strays.is_empty()
    }
}

/// A number as it was typed, with the ways to read it.
struct Number<'a> {
    typed: &'a str,
    /// The reading by the notation that was typed (decimal for bare digits).
    plain: Option<u32>,
    /// Bare digits read as hex, as people drop the `0x` of "904".
    as_hex: Option<u32>,
}

impl Number<'_> {
    fn readings(&self, space: &Space) -> impl Iterator<Item = u32> + use<> {
        let bare_hex = self.as_hex.filter(|_| space.notation == Notation::Hex);
        self.plain.into_iter().chain(bare_hex)
    }

    fn find(&self, space: &'static Space) -> Option<Hit> {
        let code = self.readings(space).find_map(|number| lookup(space, number))?;
        Some(Hit { space, code })
    }
}

/// Looks up whatever was typed: `0x904`, `2308`, `904`, `-1073741715`, `c000006d`, a name or a part of it, words of a
/// meaning, a space's slug (alone, or before a number to narrow it), `icmp 3 13`, or a pair such as `0x904 0x7`.
pub fn search(text: &str) -> Answer {
    let tokens = tokens(text);
    let numbers: Vec<Number<'_>> = tokens.iter().filter_map(|token| number(token)).collect();
    let words: Vec<&str> = tokens.iter().copied().filter(|token| number(token).is_none()).collect();
    let named: Vec<&'static Space> = SPACES
        .iter()
        .copied()
        .filter(|space| words.iter().any(|word| word.eq_ignore_ascii_case(space.slug)))
        .collect();
    if numbers.is_empty() {
        return by_words(&words, &named);
    }
    if let [first, second] = numbers.as_slice() {
        let kind_and_code = words.iter().any(|word| word.eq_ignore_ascii_case("type"))
            && words.iter().any(|word| word.eq_ignore_ascii_case("code"));
        if kind_and_code || named.iter().any(|space| space.notation == Notation::TypeCode) {
            return by_type_and_code(first, second, &named);
        }
        if named.iter().all(|space| [CLIENT.slug, EXTENDED.slug].contains(&space.slug))
            && let Some(answer) = by_pair(first, second)
        {
            return answer;
        }
    }
    by_numbers(&numbers, &named)
}

fn by_pair(first: &Number<'_>, second: &Number<'_>) -> Option<Answer> {
    let reason = first.find(&CLIENT)?;
    let mut answer = Answer {
        hits: vec![reason],
        ..Answer::default()
    };
    match second.find(&EXTENDED) {
        Some(extended) => {
            answer.pair = pairs::find(reason.code.number, extended.code.number);
            answer.hits.push(extended);
        }
        None => answer.strays.push(stray(second, &[&EXTENDED])),
    }
    Some(answer)
}

fn by_type_and_code(kind: &Number<'_>, code: &Number<'_>, named: &[&'static Space]) -> Answer {
    let mut answer = Answer::default();
    let (Some(kind), Some(code)) = (kind.plain, code.plain) else {
        return answer;
    };
    let number = kind.saturating_mul(256).saturating_add(code.min(255));
    for space in [&ICMP, &ICMPV6]
        .into_iter()
        .filter(|space| named.is_empty() || named.contains(space))
    {
        match lookup(space, number) {
            Some(code) => answer.hits.push(Hit { space, code }),
            None => {
                if let Some(range) = space.range(number) {
                    answer.strays.push(Stray {
                        number,
                        typed: space.show(number),
                        ranges: vec![(space, range)],
                    });
                }
            }
        }
    }
    answer
}

fn by_numbers(numbers: &[Number<'_>], named: &[&'static Space]) -> Answer {
    let spaces: Vec<&'static Space> = if named.is_empty() {
        SPACES
            .iter()
            .copied()
            .filter(|space| space.notation != Notation::TypeCode)
            .collect()
    } else {
        named.to_vec()
    };
    let mut answer = Answer::default();
    for number in numbers {
        let before = answer.hits.len();
        for space in &spaces {
            if space.notation == Notation::TypeCode {
                let kind = number.plain;
                answer.hits.extend(
                    space
                        .codes()
                        .filter(|code| Some(code.number >> 8) == kind)
                        .map(|code| Hit { space, code }),
                );
            } else {
                answer.hits.extend(number.find(space));
            }
        }
        if answer.hits.len() == before {
            answer.strays.push(stray(number, &spaces));
        }
    }
    answer
}

fn stray(number: &Number<'_>, spaces: &[&'static Space]) -> Stray {
    let ranges = spaces
        .iter()
        .filter_map(|space| {
            number
                .readings(space)
                .find_map(|n| space.range(n))
                .map(|range| (*space, range))
        })
        .collect();
    Stray {
        number: number.plain.or(number.as_hex).unwrap_or_default(),
        typed: number.typed.to_owned(),
        ranges,
    }
}

fn by_words(words: &[&str], named: &[&'static Space]) -> Answer {
    let mut answer = Answer::default();
    if let ([_], [space]) = (words, named) {
        answer.hits = space.codes().map(|code| Hit { space, code }).collect();
        return answer;
    }
    let whole = squeeze(&words.concat());
    if whole.is_empty() {
        return answer;
    }
    let mut ranked: Vec<(u8, Hit)> = SPACES
        .iter()
        .flat_map(|space| space.codes().map(move |code| Hit { space, code }))
        .filter_map(|hit| rank(hit, &whole, words).map(|rank| (rank, hit)))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    answer.hits = ranked.into_iter().map(|(_, hit)| hit).collect();
    answer
}

/// Lower is better: the name itself, its beginning, a part of it, words of name and meaning, words of the whole entry.
fn rank(hit: Hit, whole: &str, words: &[&str]) -> Option<u8> {
    /// Shorter parts of names ("nla", "rap") must be words of their own, not letters within another.
    const SHORTEST_PART: usize = 4;
    let name = squeeze(hit.code.name);
    if name == whole {
        return Some(0);
    }
    if whole.len() >= SHORTEST_PART {
        // A space that repeats another's names under a prefix must not come before it.
        if name.starts_with(whole) || name.ends_with(whole) {
            return Some(1);
        }
        if name.contains(whole) {
            return Some(2);
        }
    }
    let has = |text: &str, word: &str| {
        text.split(|c: char| !c.is_alphanumeric())
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    let named = |word: &&str| has(hit.code.name, word);
    let meant = |word: &&str| has(hit.code.meaning, word);
    if words.iter().all(named) {
        return Some(3);
    }
    if words.iter().all(|word| named(word) || meant(word)) {
        return Some(4);
    }
    // The rest of an entry speaks of other things, too: one word is not enough.
    let told = |word: &&str| {
        hit.code
            .remedy
            .iter()
            .copied()
            .chain(hit.code.not)
            .any(|text| has(text, word))
    };
    (words.len() > 1 && words.iter().all(|word| named(word) || meant(word) || told(word))).then_some(5)
}

fn squeeze(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn tokens(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .flat_map(|part| {
            // "0x904-0x7" is two numbers; "-1073741715" and "rt-no-such-channel" are one token each.
            match part.split_once('-') {
                Some((a, b)) if number(a).is_some() && number(b).is_some() => vec![a, b],
                _ => vec![part],
            }
        })
        .filter(|token| !token.is_empty())
        .collect()
}

fn number(token: &str) -> Option<Number<'_>> {
    let plain_only = |plain| {
        Some(Number {
            typed: token,
            plain: Some(plain),
            as_hex: None,
        })
    };
    if let Some(hex) = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        return plain_only(low_half(u64::from_str_radix(hex, 16).ok()?)?);
    }
    if let Some(digits) = token.strip_prefix('-') {
        let value = i64::from(digits.parse::<u32>().ok()?);
        return plain_only(i32::try_from(-value).ok()?.cast_unsigned());
    }
    if token.bytes().all(|b| b.is_ascii_digit()) {
        let plain = token.parse().ok();
        let as_hex = u32::from_str_radix(token, 16).ok().filter(|hex| Some(*hex) != plain);
        return (plain.is_some() || as_hex.is_some()).then_some(Number {
            typed: token,
            plain,
            as_hex,
        });
    }
    // Hex without its prefix, but no word: "c000006d" and "B07", not "dead" or "bad".
    let hex_word = (3..=8).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_hexdigit())
        && token.bytes().any(|b| b.is_ascii_digit());
    if hex_word {
        plain_only(u32::from_str_radix(token, 16).ok()?)
    } else {
        None
    }
}

/// A 32-bit number, also where a tool printed it sign-extended to 64 bits.
fn low_half(value: u64) -> Option<u32> {
    match value >> 32 {
        0 | 0xFFFF_FFFF => u32::try_from(value & 0xFFFF_FFFF).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{DNS, GATEWAY, KERBEROS, NEGOTIATION, NTSTATUS};

    fn first(text: &str) -> (&'static str, &'static str) {
        let answer = search(text);
        let hit = answer.hits.first().unwrap_or_else(|| panic!("nothing for {text}"));
        (hit.space.slug, hit.code.name)
    }

    #[test]
    fn every_way_to_type_2308_finds_it() {
        for text in ["0x904", "2308", "0x00000904", "904", "0X904", "error code: 0x904"] {
            assert_eq!(first(text), ("client", "disconnectReasonAtClientWinsockFDCLOSE"), "{text}");
        }
    }

    #[test]
    fn the_famous_pair_is_explained_together() {
        for text in [
            "0x904 0x7",
            "0x904/0x7",
            "2308 7",
            "904 7",
            "0x904-0x7",
            "Error code: 0x904, Extended error code: 0x7",
        ] {
            let answer = search(text);
            let pair = answer.pair.unwrap_or_else(|| panic!("no pair for {text}"));
            assert_eq!((pair.reason, pair.extended), (0x904, 0x7));
            let names: Vec<_> = answer.hits.iter().map(|hit| hit.code.name).collect();
            assert_eq!(
                names,
                ["disconnectReasonAtClientWinsockFDCLOSE", "exDiscReasonServerDeniedConnection"]
            );
        }
    }

    #[test]
    fn a_pair_without_its_own_entry_is_its_two_parts() {
        let answer = search("0x204 0x0");
        assert!(answer.pair.is_none());
        assert_eq!(answer.hits.len(), 2);
        let answer = search("0x904 0x1200");
        assert_eq!(answer.hits.len(), 1);
        assert_eq!(answer.strays[0].ranges[0].0.slug, "extended");
    }

    #[test]
    fn names_and_parts_of_names() {
        assert_eq!(first("HYBRID_REQUIRED_BY_SERVER"), ("x224", "HYBRID_REQUIRED_BY_SERVER"));
        assert_eq!(first("hybrid required"), ("x224", "HYBRID_REQUIRED_BY_SERVER"));
        assert_eq!(first("STATUS_LOGON_FAILURE"), ("ntstatus", "STATUS_LOGON_FAILURE"));
        assert_eq!(first("E_PROXY_RAP_ACCESSDENIED"), ("gateway", "E_PROXY_RAP_ACCESSDENIED"));
        assert_eq!(first("KDC_ERR_PREAUTH_FAILED"), ("kerberos", "KDC_ERR_PREAUTH_FAILED"));
        assert_eq!(first("preauth_failed"), ("kerberos", "KDC_ERR_PREAUTH_FAILED"));
        assert_eq!(first("nxdomain"), ("dns", "NXDOMAIN"));
        let denied = search("access_denied");
        assert!(denied.hits.iter().any(|hit| hit.code.name == "STATUS_ACCESS_DENIED"));
        assert!(denied.hits.iter().any(|hit| hit.code.name == "AUTHZ_ACCESS_DENIED"));
        assert!(denied.hits.iter().any(|hit| hit.code.name == "E_PROXY_RAP_ACCESSDENIED"));
    }

    #[test]
    fn words_of_a_meaning() {
        let nla = search("nla");
        assert!(
            nla.hits
                .iter()
                .any(|hit| hit.space.slug == NEGOTIATION.slug && hit.code.number == 5)
        );
        assert!(
            nla.hits
                .iter()
                .any(|hit| hit.space.slug == CLIENT.slug && hit.code.number == 0xB09)
        );
        assert!(
            nla.hits
                .iter()
                .all(|hit| hit.code.name.contains("NLA") || hit.code.meaning.contains("NLA"))
        );
        let wrong = search("wrong password");
        assert!(wrong.hits.iter().any(|hit| hit.code.name == "STATUS_WRONG_PASSWORD"));
    }

    #[test]
    fn signed_unsigned_and_bare_hex_status() {
        for text in ["-1073741715", "3221225581", "c000006d", "0xC000006D", "0xFFFFFFFFC000006D"] {
            assert_eq!(first(text), (NTSTATUS.slug, "STATUS_LOGON_FAILURE"), "{text}");
        }
    }

    #[test]
    fn both_encodings_of_a_gateway_code() {
        for text in ["0x800759DA", "0x59DA", "59DA", "23002"] {
            assert_eq!(first(text), (GATEWAY.slug, "E_PROXY_RAP_ACCESSDENIED"), "{text}");
        }
        assert_eq!(first("0x800759E6").1, "E_PROXY_MAXCONNECTIONSREACHED");
    }

    #[test]
    fn a_space_narrows_a_number_and_lists_itself() {
        assert_eq!(first("kerberos 7"), ("kerberos", "KDC_ERR_S_PRINCIPAL_UNKNOWN"));
        assert_eq!(search("kerberos 7").hits.len(), 1);
        assert_eq!(search("dns").hits.len(), DNS.codes().count());
        assert_eq!(search("kerberos").hits.len(), KERBEROS.codes().count());
        let seven = search("0x7");
        for slug in ["extended", "errinfo", "licensing", "kerberos"] {
            assert!(seven.hits.iter().any(|hit| hit.space.slug == slug), "{slug}");
        }
    }

    #[test]
    fn icmp_by_type_and_code() {
        assert_eq!(first("icmp 3 13"), ("icmp", "communication administratively prohibited"));
        assert_eq!(first("icmp 3/4"), ("icmp", "fragmentation needed and DF set"));
        assert_eq!(first("icmpv6 2 0"), ("icmpv6", "packet too big"));
        assert_eq!(first("type 3 code 13").0, "icmp");
        assert!(search("icmp 3").hits.len() > 10);
    }

    #[test]
    fn unknown_numbers_keep_their_range() {
        let answer = search("0xC000FFFE");
        assert!(answer.hits.is_empty());
        assert_eq!(answer.strays[0].ranges[0].0.slug, NTSTATUS.slug);
        assert_eq!(search("0x030000AA").strays[0].ranges[0].1.from, 0x0300_0000);
        let nowhere = search("0x77777777");
        assert!(nowhere.strays[0].ranges.is_empty());
        assert!(!nowhere.is_empty());
        assert!(search("").is_empty());
        assert!(search("zzzz").is_empty());
    }
}
