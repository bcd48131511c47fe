//! The secret that an operator shows.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};
use subtle::ConstantTimeEq;

/// Characters that a token has at least: sixteen random ones cannot be guessed over a network.
const SHORTEST: usize = 16;

/// A secret. It is compared and sent, and nowhere shown.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// Its file cannot be read.
    #[error("cannot read the admin token in {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// What there is would not do.
    #[error("the admin token {0}; it is {SHORTEST} or more letters, digits and signs on one line")]
    Unusable(&'static str),
}

impl Token {
    /// The token in a file, with or without a line's end behind it.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no token.
    pub fn from_file(path: &Path) -> Result<Self, BadToken> {
        let text = fs::read_to_string(path)
            .map_err(|cause| BadToken::Unreadable { path: path.to_owned(), cause })?;
        Token::from_text(&text)
    }

    /// The token in a text: blanks around it are none of it.
    ///
    /// # Errors
    /// When it is shorter than 16 characters, or has one that is not visible ASCII: no header could hold
    /// that.
    pub fn from_text(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Unusable("has a character that is not visible ASCII"));
        }
        if text.len() < SHORTEST {
            return Err(BadToken::Unusable("is too short"));
        }
        Ok(Token(text.to_owned()))
    }

    /// Whether the offered bytes are this token. The time that the comparison takes depends on the lengths only.
    pub fn is(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// The header's value that shows it.
    #[cfg(feature = "cli")]
    pub(crate) fn as_credentials(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_visible() {
        for (text, reason) in [
            ("", "too short"),
            ("fifteen-letters", "too short"),
            (" \n fifteen-letters \r\n", "too short"),
            ("two words that are long", "not visible"),
            ("two-lines-that-are\nlong-enough-both", "not visible"),
            ("sixteen-letters-\u{e9}", "not visible"),
            ("sixteen-letters-\u{0}", "not visible"),
        ] {
            let error = Token::from_text(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert!(Token::from_text("  sixteen-letters!\r\n").unwrap().is(b"sixteen-letters!"));
    }

    #[test]
    fn only_the_whole_secret_is_it() {
        let token = Token::from_text("sixteen-letters!").unwrap();
        for wrong in ["", "sixteen-letters", "sixteen-letters!!", "Sixteen-letters!", "sixteen-letters?"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let token = Token::from_text("sixteen-letters!").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        let error = Token::from_text("a-secret with a blank").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret with"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let error = Token::from_file(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(&path, "sixteen-letters!\n").unwrap();
        assert!(Token::from_file(&path).unwrap().is(b"sixteen-letters!"));
    }
}
