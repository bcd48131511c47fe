//! The names of the page's elements. The page's look may change without a change to a test; these names may not.

use crate::page::Page;
use serde_json::Value;

/// The card of one backend.
pub struct Card<'a> {
    page: &'a Page,
    selector: String,
}

/// A row of the table of recent requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    pub number: u64,
    pub served_by: String,
    pub status: String,
}

impl<'a> Card<'a> {
    /// Waits for the card of the backend with this name, and returns it.
    #[track_caller]
    pub fn of(page: &'a Page, name: &str) -> Self {
        let card = Card { page, selector: format!("[data-backend=\"{name}\"]") };
        page.eventually(&format!("a card of {name}"), || page.shows(&card.selector));
        card
    }

    /// Returns the selector of an element on the card.
    pub fn within(&self, selector: &str) -> String {
        format!("{} {selector}", self.selector)
    }

    /// Returns the selector of one of the card's buttons.
    pub fn button(&self, action: &str) -> String {
        self.within(&format!("button[data-action=\"{action}\"]"))
    }

    /// Waits until the backend is in this state.
    #[track_caller]
    pub fn becomes(&self, state: &str) {
        self.page.has(&self.selector, "data-state", state);
    }

    /// Returns the number of requests that have ended at the backend.
    #[track_caller]
    pub fn requests(&self) -> u64 {
        let number = self.page.attribute(&self.selector, "data-requests");
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            panic!("not a number: data-requests of {}", self.selector);
        })
    }

    /// Returns the visible text of one of the card's facts.
    #[track_caller]
    pub fn fact(&self, name: &str) -> String {
        self.page.text(&self.within(&format!("[data-fact=\"{name}\"]")))
    }

    /// Returns the colours of the card's text, borders and backgrounds that are neither grey nor transparent, as
    /// [red, green, blue].
    #[track_caller]
    pub fn colours(&self) -> Vec<[u64; 3]> {
        let script = COLOURS.replace("CARD", &Value::from(self.selector.as_str()).to_string());
        serde_json::from_value(self.page.evaluate(&script)).unwrap()
    }
}

/// The colours are painted on a canvas, which converts every notation of a colour to bytes.
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

/// Returns the rows of the table of recent requests, the newest first.
#[track_caller]
pub fn recent(page: &Page) -> Vec<Recent> {
    let lines = page.evaluate(
        "[...document.querySelectorAll('[data-recent] > [data-number]')].map(line =>
            [line.dataset.number, line.dataset.servedBy ?? '', line.dataset.status ?? ''])",
    );
    let lines: Vec<[String; 3]> = serde_json::from_value(lines).unwrap();
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("not a number: data-number \"{text}\""));
    let read = |[text, served_by, status]: [String; 3]| Recent { number: number(&text), served_by, status };
    lines.into_iter().map(read).collect()
}

/// Returns the number of the newest request in the table, or 0 if it is empty.
#[track_caller]
pub fn newest(page: &Page) -> u64 {
    recent(page).first().map_or(0, |line| line.number)
}

/// Returns the backend that the rotation's pointer points at, or `None` if it points at none.
#[track_caller]
pub fn pointed_at(page: &Page) -> Option<String> {
    page.attribute("[data-pointer]", "data-points-at").filter(|name| !name.is_empty())
}

/// Returns whether all of an element is inside the window without scrolling.
#[track_caller]
pub fn is_in_view(page: &Page, selector: &str) -> bool {
    let script = "(() => {
        const {left, top, right, bottom} = document.querySelector(SELECTOR).getBoundingClientRect();
        return scrollY === 0 && left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
    })()";
    page.evaluate(&script.replace("SELECTOR", &Value::from(selector).to_string())) == true
}
