//! Accepts connections, serves them, and shuts down gracefully.

use crate::proxy::Proxy;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Delay after a failed `accept`, which most likely means that no descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Interval at which expired connections to backends are closed.
const CLOSE_INTERVAL: Duration = Duration::from_secs(1);

/// Time for requests to finish after the stop signal, as in turnwheel.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `stop` completes, then finishes the current requests.
pub async fn serve(
    listeners: Vec<TcpListener>,
    proxy: Proxy,
    idle: Duration,
    stop: impl Future<Output = ()>,
) {
    let proxy = Arc::new(proxy);
    let graceful = Arc::new(GracefulShutdown::new());
    // Spawned, so that they run on the runtime's worker threads and not on the thread that waits here.
    let mut tasks: Vec<JoinHandle<()>> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&proxy), idle, Arc::clone(&graceful))))
        .collect();
    tasks.push(tokio::spawn(close_expired(Arc::clone(&proxy))));
    stop.await;
    tasks.iter().for_each(JoinHandle::abort);
    for task in tasks {
        let _ = task.await; // it was aborted
    }
    // The tasks that shared it have ended.
    let Some(graceful) = Arc::into_inner(graceful) else { return };
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests not finished within {GRACE:?} are aborted");
    }
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>, idle: Duration, graceful: Arc<GracefulShutdown>) {
    let server = server(idle);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => connection(&server, stream, peer, Arc::clone(&proxy), graceful.watcher()),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

fn server(idle: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // Limits the wait for the next request, including its head.
        .header_read_timeout(idle)
        // A client that has closed its sending side still receives its reply, as with turnwheel.
        .half_close(true)
        // Enabled, it would delay a finished reply while pipelined requests are unread: good for benchmarks of
        // pipelining, bad with slow backends.
        .pipeline_flush(false);
    server
}

fn connection(
    server: &http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    proxy: Arc<Proxy>,
    watcher: Watcher,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.answer(request, peer).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::spawn(async move {
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!("connection from {peer}: {error}");
        }
    });
}

async fn close_expired(proxy: Arc<Proxy>) {
    let mut interval = tokio::time::interval(CLOSE_INTERVAL);
    loop {
        interval.tick().await;
        proxy.close_expired();
    }
}
