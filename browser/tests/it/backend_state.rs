//! Backends that fail and recover.

use crate::elements::Card;
use crate::page::Page;
use crate::processes::{Balancer, Process, Reserved};

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn a_killed_backend_turns_red_with_the_reason_and_recovers() {
    let ports = [Reserved::new(), Reserved::new()];
    let [doomed, spared] = ports.each_ref().map(|port| Process::backend(port.address));
    let balancer = Balancer::serve(&ports.each_ref().map(|port| port.address), &[]);
    let page = Page::open(balancer.admin);
    let cards: Vec<_> = balancer.backends.iter().map(|name| Card::of(&page, name)).collect();
    cards.iter().for_each(|card| card.becomes("up"));
    let healthy = cards[0].colours();

    doomed.kill();
    page.eventually("the state down", || {
        balancer.gets(1, 200); // the other backend serves them all
        page.attribute(&format!("[data-backend=\"{}\"]", balancer.backends[0]), "data-state").as_deref()
            == Some("down")
    });
    page.eventually("the reason: refused", || cards[0].fact("why").contains("refused"));
    page.eventually("a red that was not there before", || {
        let is_new = |colour: &[u64; 3]| !healthy.contains(colour);
        cards[0].colours().iter().filter(|colour| is_new(colour)).any(is_red)
    });
    cards[1].becomes("up");

    let revived = Process::backend(ports[0].address);
    cards[0].becomes("up");
    let before = cards[0].requests();
    balancer.gets(4, 200);
    page.eventually("requests at the recovered backend", || cards[0].requests() > before);
    page.eventually("the colours of before", || cards[0].colours() == healthy);
    drop((revived, spared));
}

fn is_red(&[red, green, blue]: &[u64; 3]) -> bool {
    red > green + 40 && red > blue + 40
}
