//! The tokens that stand for backends, and the key that they are made with.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher;
use subtle::ConstantTimeEq;

/// The secret key of all tokens: 128 bits.
#[derive(Clone)]
pub struct AffinityKey([u8; 16]);

impl AffinityKey {
    /// Returns a key from the operating system's random number generator. Its tokens are meaningless after a restart,
    /// and to another balancer.
    ///
    /// # Errors
    /// When the operating system provides no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(AffinityKey(key))
    }

    /// Returns the key derived from this secret: all balancers that share it agree on the tokens, across restarts.
    ///
    /// It should be 16 or more unguessable bytes. Any length is accepted, but it is hashed once and quickly: with a
    /// cookie and the backend's address, short secrets can be found by trying.
    pub fn from_secret(secret: &[u8]) -> Self {
        // The fixed key separates domains: a secret that another program uses as well gives a different key here.
        let mut hasher = SipHasher24::new_with_key(b"turnwheel sticky");
        hasher.write(secret);
        AffinityKey(hasher.finish128().as_bytes())
    }

    /// Returns the token of the backend with this authority: SipHash-2-4 with 128 bits (Aumasson and Bernstein,
    /// "SipHash: a fast short-input PRF", 2012).
    pub fn token(&self, authority: &str) -> AffinityToken {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(authority.as_bytes());
        AffinityToken(u128::from_be_bytes(hasher.finish128().as_bytes()))
    }
}

/// Hides the key, which must not appear in a log.
impl fmt::Debug for AffinityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AffinityKey").finish_non_exhaustive()
    }
}

/// The value of the cookie: it identifies a backend to the holders of the key.
///
/// It is written as 32 hexadecimal digits in lower case, and compared in constant time: otherwise a client could find a
/// valid one digit by digit.
#[derive(Clone, Copy, Debug)]
pub struct AffinityToken(u128);

impl AffinityToken {
    /// Parses exactly the form in which tokens are written.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        // The number's own parser would also accept a sign and capitals.
        if text.len() != 32 || !text.iter().all(is_digit) {
            return None;
        }
        u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(AffinityToken)
    }
}

impl PartialEq for AffinityToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_be_bytes().ct_eq(&other.0.to_be_bytes()).into()
    }
}

impl Eq for AffinityToken {}

impl fmt::Display for AffinityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKEND: &str = "127.0.0.1:8081";

    fn key() -> AffinityKey {
        AffinityKey::from_secret(b"a secret of sixteen bytes or more")
    }

    #[test]
    fn the_hash_is_siphash_2_4_with_128_bits() {
        // The first and the sixteenth of the reference implementation's vectors_sip128: the key is 00 01 … 0f, and the
        // nth text is 00 01 … of n - 1 bytes.
        let key = AffinityKey(std::array::from_fn(|index| index as u8));
        assert_eq!(key.token("").to_string(), "a3817f04ba25a8e66df67214c7550293");
        let fifteen: String = (0..15_u8).map(char::from).collect();
        assert_eq!(key.token(&fifteen).to_string(), "5493e99933b0a8117e08ec0f97cfc3d9");
    }

    #[test]
    fn a_secret_gives_the_same_tokens_in_every_release() {
        assert_eq!(key().token(BACKEND).to_string(), "2bec9d7a6f7c1bb891475bb5fb996f33");
    }

    #[test]
    fn another_key_gives_another_token() {
        let token = |key: &AffinityKey| key.token(BACKEND);
        let random = AffinityKey::random().unwrap();
        assert_eq!(token(&random), token(&random.clone()));
        assert_ne!(token(&random), token(&AffinityKey::random().unwrap()));
        let secret = |bytes| token(&AffinityKey::from_secret(bytes));
        assert_ne!(secret(b"one"), secret(b"other"));
        assert_ne!(secret(b""), secret(b"\0"));
    }

    #[test]
    fn every_byte_of_a_key_counts() {
        let random = AffinityKey::random().unwrap();
        for index in 0..16 {
            let mut other = random.clone();
            other.0[index] = !other.0[index];
            assert_ne!(random.token(BACKEND), other.token(BACKEND), "byte {index}");
        }
    }

    #[test]
    fn a_token_reveals_nothing_of_the_address() {
        let tokens: Vec<AffinityToken> =
            (8000..8100).map(|port| key().token(&format!("10.1.2.3:{port}"))).collect();
        for (index, token) in tokens.iter().enumerate() {
            let text = token.to_string();
            assert!(text.len() == 32 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
            for other in &tokens[..index] {
                // Of 128 bits half differ, give or take 6 times 5.7: similar addresses give unrelated tokens.
                assert!((30..=98).contains(&(token.0 ^ other.0).count_ones()), "{text} {other}");
            }
        }
        let text = key().token("db-cafe.internal:8081").to_string();
        for part in ["db", "cafe", "8081", "38303831", "1f91"] {
            assert!(!text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_single_flipped_bit_makes_another_token() {
        let right = key().token(BACKEND);
        for bit in 0..128 {
            assert_ne!(AffinityToken(right.0 ^ 1 << bit), right);
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", AffinityKey::random().unwrap()), "AffinityKey { .. }");
    }

    proptest! {
        #[test]
        fn a_written_token_can_be_parsed(number in any::<u128>()) {
            let token = AffinityToken(number);
            prop_assert_eq!(AffinityToken::parse(token.to_string().as_bytes()), Some(token));
        }
    }
}
