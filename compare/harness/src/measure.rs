//! One measurement: starts what is needed, loads it, and says what came of it.

use crate::beside;
use crate::calls::{Count, Counter};
use crate::cell::{Arrivals, Cell, Delay, Event};
use crate::load::{self, Moment, Setup};
use crate::program::{Program, Programs};
use crate::results::{Load, Measurement, Settings, Usage};
use crate::usage::Meter;
use crate::variant::Variant;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::cell::Cell as Slot;
use std::net::SocketAddr;
use std::time::Duration;

/// An event has a window so many times as long: what follows it takes its time.
const EVENT_TAKES: u32 = 3;

/// System calls are counted for a part of a window: they are a ratio.
const COUNTING_TAKES: u32 = 2;

/// With delays it takes longer until a pool that is too small is in its stride.
const DELAYS_TO_WARM_UP: u32 = 8;

/// Who is measured, and how.
pub struct Subject<'a> {
    /// Where the programs are.
    pub programs: &'a Programs,
    /// Which.
    pub variant: Variant,
    /// In which cell.
    pub cell: &'a Cell,
    /// How long.
    pub settings: Settings,
    /// What it can do, in replies a second, where the cell asks for a multiple of that.
    pub capacity: Option<f64>,
}

impl Subject<'_> {
    /// Measures it once, and counts its system calls if there is something to count them with.
    ///
    /// # Errors
    /// When something does not start, or does not let the load in, or the calls cannot be counted.
    pub fn measure(&self, round: u32, counter: Option<&Counter>) -> Result<Measurement> {
        let Cell { body, delay, .. } = *self.cell;
        let backends = [self.programs.backend("a", body, delay)?, self.programs.backend("b", body, delay)?];
        let addresses = backends.each_ref().map(|backend| backend.address);
        let (load, usage) = if self.variant == Variant::Direct {
            self.load(&self.setup(addresses.into(), round)?, &backends, None)?
        } else {
            let balancer = self.programs.balancer(self.variant, self.cell, addresses)?;
            let said = balancer.log();
            let measured = self.measure_balancer(balancer, &backends, round, counter);
            measured.with_context(|| said.last_words())?
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
        let _crowd = beside::gather(self.cell.beside, balancer.address)?;
        let mut setup = self.setup(vec![balancer.address], round)?;
        let meter = Meter::new(&balancer)?;
        let count = counter.map(|counter| counter.begin(meter.pids())).transpose()?;
        if count.is_some() {
            setup.window /= COUNTING_TAKES;
        }
        let (load, usage) = self.load(&setup, backends, Some(&meter))?;
        let calls = count.map(Count::end).transpose()?;
        let mut usage = usage.context("a balancer has its usage")?;
        if !self.cell.keep_alive {
            // Threads may have come and gone with the connections.
            usage.switches = meter.switches_to_the_end(balancer)?;
        }
        Ok((load, Some(Usage { calls, ..usage })))
    }

    /// The load, and what the balancer took.
    fn load(
        &self,
        setup: &Setup,
        backends: &[Program; 2],
        meter: Option<&Meter>,
    ) -> Result<(Load, Option<Usage>)> {
        let (begins, ends) = (setup.warm_up, setup.warm_up + setup.window);
        let (before, usage) = (Slot::new(0.0), Slot::new(None));
        let begin = || before.set(meter.map_or(0.0, Meter::processor));
        let befall = || self.befall(&backends[0]);
        let end = || usage.set(meter.map(|meter| meter.read(before.get())));
        let moments: Vec<Moment<'_>> = vec![
            (begins, Box::new(begin)),
            (begins + setup.window / 3, Box::new(befall)),
            (ends, Box::new(end)),
        ];
        let load = load::run(setup, moments)?;
        Ok((load, usage.get()))
    }

    fn setup(&self, targets: Vec<SocketAddr>, round: u32) -> Result<Setup> {
        let cell = self.cell;
        let longest = match cell.delay {
            Delay::None => Duration::ZERO,
            Delay::Fixed(delay) | Delay::Either(_, delay) => delay,
        };
        let rate = match cell.arrivals {
            Arrivals::Closed => None,
            Arrivals::Rate(rate) => Some(rate),
            Arrivals::TimesCapacity(times) => {
                Some(times * self.capacity.context("what it can do in the base cell is not known")?)
            }
        };
        Ok(Setup {
            targets,
            connections: cell.connections,
            keep_alive: cell.keep_alive,
            rate,
            seed: round.into(),
            spread: longest,
            warm_up: Duration::from_millis(self.settings.warm_up_ms) + longest * DELAYS_TO_WARM_UP,
            window: self.window(),
        })
    }

    fn window(&self) -> Duration {
        let window = Duration::from_millis(self.settings.window_ms);
        if self.cell.event == Event::None { window } else { window * EVENT_TAKES }
    }

    fn befall(&self, backend: &Program) {
        match self.cell.event {
            Event::None => {}
            Event::Stall => backend.signal(Signal::SIGSTOP),
            Event::Kill => backend.signal(Signal::SIGKILL),
        }
    }
}
