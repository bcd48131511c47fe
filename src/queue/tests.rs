use super::*;
use crate::edge::client_stream::fake::{self, Refusals};
use crate::edge::exchange::Exchange;
use crate::error::Refusal;
use std::time::{Duration, Instant};

struct Queue {
    jobs: JobSender,
    receivers: Vec<JobReceiver>,
    monitor: QueueMonitor,
    refusals: Refusals,
}

impl Queue {
    fn open(workers: usize, capacity: usize, timeout: Duration) -> Self {
        let options = QueueOptions { capacity, timeout };
        let (jobs, receivers, monitor) = open(workers, options, Arc::new(Recorder::off()));
        Queue { jobs, receivers, monitor, refusals: Refusals::default() }
    }

    fn exchange(&self, target: &str) -> Exchange {
        fake::exchange(target, &self.refusals)
    }

    fn take(&mut self) -> Option<String> {
        let exchange = self.receivers[0].take(Duration::MAX, &|| ())?;
        let target = exchange.head.uri.to_string();
        std::mem::forget(exchange); // dropped, it would answer 502
        Some(target)
    }

    fn refused(&self) -> Vec<(String, Refusal)> {
        std::mem::take(&mut *self.refusals.lock().unwrap())
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn refuses_a_request_when_the_queue_is_full() {
    let queue = Queue::open(1, 1, LONG);
    queue.jobs.offer(queue.exchange("/1"));
    queue.jobs.offer(queue.exchange("/2"));
    assert_eq!(queue.refused(), [("/2".to_owned(), Refusal::QueueFull)]);
    assert_eq!(queue.jobs.congestion().depth(), 1);
}

#[test]
fn a_live_request_that_the_monitor_took_is_served_first_although_the_queue_is_full_again() {
    let mut queue = Queue::open(1, 1, LONG);
    let taken = queue.exchange("/taken");
    queue.jobs.offer(queue.exchange("/later"));
    queue.monitor.refuse_or_give_back(taken);
    assert_eq!(queue.refused(), []);
    assert_eq!(queue.jobs.congestion().depth(), 2);
    assert_eq!([queue.take(), queue.take()], [Some("/taken".to_owned()), Some("/later".to_owned())]);
    assert_eq!(queue.jobs.congestion().depth(), 0);
}

#[test]
fn a_live_request_that_the_monitor_took_is_served_after_the_queue_is_closed() {
    let Queue { jobs, receivers, monitor, refusals } = Queue::open(1, 1, LONG);
    let mut queue = Queue { jobs, receivers, monitor, refusals };
    let taken = queue.exchange("/taken");
    queue.monitor.keep_open = None;
    queue.monitor.refuse_or_give_back(taken);
    let (other, _, _) = open(1, QueueOptions::default(), Arc::new(Recorder::off()));
    queue.jobs = other; // the last sender of this queue is gone
    assert_eq!([queue.take(), queue.take()], [Some("/taken".to_owned()), None]);
    assert_eq!(queue.refused(), []);
}

#[test]
fn a_returned_request_reaches_a_worker_that_waits_already() {
    let Queue { jobs, mut receivers, monitor, refusals } = Queue::open(1, 4, LONG);
    let queue = Queue { jobs, receivers: Vec::new(), monitor, refusals };
    let mut receiver = receivers.remove(0);
    let worker = std::thread::spawn(move || {
        let exchange = receiver.take(Duration::MAX, &|| ()).unwrap();
        let target = exchange.head.uri.to_string();
        std::mem::forget(exchange);
        target
    });
    let began = Instant::now();
    queue.monitor.refuse_or_give_back(queue.exchange("/taken"));
    while !worker.is_finished() && began.elapsed() < LONG {
        queue.monitor.state.requeue_returned(queue.monitor.keep_open.as_ref().unwrap());
        std::thread::yield_now();
    }
    assert_eq!(worker.join().unwrap(), "/taken");
}

#[test]
fn the_monitor_refuses_an_expired_request_when_no_worker_comes() {
    let queue = Queue::open(1, 4, Duration::from_millis(10));
    queue.jobs.offer(queue.exchange("/1"));
    let Queue { jobs, receivers, monitor, refusals } = queue;
    let monitor = std::thread::spawn(move || monitor.run());
    drop(jobs);
    monitor.join().unwrap();
    assert_eq!(*refusals.lock().unwrap(), [("/1".to_owned(), Refusal::QueuedTooLong)]);
    drop(receivers);
}

#[test]
fn the_monitor_refuses_a_returned_request_that_expires_while_no_worker_comes() {
    let queue = Queue::open(1, 4, Duration::from_secs(1));
    let taken = queue.exchange("/taken");
    queue.monitor.refuse_or_give_back(taken);
    assert_eq!(queue.refused(), []);
    let Queue { jobs, receivers, monitor, refusals } = queue;
    let monitor = std::thread::spawn(move || monitor.run());
    drop(jobs);
    monitor.join().unwrap();
    assert_eq!(*refusals.lock().unwrap(), [("/taken".to_owned(), Refusal::QueuedTooLong)]);
    drop(receivers);
}
