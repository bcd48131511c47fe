//! One measurement: starts the backends and the balancer, applies the load, and collects the results.

use crate::background;
use crate::calls::{Count, Counter};
use crate::cell::{Arrivals, Cell, Delay, Event};
use crate::load::{self, LoadSettings, TimedAction};
use crate::program::{Program, Programs};
use crate::results::{Load, Measurement, Settings, Usage};
use crate::usage::Meter;
use crate::variant::Variant;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::cell::Cell as StdCell;
use std::net::SocketAddr;
use std::time::Duration;

/// Factor by which the window is longer in a cell with an event, because its effects take time.
const EVENT_WINDOW_FACTOR: u32 = 3;

/// Divisor of the window when system calls are counted: a ratio needs no full window.
const COUNTING_WINDOW_DIVISOR: u32 = 2;

/// Backend delays added to the warm-up, so that a pool that is too small reaches its steady state.
const WARM_UP_DELAYS: u32 = 8;

/// A variant in a cell, to be measured.
pub struct Trial<'a> {
    /// The programs to start.
    pub programs: &'a Programs,
    /// The variant.
    pub variant: Variant,
    /// The cell.
    pub cell: &'a Cell,
    /// Durations.
    pub settings: Settings,
    /// The variant's goodput in the base cell in replies per second, for a cell with [`Arrivals::TimesCapacity`].
    pub capacity: Option<f64>,
}

impl Trial<'_> {
    /// Measures once, and counts system calls if `counter` is given.
    ///
    /// # Errors
    /// Returns an error if a program does not start, refuses the load, or its calls cannot be counted.
    pub fn measure(&self, round: u32, counter: Option<&Counter>) -> Result<Measurement> {
        let Cell { body, delay, .. } = *self.cell;
        let backends = [self.programs.backend("a", body, delay)?, self.programs.backend("b", body, delay)?];
        let addresses = backends.each_ref().map(|backend| backend.address);
        let (load, usage) = if self.variant == Variant::Direct {
            self.load(&self.setup(addresses.into(), round)?, &backends, None)?
        } else {
            let balancer = self.programs.balancer(self.variant, self.cell, addresses)?;
            let log = balancer.log();
            let measured = self.measure_balancer(balancer, &backends, round, counter);
            measured.with_context(|| log.last_line())?
        };
        Ok(Measurement { cell: self.cell.id.clone(), variant: self.variant, round, load, usage })
    }

    fn measure_balancer(
        &self,
        balancer: Program,
        backends: &[Program; 2],
        round: u32,
        counter: Option<&Counter>,
    ) -> Result<(Load, Option<Usage>)> {
        let _clients = background::start(self.cell.background, balancer.address)?;
        let mut setup = self.setup(vec![balancer.address], round)?;
        let meter = Meter::new(&balancer)?;
        let count = counter.map(|counter| counter.begin(meter.pids())).transpose()?;
        if count.is_some() {
            setup.window /= COUNTING_WINDOW_DIVISOR;
        }
        let (load, usage) = self.load(&setup, backends, Some(&meter))?;
        let calls = count.map(Count::end).transpose()?;
        let mut usage = usage.context("the balancer's usage was not read")?;
        if !self.cell.keep_alive {
            // Threads may have ended with their connections.
            usage.switches = meter.switches_to_the_end(balancer)?;
        }
        Ok((load, Some(Usage { calls, ..usage })))
    }

    /// Applies the load and reads the balancer's usage.
    fn load(
        &self,
        setup: &LoadSettings,
        backends: &[Program; 2],
        meter: Option<&Meter>,
    ) -> Result<(Load, Option<Usage>)> {
        let (begins, ends) = (setup.warm_up, setup.warm_up + setup.window);
        let (before, usage) = (StdCell::new(0.0), StdCell::new(None));
        let begin = || before.set(meter.map_or(0.0, Meter::processor));
        let apply_event = || self.apply_event(&backends[0]);
        let end = || usage.set(meter.map(|meter| meter.read(before.get())));
        let actions: Vec<TimedAction<'_>> = vec![
            (begins, Box::new(begin)),
            (begins + setup.window / 3, Box::new(apply_event)),
            (ends, Box::new(end)),
        ];
        let load = load::run(setup, actions)?;
        Ok((load, usage.get()))
    }

    fn setup(&self, targets: Vec<SocketAddr>, round: u32) -> Result<LoadSettings> {
        let cell = self.cell;
        let longest = match cell.delay {
            Delay::None => Duration::ZERO,
            Delay::Fixed(delay) | Delay::Bimodal(_, delay) => delay,
        };
        let rate = match cell.arrivals {
            Arrivals::Closed => None,
            Arrivals::Rate(rate) => Some(rate),
            Arrivals::TimesCapacity(times) => {
                Some(times * self.capacity.context("its goodput in the base cell is not known")?)
            }
        };
        Ok(LoadSettings {
            targets,
            connections: cell.connections,
            keep_alive: cell.keep_alive,
            rate,
            seed: round.into(),
            spread: longest,
            warm_up: Duration::from_millis(self.settings.warm_up_ms) + longest * WARM_UP_DELAYS,
            window: self.window(),
        })
    }

    fn window(&self) -> Duration {
        let window = Duration::from_millis(self.settings.window_ms);
        if self.cell.event == Event::None { window } else { window * EVENT_WINDOW_FACTOR }
    }

    fn apply_event(&self, backend: &Program) {
        match self.cell.event {
            Event::None => {}
            Event::Stall => backend.signal(Signal::SIGSTOP),
            Event::Kill => backend.signal(Signal::SIGKILL),
        }
    }
}
