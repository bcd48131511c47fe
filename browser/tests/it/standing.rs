//! Backends that come and go.

use crate::hooks::Card;
use crate::page::Page;
use crate::programs::{Balancer, Program, Reserved};

#[test]
fn a_backend_that_is_killed_turns_red_and_says_why_and_comes_back() {
    let ports = [Reserved::new(), Reserved::new()];
    let [doomed, spared] = ports.each_ref().map(|port| Program::backend(port.address));
    let balancer = Balancer::serve(&ports.each_ref().map(|port| port.address), &[]);
    let Some(page) = Page::open(balancer.admin) else { return };
    let cards: Vec<_> = balancer.backends.iter().map(|name| Card::of(&page, name)).collect();
    cards.iter().for_each(|card| card.becomes("up"));
    let healthy = cards[0].colours();

    doomed.kill();
    page.eventually("a card that says down", || {
        balancer.gets(1, 200); // the other one takes them all
        page.attribute(&format!("[data-backend=\"{}\"]", balancer.backends[0]), "data-state").as_deref()
            == Some("down")
    });
    page.eventually("the reason: refused", || cards[0].fact("why").contains("refused"));
    page.eventually("a red that it has not had before", || {
        let is_new = |colour: &[u64; 3]| !healthy.contains(colour);
        cards[0].colours().iter().filter(|colour| is_new(colour)).any(is_red)
    });
    cards[1].becomes("up");

    let revived = Program::backend(ports[0].address);
    cards[0].becomes("up");
    let before = cards[0].requests();
    balancer.gets(4, 200);
    page.eventually("it is sent requests again", || cards[0].requests() > before);
    page.eventually("it is not red any more", || cards[0].colours() == healthy);
    drop((revived, spared));
}

fn is_red(&[red, green, blue]: &[u64; 3]) -> bool {
    red > green + 40 && red > blue + 40
}
