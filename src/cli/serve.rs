//! The command `turnwheel serve`: the balancer in front of backends that run elsewhere.

use crate::balancer::Balancer;
use crate::cli::descriptors;
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::settings::source::Source;
use crate::cli::settings::values::Settings;
use crate::cli::signals::stop_on_signals;
use crate::cluster::options::Reread;
use std::path::PathBuf;

/// Serves until a signal to stop.
///
/// # Errors
/// When the settings are wrong, or the balancer cannot start.
pub fn serve(backends: &[String], file: Option<PathBuf>, mut flags: Settings) -> Result<(), Failure> {
    flags.backend = backends.iter().map(|text| text.as_str().into()).collect();
    let source = Source { flags, file };
    let mut config = source
        .read()
        .and_then(|reading| {
            let reread = source.file.is_some().then(|| reread(source.clone(), reading.settings.clone()));
            reading.validate(reread)
        })
        .map_err(|mistakes| source.failure(mistakes))?;
    descriptors::fit(&mut config);
    let balancer = Balancer::bind(config)?;
    let stop = stop_on_signals()?;
    for address in balancer.local_addrs() {
        say(format_args!("Load balancer is listening on {address}"));
    }
    if let Some(address) = balancer.admin_addr() {
        say(format_args!("Admin is listening on {address}"));
    }
    Ok(balancer.run(&stop)?)
}

/// Returns what reads the source again for a reload.
fn reread(source: Source, started_with: Settings) -> Box<Reread> {
    Box::new(move || {
        let reloaded = source.read().and_then(|reading| started_with.reloaded(reading));
        reloaded.map_err(|mistakes| mistakes.texts())
    })
}
