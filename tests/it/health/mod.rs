//! Health checks, ejection and return of backends.

mod checks;
mod ejection;
mod roles;
pub mod view;

use crate::backend::Recorder;
use crate::bed::{Balancer, DeadPort, program};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Returns the statuses of this number of requests, sent one after the other over one connection.
fn statuses_of(balancer: &Balancer, count: usize, request: &str) -> Vec<u16> {
    let mut client = balancer.client();
    (0..count).map(|_| client.request(request).status).collect()
}

/// Starts `turnwheel backend` on this port.
pub fn demo_at(port: &DeadPort, name: &str) -> Balancer {
    let (listen, name) = (format!("--listen={}", port.addr), format!("--name={name}"));
    Balancer::spawn(program().args(["backend", &listen, &name]), "Backend is listening on ")
}

/// The behaviour of a [`moody`] backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It replies 200.
    Fine,
    /// It does not reply until its mood changes.
    Mute,
    /// It never replies to requests that arrive now.
    Lost,
    /// It replies 500.
    Sick,
}

const MOODS: [Mood; 4] = [Mood::Fine, Mood::Mute, Mood::Lost, Mood::Sick];

/// The mood of a backend, and the number of GETs that wait for a better one: now, and at most.
#[derive(Default)]
pub struct Temper {
    mood: AtomicU8,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Temper {
    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, SeqCst);
    }

    fn mood(&self) -> Mood {
        MOODS[usize::from(self.mood.load(SeqCst))]
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    pub fn most_waiting(&self) -> usize {
        self.most.load(SeqCst)
    }

    pub fn forget_most(&self) {
        self.most.store(0, SeqCst);
    }
}

/// A backend that replies with its name and whose mood can be changed. Requests to `/health` and HEAD are not counted.
pub fn moody(name: &str) -> (Recorder, Arc<Temper>) {
    let fine = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    let temper = Arc::new(Temper::default());
    let own = Arc::clone(&temper);
    let recorder = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let counts = !request.head.starts_with("HEAD ") && request.target() != "/health";
            let on_arrival = own.mood();
            if counts {
                let waiting = own.waiting.fetch_add(1, SeqCst) + 1;
                own.most.fetch_max(waiting, SeqCst);
            }
            let waits = || own.mood() == Mood::Mute || on_arrival == Mood::Lost;
            while waits() && !conversation.has_ended() {
                thread::sleep(Duration::from_millis(1));
            }
            if counts {
                own.waiting.fetch_sub(1, SeqCst);
            }
            conversation.send(match own.mood() {
                Mood::Sick => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
                _ if request.head.starts_with("HEAD ") => "HTTP/1.1 200 OK\r\n\r\n",
                _ => &fine,
            });
        }
    });
    (recorder, temper)
}
