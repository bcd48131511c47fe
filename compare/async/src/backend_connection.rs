//! A connection to a backend.
//!
//! hyper's client has two halves: one that takes requests, and a driver that moves the bytes and is usually
//! spawned as its own task. Here the task that waits for the reply polls the driver, so that a request is a single
//! task and no byte waits for another task to be scheduled.

use crate::request_body::RequestBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;

/// The reply to a request, or the error, with the request if no byte of it was sent.
type Outcome = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// The half that moves bytes. Boxed, because it is large and moves between the pool and the reply.
type Driver = Box<Connection<TokioIo<TcpStream>, RequestBody>>;

/// An open connection.
pub struct BackendConnection {
    requests: SendRequest<RequestBody>,
    /// `None` once it has ended.
    driver: Option<Driver>,
}

impl BackendConnection {
    /// Connects. `timeout` limits how long sent bytes may stay unacknowledged.
    pub async fn open(address: SocketAddr, timeout: Duration) -> io::Result<BackendConnection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(timeout))?;
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(BackendConnection { requests, driver: Some(Box::new(driver)) })
    }

    /// Sends a request and waits for the head of its reply. Returns `None` if that takes longer than `timeout`,
    /// counted from the end of the request.
    pub async fn call(&mut self, request: Request<RequestBody>, timeout: Duration) -> Option<Outcome> {
        let finished = request.body().finished();
        let mut reply = pin!(self.requests.try_send_request(request));
        let driver = &mut self.driver;
        if let Some(finished) = finished {
            let first = poll_fn(|cx| match step(driver, reply.as_mut(), cx) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if finished.load(Relaxed) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(outcome) = first.await {
                return Some(outcome);
            }
        }
        tokio::time::timeout(timeout, poll_fn(|cx| step(driver, reply.as_mut(), cx))).await.ok()
    }

    /// Moves bytes until no progress is possible.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Returns whether the connection can take another request, after the last reply has been read. Afterwards
    /// the connection wakes no task, because the task that used it last has moved on.
    pub fn is_reusable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.requests.is_ready()
    }
}

fn step(
    driver: &mut Option<Driver>,
    reply: Pin<&mut impl Future<Output = Outcome>>,
    cx: &mut Context<'_>,
) -> Poll<Outcome> {
    drive(driver, cx);
    // A reply arrives only by driving, so the driver's waker suffices.
    reply.poll(&mut Context::from_waker(Waker::noop()))
}

fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    // An error reaches the task through the reply or its body.
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}
