//! Cookies in a request's `Cookie` headers. Pure.

use http::header::{COOKIE, HeaderMap};
use std::fmt;
use std::str::FromStr;

/// The name of a cookie: a token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 requires, of 1 to 64 characters.
///
/// ```
/// use turnwheel::config::CookieName;
///
/// assert!("turnwheel".parse::<CookieName>().is_ok());
/// assert!("turn wheel".parse::<CookieName>().is_err());
/// assert!("__Host-turnwheel".parse::<CookieName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieName(String);

/// The reason why a text cannot name the cookie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a cookie name: {reason}")]
pub struct BadCookieName {
    text: String,
    reason: &'static str,
}

/// The longest name, in characters. It is sent with every request; RFC 6265 §6.1 has browsers accept 4096 bytes of
/// name, value and attributes.
const LONGEST_NAME: usize = 64;

impl FromStr for CookieName {
    type Err = BadCookieName;

    fn from_str(text: &str) -> Result<Self, BadCookieName> {
        let bad = |reason| Err(BadCookieName { text: text.to_owned(), reason });
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.len() > LONGEST_NAME {
            return bad("it is longer than 64 characters");
        }
        if !text.bytes().all(is_token_char) {
            return bad("it may consist of letters, digits and !#$%&'*+-.^_`|~ only");
        }
        // Browsers match these prefixes without regard to case (draft-ietf-httpbis-rfc6265bis §5.4).
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("__host-") || lower.starts_with("__secure-") {
            return bad("browsers accept that prefix only with Secure, which plain HTTP cannot set");
        }
        Ok(CookieName(text.to_owned()))
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether this is a `tchar` of RFC 9110 §5.6.2.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns the values of all cookies with this name, in order, without the quotes that RFC 6265 §4.1.1 allows.
///
/// Pairs are separated by semicolons, inside quotes too (RFC 6265 §5.4), and are spread over several lines if HTTP/2
/// split them on the way (RFC 9113 §8.2.3). Names are case-sensitive. Other cookies may hold any bytes.
pub fn values<'a>(headers: &'a HeaderMap, name: &'a CookieName) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(|pair| value_of(pair, name))
}

fn value_of<'a>(pair: &'a [u8], name: &CookieName) -> Option<&'a [u8]> {
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    let (found, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
    (found == name.0.as_bytes()).then(|| unquoted(value))
}

/// Removes one pair of enclosing quotes. A lone quote stays and belongs to the value.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn values_in(lines: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let name = "wheel".parse().unwrap();
        values(&headers, &name).map(|value| value.escape_ascii().to_string()).collect()
    }

    #[test]
    fn enclosing_quotes_are_not_part_of_the_value() {
        for (line, value) in [
            ("wheel=\"abc\"", "abc"),
            ("wheel = \"abc\" ", "abc"),
            ("a=\"1\";\twheel\t=\t\"abc\"\t; b=\"2\"", "abc"),
            ("$Version=\"1\"; wheel=\"abc\"; $Path=\"/\"", "abc"),
            ("wheel=\"\"", ""),
            ("wheel=\"\"abc\"\"", "\\\"abc\\\""),
            ("wheel=\" abc \"", " abc "),
            ("wheel=\"", "\\\""),
            ("wheel=\"abc", "\\\"abc"),
            ("wheel=abc\"", "abc\\\""),
            ("wheel=a\"b", "a\\\"b"),
        ] {
            assert_eq!(values_in(&[line.as_bytes()]), [value], "{line}");
        }
    }

    #[test]
    fn a_semicolon_separates_pairs_inside_quotes_too() {
        assert_eq!(values_in(&[b"a=\"x; wheel=abc; y\""]), ["abc"]);
        assert_eq!(values_in(&[b"wheel=\"ab;c\""]), ["\\\"ab"]);
    }

    #[test]
    fn values_come_from_all_lines_in_order() {
        assert_eq!(values_in(&[b"wheel=1; a=2; wheel=\"3\"", b"", b"wheel=4"]), ["1", "3", "4"]);
    }

    #[test]
    fn a_refused_name_names_the_reason() {
        let long = "x".repeat(65);
        for (name, reason) in [
            ("", "empty"),
            (long.as_str(), "64"),
            ("a b", "letters"),
            ("a=b", "letters"),
            ("a;b", "letters"),
            ("a\"b", "letters"),
            ("a,b", "letters"),
            ("a/b", "letters"),
            ("{a}", "letters"),
            ("a\r\nSet-Cookie: b", "letters"),
            ("r\u{e9}gime", "letters"),
            ("a\u{7f}", "letters"),
            ("__Host-a", "Secure"),
            ("__host-a", "Secure"),
            ("__Secure-a", "Secure"),
            ("__SECURE-", "Secure"),
        ] {
            let error = name.parse::<CookieName>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{name}: {error}");
        }
        for name in ["a", "turnwheel", "__Hos", "X__Host-a", "!#$%&'*+-.^_`|~09azAZ", &long[1..]] {
            assert_eq!(name.parse::<CookieName>().unwrap().to_string(), name);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                let name = "w".parse().unwrap();
                prop_assert!(values(&headers, &name).all(|value| !value.contains(&b';')));
            }
        }
    }
}
