//! A scripted backend that records every byte it receives.

use crate::bed::{DEADLINE, all, header_lines};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// The size of the large body of [`Recorder::pouring`]: more than all buffers between it and a client hold.
pub const POURED: usize = 64 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and header lines, with the blank line.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub whole: bool,
}

impl Received {
    pub fn request_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.request_line().split(' ').nth(1).unwrap()
    }

    /// Returns a reply with the request's target as its body.
    pub fn echo(&self) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", self.target().len(), self.target())
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        header_lines(&self.head)
    }

    /// Returns the value of a header that occurs at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} occurs more than once:\n{}", self.head);
        all.into_iter().next()
    }

    /// Returns all values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        all(&self.headers(), name).into_iter().map(ToString::to_string).collect()
    }
}

/// The record of a [`Recorder`].
#[derive(Default)]
struct Seen {
    /// Each connection, alive while its script runs, and the bytes received on it.
    connections: Vec<(Weak<TcpStream>, Vec<u8>)>,
    requests: Vec<Received>,
}

/// A backend on a port of the kernel's choice, with a thread for each connection. It stops on drop.
pub struct Recorder {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stopping: Arc<AtomicBool>,
}

impl Recorder {
    /// Starts a backend that runs this script for each connection, which is closed at the end of the script.
    pub fn new(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        Recorder::behind(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// Starts a backend with this script on this listener.
    pub fn behind(listener: TcpListener, script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        // Many connections may come at once. One that finds the queue full is retried only after a second.
        socket2::SockRef::from(&listener).listen(4096).unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (recorder, script) = (Recorder { addr, seen, stopping }, Arc::new(script));
        let (seen, stopping) = (Arc::clone(&recorder.seen), Arc::clone(&recorder.stopping));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopping.load(Relaxed) {
                    return;
                }
                let (script, mut conversation) = (Arc::clone(&script), Conversation::begin(stream, &seen));
                thread::spawn(move || script(&mut conversation));
            }
        });
        recorder
    }

    /// Starts a backend that replies to each complete request with these bytes.
    pub fn replying(reply: impl Into<Vec<u8>>) -> Self {
        Recorder::replying_on(TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    fn replying_on(listener: TcpListener, reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Recorder::behind(listener, move |conversation| {
            while conversation.read_request().is_some() {
                conversation.send(&reply);
            }
        })
    }

    /// Starts a backend that replies 200 with this text.
    pub fn hello(text: &str) -> Self {
        Recorder::hello_on(TcpListener::bind("127.0.0.1:0").unwrap(), text)
    }

    /// Starts a backend that replies 200 with this text on this listener.
    pub fn hello_on(listener: TcpListener, text: &str) -> Self {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        Recorder::replying_on(listener, reply)
    }

    /// Starts a backend that replies 200 with the target of each request.
    pub fn echoing() -> Self {
        Recorder::new(|conversation| {
            while let Some(request) = conversation.read_request() {
                conversation.send(request.echo());
            }
        })
    }

    /// Starts a backend that replies to `/large` with a very large body, and echoes other targets.
    pub fn pouring() -> Self {
        let piece = vec![b'x'; 1 << 20];
        Recorder::new(move |conversation| {
            // A small buffer, because its content is wasted when the client goes away.
            socket2::SockRef::from(&*conversation.stream).set_send_buffer_size(64 << 10).unwrap();
            while let Some(request) = conversation.read_request() {
                if request.target() == "/large" {
                    conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {POURED}\r\n\r\n"));
                    (0..POURED / piece.len()).for_each(|_| conversation.send(&piece));
                } else {
                    conversation.send(request.echo());
                }
            }
        })
    }

    /// Starts a backend that reads requests and never replies.
    pub fn silent() -> Self {
        Recorder::new(|conversation| while conversation.read_request().is_some() {})
    }

    /// Returns the requests whose heads have arrived, in that order.
    pub fn requests(&self) -> Vec<Received> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Returns the request whose head arrived last.
    pub fn last_request(&self) -> Received {
        self.seen.lock().unwrap().requests.last().unwrap().clone()
    }

    /// Returns the only request. Panics unless there is exactly one.
    #[track_caller]
    pub fn only_request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "one request: {requests:?}");
        requests.remove(0)
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections.len()
    }

    /// Returns the number of connections whose script still runs.
    pub fn open_connections(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.connections.iter().filter(|(stream, _)| stream.strong_count() > 0).count()
    }

    /// Returns every byte received, connection after connection.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().connections.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        let _ = TcpStream::connect_timeout(&self.addr, DEADLINE); // wakes the thread that accepts
        for stream in self.seen.lock().unwrap().connections.iter().filter_map(|(stream, _)| stream.upgrade())
        {
            let _ = stream.shutdown(Shutdown::Both); // fails if the peer has ended it
        }
    }
}

/// One connection to a [`Recorder`]. After the peer has ended it, reading returns `None` and sending does nothing; what
/// the balancer makes of that is asserted elsewhere.
pub struct Conversation {
    stream: Arc<TcpStream>,
    /// The number of this connection, from 0.
    pub number: usize,
    seen: Arc<Mutex<Seen>>,
    unread: Vec<u8>,
}

impl Conversation {
    fn begin(stream: TcpStream, seen: &Arc<Mutex<Seen>>) -> Self {
        stream.set_nodelay(true).unwrap();
        // Longer than any deadline of a test; it only bounds the threads that a failed test leaves behind.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let stream = Arc::new(stream);
        let connections = &mut seen.lock().unwrap().connections;
        connections.push((Arc::downgrade(&stream), Vec::new()));
        Conversation { stream, number: connections.len() - 1, seen: Arc::clone(seen), unread: Vec::new() }
    }

    /// Reads a whole request and records it before any reply to it.
    pub fn read_request(&mut self) -> Option<Received> {
        let (mut request, index) = self.read_head()?;
        let chunked = request.header("Transfer-Encoding").is_some_and(|coding| coding == "chunked");
        request.body = if chunked {
            self.read_chunks()?
        } else {
            let length = request.header("Content-Length").map_or(0, |length| length.parse().unwrap());
            self.take(length)?
        };
        request.whole = true;
        self.seen.lock().unwrap().requests[index] = request.clone();
        Some(request)
    }

    /// Reads a head and records the request without a body. Also returns its index, for [`read_request`].
    pub fn read_head(&mut self) -> Option<(Received, usize)> {
        let head = String::from_utf8_lossy(&self.take_through(b"\r\n\r\n")?).into_owned();
        let request = Received { head, body: Vec::new(), whole: false };
        let requests = &mut self.seen.lock().unwrap().requests;
        requests.push(request.clone());
        Some((request, requests.len() - 1))
    }

    fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.take_through(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.take(size + 2)?;
            assert_eq!(chunk[size..], *b"\r\n", "a chunk ends with its line");
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = (&*self.stream).write_all(bytes.as_ref());
    }

    /// Reads and records until the peer ends the connection.
    pub fn read_to_end(&mut self) {
        while self.fill().is_some() {}
    }

    /// Returns whether the peer has ended the connection, without waiting.
    pub fn has_ended(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        match socket2::SockRef::from(&*self.stream).recv_with_flags(&mut byte, flags) {
            Ok(n) => n == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Ends the connection at once.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both); // fails if the peer has ended it
    }

    /// Lets the end of the script reset the connection instead of closing it.
    pub fn reset_at_end(&self) {
        socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        Some(self.unread.drain(..length).collect())
    }

    fn take_through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(mark.len()).position(|bytes| bytes == mark) {
                return self.take(at + mark.len());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut piece = [0; 64 << 10];
        let n = (&*self.stream).read(&mut piece).ok().filter(|n| *n > 0)?;
        self.unread.extend_from_slice(&piece[..n]);
        self.seen.lock().unwrap().connections[self.number].1.extend_from_slice(&piece[..n]);
        Some(())
    }
}
