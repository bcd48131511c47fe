//! Model checks of turnwheel's in-flight limit with its waiting queue, and of its swap, under all or many thread
//! schedules. See README.md.

mod backend;
mod cluster;
mod swapping;
mod sys;
mod waiting;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::io::Write;
use std::time::Instant;

/// The number of random schedules of a model, by each of two schedulers.
const SCHEDULES: usize = 50_000;

/// A model to check.
struct Model {
    name: &'static str,
    schedules: Schedules,
    run: fn(),
}

enum Schedules {
    /// Random schedules: uniform, and by PCT, which finds faults that need few preemptions at particular moments.
    Some,
    /// All schedules.
    All,
}

const MODELS: &[Model] = &[
    Model { name: "try-acquire-all", schedules: Schedules::All, run: waiting::two_try_to_acquire },
    Model { name: "release-and-wait-all", schedules: Schedules::All, run: waiting::release_and_wait },
    Model { name: "wait-and-swap-all", schedules: Schedules::All, run: waiting::one_through_a_swap },
    Model { name: "close-and-acquire-all", schedules: Schedules::All, run: waiting::close_and_acquire },
    Model { name: "swap-all", schedules: Schedules::All, run: swapping::one_reader },
    Model { name: "release-wait-and-try", schedules: Schedules::Some, run: waiting::release_wait_and_try },
    Model { name: "limit-is-exact", schedules: Schedules::Some, run: waiting::the_limit_is_exact },
    Model {
        name: "every-waiter-is-served",
        schedules: Schedules::Some,
        run: waiting::every_waiter_is_served,
    },
    Model {
        name: "no-slot-is-lost-to-a-timeout",
        schedules: Schedules::Some,
        run: waiting::no_slot_is_lost_to_a_timeout,
    },
    Model { name: "first-come-first-served", schedules: Schedules::Some, run: waiting::first_come },
    Model { name: "closed-is-closed", schedules: Schedules::Some, run: waiting::closed_is_closed },
    Model { name: "lowered-limit-holds", schedules: Schedules::Some, run: waiting::a_lowered_limit_holds },
    Model {
        name: "waiting-through-a-swap",
        schedules: Schedules::Some,
        run: waiting::waiting_through_a_swap,
    },
    Model { name: "retry-through-a-swap", schedules: Schedules::Some, run: waiting::retry_through_a_swap },
    Model { name: "readers-never-go-back", schedules: Schedules::Some, run: swapping::readers_never_go_back },
];

/// Runs every model, or those whose name contains the argument.
fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for model in MODELS.iter().filter(|model| model.name.contains(&only)) {
        // Printed first, so that a failure follows the name of its model.
        print!("model {}: ", model.name);
        std::io::stdout().flush().expect("standard output is closed");
        let began = Instant::now();
        let schedules = match model.schedules {
            Schedules::All => check(DfsScheduler::new(None, false), model.run),
            Schedules::Some => {
                check(RandomScheduler::new(SCHEDULES), model.run)
                    + check(PctScheduler::new(3, SCHEDULES), model.run)
            }
        };
        println!("{schedules} schedules, held ({:.1} s)", began.elapsed().as_secs_f32());
    }
}

/// Runs the model and returns the number of schedules. Panics at the first that fails and prints how to replay it.
fn check(scheduler: impl Scheduler + 'static, model: fn()) -> usize {
    Runner::new(scheduler, Config::default()).run(model)
}
