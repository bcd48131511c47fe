//! Many hostile clients, played by one thread.

use crate::bed::DEADLINE;
use crate::parked::connect_from;
use std::io::ErrorKind::WouldBlock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that are still open, each with what it has been told so far, and those that have ended.
pub struct Crowd {
    members: Vec<Member>,
    /// They do not close their end before all of them are thrown out.
    ended: Vec<Member>,
}

struct Member {
    stream: TcpStream,
    told: Vec<u8>,
    /// When it was told.
    since: Option<Instant>,
}

impl Crowd {
    /// So many new connections, which say this first.
    pub fn of(count: usize, addr: SocketAddr, first: impl AsRef<[u8]>) -> Self {
        Crowd::from([127, 0, 0, 1], count, addr, first)
    }

    /// The same, from this address of this machine.
    pub fn from(source: [u8; 4], count: usize, addr: SocketAddr, first: impl AsRef<[u8]>) -> Self {
        let join = |_| {
            let mut stream = connect_from(source, addr).stream;
            stream.write_all(first.as_ref()).unwrap();
            stream.set_nonblocking(true).unwrap();
            Member { stream, told: Vec::new(), since: None }
        };
        Crowd { members: (0..count).map(join).collect(), ended: Vec::new() }
    }

    /// How many have not been thrown out.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Each says this, as far as it can without waiting, again and again, until the last one has been
    /// thrown out. They listen all the while.
    #[track_caller]
    pub fn until_thrown_out(mut self, saying: &[u8], pause: Duration) -> Vec<String> {
        let began = Instant::now();
        while self.len() > 0 {
            assert!(
                began.elapsed() < DEADLINE,
                "{} are still there, {} are not",
                self.len(),
                self.ended.len()
            );
            for member in &mut self.members {
                let _ = member.stream.write(saying); // whether it has been thrown out is found out by listening
            }
            self.listen();
            thread::sleep(pause);
        }
        self.ended.iter().map(|member| String::from_utf8_lossy(&member.told).into_owned()).collect()
    }

    fn listen(&mut self) {
        let mut piece = vec![0; 64 << 10];
        self.ended.extend(self.members.extract_if(.., |member| member.has_ended(&mut piece)));
    }

    /// For this long, each lets so much time pass when it is told anything, and then says this.
    pub fn dally(mut self, delay: Duration, saying: &[u8], most: Duration) {
        let began = Instant::now();
        while began.elapsed() < most {
            self.listen();
            for member in &mut self.members {
                if !member.told.is_empty() && member.since.get_or_insert_with(Instant::now).elapsed() >= delay
                {
                    let _ = member.stream.write(saying); // as above
                    (member.told, member.since) = (Vec::new(), None);
                }
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Nobody says or reads anything, until the last connection has been reset.
    #[track_caller]
    pub fn until_reset(mut self) {
        let began = Instant::now();
        while self.len() > 0 {
            assert!(began.elapsed() < DEADLINE, "{} are still there", self.len());
            self.members.retain(|member| member.stream.take_error().unwrap().is_none());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Member {
    /// Reads all that has come. Has the connection ended?
    fn has_ended(&mut self, piece: &mut [u8]) -> bool {
        loop {
            match self.stream.read(piece) {
                Ok(n) if n > 0 => self.told.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == WouldBlock => return false,
                _ => return true,
            }
        }
    }
}

/// Each of them was told this, and so many they were.
#[track_caller]
pub fn assert_all_told(told: &[String], count: usize, status: u16) {
    assert_eq!(told.len(), count);
    let line = format!("HTTP/1.1 {status} ");
    let other = told.iter().find(|told| !told.starts_with(&line));
    assert_eq!(other, None, "and not {status}");
}
