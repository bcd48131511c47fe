//! The system's Chromium: found, started with a profile of its own, and ended with whoever holds it.

use crate::DEADLINE;
use headless_chrome::protocol::cdp::types::Method;
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

/// What it is called, in the order of preference. `CHROMIUM` names another one.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Besides what headless_chrome gives it, which has --disable-background-networking: nothing is looked up,
/// nothing is asked for on the browser's own account, and no name leads anywhere.
const FLAGS: [&str; 6] = [
    "--disable-dev-shm-usage", // in a container it may have 64 MiB of that
    "--disable-component-update",
    "--disable-domain-reliability",
    "--no-default-browser-check",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

/// A running Chromium with one empty tab.
pub struct Chromium {
    browser: Option<Browser>,
    home: Option<TempDir>,
    pub tab: Arc<Tab>,
}

impl Chromium {
    /// Starts one, if there is one: where there is none, this says so in a line that is seen, and on CI it fails.
    pub fn start() -> Option<Self> {
        static SAID: Once = Once::new();
        let Some(program) = find() else {
            let names = NAMES.join(", ");
            assert!(std::env::var_os("CI").is_none(), "there is no Chromium: none of {names} is on the PATH");
            // Not captured, as `eprintln!` would be.
            SAID.call_once(|| {
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: there is no Chromium; none of {names} is on the PATH"
                );
            });
            return None;
        };
        let home = tempfile::Builder::new().prefix("turnwheel-browser-").tempdir().unwrap();
        let folder = home.path().to_str().unwrap().to_owned();
        let options = LaunchOptions {
            path: Some(program),
            port: Some(0), // of its own choice, so that browsers do not take each other's
            sandbox: !nix::unistd::geteuid().is_root(),
            user_data_dir: Some(home.path().join("profile")),
            process_envs: Some(HashMap::from([("HOME".to_owned(), folder)])),
            window_size: Some((1280, 800)),
            args: FLAGS.iter().map(OsStr::new).collect(),
            idle_browser_timeout: DEADLINE * 4,
            ..LaunchOptions::default()
        };
        let browser = launch(&options);
        browser.set_default_timeout(DEADLINE);
        let tab = browser.new_tab().expect("Chromium opens no tab");
        tab.set_default_timeout(DEADLINE);
        Some(Chromium { browser: Some(browser), home: Some(home), tab })
    }

    /// Calls a method of the browser's protocol. Parameters that are left out are the browser's to choose.
    #[track_caller]
    pub fn call<M: Method + Serialize + DeserializeOwned + Debug>(
        &self,
        parameters: Value,
    ) -> M::ReturnObject {
        let method: M = serde_json::from_value(parameters).unwrap();
        self.tab.call_method(method).unwrap_or_else(|error| panic!("{} fails: {error:#}", M::NAME))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.browser.take()); // is asked to end, and killed
        let Some(home) = self.home.take() else { return };
        // Its processes write on for a moment after their parent's end.
        let until = Instant::now() + DEADLINE;
        while std::fs::remove_dir_all(home.path()).is_err() && home.path().exists() && Instant::now() < until
        {
            thread::sleep(crate::GLANCE);
        }
    }
}

/// The first start on a machine that has just got it, and is busy, may take longer than is waited for.
fn launch(options: &LaunchOptions<'_>) -> Browser {
    let launch = || Browser::new(options.clone());
    launch().or_else(|_| launch()).expect("Chromium does not start")
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    match std::env::var_os("CHROMIUM") {
        Some(program) => Some(PathBuf::from(program)),
        None => NAMES.into_iter().find_map(on_path),
    }
}
