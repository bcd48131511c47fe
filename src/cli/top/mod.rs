//! The command `turnwheel top`: a running balancer in a terminal, as its admin listener shows it.
//!
//! A thread asks ([`Asker`]), and another one listens to the terminal; this one waits for what they say, and draws. The terminal belongs to whoever calls:
//! it is prepared before, and restored afterwards.

mod asker;
mod backends;
mod lists;
mod model;
mod screen;
mod theme;
mod view;
mod words;

use crate::cli::client::Problem;
use crate::sys::shutdown::Stop;
use crate::sys::threads::ThreadGroup;
pub use asker::Asker;
use asker::{News, Order};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
pub use model::{History, State};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use screen::{Screen, Wish};
use std::io;
use std::time::{Duration, Instant};
use theme::Theme;

/// How long keys and news are waited for until somebody looks whether it is time to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the threads may take to end, in the silence of a balancer or of a terminal that is gone. They end with the
/// process then.
const GRACE: Duration = Duration::from_millis(100);

/// Orders, news and keys that wait for their reader. None of them is late for long.
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
    let (typist, typed) = bounded(WAITING);
    let (open, leaving) = bounded::<()>(0);
    let threads = ThreadGroup::default();
    threads.start("ask", move || asker.run(interval, &wanted, &heard)).map_err(io::Error::other)?;
    threads.start("listen", move || listen(&typist, &leaving)).map_err(io::Error::other)?;
    let sources = Sources { news, typed };
    let outcome = show(terminal, Screen::new(state, history), &orders, &sources, stop);
    drop((orders, sources, open)); // that is how they learn of the end
    threads.join(Instant::now() + GRACE);
    outcome
}

/// Waits for what comes from the terminal, and passes it on for as long as somebody wants to know.
///
/// That has a thread of its own: when a terminal has gone away, crossterm reads its end over and over and never returns,
/// and whoever draws has to notice that it is time to stop.
fn listen(typed: &Sender<io::Result<Event>>, leaving: &Receiver<()>) {
    while leaving.try_recv() == Err(TryRecvError::Empty) {
        let event = match event::poll(GLANCE) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let is_over = event.is_err();
        if typed.send(event).is_err() || is_over {
            return;
        }
    }
}

/// Draws, and does what keys and news ask for.
fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    orders: &Sender<Order>,
    sources: &Sources,
    stop: &Stop,
) -> io::Result<()> {
    let theme = Theme::from_env();
    let mut is_drawn = false;
    while !stop.within(Duration::ZERO) {
        if !is_drawn {
            terminal.draw(|frame| view::draw(&screen, theme, frame.area(), frame.buffer_mut()))?;
        }
        is_drawn = false;
        match sources.next()? {
            Next::Nothing => is_drawn = screen.away.is_none(), // the age of old facts is shown, and grows
            Next::News(one) => screen.hear(one),
            Next::Typed(Event::Key(key)) => match screen.press(key) {
                Some(Wish::Leave) => return Ok(()),
                Some(Wish::Order(order)) => pass_on(order, orders, &mut screen),
                None => {}
            },
            Next::Typed(_) => {}
        }
    }
    Ok(())
}

/// Where that comes from which changes the screen.
struct Sources {
    news: Receiver<News>,
    typed: Receiver<io::Result<Event>>,
}

/// What has come.
enum Next {
    News(News),
    Typed(Event),
    Nothing,
}

impl Sources {
    /// What comes next, or nothing if nothing comes within a moment.
    fn next(&self) -> io::Result<Next> {
        let gone = |who: &str| io::Error::other(format!("nobody {who} any more"));
        select! {
            recv(self.news) -> one => one.map(Next::News).map_err(|_| gone("asks the balancer")),
            recv(self.typed) -> event => event.map_err(|_| gone("listens to the terminal"))?.map(Next::Typed),
            default(GLANCE) => Ok(Next::Nothing),
        }
    }
}

/// Gives an order to the one who asks, if that one is not held up by others.
fn pass_on(order: Order, orders: &Sender<Order>, screen: &mut Screen) {
    if orders.try_send(order).is_err() {
        screen.said = Some("the balancer has not answered to the last ones yet".to_owned());
    }
}
