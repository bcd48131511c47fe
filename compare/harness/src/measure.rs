//! One measurement: starts what is needed, loads it, and says what came of it.

use crate::beside;
use crate::calls::{Count, Counter};
use crate::cell::{Arrivals, Cell, Delay, Event};
use crate::load::{self, Moment, Setup};
use crate::program::{Program, Programs};
use crate::results::{Load, Measurement, Settings, Usage};
use crate::usage;
use crate::variant::Variant;
use anyhow::Result;
use nix::sys::signal::Signal;
use std::cell::Cell as Slot;
use std::net::SocketAddr;
use std::time::Duration;

/// An event has a window so many times as long: what follows it takes its time.
const EVENT_TAKES: u32 = 3;

/// System calls are counted for a part of a window: they are a ratio.
const COUNTING_TAKES: u32 = 2;

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
            (self.load(&self.setup(addresses.into()), &backends, None)?.0, None)
        } else {
            let balancer = self.programs.balancer(self.variant, self.cell, addresses)?;
            let target = balancer.address;
            let ((load, calls), usage) = usage::watched(balancer, |pid| {
                let _crowd = beside::gather(self.cell.beside, target)?;
                let count = counter.map(|counter| counter.begin(pid)).transpose()?;
                let setup = match count {
                    Some(_) => Setup { window: self.window() / COUNTING_TAKES, ..self.setup(vec![target]) },
                    None => self.setup(vec![target]),
                };
                let (load, processor) = self.load(&setup, &backends, Some(pid))?;
                Ok(((load, count.map(Count::end).transpose()?), processor))
            })?;
            (load, Some(Usage { calls, ..usage }))
        };
        Ok(Measurement { cell: self.cell.id.clone(), variant: self.variant, round, load, usage })
    }

    /// The load, and the processor time that a process took in the window.
    fn load(&self, setup: &Setup, backends: &[Program; 2], pid: Option<i32>) -> Result<(Load, f64)> {
        let (begins, ends) = (setup.warm_up, setup.warm_up + setup.window);
        let used = || pid.map_or(0.0, usage::processor);
        let (before, after) = (Slot::new(0.0), Slot::new(0.0));
        let moments: Vec<Moment<'_>> = vec![
            (
                begins,
                Box::new(|| {
                    before.set(used());
                    Ok(())
                }),
            ),
            (
                begins + setup.window / 3,
                Box::new(|| {
                    self.befall(&backends[0]);
                    Ok(())
                }),
            ),
            (
                ends,
                Box::new(|| {
                    after.set(used());
                    Ok(())
                }),
            ),
        ];
        let load = load::run(setup, moments)?;
        Ok((load, after.get() - before.get()))
    }

    fn setup(&self, targets: Vec<SocketAddr>) -> Setup {
        let cell = self.cell;
        Setup {
            targets,
            connections: cell.connections,
            keep_alive: cell.keep_alive,
            rate: match cell.arrivals {
                Arrivals::Closed => None,
                Arrivals::Rate(rate) => Some(rate),
                Arrivals::TimesCapacity(times) => self.capacity.map(|capacity| times * capacity),
            },
            spread: match cell.delay {
                Delay::None => Duration::ZERO,
                Delay::Fixed(delay) | Delay::Either(_, delay) => delay,
            },
            warm_up: Duration::from_millis(self.settings.warm_up_ms),
            window: self.window(),
        }
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
