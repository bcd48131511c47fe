//! Reading and setting the cookie, and the backend that it names.

use super::cookie::{self, CookieName};
use super::token::{AffinityKey, AffinityToken};
use crate::backend::instance::Backend;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use std::sync::Arc;

/// The options of sticky sessions.
#[derive(Clone, PartialEq, Eq)]
pub struct AffinityOptions {
    /// The name of the cookie.
    pub cookie: CookieName,
    /// The secret that several balancers share to agree on the tokens. `None`: a random key is made at the start.
    pub secret: Option<Vec<u8>>,
}

/// The cookie that carries a token.
///
/// ```
/// use http::header::{COOKIE, HeaderMap};
/// use turnwheel::internals::affinity::session::AffinityCookie;
/// use turnwheel::internals::affinity::token::AffinityKey;
///
/// let cookie = AffinityCookie::new("turnwheel".parse().unwrap(), AffinityKey::random().unwrap());
/// let token = cookie.token("127.0.0.1:8081");
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, format!("theme=dark; turnwheel={token}").parse().unwrap());
/// assert!(cookie.tokens(&headers).eq([token]));
/// ```
#[derive(Clone, Debug)]
pub struct AffinityCookie {
    name: CookieName,
    key: AffinityKey,
}

impl AffinityCookie {
    /// Creates a cookie with this name, whose tokens are made with this key.
    pub fn new(name: CookieName, key: AffinityKey) -> Self {
        AffinityCookie { name, key }
    }

    /// Returns the token of the backend with this [authority](Backend::authority).
    pub fn token(&self, authority: &str) -> AffinityToken {
        self.key.token(authority)
    }

    /// Returns the well-formed tokens of a request, in order. They need not belong to any backend.
    pub fn tokens<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = AffinityToken> + 'a {
        cookie::values(headers, &self.name).filter_map(AffinityToken::parse)
    }

    /// Returns the value of the Set-Cookie header that keeps a client on the backend of this token.
    ///
    /// It is valid for all paths, hidden from scripts (HttpOnly), and not sent with other sites' forms and frames
    /// (SameSite=Lax). Without Max-Age it ends with the browser's session.
    pub fn set_cookie(&self, token: AffinityToken) -> HeaderValue {
        let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax", self.name);
        // Names and tokens are visible ASCII, so this does not fail. Browsers would ignore an empty value
        // (RFC 6265 §5.2).
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The cookie, and the tokens of all backends.
#[derive(Clone, Debug)]
pub struct Affinity {
    cookie: AffinityCookie,
    tokens: Vec<AffinityToken>,
}

impl Affinity {
    /// Creates the affinity of clients to these backends.
    pub fn new(cookie: AffinityCookie, backends: &[Arc<Backend>]) -> Self {
        let tokens = backends.iter().map(|backend| cookie.token(backend.authority().as_str())).collect();
        Affinity { cookie, tokens }
    }

    /// Returns the index of the backend that a request's cookie names, or `None` if it names none: it may be forged, or
    /// its backend has been removed.
    ///
    /// A browser that has several cookies of this name, for different paths, sends them all: the first that names a
    /// backend counts.
    pub fn backend_of(&self, headers: &HeaderMap) -> Option<usize> {
        self.cookie.tokens(headers).find_map(|named| self.tokens.iter().position(|token| *token == named))
    }

    /// Sets the cookie in a reply of this backend, unless the request named this backend already.
    pub fn set_cookie(&self, named: Option<usize>, backend: &Backend, reply: &mut HeaderMap) {
        let token = self.cookie.token(backend.authority().as_str());
        if named.and_then(|index| self.tokens.get(index)) != Some(&token) {
            reply.append(SET_COOKIE, self.cookie.set_cookie(token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::strategies::tests::backends;
    use http::header::COOKIE;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn affinity_cookie() -> AffinityCookie {
        let key = AffinityKey::from_secret(b"a secret of sixteen bytes or more");
        AffinityCookie::new("wheel".parse().unwrap(), key)
    }

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn first_token(lines: &[&[u8]]) -> Option<AffinityToken> {
        affinity_cookie().tokens(&request(lines)).next()
    }

    #[test]
    fn the_cookie_that_was_set_is_recognised() {
        let cookie = affinity_cookie();
        let token = cookie.token("127.0.0.1:8081");
        let set = cookie.set_cookie(token);
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        assert_eq!(first_token(&[pair.as_bytes()]), Some(token));
        assert_ne!(token, cookie.token("127.0.0.1:8082"));
    }

    #[test]
    fn the_cookie_has_its_attributes() {
        let set = affinity_cookie().set_cookie(AffinityToken::parse(HEX.as_bytes()).unwrap());
        assert_eq!(set, "wheel=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_malformed_token_is_ignored() {
        for value in [
            "",
            "0",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789ABCDEF",
            "0123456789abcdef0123456789abcdeg",
            "+123456789abcdef0123456789abcdef",
            "0123456789abcdef 123456789abcdef",
            "\"0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef\"",
            "\" 0123456789abcdef0123456789abcdef\"",
            "'0123456789abcdef0123456789abcdef'",
            "0123456789abcdef0123456789abcd\u{e9}",
            "127.0.0.1:8081",
        ] {
            assert_eq!(first_token(&[format!("wheel={value}").as_bytes()]), None, "{value}");
        }
    }

    #[test]
    fn the_token_is_found_among_other_cookies_and_junk() {
        let token = AffinityToken::parse(HEX.as_bytes());
        let ours = format!("wheel={HEX}");
        for lines in [
            vec![format!("{ours}")],
            vec![format!("a=1; {ours}; b=2")],
            vec![format!("a=1;{ours};b=2")],
            vec![format!("  a = 1 ;\t wheel \t=  {HEX}  ; b")],
            vec![format!(";;; ; =; =x; wheel; {ours};")],
            vec![format!("a=x=y=wheel; {ours}")],
            vec!["a=1".to_owned(), "".to_owned(), ours.clone()],
            vec![format!("wheel=short; {ours}")],
            vec!["wheel=".to_owned(), ours.clone()],
            vec![format!("{ours}; wheel={}", "f".repeat(32))],
            vec![ours.clone(), format!("wheel={}", "f".repeat(32))],
            vec![format!("a=\u{e9}; {ours}")],
            vec![format!("wheel=\"{HEX}\"")],
            vec![format!("a=\"1\"; wheel = \"{HEX}\" ; b=\"2\"")],
            vec![format!("a=\"; {ours}; b=\"")],
        ] {
            let bytes: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            assert_eq!(first_token(&bytes), token, "{lines:?}");
        }
        assert_eq!(first_token(&[b"a=\xff\xfe", format!("b=\t; {ours}").as_bytes()]), token);
    }

    #[test]
    fn cookies_of_other_names_are_ignored() {
        assert_eq!(first_token(&[]), None);
        for name in ["Wheel", "wheels", "whee", "my-wheel", "a=wheel", "\"wheel\"", "wh eel"] {
            assert_eq!(first_token(&[format!("{name}={HEX}").as_bytes()]), None, "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", format!("wheel={HEX}").parse().unwrap());
        assert_eq!(affinity_cookie().tokens(&headers).next(), None);
    }

    #[test]
    fn the_first_token_that_names_a_backend_counts() {
        let backends: Vec<Arc<Backend>> = backends(3).into_iter().map(Arc::new).collect();
        let affinity = Affinity::new(affinity_cookie(), &backends);
        let token = |index: usize| affinity.tokens[index];
        for (line, named) in [
            (format!("wheel={HEX}"), None),
            (format!("wheel={}", token(1)), Some(1)),
            (format!("wheel={HEX}; wheel={}", token(2)), Some(2)),
            (format!("wheel={}; wheel={}", token(0), token(2)), Some(0)),
        ] {
            assert_eq!(affinity.backend_of(&request(&[line.as_bytes()])), named, "{line}");
        }
    }

    #[test]
    fn the_cookie_is_set_unless_the_request_named_the_backend() {
        let backends: Vec<Arc<Backend>> = backends(2).into_iter().map(Arc::new).collect();
        let affinity = Affinity::new(affinity_cookie(), &backends);
        for (named, is_set) in [(None, true), (Some(0), true), (Some(1), false)] {
            let mut reply = HeaderMap::new();
            affinity.set_cookie(named, &backends[1], &mut reply);
            assert_eq!(reply.contains_key(SET_COOKIE), is_set, "{named:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_is_found_anywhere_in_the_line(
            number in any::<u128>(),
            before in proptest::collection::vec("[a-v]{0,4} ?=?[ -:<-~]{0,8}", 0..5),
            after in "[ -~]{0,20}",
            quote in "\"?",
        ) {
            let text = format!("{number:032x}");
            let line = format!("{};wheel={quote}{text}{quote};{after}", before.join(";"));
            prop_assert_eq!(first_token(&[line.as_bytes()]), AffinityToken::parse(text.as_bytes()));
        }

        #[test]
        fn any_accepted_name_can_be_set(name in "[ -~]{1,64}") {
            if let Ok(name) = name.parse::<CookieName>() {
                let token = AffinityToken::parse(HEX.as_bytes()).unwrap();
                let set = AffinityCookie::new(name.clone(), AffinityKey::from_secret(b"")).set_cookie(token);
                let start = format!("{name}=");
                prop_assert!(set.to_str().unwrap().starts_with(&start));
            }
        }
    }
}
