//! Model checks: what turnwheel's own source for the limit of requests in flight, and for the swap of a
//! value that workers use, must hold whichever way its threads take turns. See README.md.

// Not all of it is used here. It is the source itself: a change there is checked here.
#[allow(dead_code)]
#[path = "../../src/cluster/swap.rs"]
mod current;
#[allow(dead_code)]
#[path = "../../src/backend/limit.rs"]
mod limit;
mod swap;
mod sys;
mod waiting;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::io::Write;
use std::time::Instant;

/// Schedules that a model is tried with, by each of two ways of chance.
const SCHEDULES: usize = 50_000;

/// A model to check: what it is called, how much of it, and what it does.
struct Model {
    name: &'static str,
    schedules: Schedules,
    run: fn(),
}

enum Schedules {
    /// As many as chance makes up: uniformly, and by PCT, which is good at faults that need few threads to
    /// be overtaken at the wrong moments.
    Some,
    /// All that there are.
    All,
}

const MODELS: &[Model] = &[
    Model { name: "try-to-enter-all", schedules: Schedules::All, run: waiting::two_try_to_enter },
    Model { name: "leave-and-wait-all", schedules: Schedules::All, run: waiting::one_leaves_one_waits },
    Model { name: "wait-and-swap-all", schedules: Schedules::All, run: waiting::one_through_a_swap },
    Model { name: "close-and-enter-all", schedules: Schedules::All, run: waiting::close_and_enter },
    Model { name: "swap-all", schedules: Schedules::All, run: swap::one_view },
    Model { name: "leave-wait-and-come-by", schedules: Schedules::Some, run: waiting::one_comes_by },
    Model { name: "limit-is-exact", schedules: Schedules::Some, run: waiting::the_limit_is_exact },
    Model { name: "everybody-is-served", schedules: Schedules::Some, run: waiting::everybody_is_served },
    Model { name: "nothing-leaks-when-late", schedules: Schedules::Some, run: waiting::nothing_leaks },
    Model { name: "first-come-first-served", schedules: Schedules::Some, run: waiting::first_come },
    Model { name: "closed-is-closed", schedules: Schedules::Some, run: waiting::closed_is_closed },
    Model { name: "lowered-limit-holds", schedules: Schedules::Some, run: waiting::a_lowered_limit_holds },
    Model { name: "waiting-through-a-swap", schedules: Schedules::Some, run: waiting::through_a_swap },
    Model { name: "retry-through-a-swap", schedules: Schedules::Some, run: waiting::retry_through_a_swap },
    Model { name: "views-never-go-back", schedules: Schedules::Some, run: swap::views_never_go_back },
];

/// Runs every model, or those whose name contains the argument.
fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for model in MODELS.iter().filter(|model| model.name.contains(&only)) {
        // Said first, so that a failure stands beside its model.
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

/// How many schedules there were. Panics at the first that fails, and says how to replay it.
fn check(scheduler: impl Scheduler + 'static, model: fn()) -> usize {
    Runner::new(scheduler, Config::default()).run(model)
}
