//! The page's appearance.

use crate::demo_controls::{set, set_rate};
use crate::elements::{Card, newest};
use crate::page::{LIGHT, Look, Page};
use crate::processes::Balancer;
use serde_json::{Value, json};
use std::io::Write;

const DARK: Look = Look { dark: true, ..LIGHT };
const NARROW: Look = Look { width: 360, ..LIGHT };

/// The texts whose contrast is measured.
const FACTS: [&str; 9] = [
    "[data-fact=queue-depth]",
    "[data-fact=in-flight]",
    "[data-fact=why]",
    "[data-fact=requests]",
    "[data-fact=share]",
    "[data-fact=p50]",
    "[data-fact=p99]",
    "[data-fact=errors]",
    "[data-action=drain]",
];

/// The least contrast of text that is not large (WCAG 2.2, success criterion 1.4.3).
const CONTRAST: f64 = 4.5;

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn a_narrow_window_does_not_scroll_sideways() {
    let demo = Balancer::demo();
    let page = Page::load(demo.admin, NARROW);
    page.is_live("true");
    Card::of(&page, &demo.backends[0]);
    demo.gets(4, 200);
    page.eventually("the requests in the table", || newest(&page) >= 4);
    let width = page.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
    if width > 360 {
        let widest = page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360)
                .map(e => e.cloneNode().outerHTML).join('\\n')",
        );
        panic!("a window of 360 pixels has content of {width}, because of\n{widest}");
    }
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn light_and_dark_differ_and_are_readable() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    Card::of(&page, &demo.backends[0]);
    demo.gets(4, 200);
    let backgrounds = [LIGHT, DARK].map(|look| {
        page.present(look);
        for selector in FACTS {
            let measured = contrast(&page, selector);
            if measured["ratio"].as_f64().unwrap() < CONTRAST {
                panic!("{selector} (dark: {}) needs a contrast of {CONTRAST} and has {measured}", look.dark);
            }
        }
        contrast(&page, "body")["background"].clone()
    });
    assert_ne!(backgrounds[0], backgrounds[1], "light and dark have different backgrounds");
}

/// Returns the contrast of the first matching element's text with its background, and the two colours.
#[track_caller]
fn contrast(page: &Page, selector: &str) -> Value {
    page.eventually(&format!("{selector}, shown"), || page.shows(selector));
    page.evaluate(&MEASURE.replace("SELECTOR", &Value::from(selector).to_string()))
}

/// Paints the backgrounds of an element's ancestors on a canvas, the outermost first, then the text's colour, and
/// compares the two. Running transitions are awaited.
const MEASURE: &str = "(async () => {
    const element = document.querySelector(SELECTOR);
    await Promise.all(document.getAnimations().filter(each => each instanceof CSSTransition).map(each =>
        each.finished.catch(() => 0)));
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
    const paint = colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const linear = byte => byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = [];
    for (let each = element; each; each = each.parentElement) behind.unshift(getComputedStyle(each).backgroundColor);
    let background = paint('Canvas');
    for (const colour of behind) background = paint(colour);
    const text = paint(getComputedStyle(element).color);
    const [dim, bright] = [background, text].map(luminance).sort((a, b) => a - b);
    return {ratio: (bright + 0.05) / (dim + 0.05), text, background};
})()";

/// Finds moving elements: their position differs in each of several successive frames. An element that changes
/// its position once, as when a number gets longer, does not count. Each is named by its part of the page.
const MOVES: &str = "(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const elements = [...document.querySelectorAll('body *')];
    const places = () => elements.map(each => each.getBoundingClientRect()).map(({x, y}) => x + ' ' + y);
    const runs = elements.map(() => 0);
    const moving = new Set();
    for (let [before, until] = [places(), performance.now() + 500]; performance.now() < until;) {
        await frame();
        const now = places();
        elements.forEach((each, at) => {
            runs[at] = now[at] === before[at] ? 0 : runs[at] + 1;
            if (runs[at] === 4) moving.add(each.closest('[data-part]')?.dataset.part ?? each.cloneNode().outerHTML);
        });
        before = now;
    }
    return [...moving];
})()";

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn dots_move_unless_reduced_motion_is_preferred() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    set_rate(&page, "20");
    page.eventually("dots that move", || page.evaluate(MOVES).as_array().unwrap().contains(&json!("dots")));
    drop(page);

    let page = Page::load(demo.admin, Look { still: true, ..LIGHT });
    page.is_live("true");
    for _ in 0..5 {
        let seen = newest(&page);
        page.eventually("further requests", || newest(&page) > seen);
        let moving = page.evaluate(MOVES);
        if moving != json!([]) {
            panic!("reduced motion is preferred, and this moves: {moving}");
        }
    }
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn takes_pictures() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let [stopped, slow] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set(&page, &slow, "delay", "40");
    set_rate(&page, "40");
    page.eventually("a hundred requests", || newest(&page) > 100);
    page.click(&stopped.button("stop"));
    stopped.becomes("down");
    page.eventually("a hundred more requests", || newest(&page) > 200);
    page.evaluate("document.activeElement.blur()");
    for (name, look) in [("light", LIGHT), ("dark", DARK), ("narrow", NARROW)] {
        page.present(look);
        page.evaluate("new Promise(done => setTimeout(done, 500))"); // for the new layout
        let picture = page.picture(name);
        // `println!` would be captured.
        let _ = writeln!(std::io::stdout(), "{}", picture.display());
    }
}
