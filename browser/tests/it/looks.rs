//! What the page looks like.

use crate::hooks::{Card, newest};
use crate::page::{LIGHT, Look, Page};
use crate::programs::Balancer;
use crate::props::{set, set_rate};
use serde_json::{Value, json};
use std::io::Write;

const DARK: Look = Look { dark: true, ..LIGHT };
const NARROW: Look = Look { width: 360, ..LIGHT };

/// What must be readable, whatever the light.
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

/// The least contrast of text that is not large (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

#[test]
fn a_narrow_window_is_not_scrolled_sideways() {
    let demo = Balancer::demo();
    let Some(page) = Page::load(demo.admin, NARROW) else { return };
    page.is_live("true");
    Card::of(&page, &demo.backends[0]);
    demo.gets(4, 200);
    page.eventually("the requests in the list", || newest(&page) >= 4);
    let width = page.ask("document.documentElement.scrollWidth").as_u64().unwrap();
    if width > 360 {
        let widest = page.ask(
            "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 360)
                .map(e => e.cloneNode().outerHTML).join('\\n')",
        );
        panic!("a window of 360 pixels has content of {width}, because of\n{widest}");
    }
}

#[test]
fn light_and_dark_differ_and_both_can_be_read() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    Card::of(&page, &demo.backends[0]);
    demo.gets(4, 200);
    let grounds = [LIGHT, DARK].map(|look| {
        page.present(look);
        for selector in FACTS {
            let seen = contrast(&page, selector);
            if seen["ratio"].as_f64().unwrap() < CONTRAST {
                panic!("a contrast of {CONTRAST} or more; {selector}, dark: {}, has {seen}", look.dark);
            }
        }
        contrast(&page, "body")["ground"].clone()
    });
    assert_ne!(grounds[0], grounds[1], "light and dark have different grounds");
}

/// The contrast of the first such element's text with what is behind it, and the colours of the two.
#[track_caller]
fn contrast(page: &Page, selector: &str) -> Value {
    page.eventually(&format!("{selector}, shown"), || page.shows(selector));
    page.ask(&MEASURE.replace("SELECTOR", &Value::from(selector).to_string()))
}

/// Paints on a canvas what is behind an element, outermost first, then its colour, and compares the two.
/// What fades in is waited for.
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
    let ground = paint('Canvas');
    for (const colour of behind) ground = paint(colour);
    const text = paint(getComputedStyle(element).color);
    const [dim, bright] = [ground, text].map(luminance).sort((a, b) => a - b);
    return {ratio: (bright + 0.05) / (dim + 0.05), text, ground};
})()";

/// What moves: elements that are somewhere else in each of several frames that follow each other. What is put
/// somewhere else at once, as by a number that has grown longer, does not move. They are called by the part of the
/// page that they belong to.
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
fn requests_are_seen_to_move_but_not_where_motion_is_to_be_reduced() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    set_rate(&page, "20");
    page.eventually("dots that move", || page.ask(MOVES).as_array().unwrap().contains(&json!("dots")));
    drop(page);

    let Some(page) = Page::load(demo.admin, Look { still: true, ..LIGHT }) else { return };
    page.is_live("true");
    for _ in 0..5 {
        let seen = newest(&page);
        page.eventually("further requests", || newest(&page) > seen);
        let moving = page.ask(MOVES);
        if moving != json!([]) {
            panic!("nothing may move where motion is to be reduced, and this does: {moving}");
        }
    }
}

#[test]
fn pictures_are_taken() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let [stopped, slow] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set(&page, &slow, "delay", "40");
    set_rate(&page, "40");
    page.eventually("a hundred requests", || newest(&page) > 100);
    page.click(&stopped.button("stop"));
    stopped.becomes("down");
    page.eventually("a hundred more", || newest(&page) > 200);
    page.ask("document.activeElement.blur()");
    for (name, look) in [("light", LIGHT), ("dark", DARK), ("narrow", NARROW)] {
        page.present(look);
        page.ask("new Promise(done => setTimeout(done, 500))"); // it is laid out anew
        let picture = page.picture(name);
        // Not captured, as `println!` would be.
        let _ = writeln!(std::io::stdout(), "{}", picture.display());
    }
}
