//! The two edges by name.

/// Which edge takes requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// A thread for each connection: the one to read first.
    TinyHttp,
    /// A fixed number of threads, however many connections: the one for real traffic.
    Parked,
}

impl EdgeKind {
    /// What it is called, as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            EdgeKind::TinyHttp => "tiny-http",
            EdgeKind::Parked => "parked",
        }
    }
}
