//! Sticky sessions: a cookie by which a client comes back to the backend that it had before. A step before
//! the [`strategy`](crate::balance::strategies), which is asked where no cookie names a usable backend.
//!
//! The cookie's value is a [`Token`]: a keyed hash of the backend's address. It shows nobody what the
//! balancer's network looks like, and nobody without the key can make one. Nothing is stored for a client,
//! and nothing is decoded: the balancer compares the token with those of the backends that exist, so
//! whatever a client sends, it can name no other address.

use crate::backend::Backend;
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;

/// A cookie's name: a token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 asks, of 1 to 64 characters.
///
/// ```
/// use turnwheel::balance::affinity::CookieName;
///
/// assert!("turnwheel".parse::<CookieName>().is_ok());
/// assert!("turn wheel".parse::<CookieName>().is_err());
/// assert!("__Host-turnwheel".parse::<CookieName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieName(String);

/// Why a text is no name for the cookie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name for a cookie: {reason}")]
pub struct BadCookieName {
    text: String,
    reason: &'static str,
}

/// The longest name, in characters. It travels with every request; RFC 6265 §6.1 has browsers keep 4096
/// bytes of name, value and attributes, so nothing else limits it.
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
        // Browsers look at these without regard to case (draft-ietf-httpbis-rfc6265bis §5.4).
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("__host-") || lower.starts_with("__secure-") {
            return bad("browsers take that prefix only with Secure, which plain HTTP cannot set");
        }
        Ok(CookieName(text.to_owned()))
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What tokens are made with: 128 bits that no client may know.
#[derive(Clone)]
pub struct Key {
    halves: [u64; 2],
}

impl Key {
    /// A key that nobody else has. Cookies made with it mean nothing after a restart, nor to another
    /// balancer.
    ///
    /// The bits are the operating system's: std seeds the first [`RandomState`] of a thread with 128 of
    /// them, and one `RandomState` hashes two numbers into the halves. Only one, because the next differs
    /// from it by 1 in half its seed. What comes out is SipHash-1-3 under a secret key, and no client sees
    /// it, but only tokens made with it; telling it from chance would take an attack that nobody knows of.
    /// std promises no quality for these seeds, and a machine in its first moments may have poor ones. That
    /// is enough for what a forged token could gain: its client would have chosen its backend, among those
    /// that serve everybody.
    pub fn random() -> Self {
        let seed = RandomState::new();
        Key { halves: [seed.hash_one(0_u64), seed.hash_one(1_u64)] }
    }

    /// The key that belongs to this secret: all balancers that share it agree on the cookies, before and
    /// after a restart.
    ///
    /// It should be 16 bytes or more that nobody can guess. Any length is taken, but it is hashed once and
    /// quickly: who has a cookie and knows the backend's address can try out short ones.
    pub fn from_secret(secret: &[u8]) -> Self {
        // A fixed key of our own, so that a secret that serves elsewhere too gives other bits here.
        let mut hasher = SipHasher24::new_with_key(b"turnwheel sticky");
        hasher.write(secret);
        let hash = hasher.finish128();
        Key { halves: [hash.h1, hash.h2] }
    }
}

/// Without the bits: they do not belong into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// What the cookie says: which backend, for those who have the key.
///
/// It is written as 32 hexadecimal digits in lower case. Two are compared in a time that does not depend on
/// where they differ, or a client could find a valid one digit by digit.
#[derive(Clone, Copy, Debug)]
pub struct Token(u128);

impl Token {
    /// The token that is written so, and in no other way.
    fn parse(text: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        // The number's own parser would take a sign and capitals as well.
        if text.len() != 32 || !text.iter().all(is_digit) {
            return None;
        }
        u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(Token)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        // All 16 bytes go into the difference before anybody looks at it; the black box keeps the compiler
        // from looking earlier.
        std::hint::black_box(self.0 ^ other.0) == 0
    }
}

impl Eq for Token {}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How clients are made to stay.
#[derive(Clone, PartialEq, Eq)]
pub struct AffinityOptions {
    /// What the cookie is called.
    pub cookie: CookieName,
    /// What its values are made with, so that several balancers agree. Nothing: what is made at the start.
    pub secret: Option<Vec<u8>>,
}

/// Reads the cookie and writes it.
///
/// ```
/// use http::header::{COOKIE, HeaderMap};
/// use turnwheel::balance::affinity::{Key, Sticky};
///
/// let sticky = Sticky::new("turnwheel".parse().unwrap(), Key::random());
/// let token = sticky.token("127.0.0.1:8081");
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, format!("theme=dark; turnwheel={token}").parse().unwrap());
/// assert_eq!(sticky.asked(&headers), Some(token));
/// ```
#[derive(Clone, Debug)]
pub struct Sticky {
    name: CookieName,
    key: Key,
}

impl Sticky {
    /// A cookie of this name, with tokens made with this key.
    pub fn new(cookie_name: CookieName, key: Key) -> Self {
        Sticky { name: cookie_name, key }
    }

    /// The token for the backend with this authority, as [`Backend`](crate::backend::Backend::authority)
    /// has it: SipHash-2-4 with 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
    pub fn token(&self, authority: &str) -> Token {
        let [first, second] = self.key.halves;
        let mut hasher = SipHasher24::new_with_keys(first, second);
        hasher.write(authority.as_bytes());
        Token(u128::from_be_bytes(hasher.finish128().as_bytes()))
    }

    /// The token that a request comes with, if any: the first that is well formed. Whether it is any
    /// backend's is for the caller to find out.
    ///
    /// Cookies stand in pairs between semicolons (RFC 6265 §4.2.1), and in more than one line if HTTP/2
    /// split them on the way (RFC 9113 §8.2.3). Their names are compared with regard to case. Others'
    /// cookies may hold anything, bytes that are no text among it, and do not concern us.
    pub fn asked(&self, headers: &HeaderMap) -> Option<Token> {
        headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
            .find_map(|pair| self.token_in(pair))
    }

    fn token_in(&self, pair: &[u8]) -> Option<Token> {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        if name.trim_ascii() != self.name.0.as_bytes() {
            return None;
        }
        Token::parse(value.trim_ascii())
    }

    /// The value of the Set-Cookie header that brings a client back to the backend of this token.
    ///
    /// It is for all paths, no script can read it (HttpOnly), and other sites' forms and frames do not send
    /// it (SameSite=Lax). Without Max-Age it ends with the browser's session.
    pub fn set_cookie(&self, token: Token) -> HeaderValue {
        let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax", self.name);
        // Names and tokens are visible ASCII, so this does not fail. Browsers would ignore an empty one
        // (RFC 6265 §5.2).
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The tokens of all backends.
#[derive(Clone, Debug)]
pub struct Affinity {
    sticky: Sticky,
    tokens: Vec<Token>,
}

impl Affinity {
    /// Cookies that bring clients back to these backends.
    pub fn new(sticky: Sticky, backends: &[Arc<Backend>]) -> Self {
        let tokens = backends.iter().map(|backend| sticky.token(backend.authority().as_str())).collect();
        Affinity { sticky, tokens }
    }

    /// Which backend a request is to go to, by its cookie. None for a cookie that is nobody's: it may be forged, or its
    /// backend has left.
    pub fn home(&self, headers: &HeaderMap) -> Option<usize> {
        let asked = self.sticky.asked(headers)?;
        self.tokens.iter().position(|token| *token == asked)
    }

    /// Has the client come back to this backend from now on: a cookie goes with the reply, if it was at home elsewhere
    /// or nowhere.
    pub fn settle(&self, home: Option<usize>, backend: &Backend, reply: &mut HeaderMap) {
        let token = self.sticky.token(backend.authority().as_str());
        if home.and_then(|index| self.tokens.get(index)) != Some(&token) {
            reply.append(SET_COOKIE, self.sticky.set_cookie(token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKEND: &str = "127.0.0.1:8081";

    fn sticky() -> Sticky {
        Sticky::new("wheel".parse().unwrap(), Key::from_secret(b"a secret of sixteen bytes or more"))
    }

    fn asked(lines: &[&[u8]]) -> Option<Token> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        sticky().asked(&headers)
    }

    #[test]
    fn what_was_set_is_what_is_asked_for() {
        let sticky = sticky();
        let token = sticky.token(BACKEND);
        let set = sticky.set_cookie(token);
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        assert_eq!(asked(&[pair.as_bytes()]), Some(token));
        assert_ne!(token, sticky.token("127.0.0.1:8082"));
    }

    #[test]
    fn the_cookie_has_its_attributes() {
        let set = sticky().set_cookie(Token(0xab));
        assert_eq!(set, "wheel=000000000000000000000000000000ab; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn the_hash_is_siphash_2_4_with_128_bits() {
        // The first and the sixteenth of the reference implementation's vectors_sip128: the key is 00 01 …
        // 0f, the text 00 01 … of so many bytes.
        let halves = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let sticky = Sticky::new("wheel".parse().unwrap(), Key { halves });
        assert_eq!(sticky.token("").to_string(), "a3817f04ba25a8e66df67214c7550293");
        let fifteen: String = (0..15_u8).map(char::from).collect();
        assert_eq!(sticky.token(&fifteen).to_string(), "5493e99933b0a8117e08ec0f97cfc3d9");
    }

    #[test]
    fn a_secret_gives_the_same_tokens_today_and_after_the_next_release() {
        assert_eq!(sticky().token(BACKEND).to_string(), "2bec9d7a6f7c1bb891475bb5fb996f33");
    }

    #[test]
    fn another_key_gives_another_token() {
        let token = |key| Sticky::new("wheel".parse().unwrap(), key).token(BACKEND);
        let random = Key::random();
        assert_eq!(token(random.clone()), token(random.clone()));
        assert_ne!(token(random), token(Key::random()));
        assert_ne!(token(Key::from_secret(b"one")), token(Key::from_secret(b"other")));
        assert_ne!(token(Key::from_secret(b"")), token(Key::from_secret(b"\0")));
    }

    #[test]
    fn both_halves_of_a_random_key_count() {
        let [first, second] = Key::random().halves;
        assert_ne!(first, second);
        let token = |halves| Sticky::new("wheel".parse().unwrap(), Key { halves }).token(BACKEND);
        assert_ne!(token([first, second]), token([first, !second]));
        assert_ne!(token([first, second]), token([!first, second]));
    }

    #[test]
    fn tokens_show_nothing_of_the_address() {
        let tokens: Vec<Token> =
            (8000..8100).map(|port| sticky().token(&format!("10.1.2.3:{port}"))).collect();
        for (index, token) in tokens.iter().enumerate() {
            let text = token.to_string();
            assert!(text.len() == 32 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
            for other in &tokens[..index] {
                // Of 128 bits half differ, give or take 6 times 5.7: neighbours are like strangers.
                assert!((30..=98).contains(&(token.0 ^ other.0).count_ones()), "{text} {other}");
            }
        }
        let text = sticky().token("db-cafe.internal:8081").to_string();
        for part in ["db", "cafe", "8081", "38303831", "1f91"] {
            assert!(!text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_not_asked_for() {
        for value in [
            "",
            "0",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789ABCDEF",
            "0123456789abcdef0123456789abcdeg",
            "+123456789abcdef0123456789abcdef",
            "0123456789abcdef 123456789abcdef",
            "\"0123456789abcdef0123456789abcdef\"",
            "0123456789abcdef0123456789abcd\u{e9}",
            "127.0.0.1:8081",
        ] {
            assert_eq!(asked(&[format!("wheel={value}").as_bytes()]), None, "{value}");
        }
    }

    #[test]
    fn a_forged_token_is_nobodys() {
        let sticky = sticky();
        let right = sticky.token(BACKEND);
        for bit in 0..128 {
            let forged = Token(right.0 ^ 1 << bit);
            let pair = format!("wheel={forged}");
            assert_eq!(asked(&[pair.as_bytes()]), Some(forged));
            assert_ne!(forged, right);
        }
    }

    #[test]
    fn it_is_found_among_other_cookies_and_junk() {
        let hex = "0123456789abcdef0123456789abcdef";
        let token = Token::parse(hex.as_bytes());
        let ours = format!("wheel={hex}");
        for lines in [
            vec![format!("{ours}")],
            vec![format!("a=1; {ours}; b=2")],
            vec![format!("a=1;{ours};b=2")],
            vec![format!("  a = 1 ;\t wheel \t=  {hex}  ; b")],
            vec![format!(";;; ; =; =x; wheel; {ours};")],
            vec![format!("a=x=y=wheel; {ours}")],
            vec!["a=1".to_owned(), "".to_owned(), ours.clone()],
            vec![format!("wheel=short; {ours}")],
            vec!["wheel=".to_owned(), ours.clone()],
            vec![format!("{ours}; wheel={}", "f".repeat(32))],
            vec![ours.clone(), format!("wheel={}", "f".repeat(32))],
            vec![format!("a=\u{e9}; {ours}")],
        ] {
            let bytes: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            assert_eq!(asked(&bytes), token, "{lines:?}");
        }
        assert_eq!(asked(&[b"a=\xff\xfe", format!("b=\t; {ours}").as_bytes()]), token);
    }

    #[test]
    fn others_cookies_are_not_ours() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(asked(&[]), None);
        for name in ["Wheel", "wheels", "whee", "my-wheel", "a=wheel", "\"wheel\"", "wh eel"] {
            assert_eq!(asked(&[format!("{name}={hex}").as_bytes()]), None, "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", format!("wheel={hex}").parse().unwrap());
        assert_eq!(sticky().asked(&headers), None);
    }

    #[test]
    fn names_that_are_refused_say_why() {
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

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Key::random()), "Key { .. }");
    }

    proptest! {
        #[test]
        fn any_token_comes_back_from_any_place_in_the_line(
            number in any::<u128>(),
            before in proptest::collection::vec("[a-v]{0,4} ?=?[ -:<-~]{0,8}", 0..5),
            after in "[ -~]{0,20}",
        ) {
            let line = format!("{};wheel={};{after}", before.join(";"), Token(number));
            prop_assert_eq!(asked(&[line.as_bytes()]), Some(Token(number)));
        }

        #[test]
        fn any_bytes_at_all_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                sticky().asked(&headers);
            }
        }

        #[test]
        fn any_name_that_is_taken_can_be_set(name in "[ -~]{1,64}") {
            if let Ok(name) = name.parse::<CookieName>() {
                let set = Sticky::new(name.clone(), Key::random()).set_cookie(Token(1));
                let start = format!("{name}=");
                prop_assert!(set.to_str().unwrap().starts_with(&start));
            }
        }
    }
}
