//! Colours, for those who want them. What a colour says is said by a word, too.

use ratatui::style::{Color, Modifier, Style};

/// Are there colours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// `NO_COLOR` turns them off (no-color.org).
    pub colours: bool,
}

impl Theme {
    /// As the environment wants it.
    pub fn from_env() -> Self {
        Theme { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// All is well.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// Somebody should know.
    pub fn odd(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// Somebody should do something.
    pub fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Bars and lines.
    pub fn drawn(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// What belongs to the frame.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What was true once.
    pub fn old(self) -> Style {
        let style = self.colour(Color::DarkGray);
        style.add_modifier(Modifier::DIM).remove_modifier(Modifier::BOLD)
    }

    /// What is chosen.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A backend's state.
    pub fn state(self, state: Option<&str>) -> Style {
        match state {
            Some("up") => self.good(),
            Some("down") => self.bad(),
            Some("checking" | "draining") => self.odd(),
            _ => Style::new(),
        }
    }

    /// Something that is as full as that.
    pub fn fill(self, part: Option<f64>) -> Style {
        match part {
            Some(part) if part >= 0.9 => self.bad(),
            Some(part) if part >= 0.7 => self.odd(),
            _ => self.good(),
        }
    }

    /// A status of a reply.
    pub fn status(self, status: Option<u64>) -> Style {
        match status {
            Some(500..) => self.bad(),
            Some(400..) => self.odd(),
            _ => Style::new(),
        }
    }
}
