//! Who is asked how it does, who is taken out, and who comes back.

mod checks;
mod ejection;
mod parts;
pub mod view;

use crate::backend::Recorder;
use crate::bed::{Balancer, DeadPort, program};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The statuses of so many requests, one after the other over one connection.
fn ask_n(balancer: &Balancer, count: usize, request: &str) -> Vec<u16> {
    let mut client = balancer.client();
    (0..count).map(|_| client.request(request).status).collect()
}

/// `turnwheel backend` where this port is.
pub fn demo_at(port: &DeadPort, name: &str) -> Balancer {
    let (listen, name) = (format!("--listen={}", port.addr), format!("--name={name}"));
    Balancer::spawn(program().args(["backend", &listen, &name]), "Backend is listening on ")
}

/// How a [`moody`] backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It replies 200.
    Fine,
    /// It says nothing for as long as that lasts.
    Mute,
    /// It never replies to what comes now.
    Lost,
    /// It replies 500.
    Sick,
}

const MOODS: [Mood; 4] = [Mood::Fine, Mood::Mute, Mood::Lost, Mood::Sick];

/// The mood of a backend, and how many GETs wait for it to become better: now, and at most.
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

/// A backend that replies with its name, and whose mood can be changed. What it is asked at `/health`, and by HEAD, is not counted.
pub fn moody(name: &str) -> (Recorder, Arc<Temper>) {
    let fine = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    let temper = Arc::new(Temper::default());
    let own = Arc::clone(&temper);
    let recorder = Recorder::new(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let counts = !request.head.starts_with("HEAD ") && request.target() != "/health";
            let came = own.mood();
            if counts {
                let waiting = own.waiting.fetch_add(1, SeqCst) + 1;
                own.most.fetch_max(waiting, SeqCst);
            }
            let stays = || own.mood() == Mood::Mute || came == Mood::Lost;
            while stays() && !conversation.has_ended() {
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
