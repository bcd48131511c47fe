//! The command `turnwheel demo`: backends and the balancer in one process.

use crate::admin::options::LISTEN as ADMIN;
use crate::backend::address::BackendUrl;
use crate::balancer::Balancer;
use crate::balancer::config::{LISTEN, ValidConfig};
use crate::cli::descriptors;
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::settings::choices::{EdgeName, HealthSwitch};
use crate::cli::settings::source::Source;
use crate::cli::settings::values::Settings;
use crate::cli::signals::stop_on_signals;
use crate::demo::running::Demo;
use crate::error::StartError;
use std::sync::Arc;
use std::time::Duration;

/// The ports of the backends by default.
pub const PORTS: [u16; 2] = [8081, 8082];

/// The edge by default: the one to read first.
pub const EDGE: EdgeName = EdgeName::TinyHttp;

/// The time between two health checks by default. A backend that is killed and started again by hand is back soon.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the demo until a signal to stop.
///
/// # Errors
/// When the settings are wrong, or a port cannot be bound.
pub fn demo(ports: &[u16], delay: Duration, mut settings: Settings) -> Result<(), Failure> {
    let demo = Demo::bind(if ports.is_empty() { &PORTS } else { ports }, delay)?;
    let addresses = demo.addresses();
    settings.backend =
        addresses.iter().map(|address| BackendUrl::from(*address).to_string().as_str().into()).collect();
    settings.edge = settings.edge.or(Some(EDGE));
    if settings.health != Some(HealthSwitch::Off) {
        settings.health_interval = settings.health_interval.or(Some(HEALTH_INTERVAL));
    }
    let asked_for_admin = settings.admin.is_some();
    let balancer =
        if asked_for_admin { Balancer::bind(valid(settings)?)? } else { bind_with_admin(settings)? };
    let stop = stop_on_signals()?;
    let demo = Arc::new(demo.start(balancer.local_addr().unwrap_or(LISTEN))?);
    for address in addresses {
        say(format_args!("Backend is listening on :{}", address.port()));
    }
    for address in balancer.local_addrs() {
        say(format_args!("Load balancer is listening on :{}", address.port()));
    }
    match balancer.admin_addr() {
        Some(address) if asked_for_admin => say(format_args!("Admin is listening on :{}", address.port())),
        Some(address) => tracing::info!("watch it at http://{address}/"),
        None => {}
    }
    let outcome = balancer.with_demo_controls(Arc::clone(&demo) as _).run(&stop);
    demo.stop();
    Ok(outcome?)
}

/// Binds the balancer with the default admin listener. Where its port is in use the demo starts without one, because
/// the user has not asked for it.
fn bind_with_admin(settings: Settings) -> Result<Balancer, Failure> {
    let with_admin = Settings { admin: Some(ADMIN.to_string()), ..settings.clone() };
    match Balancer::bind(valid(with_admin)?) {
        Err(StartError::Bind { address, cause }) if address == ADMIN => {
            tracing::warn!(
                "the demo runs without an admin listener, because {address} cannot be bound: {cause}; choose another \
                 address with --admin"
            );
            Ok(Balancer::bind(valid(settings)?)?)
        }
        outcome => Ok(outcome?),
    }
}

fn valid(settings: Settings) -> Result<ValidConfig, Failure> {
    let source = Source { flags: settings, file: None };
    let validated = source.read().and_then(|reading| reading.validate(None));
    let mut config = validated.map_err(|mistakes| source.failure(mistakes))?;
    descriptors::fit(&mut config);
    Ok(config)
}
