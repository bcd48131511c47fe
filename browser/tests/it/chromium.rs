//! The system's Chromium, started with a profile of its own and stopped when its [`Chromium`] is dropped.

use crate::DEADLINE;
use crate::find_chromium::{NAMES, find};
use headless_chrome::protocol::cdp::types::Method;
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

/// Flags beside those of headless_chrome, which include --disable-background-networking. With them the browser
/// sends no request of its own, and resolves no name.
const FLAGS: [&str; 6] = [
    "--disable-dev-shm-usage", // a container may have only 64 MiB of it
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
    /// Starts Chromium.
    ///
    /// # Panics
    /// If there is no Chromium. The build script has the tests ignored in that case, unless `CI` is set.
    pub fn start() -> Self {
        let Some(program) = find() else {
            panic!("no Chromium: none of {} is on the PATH; install it or set CHROMIUM", NAMES.join(", "));
        };
        let home = tempfile::Builder::new().prefix("turnwheel-browser-").tempdir().unwrap();
        let folder = home.path().to_str().unwrap().to_owned();
        let options = LaunchOptions {
            path: Some(program),
            port: Some(0), // any free one, as several browsers may run
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
        let tab = browser.new_tab().expect("Chromium does not open a tab");
        tab.set_default_timeout(DEADLINE);
        Chromium { browser: Some(browser), home: Some(home), tab }
    }

    /// Calls a method of the browser's protocol. The browser chooses parameters that are left out.
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
        drop(self.browser.take()); // asks the browser to exit, then kills it
        let Some(home) = self.home.take() else { return };
        // Chromium's child processes write for a moment after it has exited.
        let until = Instant::now() + DEADLINE;
        while std::fs::remove_dir_all(home.path()).is_err() && home.path().exists() && Instant::now() < until
        {
            thread::sleep(crate::POLL_INTERVAL);
        }
    }
}

/// Starts Chromium, and tries once more on failure: the first start after an installation may take too long on a busy machine.
fn launch(options: &LaunchOptions<'_>) -> Browser {
    let launch = || Browser::new(options.clone());
    launch().or_else(|_| launch()).expect("Chromium does not start")
}
