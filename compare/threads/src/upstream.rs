//! The backends: round robin, and a pool of idle connections to each.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest idle time of a pooled connection, below the five seconds after which common servers close theirs.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// All backends, and the index of the next one.
pub struct Upstreams {
    all: Vec<Upstream>,
    next: Mutex<usize>,
}

impl Upstreams {
    /// Resolves `host:port` of each backend once. `read_timeout` applies to each read of a reply.
    ///
    /// # Errors
    /// Returns a message that names a backend that cannot be resolved, and why.
    pub fn resolve(authorities: &[String], read_timeout: Duration) -> Result<Self, String> {
        let one = |authority: &String| {
            let addresses =
                authority.to_socket_addrs().map_err(|error| format!("backend {authority}: {error}"))?;
            let (authority, addresses, idle) = (authority.clone(), addresses.collect(), Mutex::default());
            Ok(Upstream { authority, addresses, read_timeout, idle })
        };
        let all = authorities.iter().map(one).collect::<Result<_, String>>()?;
        Ok(Upstreams { all, next: Mutex::new(0) })
    }

    /// Returns the backends in the order in which a request tries them, and advances the rotation by one.
    ///
    /// With more than two, the backend after a failed one receives its share. turnwheel distributes it evenly.
    pub fn attempts(&self) -> impl Iterator<Item = &Upstream> {
        let first = self.next_index();
        self.all.iter().cycle().skip(first).take(self.all.len())
    }

    fn next_index(&self) -> usize {
        // The index is valid even if a thread panicked while it held the lock.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = *next;
        *next = (turn + 1) % self.all.len();
        turn
    }
}

/// One backend.
pub struct Upstream {
    authority: String,
    addresses: Vec<SocketAddr>,
    read_timeout: Duration,
    /// Most recently used last, and taken first, so that surplus connections age at the front.
    idle: Mutex<Vec<(Instant, TcpStream)>>,
}

impl Upstream {
    /// Returns host and port, as in a Host header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Takes the most recently used connection, or `None` if the pool is empty. The backend may have closed it,
    /// which shows when it is used.
    pub fn take(&self) -> Option<TcpStream> {
        let now = Instant::now();
        let mut idle = self.idle();
        let old = idle.partition_point(|(since, _)| now.duration_since(*since) >= MAX_IDLE);
        let closed: Vec<_> = idle.drain(..old).collect();
        let newest = idle.pop();
        drop(idle); // closing is I/O and must not happen under the lock
        drop(closed);
        newest.map(|(_, stream)| stream)
    }

    /// Returns a connection to the pool.
    pub fn append(&self, stream: TcpStream) {
        self.idle().push((Instant::now(), stream));
    }

    /// Opens a connection, trying each address of the backend with the full timeout.
    ///
    /// # Errors
    /// Returns the error of the last address.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(self.read_timeout))?;
                    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, TcpStream)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn round_robin_is_exact_across_threads() {
        let names: Vec<_> = (1..=4).map(|port| format!("127.0.0.1:{port}")).collect();
        let upstreams = Upstreams::resolve(&names, MAX_IDLE).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1001).for_each(|_| _ = upstreams.next_index()));
            }
        });
        let order: Vec<_> = upstreams.attempts().map(Upstream::authority).collect();
        assert_eq!(order, names, "8008 steps end at the first backend");
        assert_eq!(upstreams.next_index(), 1);
    }

    #[test]
    fn takes_the_most_recent_connection_and_closes_expired_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let upstreams = Upstreams::resolve(&[name], MAX_IDLE).unwrap();
        let upstream = &upstreams.all[0];
        let streams: Vec<_> = (0..3).map(|_| upstream.connect().unwrap()).collect();
        let ports: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
        streams.into_iter().for_each(|stream| upstream.append(stream));
        upstream.idle()[0].0 -= MAX_IDLE;
        let taken = std::iter::from_fn(|| upstream.take());
        let taken: Vec<_> = taken.map(|stream| stream.local_addr().unwrap().port()).collect();
        assert_eq!(taken, [ports[2], ports[1]]);
    }
}
