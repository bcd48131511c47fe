//! One connection to a backend.
//!
//! hyper's client comes in two halves: one that requests are handed to, and one that moves the bytes. The
//! second is usually spawned as a task of its own. Here it is driven by whoever waits for the reply: a
//! request then is one task from end to end, and no byte waits for another task's turn.

use crate::upload::Upload;
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

/// What a request is answered with, or why not; the request itself if not a byte of it has been sent.
type Outcome = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// The half that moves bytes. Boxed, because it is large, and goes from the pool to the reply and back.
type Engine = Box<Connection<TokioIo<TcpStream>, Upload>>;

/// An open connection.
pub struct Link {
    requests: SendRequest<Upload>,
    /// Nothing once it has ended.
    engine: Option<Engine>,
}

impl Link {
    /// Connects. `patience` is how long the backend may take nothing of what is sent.
    pub async fn open(address: SocketAddr, patience: Duration) -> io::Result<Link> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(patience))?;
        let (requests, engine) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Link { requests, engine: Some(Box::new(engine)) })
    }

    /// Sends a request and waits for the head of its reply. Nothing if that takes longer than `patience`,
    /// counted from the end of the request.
    pub async fn call(&mut self, request: Request<Upload>, patience: Duration) -> Option<Outcome> {
        let over = request.body().over();
        let mut reply = pin!(self.requests.try_send_request(request));
        let engine = &mut self.engine;
        if let Some(over) = over {
            let first = poll_fn(|cx| match step(engine, reply.as_mut(), cx) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if over.load(Relaxed) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(outcome) = first.await {
                return Some(outcome);
            }
        }
        tokio::time::timeout(patience, poll_fn(|cx| step(engine, reply.as_mut(), cx))).await.ok()
    }

    /// Moves bytes, until there are none to move.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.engine, cx);
    }

    /// Can it take another request, now that the reply to the last one has been read to its end? After this it
    /// wakes nobody: whoever used it last has other things to do.
    pub fn rest(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.engine.is_some() && self.requests.is_ready()
    }
}

fn step(
    engine: &mut Option<Engine>,
    reply: Pin<&mut impl Future<Output = Outcome>>,
    cx: &mut Context<'_>,
) -> Poll<Outcome> {
    drive(engine, cx);
    // Only driving brings a reply, so there is nothing else to be woken for.
    reply.poll(&mut Context::from_waker(Waker::noop()))
}

fn drive(engine: &mut Option<Engine>, cx: &mut Context<'_>) {
    // An error is given to whoever waits for the reply or its body.
    if engine.as_mut().is_some_and(|engine| Pin::new(engine).poll(cx).is_ready()) {
        *engine = None;
    }
}
