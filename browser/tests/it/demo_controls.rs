//! The demo's controls.

use crate::elements::{Card, newest};
use crate::page::Page;
use crate::processes::Balancer;

/// Sets the requests per second in the form, with the keyboard.
#[track_caller]
pub fn set_rate(page: &Page, rate: &str) {
    for field in ["clients", "rate"] {
        let value = format!("document.querySelector('form[data-form=traffic] input[name={field}]')?.value");
        page.eventually("the current traffic in the form", || {
            page.evaluate(&value).as_str().is_some_and(|v| !v.is_empty())
        });
    }
    page.fill("form[data-form=traffic] input[name=rate]", rate);
    page.press("Enter");
}

/// Sets a number on a card, with the keyboard.
#[track_caller]
pub fn set(page: &Page, card: &Card, name: &str, number: &str) {
    page.fill(&card.within(&format!("input[name={name}]")), number);
    page.press("Enter");
}

/// Parses a duration as the page writes it, in milliseconds. `None` if it is none.
fn milliseconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_alphabetic())?;
    let number: f64 = text[..at].trim().replace(',', "").parse().ok()?;
    match text[at..].trim() {
        "s" => Some(number * 1e3),
        "ms" => Some(number),
        "µs" => Some(number / 1e3),
        _ => None,
    }
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn the_form_starts_and_stops_traffic() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let cards: Vec<_> = demo.backends.iter().map(|name| Card::of(&page, name)).collect();
    set_rate(&page, "20");
    for card in &cards {
        let before = card.requests();
        page.eventually("ten more requests at each backend", || card.requests() >= before + 10);
    }
    let seen = newest(&page);
    page.eventually("further requests in the table", || newest(&page) > seen + 5);

    set_rate(&page, "0");
    let mut last = (newest(&page), std::time::Instant::now());
    page.eventually("a second without a request", || {
        if newest(&page) != last.0 {
            last = (newest(&page), std::time::Instant::now());
        }
        last.1.elapsed().as_secs() >= 1
    });
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn a_delay_shows_in_the_median_latency() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let [slow, quick] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set(&page, &slow, "delay", "200");
    set_rate(&page, "20");
    let p50 = |card: &Card| milliseconds(&card.fact("p50"));
    page.eventually("a p50 of 200 ms or more at the slow backend", || {
        p50(&slow).is_some_and(|time| (200.0..1000.0).contains(&time))
    });
    page.eventually("a lower p50 at the other backend", || p50(&quick).is_some_and(|time| time < 200.0));
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn buttons_stop_and_start_a_backend() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let [stopped, other] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set_rate(&page, "20");
    let before = stopped.requests();
    page.eventually("requests at both backends", || stopped.requests() > before && other.requests() > 0);
    page.click(&stopped.button("stop"));
    stopped.becomes("down");
    other.becomes("up");
    page.click(&stopped.button("start"));
    stopped.becomes("up");
    let before = stopped.requests();
    page.eventually("requests at the restarted backend", || stopped.requests() > before);
}
