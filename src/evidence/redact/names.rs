//! Pseudonyms for names: word by word, of the same length in every encoding, the same ones wherever the word stands.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::attempt::GATEWAY_LABELS;
use crate::forensics::inspection;

/// How many words are remembered; beyond, two words could get the same pseudonym.
const REMEMBERED: usize = 1 << 18;
/// How often a pseudonym that is taken is drawn anew.
const DRAWS: u32 = 256;

/// Words that belong to protocols and products and name nobody. Rules read some of them as hints that a host is a gateway.
const COMMON: &[&str] = &[
    "termsrv",
    "krbtgt",
    "http",
    "https",
    "host",
    "ldap",
    "ldaps",
    "cifs",
    "rpcss",
    "restrictedkrbhost",
    "gc",
    "kadmin",
    "changepw",
    "wpad",
    "isatap",
    "in-addr",
    "ip6",
    "arpa",
    "localhost",
    "localdomain",
    "remotedesktopgateway",
    "rpc",
    "rpcproxy",
    "rpcwithcert",
    "dll",
    "kdcproxy",
    "ms-wbt-server",
    "www",
];
/// Labels of services and protocols (RFC 2782). Others that begin with an underscore may be anybody's.
const SERVICES: &[&str] = &[
    "_tcp",
    "_udp",
    "_tls",
    "_ldap",
    "_kerberos",
    "_kerberos-master",
    "_kpasswd",
    "_gc",
    "_msdcs",
    "_sites",
    "_services",
    "_dns-sd",
    "_http",
    "_https",
    "_rdp",
    "_msradc",
];
/// Top-level domains, kept at the end of a name; two letters stand for a country.
const TOP: &[&str] = &[
    "com", "net", "org", "edu", "gov", "mil", "int", "local", "lan", "home", "internal", "test", "example", "invalid", "info",
];

/// Whose name a text is, which tells what of it may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A host, a domain, a service: words of protocols, hints at gateways and the top-level domain stay.
    Host,
    /// A person: nothing stays but the top-level domain behind an `@`.
    User,
    /// As a host; what makes a certificate known for that of a device that inspects TLS stays, too.
    Certificate,
}

/// Maps names.
pub(super) struct Names {
    key: [u8; 32],
    /// Words in lower case and their pseudonyms.
    known: BTreeMap<String, String>,
    taken: HashSet<String>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key and the names stay out of every log.
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Pseudonyms under this key.
    pub(super) fn new(key: &[u8; 32]) -> Names {
        Names {
            key: *key,
            known: BTreeMap::new(),
            taken: HashSet::new(),
        }
    }

    /// `text` with every word replaced: as long in UTF-8 and in UTF-16, capitals where there were capitals, digits where there were
    /// digits, what is between words left as it is.
    pub(super) fn text(&mut self, text: &str, of: Of) -> String {
        let kept = kept(text, of);
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for phrase in kept.phrases.iter().chain([&(text.len()..text.len())]) {
            let between = text.get(from..phrase.start).unwrap_or_default();
            out.push_str(&map_words(between, |word, at| {
                if kept.stays(word, from + at) {
                    word.to_owned()
                } else {
                    self.word(word)
                }
            }));
            out.push_str(text.get(phrase.clone()).unwrap_or_default());
            from = phrase.end;
        }
        out
    }

    /// As [`text`](Self::text) for a host, from what is known already; an unknown word becomes a row of `x`.
    pub(super) fn known_text(&self, text: &str) -> String {
        let kept = kept(text, Of::Host);
        map_words(text, |word, at| match self.known.get(&word.to_ascii_lowercase()) {
            _ if kept.stays(word, at) => word.to_owned(),
            Some(pseudonym) => cased(pseudonym, word),
            None => "x".repeat(word.chars().count()),
        })
    }

    /// Pseudonym and word.
    pub(super) fn map(&self) -> BTreeMap<&str, &str> {
        self.known
            .iter()
            .map(|(word, pseudonym)| (pseudonym.as_str(), word.as_str()))
            .collect()
    }

    /// Bytes that depend on `bytes` alone, as many: for keys, fingerprints and serial numbers, which name their owner.
    pub(super) fn scrambled(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut block = 0u32;
        while out.len() < bytes.len() {
            let digest = self.digest(&[b"bytes", &block.to_be_bytes(), bytes]);
            let take = (bytes.len() - out.len()).min(digest.len());
            out.extend_from_slice(&digest[..take]);
            block += 1;
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        let plain = word.to_ascii_lowercase();
        if let Some(known) = self.known.get(&plain) {
            return cased(known, word);
        }
        let mut pseudonym = String::new();
        for draw in 0..DRAWS {
            pseudonym = self.draw(&plain, draw);
            pseudonym = with_hints(&pseudonym, &plain);
            if pseudonym != plain && !self.taken.contains(&pseudonym) && !is_common(&pseudonym) {
                break;
            }
        }
        if self.known.len() < REMEMBERED {
            self.taken.insert(pseudonym.clone());
            self.known.insert(plain, pseudonym.clone());
        }
        cased(&pseudonym, word)
    }

    fn draw(&self, plain: &str, draw: u32) -> String {
        const VOWELS: &[u8] = b"aeiou";
        const CONSONANTS: &[u8] = b"bdfghklmnprstvwz";
        const ALL: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        let short = plain.chars().count() < 3;
        let mut digest = self.digest(&[b"name", &draw.to_be_bytes(), plain.as_bytes()]);
        let mut letters = 0usize;
        let pick = |set: &[u8], n: u32| char::from(set[n as usize % set.len()]);
        plain
            .chars()
            .enumerate()
            .map(|(place, c)| {
                if place % 8 == 0 && place > 0 {
                    digest = self.digest(&[b"more", &digest]);
                }
                let at = place % 8 * 4;
                let n = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
                match c {
                    '0'..='9' => pick(b"0123456789", n),
                    '-' | '_' => c,
                    c if c.is_ascii() => {
                        letters += 1;
                        let set = match (short, letters % 2) {
                            (true, _) => ALL,
                            (_, 1) => CONSONANTS,
                            _ => VOWELS,
                        };
                        pick(set, n)
                    }
                    // A character that takes as many bytes, and as many units of UTF-16.
                    c => {
                        let (first, count) = match c.len_utf8() {
                            2 => (0x3b1, 17),
                            3 => (0x3041, 80),
                            _ => (0x2_0000, 4_096),
                        };
                        char::from_u32(first + n % count).unwrap_or(c)
                    }
                }
            })
            .collect()
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC takes keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return [0; 32];
        };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

/// Applies `map` to every word, which it is given with its place.
fn map_words(text: &str, mut map: impl FnMut(&str, usize) -> String) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii();
    let mut out = String::with_capacity(text.len());
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (is_word(c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                out.push_str(&map(&text[from..at], from));
                out.push(c);
                start = None;
            }
            (false, None) => out.push(c),
            (true, Some(_)) => {}
        }
    }
    if let Some(from) = start {
        out.push_str(&map(&text[from..], from));
    }
    out
}

/// What of a text stays.
struct Kept {
    of: Of,
    /// Where its top-level domain begins.
    top: Option<usize>,
    /// Phrases that stay, rising and apart.
    phrases: Vec<Range<usize>>,
}

impl Kept {
    fn stays(&self, word: &str, at: usize) -> bool {
        (self.of != Of::User && is_common(word)) || self.top == Some(at)
    }
}

fn kept(text: &str, of: Of) -> Kept {
    let whole = text.trim_end_matches('.');
    let dotted = whole.rsplit_once('.').filter(|_| of != Of::User || whole.contains('@'));
    let top = dotted.and_then(|(before, last)| {
        let plain = last.to_ascii_lowercase();
        let country = plain.len() == 2 && plain.bytes().all(|byte| byte.is_ascii_lowercase());
        (country || TOP.contains(&plain.as_str())).then_some(before.len() + 1)
    });
    let phrases = match of {
        Of::Certificate => inspection::phrases(text),
        _ => Vec::new(),
    };
    Kept { of, top, phrases }
}

fn is_common(word: &str) -> bool {
    let plain = word.to_ascii_lowercase();
    SERVICES.contains(&plain.as_str())
        || GATEWAY_LABELS.contains(&plain.trim_end_matches(|c: char| c.is_ascii_digit()))
        || COMMON.contains(&plain.as_str())
}

/// `pseudonym` with the parts of `plain` that only say that a host is a gateway.
fn with_hints(pseudonym: &str, plain: &str) -> String {
    if !plain.is_ascii() || !plain.contains('-') {
        return pseudonym.to_owned();
    }
    let hint = |part: &str| GATEWAY_LABELS.contains(&part.trim_end_matches(|c: char| c.is_ascii_digit()));
    let parts = pseudonym.split('-').zip(plain.split('-'));
    parts
        .map(|(new, old)| if hint(old) { old } else { new })
        .collect::<Vec<&str>>()
        .join("-")
}

/// `pseudonym` with the capitals of `like`.
fn cased(pseudonym: &str, like: &str) -> String {
    pseudonym
        .chars()
        .zip(like.chars())
        .map(|(c, like)| {
            if like.is_ascii_uppercase() {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(b"0123456789abcdef0123456789ABCDEF")
    }

    #[test]
    fn a_name_is_the_same_wherever_it_stands() {
        let mut names = names();
        let gateway = names.text("it-help-gw.contoso.com", Of::Host);
        assert!(
            gateway.contains("-gw.") && !gateway.contains("it-") && !gateway.contains("help"),
            "{gateway}"
        );
        let long = names.text("host01.contoso.com", Of::Host);
        let upper = names.text("CONTOSO\\Anna", Of::Host);
        assert_eq!(long.len(), "host01.contoso.com".len());
        let domain = long.split('.').nth(1).unwrap();
        assert_eq!(upper.split('\\').next().unwrap(), domain.to_uppercase());
        assert!(long.ends_with(".com") && !long.contains("contoso") && !long.contains("host01"));
        assert_eq!(names.known_text("host01.contoso.com"), long);
        assert_eq!(names.known_text("*.contoso.com"), format!("*.{domain}.com"));
        assert_eq!(
            names.text("TERMSRV/host01", Of::Host),
            format!("TERMSRV/{}", long.split('.').next().unwrap())
        );
    }

    #[test]
    fn lengths_stay_in_every_encoding() {
        let mut names = names();
        for text in [
            "anna",
            "a",
            "Müller-07",
            "リモート",
            "𠀀x",
            "<script>alert(1)</script>",
            "",
            "...",
        ] {
            let other = names.text(text, Of::Host);
            assert_eq!(other.len(), text.len(), "{text} {other}");
            assert_eq!(other.encode_utf16().count(), text.encode_utf16().count());
            assert!(text.chars().all(|c| !c.is_alphanumeric()) || other != text);
        }
    }

    #[test]
    fn what_stays_depends_on_whose_name_it_is() {
        let mut names = names();
        for user in ["charles", "remote", "_svc_backup", "a.li", "gw01"] {
            let other = names.text(user, Of::User);
            let words: Vec<&str> = user.split('.').collect();
            assert!(other.split('.').zip(words).all(|(new, old)| new != old), "{user} {other}");
        }
        assert!(names.text("anna@contoso.com", Of::User).ends_with(".com"));
        assert!(!names.text("_svc_backup", Of::Host).contains("backup"));
        assert_eq!(names.text("_ldap._tcp", Of::Host), "_ldap._tcp");
        let issuer = names.text("Contoso Cisco Umbrella CA, Fortinet_CA_Hamburg", Of::Certificate);
        assert!(
            issuer.contains(" Cisco Umbrella ") && issuer.contains(" Fortinet_"),
            "{issuer}"
        );
        assert!(!issuer.contains("Contoso") && !issuer.contains("Hamburg"), "{issuer}");
        assert!(!names.text("www.cisco.com", Of::Host).contains("cisco"));
    }

    #[test]
    fn short_words_stay_apart() {
        let mut names = names();
        let all: HashSet<String> = (b'a'..=b'z')
            .map(|c| names.text(&char::from(c).to_string(), Of::Host))
            .collect();
        assert!(all.len() >= 24, "{}", all.len());
    }
}
