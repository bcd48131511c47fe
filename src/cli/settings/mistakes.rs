//! What is wrong with settings.

use crate::balancer::rules::Reason;

/// Where a mistake was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// In a value, from a flag or from the file.
    Value,
    /// In the file: it cannot be understood there.
    File,
    /// Outside: another file that a setting names cannot be used.
    Environment,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key of the setting, or empty where none is to blame.
    pub about: String,
    /// The sentence for the user.
    pub text: String,
    /// Where it was made.
    pub cause: Cause,
}

/// Everything that is wrong, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Adds a mistake about one setting.
    pub fn add(&mut self, cause: Cause, key: &str, text: String) {
        self.0.push(Mistake { about: key.to_owned(), text, cause });
    }

    /// Adds broken rules, to mistakes of form only. A rule that needs a setting that could not be understood says
    /// nothing new, and neither does a sentence that is there already.
    pub(crate) fn add_rules(&mut self, reasons: Vec<Reason>) {
        let form = self.clone();
        for Reason { about, needs, text } in reasons {
            let is_known = self.0.iter().any(|mistake| mistake.text == text);
            if !is_known && !needs.iter().any(|key| form.concern(key)) {
                self.add(Cause::Value, about, text);
            }
        }
    }

    /// Returns whether there is a mistake about this setting.
    pub fn concern(&self, key: &str) -> bool {
        self.0.iter().any(|mistake| mistake.about == key)
    }

    /// Returns the sentences.
    pub fn texts(self) -> Vec<String> {
        self.0.into_iter().map(|mistake| mistake.text).collect()
    }
}
