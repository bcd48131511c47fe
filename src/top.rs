//! The command `turnwheel top`: a running balancer in a terminal, as its admin listener shows it.
//!
//! A thread asks ([`Asker`]); this one waits for keys and for news, and draws. The terminal belongs to whoever calls:
//! it is prepared before, and restored afterwards.

mod asker;
mod backends;
mod lists;
mod model;
mod screen;
mod theme;
mod view;
mod words;

use crate::operator::Problem;
use crate::shutdown::Stop;
use crate::threads::Crew;
pub use asker::Asker;
use asker::{News, Order};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
pub use model::{History, State};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use screen::{Screen, Wish};
use std::io;
use std::time::{Duration, Instant};
use theme::Theme;

/// How long a key is waited for until somebody looks for news. A key that comes ends the wait.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the thread that asks may take to end, in a balancer's silence. It ends with the process then.
const GRACE: Duration = Duration::from_millis(100);

/// Orders and news that wait for their reader. Neither is late for long.
const WAITING: usize = 8;

/// What a person sees who asks once, as plain lines.
///
/// # Errors
/// When the balancer does not say.
pub fn print(asker: &mut Asker) -> Result<String, Problem> {
    let (state, history) = asker.ask()?;
    let screen = Screen { selected: None, ..Screen::new(state, history) };
    Ok(view::print(&screen))
}

/// Shows a balancer, beginning with what it has said already, until a key or a signal ends it.
///
/// # Errors
/// When the terminal fails.
pub fn watch(
    terminal: &mut DefaultTerminal,
    asker: Asker,
    (state, history): (State, History),
    interval: Duration,
    stop: &Stop,
) -> io::Result<()> {
    let (orders, wanted) = bounded(WAITING);
    let (heard, news) = bounded(WAITING);
    let crew = Crew::default();
    crew.start("ask", move || asker.run(interval, &wanted, &heard)).map_err(io::Error::other)?;
    let outcome = show(terminal, Screen::new(state, history), &orders, &news, stop);
    drop((orders, news)); // that is how it learns of the end
    crew.join(Instant::now() + GRACE);
    outcome
}

/// Draws, and does what keys and news ask for.
fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    orders: &Sender<Order>,
    news: &Receiver<News>,
    stop: &Stop,
) -> io::Result<()> {
    let theme = Theme::from_env();
    let mut is_drawn = false;
    while !stop.within(Duration::ZERO) {
        if !is_drawn {
            terminal.draw(|frame| view::draw(&screen, theme, frame.area(), frame.buffer_mut()))?;
        }
        is_drawn = screen.away.is_none(); // the age of old facts is shown, and grows
        if event::poll(GLANCE)? {
            is_drawn = false;
            let Event::Key(key) = event::read()? else { continue };
            match screen.press(key) {
                Some(Wish::Leave) => return Ok(()),
                Some(Wish::Order(order)) => pass_on(order, orders, &mut screen),
                None => {}
            }
        }
        loop {
            match news.try_recv() {
                Ok(one) => screen.hear(one),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("nobody asks the balancer any more"));
                }
            }
            is_drawn = false;
        }
    }
    Ok(())
}

/// Gives an order to the one who asks, if that one is not held up by others.
fn pass_on(order: Order, orders: &Sender<Order>, screen: &mut Screen) {
    if orders.try_send(order).is_err() {
        screen.said = Some("the balancer has not answered to the last ones yet".to_owned());
    }
}
