//! Where settings come from: flags, and a file.

use super::file;
use super::keys::{is_set, named};
use super::mistakes::{Cause, Mistake, Mistakes};
use super::reading::Reading;
use super::values::Settings;
use crate::cli::failure::Failure;
use std::path::PathBuf;

/// Flags, and the file that they override.
#[derive(Clone, Debug)]
pub struct Source {
    /// What flags set.
    pub flags: Settings,
    /// The file, if one is named.
    pub file: Option<PathBuf>,
}

impl Source {
    /// Returns a source that is a file alone.
    pub fn file(path: PathBuf) -> Self {
        Source { flags: Settings::default(), file: Some(path) }
    }

    /// Reads the file, and puts the flags on top of it.
    ///
    /// # Errors
    /// When the file cannot be read, or is not TOML.
    pub fn read(&self) -> Result<Reading, Mistakes> {
        let Reading { settings, mistakes } = match &self.file {
            Some(path) => file::read(path)?,
            None => Reading::default(),
        };
        Ok(Reading { settings: self.flags.clone().or(settings), mistakes })
    }

    /// Returns the failure of a command because of these mistakes: wrong usage where one of them is in a flag.
    pub fn failure(&self, mistakes: Mistakes) -> Failure {
        let flags = named(&self.flags);
        let is_wrong_usage = |mistake: &Mistake| {
            mistake.cause == Cause::Value && (self.file.is_none() || is_set(&flags, &mistake.about))
        };
        if mistakes.0.iter().any(is_wrong_usage) {
            Failure::wrong_usage(mistakes.texts())
        } else {
            Failure::new(mistakes.texts())
        }
    }
}
