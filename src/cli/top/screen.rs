//! What is on the screen: the last facts, what the person has chosen, and what the keys do. Pure, but for the time.

use super::asker::{News, Order, Turn};
use super::model::{History, State};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::time::Instant;

/// The keys, and what they do.
pub const KEYS: [(&str, &str); 6] = [
    ("q", "leave (Esc and Ctrl-C, too)"),
    ("↑ ↓", "choose a backend (k and j, too)"),
    ("d", "drain it: no further requests, the others are finished"),
    ("r", "resume it"),
    ("p", "pause: let the view stand still, or go on"),
    ("?", "show the keys, or put them away"),
];

/// All that the view shows.
#[derive(Clone, Debug)]
pub struct Screen {
    /// The balancer as it was when it answered last.
    pub state: State,
    /// Its last two minutes.
    pub history: History,
    /// When that was.
    pub heard: Instant,
    /// Why it does not answer, if it does not.
    pub away: Option<String>,
    /// The place of the chosen backend, where there is one to choose.
    pub selected: Option<usize>,
    /// Does the view stand still?
    pub paused: bool,
    /// Are the keys shown?
    pub help: bool,
    /// What came of the last key.
    pub said: Option<String>,
}

/// What a key asks for that is not done on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To leave.
    Leave,
    /// To have the balancer do something.
    Order(Order),
}

impl Screen {
    /// A screen with the first facts. The first backend is chosen.
    pub fn new(state: State, history: History) -> Self {
        let selected = (!state.backends.is_empty()).then_some(0);
        Screen {
            state,
            history,
            heard: Instant::now(),
            away: None,
            selected,
            paused: false,
            help: false,
            said: None,
        }
    }

    /// Takes in what was heard from the balancer.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Answer(sentence) => self.said = Some(sentence),
            News::HealthFacts(_) | News::Silence(_) if self.paused => {}
            News::Silence(why) => self.away = Some(why),
            News::HealthFacts(facts) => {
                let (state, history) = *facts;
                self.selected = self.follow(&state);
                (self.state, self.history, self.heard, self.away) = (state, history, Instant::now(), None);
            }
        }
    }

    /// Where the chosen backend is now; if it has left, what is in its place.
    fn follow(&self, new: &State) -> Option<usize> {
        let place = self.selected.unwrap_or(0);
        let name = self.state.backends.get(place).and_then(|chosen| chosen.name.as_ref());
        let found = name.and_then(|name| new.backends.iter().position(|one| one.name.as_ref() == Some(name)));
        found.or_else(|| new.backends.len().checked_sub(1).map(|last| place.min(last)))
    }

    /// Does what a key asks for, as far as that concerns the screen.
    pub fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.said = None;
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Leave),
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Leave),
            KeyCode::Char('d') => return self.turn(Turn::Drain),
            KeyCode::Char('r') => return self.turn(Turn::Resume),
            KeyCode::Up | KeyCode::Char('k') => {
                self.selected = self.selected.map(|place| place.saturating_sub(1));
            }
            KeyCode::Down | KeyCode::Char('j') => {
                let last = self.state.backends.len().saturating_sub(1);
                self.selected = self.selected.map(|place| (place + 1).min(last));
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('?') => self.help = !self.help,
            _ => {}
        }
        None
    }

    fn turn(&mut self, turn: Turn) -> Option<Wish> {
        let chosen = self.selected.and_then(|place| self.state.backends.get(place));
        let Some(name) = chosen.and_then(|chosen| chosen.name.clone()) else {
            self.said = Some("there is no backend to choose".to_owned());
            return None;
        };
        self.said = Some(format!("asking to {} {name}", turn.verb()));
        Some(Wish::Order(Order { turn, backend: name }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::fixture;
    use super::*;
    use serde_json::json;

    fn state(names: &[&str]) -> State {
        let backends: Vec<_> = names.iter().map(|name| fixture::backend(name, "up")).collect();
        State::read(&json!({ "backends": backends }))
    }

    fn screen(names: &[&str]) -> Screen {
        Screen::new(state(names), History::default())
    }

    fn facts(names: &[&str]) -> News {
        News::HealthFacts(Box::new((state(names), History::default())))
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Option<Wish> {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn three_keys_leave() {
        let mut screen = screen(&[]);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Wish::Leave));
        assert_eq!(press(&mut screen, KeyCode::Esc), Some(Wish::Leave));
        assert_eq!(press(&mut screen, KeyCode::Char('c')), None);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(control), Some(Wish::Leave));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(screen.press(released), None);
    }

    #[test]
    fn a_backend_is_chosen_and_turned() {
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
        let order = |turn| Some(Wish::Order(Order { turn, backend: "b:1".into() }));
        assert_eq!(press(&mut screen, KeyCode::Char('d')), order(Turn::Drain));
        assert_eq!(screen.said.as_deref(), Some("asking to drain b:1"));
        assert_eq!(press(&mut screen, KeyCode::Char('r')), order(Turn::Resume));
        screen.hear(News::Answer("b:1 is up".into()));
        assert_eq!(screen.said.as_deref(), Some("b:1 is up"));
        press(&mut screen, KeyCode::Char('x'));
        assert_eq!(screen.said, None, "until the next key");
    }

    #[test]
    fn the_choice_stays_with_its_backend() {
        let mut screen = screen(&["a:1", "b:1", "c:1"]);
        press(&mut screen, KeyCode::Down);
        for (names, wanted) in [
            (&["b:1", "c:1"][..], Some(0)),
            (&["z:1", "y:1", "b:1"], Some(2)),
            (&["z:1", "y:1"], Some(1)),
            (&[], None),
            (&["a:1"], Some(0)),
        ] {
            screen.hear(facts(names));
            assert_eq!(screen.selected, wanted, "{names:?}");
        }
    }

    #[test]
    fn without_a_backend_there_is_nothing_to_turn() {
        let mut screen = screen(&[]);
        for code in [KeyCode::Up, KeyCode::Down, KeyCode::Char('d')] {
            assert_eq!((press(&mut screen, code), screen.selected), (None, None));
        }
        assert_eq!(screen.said.as_deref(), Some("there is no backend to choose"));
    }

    #[test]
    fn what_was_known_stays_while_nobody_answers_and_while_it_is_paused() {
        let mut screen = screen(&["a:1"]);
        screen.hear(News::Silence("nobody listens".into()));
        assert_eq!((screen.away.as_deref(), screen.state.backends.len()), (Some("nobody listens"), 1));
        press(&mut screen, KeyCode::Char('p'));
        screen.hear(facts(&["a:1", "b:1"]));
        assert_eq!((screen.paused, screen.state.backends.len()), (true, 1));
        screen.hear(News::Answer("said all the same".into()));
        assert!(screen.said.is_some());
        press(&mut screen, KeyCode::Char('p'));
        screen.hear(facts(&["a:1", "b:1"]));
        assert_eq!((screen.away.clone(), screen.state.backends.len()), (None, 2));
    }
}
