//! The colours. No information is conveyed by a colour alone: a word says it too.

use ratatui::style::{Color, Modifier, Style};

/// The style of each meaning, with or without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours. `NO_COLOR` turns them off (no-color.org).
    pub colours: bool,
}

impl Theme {
    /// Returns the theme that the environment selects.
    pub fn from_env() -> Self {
        Theme { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Style of normal values.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// Style of values that deserve attention.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// Style of values that need action.
    pub fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Style of bars and lines.
    pub fn drawn(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Style of titles.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Style of a snapshot that is out of date.
    pub fn stale(self) -> Style {
        let style = self.colour(Color::DarkGray);
        style.add_modifier(Modifier::DIM).remove_modifier(Modifier::BOLD)
    }

    /// Style of the selected row.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Style of a backend's state.
    pub fn state(self, state: &str) -> Style {
        match state {
            "up" => self.good(),
            "down" => self.bad(),
            "checking" | "draining" => self.warning(),
            _ => Style::new(),
        }
    }

    /// Style of a gauge that is filled to this share, 0 to 1.
    pub fn fill(self, share: Option<f64>) -> Style {
        match share {
            Some(share) if share >= 0.9 => self.bad(),
            Some(share) if share >= 0.7 => self.warning(),
            _ => self.good(),
        }
    }

    /// Style of a response's status.
    pub fn status(self, status: u16) -> Style {
        match status {
            500.. => self.bad(),
            400.. => self.warning(),
            _ => Style::new(),
        }
    }
}
