//! Settings as they were read, and how they become a configuration.

use super::mistakes::Mistakes;
use super::values::Settings;
use crate::balancer::config::ValidConfig;
use crate::cluster::options::Reread;

/// Settings, and what was wrong with their form.
#[derive(Debug, Default)]
pub struct Reading {
    /// What could be understood.
    pub settings: Settings,
    /// What could not.
    pub mistakes: Mistakes,
}

impl Reading {
    /// Makes the configuration, with what reads it again for a reload.
    ///
    /// # Errors
    /// With everything that is wrong, in form and in meaning.
    pub fn validate(self, reread: Option<Box<Reread>>) -> Result<ValidConfig, Mistakes> {
        let Reading { settings, mut mistakes } = self;
        let mut config = settings.to_config(&mut mistakes);
        config.reread = reread;
        let mut reasons = settings.without_effect(&config);
        match config.validate() {
            Ok(config) if mistakes.0.is_empty() && reasons.is_empty() => return Ok(config),
            Ok(_) => {}
            Err(invalid) => reasons.append(&mut invalid.into_reasons()),
        }
        mistakes.add_rules(reasons);
        Err(mistakes)
    }
}
