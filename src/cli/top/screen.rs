//! The state of the screen: the last snapshot, the selected backend, and the effect of each key. Pure, except for the
//! time.

use super::poller::{BackendCommand, Update, Verb};
use super::snapshot::Snapshot;
use crate::admin::answers::state::State;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::time::Instant;

/// The keys and their effects.
pub const KEYS: [(&str, &str); 6] = [
    ("q", "quit (also Esc and Ctrl-C)"),
    ("↑ ↓", "select a backend (also k and j)"),
    ("d", "drain it: no new requests, those in flight are finished"),
    ("r", "resume it: send requests to it again"),
    ("p", "pause the view, or continue"),
    ("?", "show or hide the keys"),
];

/// The state that the view shows.
#[derive(Clone, Debug)]
pub struct Screen {
    /// The last snapshot of the balancer.
    pub snapshot: Snapshot,
    /// When it was received.
    pub received: Instant,
    /// The reason why the balancer does not answer; `None` while it does.
    pub unreachable: Option<String>,
    /// Index of the selected backend; `None` without backends.
    pub selected: Option<usize>,
    /// Whether new snapshots are ignored.
    pub paused: bool,
    /// Whether the keys are shown.
    pub help: bool,
    /// Outcome of the last key.
    pub message: Option<String>,
}

/// The effect of a key outside of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// End the view.
    Quit,
    /// Send a command to the balancer.
    Send(BackendCommand),
}

impl Screen {
    /// Creates a screen with a first snapshot and its first backend selected.
    pub fn new(snapshot: Snapshot) -> Self {
        let selected = (!snapshot.state.backends.is_empty()).then_some(0);
        Screen {
            snapshot,
            received: Instant::now(),
            unreachable: None,
            selected,
            paused: false,
            help: false,
            message: None,
        }
    }

    /// Applies a message from the poller.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Outcome(sentence) => self.message = Some(sentence),
            Update::Snapshot(_) | Update::Unreachable(_) if self.paused => {}
            Update::Unreachable(reason) => self.unreachable = Some(reason),
            Update::Snapshot(snapshot) => {
                self.selected = self.selection_in(&snapshot.state);
                (self.snapshot, self.received, self.unreachable) = (*snapshot, Instant::now(), None);
            }
        }
    }

    /// Returns the index of the selected backend in a new state, or the same index if it was removed.
    fn selection_in(&self, new: &State) -> Option<usize> {
        let place = self.selected.unwrap_or(0);
        let selected = self.snapshot.state.backends.get(place);
        let found = selected.and_then(|one| new.backends.iter().position(|other| other.name == one.name));
        found.or_else(|| new.backends.len().checked_sub(1).map(|last| place.min(last)))
    }

    /// Applies a key, and returns its effect outside of the screen, or `None`.
    pub fn press(&mut self, key: KeyEvent) -> Option<KeyAction> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.message = None;
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(KeyAction::Quit);
            }
            KeyCode::Char('q') | KeyCode::Esc => return Some(KeyAction::Quit),
            KeyCode::Char('d') => return self.command(Verb::Drain),
            KeyCode::Char('r') => return self.command(Verb::Resume),
            KeyCode::Up | KeyCode::Char('k') => {
                self.selected = self.selected.map(|place| place.saturating_sub(1));
            }
            KeyCode::Down | KeyCode::Char('j') => {
                let last = self.snapshot.state.backends.len().saturating_sub(1);
                self.selected = self.selected.map(|place| (place + 1).min(last));
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('?') => self.help = !self.help,
            _ => {}
        }
        None
    }

    fn command(&mut self, verb: Verb) -> Option<KeyAction> {
        let selected = self.selected.and_then(|place| self.snapshot.state.backends.get(place));
        let Some(backend) = selected.map(|backend| backend.name.clone()) else {
            self.message = Some("no backend is selected".to_owned());
            return None;
        };
        self.message = Some(format!("asking to {} {backend}", verb.word()));
        Some(KeyAction::Send(BackendCommand { verb, backend }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::fixture;

    fn snapshot(names: &[&str]) -> Snapshot {
        let backends = names.iter().map(|name| fixture::backend(name, "up")).collect();
        Snapshot { state: State { backends, ..State::default() }, ..Snapshot::default() }
    }

    fn screen(names: &[&str]) -> Screen {
        Screen::new(snapshot(names))
    }

    fn update(names: &[&str]) -> Update {
        Update::Snapshot(Box::new(snapshot(names)))
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Option<KeyAction> {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn leaves_on_three_keys() {
        let mut screen = screen(&[]);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(KeyAction::Quit));
        assert_eq!(press(&mut screen, KeyCode::Esc), Some(KeyAction::Quit));
        assert_eq!(press(&mut screen, KeyCode::Char('c')), None);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(control), Some(KeyAction::Quit));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(screen.press(released), None);
    }

    #[test]
    fn selects_a_backend_and_sends_it_commands() {
        let mut screen = screen(&["a:1", "b:1", "c:1"]);
        for (code, wanted) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::Char('j'), 2),
            (KeyCode::Down, 2),
            (KeyCode::Char('k'), 1),
        ] {
            assert_eq!((press(&mut screen, code), screen.selected), (None, Some(wanted)));
        }
        let command = |verb| Some(KeyAction::Send(BackendCommand { verb, backend: "b:1".into() }));
        assert_eq!(press(&mut screen, KeyCode::Char('d')), command(Verb::Drain));
        assert_eq!(screen.message.as_deref(), Some("asking to drain b:1"));
        assert_eq!(press(&mut screen, KeyCode::Char('r')), command(Verb::Resume));
        screen.apply(Update::Outcome("b:1 is up".into()));
        assert_eq!(screen.message.as_deref(), Some("b:1 is up"));
        press(&mut screen, KeyCode::Char('x'));
        assert_eq!(screen.message, None, "until the next key");
    }

    #[test]
    fn keeps_the_selection_on_its_backend() {
        let mut screen = screen(&["a:1", "b:1", "c:1"]);
        press(&mut screen, KeyCode::Down);
        for (names, wanted) in [
            (&["b:1", "c:1"][..], Some(0)),
            (&["z:1", "y:1", "b:1"], Some(2)),
            (&["z:1", "y:1"], Some(1)),
            (&[], None),
            (&["a:1"], Some(0)),
        ] {
            screen.apply(update(names));
            assert_eq!(screen.selected, wanted, "{names:?}");
        }
    }

    #[test]
    fn sends_no_command_without_a_backend() {
        let mut screen = screen(&[]);
        for code in [KeyCode::Up, KeyCode::Down, KeyCode::Char('d')] {
            assert_eq!((press(&mut screen, code), screen.selected), (None, None));
        }
        assert_eq!(screen.message.as_deref(), Some("no backend is selected"));
    }

    #[test]
    fn keeps_the_snapshot_while_unreachable_or_paused() {
        let mut screen = screen(&["a:1"]);
        screen.apply(Update::Unreachable("nothing listens".into()));
        assert_eq!(
            (screen.unreachable.as_deref(), screen.snapshot.state.backends.len()),
            (Some("nothing listens"), 1)
        );
        press(&mut screen, KeyCode::Char('p'));
        screen.apply(update(&["a:1", "b:1"]));
        assert_eq!((screen.paused, screen.snapshot.state.backends.len()), (true, 1));
        screen.apply(Update::Outcome("shown while paused, too".into()));
        assert!(screen.message.is_some());
        press(&mut screen, KeyCode::Char('p'));
        screen.apply(update(&["a:1", "b:1"]));
        assert_eq!((screen.unreachable.clone(), screen.snapshot.state.backends.len()), (None, 2));
    }
}
