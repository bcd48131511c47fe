//! The secret that admin requests carry.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};
use subtle::ConstantTimeEq;

/// Least number of characters of a token: sixteen random ones cannot be guessed over a network.
const SHORTEST: usize = 16;

/// A secret. It is compared and sent, and never printed.
#[derive(Clone)]
pub struct AdminToken(String);

/// The reason why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// The file cannot be read.
    #[error("cannot read the admin token in {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// The text is no token.
    #[error(
        "the admin token {0}; write {SHORTEST} or more letters, digits and punctuation characters on one line"
    )]
    Unusable(&'static str),
}

impl AdminToken {
    /// Reads the token in a file; blanks and line breaks around it are ignored.
    ///
    /// # Errors
    /// When the file cannot be read, or its text is no token.
    pub fn from_file(path: &Path) -> Result<Self, BadToken> {
        let text = fs::read_to_string(path)
            .map_err(|cause| BadToken::Unreadable { path: path.to_owned(), cause })?;
        AdminToken::from_text(&text)
    }

    /// Takes a text as a token; blanks and line breaks around it are ignored.
    ///
    /// # Errors
    /// When it is shorter than 16 characters, or has a character other than visible ASCII, which a header could not
    /// carry.
    pub fn from_text(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Unusable("has a character that is not visible ASCII"));
        }
        if text.len() < SHORTEST {
            return Err(BadToken::Unusable("is too short"));
        }
        Ok(AdminToken(text.to_owned()))
    }

    /// Whether the offered bytes are this token. The time that the comparison takes depends on the lengths only.
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// Returns the value of an `Authorization` header with this token (RFC 6750 §2.1).
    #[cfg(feature = "cli")]
    pub(crate) fn as_credentials(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_a_token_of_sixteen_visible_characters_or_more() {
        for (text, reason) in [
            ("", "too short"),
            ("fifteen-letters", "too short"),
            (" \n fifteen-letters \r\n", "too short"),
            ("two words that are long", "not visible"),
            ("two-lines-that-are\nlong-enough-both", "not visible"),
            ("sixteen-letters-\u{e9}", "not visible"),
            ("sixteen-letters-\u{0}", "not visible"),
        ] {
            let error = AdminToken::from_text(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert!(AdminToken::from_text("  sixteen-letters!\r\n").unwrap().matches(b"sixteen-letters!"));
    }

    #[test]
    fn matches_the_whole_token_only() {
        let token = AdminToken::from_text("sixteen-letters!").unwrap();
        for wrong in ["", "sixteen-letters", "sixteen-letters!!", "Sixteen-letters!", "sixteen-letters?"] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn never_prints_the_token() {
        let token = AdminToken::from_text("sixteen-letters!").unwrap();
        assert_eq!(format!("{token:?}"), "AdminToken(..)");
        let error = AdminToken::from_text("a-secret with a blank").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret with"), "{error}");
    }

    #[test]
    fn names_the_file_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let error = AdminToken::from_file(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(&path, "sixteen-letters!\n").unwrap();
        assert!(AdminToken::from_file(&path).unwrap().matches(b"sixteen-letters!"));
    }
}
