//! Runs the view: its threads, and the loop that draws.

use super::poller::{BackendCommand, StatePoller, Update};
use super::screen::{KeyAction, Screen};
use super::snapshot::Snapshot;
use super::theme::Theme;
use super::view;
use crate::cli::client::AdminClientError;
use crate::sys::shutdown::Stop;
use crate::sys::threads::ThreadGroup;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use std::io;
use std::time::{Duration, Instant};

/// Longest wait for an event or an update, after which the loops check whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// The time for the threads to end: the balancer may not answer, and the terminal may be gone. After that they end with
/// the process.
const GRACE: Duration = Duration::from_millis(100);

/// Commands, updates and events that a channel holds. Each is read within moments.
const CHANNEL_CAPACITY: usize = 8;

/// Polls once and returns the view as plain lines.
///
/// # Errors
/// When the balancer does not answer.
pub fn print(poller: &mut StatePoller) -> Result<String, AdminClientError> {
    let screen = Screen { selected: None, ..Screen::new(poller.poll()?) };
    Ok(view::print(&screen))
}

/// Shows a balancer, beginning with this snapshot, until a key or a signal ends the view.
///
/// # Errors
/// When the terminal fails.
pub fn watch(
    terminal: &mut DefaultTerminal,
    poller: StatePoller,
    snapshot: Snapshot,
    interval: Duration,
    stop: &Stop,
) -> io::Result<()> {
    let (commands, received) = bounded(CHANNEL_CAPACITY);
    let (update_sender, updates) = bounded(CHANNEL_CAPACITY);
    let (event_sender, events) = bounded(CHANNEL_CAPACITY);
    let (open, closed) = bounded::<()>(0);
    let threads = ThreadGroup::default();
    let poll = move || poller.run(interval, &received, &update_sender);
    threads.start("poll", poll).map_err(io::Error::other)?;
    threads.start("events", move || read_events(&event_sender, &closed)).map_err(io::Error::other)?;
    let inputs = Inputs { updates, events };
    let outcome = show(terminal, Screen::new(snapshot), &commands, &inputs, stop);
    drop((commands, inputs, open)); // closed channels end the threads
    threads.join(Instant::now() + GRACE);
    outcome
}

/// Passes events of the terminal on until `closed` is closed.
///
/// It runs on a separate thread: once a terminal is gone, crossterm reads its end in a loop and never returns, while the
/// drawing thread must still be able to stop.
fn read_events(events: &Sender<io::Result<Event>>, closed: &Receiver<()>) {
    while closed.try_recv() == Err(TryRecvError::Empty) {
        let event = match event::poll(TICK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let is_last = event.is_err();
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// Draws the screen, and applies updates and keys to it.
fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    commands: &Sender<BackendCommand>,
    inputs: &Inputs,
    stop: &Stop,
) -> io::Result<()> {
    let theme = Theme::from_env();
    let mut is_drawn = false;
    while !stop.within(Duration::ZERO) {
        if !is_drawn {
            terminal.draw(|frame| view::draw(&screen, theme, frame.area(), frame.buffer_mut()))?;
        }
        is_drawn = false;
        match inputs.next()? {
            Input::None => is_drawn = screen.unreachable.is_none(), // a stale snapshot is shown with its age, which grows
            Input::Update(update) => screen.apply(update),
            Input::Event(Event::Key(key)) => match screen.press(key) {
                Some(KeyAction::Quit) => return Ok(()),
                Some(KeyAction::Send(command)) => send(command, commands, &mut screen),
                None => {}
            },
            Input::Event(_) => {}
        }
    }
    Ok(())
}

/// The channels for updates and events.
struct Inputs {
    updates: Receiver<Update>,
    events: Receiver<io::Result<Event>>,
}

enum Input {
    Update(Update),
    Event(Event),
    None,
}

impl Inputs {
    /// Returns the next input, or `Input::None` if none comes within a [`TICK`].
    fn next(&self) -> io::Result<Input> {
        let ended = |thread: &str| io::Error::other(format!("the thread that {thread} has ended"));
        select! {
            recv(self.updates) -> update => update.map(Input::Update).map_err(|_| ended("polls the balancer")),
            recv(self.events) -> event => event.map_err(|_| ended("reads the terminal"))?.map(Input::Event),
            default(TICK) => Ok(Input::None),
        }
    }
}

/// Sends a command to the poller, unless too many are waiting already.
fn send(command: BackendCommand, commands: &Sender<BackendCommand>, screen: &mut Screen) {
    if commands.try_send(command).is_err() {
        screen.message = Some("not sent: the balancer has not answered the last commands yet".to_owned());
    }
}
