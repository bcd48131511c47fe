//! A balancer that goes away while somebody looks.

use crate::hooks::{Card, newest};
use crate::page::Page;
use crate::programs::{Balancer, Program, Reserved};

#[test]
fn a_balancer_that_goes_away_is_missed_and_found_again_without_reloading() {
    let [listen, admin, port] = std::array::from_fn(|_| Reserved::new());
    let backend = Program::backend(port.address);
    let addresses = [listen.address.to_string(), admin.address.to_string()];
    let serve = || Balancer::serve_at(addresses.each_ref().map(String::as_str), &[port.address], &[]);
    let balancer = serve();
    let Some(page) = Page::open(balancer.admin) else { return };
    Card::of(&page, &balancer.backends[0]).becomes("up");
    balancer.gets(3, 200);
    page.eventually("three requests in the list", || newest(&page) == 3);
    let before = page.text("body");
    page.ask("window.opened_once = true");

    balancer.stop();
    page.is_live("false");
    assert_ne!(page.text("body"), before, "it is said in words");

    let balancer = serve();
    page.is_live("true");
    Card::of(&page, &balancer.backends[0]).becomes("up");
    balancer.gets(1, 200);
    page.eventually("the one request that the new balancer has had", || newest(&page) == 1);
    assert_eq!(page.ask("window.opened_once"), true, "it was not reloaded");
    drop(backend);
}
