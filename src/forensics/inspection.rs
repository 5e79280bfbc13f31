//! Devices that end TLS themselves and sign a certificate of their own in the server's name.

use std::ops::Range;

use crate::protocol::tls::certificate::Certificate;

/// What the issuer of such a device's certificates contains, and whose it is. Compared without regard to case.
///
/// Makers' default authorities, from their documentation; an administrator may have replaced them by one of the company's own.
const PRODUCTS: &[(&str, &str)] = &[
    ("fortinet", "FortiGate (Fortinet)"),
    ("fortigate", "FortiGate (Fortinet)"),
    ("zscaler", "Zscaler"),
    ("netskope", "Netskope"),
    ("goskope", "Netskope"),
    ("blue coat", "Blue Coat / Symantec ProxySG"),
    ("bluecoat", "Blue Coat / Symantec ProxySG"),
    ("proxysg", "Blue Coat / Symantec ProxySG"),
    ("cisco umbrella", "Cisco Umbrella"),
    ("cisco secure access", "Cisco Secure Access"),
    ("sophos", "Sophos"),
    ("barracuda", "Barracuda"),
    ("checkpoint", "Check Point"),
    ("check point", "Check Point"),
    ("forcepoint", "Forcepoint"),
    ("websense", "Forcepoint (Websense)"),
    ("mcafee web gateway", "McAfee / Skyhigh Web Gateway"),
    ("skyhigh", "Skyhigh Web Gateway"),
    ("iboss", "iboss"),
    ("smoothwall", "Smoothwall"),
    ("watchguard", "WatchGuard"),
    ("sonicwall", "SonicWall"),
    ("palo alto", "Palo Alto Networks"),
    ("paloalto", "Palo Alto Networks"),
    ("prisma access", "Palo Alto Prisma Access"),
    ("cato networks", "Cato Networks"),
    ("untangle", "Untangle / Arista"),
    ("securly", "Securly"),
    ("lightspeed", "Lightspeed"),
    ("menlo security", "Menlo Security"),
    ("cloudflare for teams", "Cloudflare Gateway"),
    ("gateway ca - cloudflare", "Cloudflare Gateway"),
    ("kaspersky anti-virus", "Kaspersky"),
    ("kaspersky web anti-virus", "Kaspersky"),
    ("eset ssl filter", "ESET"),
    ("avast web/mail shield", "Avast"),
    ("avg web/mail shield", "AVG"),
    ("bitdefender personal ca", "Bitdefender"),
    ("g data", "G DATA"),
    ("squid", "Squid"),
    ("mitmproxy", "mitmproxy"),
    ("portswigger", "Burp Suite"),
    ("charles proxy", "Charles Proxy"),
    ("do_not_trust_fiddler", "Fiddler"),
];

/// Words that authorities of such devices carry whoever made them.
const WORDS: &[&str] = &[
    "inspection",
    "interception",
    "intercept",
    "decrypt",
    "dpi-ssl",
    "dpi ssl",
    "deep packet",
    "ssl proxy",
    "tls proxy",
    "https proxy",
    "web gateway",
    "forward trust",
    "forward untrust",
    "ssl forward",
    "man-in-the-middle",
    "web filter",
    "webfilter",
    "ssl filter",
];

/// Why a certificate is taken for that of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Its issuer names a product.
    Product(&'static str),
    /// Its issuer carries a word that only such devices' authorities carry.
    Word(&'static str),
}

/// Looks at the issuer of a certificate.
pub fn mark(certificate: &Certificate) -> Option<Mark> {
    mark_of(&certificate.issuer)
}

/// Where in a part of an issuer's name stands what [`mark`] looks for: stretches of bytes, rising and apart.
pub fn phrases(text: &str) -> Vec<Range<usize>> {
    let plain = text.to_ascii_lowercase();
    let known = PRODUCTS.iter().map(|(part, _)| part).chain(WORDS);
    let mut found: Vec<(usize, usize)> = known
        .flat_map(|phrase| plain.match_indices(phrase).map(|(at, found)| (at, at + found.len())))
        .collect();
    found.sort_unstable();
    let mut phrases: Vec<Range<usize>> = Vec::new();
    for (from, to) in found {
        match phrases.last_mut() {
            Some(last) if last.end >= from => last.end = last.end.max(to),
            _ => phrases.push(from..to),
        }
    }
    phrases
}

fn mark_of(issuer: &str) -> Option<Mark> {
    let issuer = issuer.to_lowercase();
    let product = PRODUCTS.iter().find(|(part, _)| issuer.contains(part));
    product
        .map(|(_, name)| Mark::Product(name))
        .or_else(|| WORDS.iter().find(|word| issuer.contains(**word)).map(|word| Mark::Word(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_words_are_known_by_their_issuer() {
        assert_eq!(
            mark_of("C=US, O=Zscaler Inc., CN=Zscaler Intermediate Root CA"),
            Some(Mark::Product("Zscaler"))
        );
        assert_eq!(mark_of("CN=Corp TLS Inspection CA 2"), Some(Mark::Word("inspection")));
        for own in [
            "CN=srv01.corp.lab",
            "CN=Corp Issuing CA 1, DC=corp",
            "C=US, O=Let's Encrypt, CN=R11",
            "CN=Web Server CA",
        ] {
            assert_eq!(mark_of(own), None, "{own}");
        }
    }
}
