//! A balancer that stops while its page is open.

use crate::elements::{Card, newest};
use crate::page::Page;
use crate::processes::{Balancer, Process, Reserved};

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn shows_an_outage_and_recovers_without_a_reload() {
    let [listen, admin, port] = std::array::from_fn(|_| Reserved::new());
    let backend = Process::backend(port.address);
    let addresses = [listen.address.to_string(), admin.address.to_string()];
    let serve = || Balancer::serve_at(addresses.each_ref().map(String::as_str), &[port.address], &[]);
    let balancer = serve();
    let page = Page::open(balancer.admin);
    Card::of(&page, &balancer.backends[0]).becomes("up");
    balancer.gets(3, 200);
    page.eventually("three requests in the table", || newest(&page) == 3);
    let before = page.text("body");
    page.evaluate("window.opened_once = true");

    balancer.stop();
    page.is_live("false");
    assert_ne!(page.text("body"), before, "the page says so in words");

    let balancer = serve();
    page.is_live("true");
    Card::of(&page, &balancer.backends[0]).becomes("up");
    balancer.gets(1, 200);
    page.eventually("the new balancer's only request", || newest(&page) == 1);
    assert_eq!(page.evaluate("window.opened_once"), true, "the page was not reloaded");
    drop(backend);
}
