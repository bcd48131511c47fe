//! What the page calls the things that it shows. Its looks may change without a test's noticing, these names
//! may not.

use crate::page::Page;
use serde_json::Value;

/// The card of one backend.
pub struct Card<'a> {
    page: &'a Page,
    selector: String,
}

/// A line of the list of recent requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    pub number: u64,
    pub served_by: String,
    pub status: String,
}

impl<'a> Card<'a> {
    /// The card of the backend of that name, once it is there.
    #[track_caller]
    pub fn of(page: &'a Page, name: &str) -> Self {
        let card = Card { page, selector: format!("[data-backend=\"{name}\"]") };
        page.eventually(&format!("a card of {name}"), || page.shows(&card.selector));
        card
    }

    /// A selector of something on it.
    pub fn within(&self, selector: &str) -> String {
        format!("{} {selector}", self.selector)
    }

    /// A selector of one of its buttons.
    pub fn button(&self, action: &str) -> String {
        self.within(&format!("button[data-action=\"{action}\"]"))
    }

    /// Waits until it says that the backend is in this state.
    #[track_caller]
    pub fn becomes(&self, state: &str) {
        self.page.has(&self.selector, "data-state", state);
    }

    /// How many requests have ended there.
    #[track_caller]
    pub fn requests(&self) -> u64 {
        let number = self.page.attribute(&self.selector, "data-requests");
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            panic!("is no number: data-requests of {}", self.selector);
        })
    }

    /// One of its facts, as a person reads it.
    #[track_caller]
    pub fn fact(&self, name: &str) -> String {
        self.page.text(&self.within(&format!("[data-fact=\"{name}\"]")))
    }

    /// The colours of its text, borders and grounds that are neither grey nor transparent, as [red, green, blue].
    #[track_caller]
    pub fn colours(&self) -> Vec<[u64; 3]> {
        let script = COLOURS.replace("CARD", &Value::from(self.selector.as_str()).to_string());
        serde_json::from_value(self.page.ask(&script)).unwrap()
    }
}

/// A canvas turns whatever way a colour is written in into bytes.
const COLOURS: &str = "(() => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
    const bytes = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const card = document.querySelector(CARD);
    const found = new Set();
    for (const element of [card, ...card.querySelectorAll('*')].filter(element => element.checkVisibility())) {
        const style = getComputedStyle(element);
        found.add(style.color).add(style.backgroundColor).add(style.fill);
        for (const side of ['Top', 'Right', 'Bottom', 'Left'])
            if (parseFloat(style['border' + side + 'Width']) > 0) found.add(style['border' + side + 'Color']);
    }
    return [...found].filter(colour => colour !== 'none').map(bytes).filter(([, , , alpha]) => alpha > 0)
        .map(([r, g, b]) => [r, g, b]).filter(rgb => Math.max(...rgb) - Math.min(...rgb) > 16);
})()";

/// The list of recent requests, the newest first.
#[track_caller]
pub fn recent(page: &Page) -> Vec<Recent> {
    let lines = page.ask(
        "[...document.querySelectorAll('[data-recent] > [data-number]')].map(line =>
            [line.dataset.number, line.dataset.servedBy ?? '', line.dataset.status ?? ''])",
    );
    let lines: Vec<[String; 3]> = serde_json::from_value(lines).unwrap();
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("is no number: data-number \"{text}\""));
    let read = |[text, served_by, status]: [String; 3]| Recent { number: number(&text), served_by, status };
    lines.into_iter().map(read).collect()
}

/// The number of the newest request in the list, or 0.
#[track_caller]
pub fn newest(page: &Page) -> u64 {
    recent(page).first().map_or(0, |line| line.number)
}

/// The backend that the rotation's pointer points at.
#[track_caller]
pub fn pointed_at(page: &Page) -> Option<String> {
    page.attribute("[data-pointer]", "data-points-at").filter(|name| !name.is_empty())
}
