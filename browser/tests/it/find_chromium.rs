//! Finds the system's Chromium. The build script includes this file too, so it depends on no other file of the tests.

use std::env;
use std::path::PathBuf;

/// The programs that are looked for on the `PATH`, in order of preference.
pub const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Returns the program that `CHROMIUM` names, else the first of [`NAMES`] on the `PATH`, or `None` if there is none.
pub fn find() -> Option<PathBuf> {
    if let Some(program) = env::var_os("CHROMIUM") {
        return Some(PathBuf::from(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        |name: &str| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    NAMES.into_iter().find_map(on_path)
}
