//! Configuration files, and other files that flags name.

use crate::admin_client::{ADMIN, AdminClient};
use crate::bed::Balancer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A configuration file that can be replaced.
pub struct ConfigFile {
    folder: TempDir,
    pub path: PathBuf,
}

impl ConfigFile {
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turnwheel.toml");
        let file = ConfigFile { folder, path };
        file.write(text);
        file
    }

    /// Replaces the text in one step, as editors do.
    pub fn write(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, &self.path).unwrap();
    }

    /// Starts `turnwheel serve` with this file and an admin listener.
    pub fn serve(&self, flags: &[&str]) -> (Balancer, AdminClient) {
        let config = format!("--config={}", self.path.display());
        let balancer = Balancer::serve(&[], &[&[ADMIN, &config], flags].concat());
        let operator = AdminClient::of(&balancer);
        (balancer, operator)
    }
}

/// Returns a file with this text, and the folder that has to outlive it.
pub fn file_with(text: &str) -> (TempDir, PathBuf) {
    let ConfigFile { folder, path } = ConfigFile::new(text);
    (folder, path)
}

/// Returns the line of a configuration file that names these backends.
pub fn backends_line(backends: &[SocketAddr]) -> String {
    let urls: Vec<_> = backends.iter().map(|addr| format!("'http://{addr}'")).collect();
    format!("backend = [{}]\n", urls.join(", "))
}

/// Returns a flag that names a file.
pub fn file_flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
