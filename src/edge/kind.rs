//! The two edges by name.

/// The kind of the edge that accepts requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// The textbook edge: a thread for each connection.
    TinyHttp,
    /// The production edge: a fixed number of threads for any number of connections.
    Parked,
}

impl EdgeKind {
    /// Returns the name that `--edge` and the configuration file use.
    pub fn name(self) -> &'static str {
        match self {
            EdgeKind::TinyHttp => "tiny-http",
            EdgeKind::Parked => "parked",
        }
    }
}
