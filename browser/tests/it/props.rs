//! The demo's controls.

use crate::hooks::{Card, newest};
use crate::page::Page;
use crate::programs::Balancer;

/// Requests a second, set in the form with the keyboard.
#[track_caller]
pub fn set_rate(page: &Page, rate: &str) {
    for field in ["clients", "rate"] {
        let value = format!("document.querySelector('form[data-form=traffic] input[name={field}]')?.value");
        page.eventually("the form says how the traffic is", || {
            page.ask(&value).as_str().is_some_and(|v| !v.is_empty())
        });
    }
    page.fill("form[data-form=traffic] input[name=rate]", rate);
    page.press("Enter");
}

/// A number on a card, set with the keyboard.
#[track_caller]
pub fn set(page: &Page, card: &Card, name: &str, number: &str) {
    page.fill(&card.within(&format!("input[name={name}]")), number);
    page.press("Enter");
}

/// A time as the page writes it, in milliseconds.
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
fn traffic_is_started_and_stopped_with_the_form() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let cards: Vec<_> = demo.backends.iter().map(|name| Card::of(&page, name)).collect();
    set_rate(&page, "20");
    for card in &cards {
        let before = card.requests();
        page.eventually("ten requests more at each backend", || card.requests() >= before + 10);
    }
    let seen = newest(&page);
    page.eventually("the list of recent requests goes on", || newest(&page) > seen + 5);

    set_rate(&page, "0");
    let mut last = (newest(&page), std::time::Instant::now());
    page.eventually("a second without a further request", || {
        if newest(&page) != last.0 {
            last = (newest(&page), std::time::Instant::now());
        }
        last.1.elapsed().as_secs() >= 1
    });
}

#[test]
fn a_delay_is_seen_in_the_median() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let [slow, quick] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set(&page, &slow, "delay", "200");
    set_rate(&page, "20");
    let p50 = |card: &Card| milliseconds(&card.fact("p50"));
    page.eventually("a p50 of 200 ms or more at the slow backend", || {
        p50(&slow).is_some_and(|time| (200.0..1000.0).contains(&time))
    });
    page.eventually("a lower p50 at the other one", || p50(&quick).is_some_and(|time| time < 200.0));
}

#[test]
fn a_backend_is_stopped_and_started_by_its_buttons() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let [stopped, other] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));
    set_rate(&page, "20");
    let before = stopped.requests();
    page.eventually("requests at both", || stopped.requests() > before && other.requests() > 0);
    page.click(&stopped.button("stop"));
    stopped.becomes("down");
    other.becomes("up");
    page.click(&stopped.button("start"));
    stopped.becomes("up");
    let before = stopped.requests();
    page.eventually("it is sent requests again", || stopped.requests() > before);
}
