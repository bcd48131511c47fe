//! Accepting connections, serving them, and ending in order.

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

/// How long accepting rests when it fails: most likely there are no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

/// How often old connections to backends are looked for.
const TIDY: Duration = Duration::from_secs(1);

/// How long requests may take to finish after the signal to stop, as turnwheel's.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `stop` is ready, and then what is under way.
pub async fn serve(
    listeners: Vec<TcpListener>,
    proxy: Proxy,
    idle: Duration,
    stop: impl Future<Output = ()>,
) {
    let proxy = Arc::new(proxy);
    let graceful = Arc::new(GracefulShutdown::new());
    // Tasks of the runtime's own threads: the thread that waits here is none of them.
    let mut tasks: Vec<JoinHandle<()>> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&proxy), idle, Arc::clone(&graceful))))
        .collect();
    tasks.push(tokio::spawn(tidy(Arc::clone(&proxy))));
    stop.await;
    tasks.iter().for_each(JoinHandle::abort);
    for task in tasks {
        let _ = task.await; // an abort is no news
    }
    // The tasks that shared it are gone.
    let Some(graceful) = Arc::into_inner(graceful) else { return };
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that were not finished in {GRACE:?} are cut");
    }
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>, idle: Duration, graceful: Arc<GracefulShutdown>) {
    let server = server(idle);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => connection(&server, stream, peer, Arc::clone(&proxy), graceful.watcher()),
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn server(idle: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // For the next request, its head included.
        .header_read_timeout(idle)
        // A client that has said all and closed its side still gets its reply, as with turnwheel.
        .half_close(true)
        // True would hold back a finished reply while requests that follow it are unread: good for a benchmark
        // of pipelining, bad in front of backends that take their time.
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

async fn tidy(proxy: Arc<Proxy>) {
    let mut clock = tokio::time::interval(TIDY);
    loop {
        clock.tick().await;
        proxy.close_old();
    }
}
