//! The backends: whose turn it is, and the connections to each that nobody uses now.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How old a pooled connection may be. Shorter than the five seconds after which common servers close theirs.
const OLDEST: Duration = Duration::from_secs(4);

/// All backends, and the index that turns over them.
pub struct Upstreams {
    all: Vec<Upstream>,
    next: Mutex<usize>,
}

impl Upstreams {
    /// Looks up `host:port` of each, once. `read_timeout` is for the next bytes of a reply.
    ///
    /// # Errors
    /// A sentence that says which one cannot be found, and why.
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

    /// The backends in the order in which one request tries them. The wheel moves on by one.
    ///
    /// With more than two, the one after a dead backend gets the dead one's share. turnwheel's does better.
    pub fn tour(&self) -> impl Iterator<Item = &Upstream> {
        let first = self.turn();
        self.all.iter().cycle().skip(first).take(self.all.len())
    }

    fn turn(&self) -> usize {
        // Poison says that a thread panicked while it held the lock. The number is a number even so.
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
    /// The one used last is at the end, and taken first: those that are not needed grow old at the front.
    idle: Mutex<Vec<(Instant, TcpStream)>>,
}

impl Upstream {
    /// Host and port, as a Host header has them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The connection that was used last, if there is one. It may be closed at the other end by now: that is
    /// found out by using it.
    pub fn take(&self) -> Option<TcpStream> {
        let now = Instant::now();
        let mut idle = self.idle();
        let old = idle.partition_point(|(since, _)| now.duration_since(*since) >= OLDEST);
        let closed: Vec<_> = idle.drain(..old).collect();
        let newest = idle.pop();
        drop(idle); // closing is I/O, and the lock guards arithmetic
        drop(closed);
        newest.map(|(_, stream)| stream)
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, stream: TcpStream) {
        self.idle().push((Instant::now(), stream));
    }

    /// Opens a connection: each address of the backend gets its time.
    ///
    /// # Errors
    /// The last address's.
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
    fn each_gets_its_exact_share_from_any_number_of_threads() {
        let names: Vec<_> = (1..=4).map(|port| format!("127.0.0.1:{port}")).collect();
        let upstreams = Upstreams::resolve(&names, OLDEST).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1001).for_each(|_| _ = upstreams.turn()));
            }
        });
        let order: Vec<_> = upstreams.tour().map(Upstream::authority).collect();
        assert_eq!(order, names, "8008 turns end where they began");
        assert_eq!(upstreams.turn(), 1);
    }

    #[test]
    fn the_connection_used_last_is_taken_first_and_old_ones_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let upstreams = Upstreams::resolve(&[name], OLDEST).unwrap();
        let upstream = &upstreams.all[0];
        let streams: Vec<_> = (0..3).map(|_| upstream.connect().unwrap()).collect();
        let ports: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap().port()).collect();
        streams.into_iter().for_each(|stream| upstream.put(stream));
        upstream.idle()[0].0 -= OLDEST;
        let taken = std::iter::from_fn(|| upstream.take());
        let taken: Vec<_> = taken.map(|stream| stream.local_addr().unwrap().port()).collect();
        assert_eq!(taken, [ports[2], ports[1]]);
    }
}
