//! The page in the browser: reading it, waiting for its state, and using it with the keyboard and the mouse.

use crate::chromium::Chromium;
use crate::console::Console;
use crate::{DEADLINE, POLL_INTERVAL};
use headless_chrome::browser::tab::ModifierKey;
use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption::Png;
use headless_chrome::protocol::cdp::{Emulation, Runtime};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// The window and the media features that the page sees.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub still: bool,
}

/// The default window.
pub const LIGHT: Look = Look { width: 1280, height: 800, dark: false, still: false };

/// The page's text, and the attributes of the elements that tests read. Shown for a test that fails.
const SUMMARY: &str = "[document.body?.innerText, '--- its elements ---',
    ...[...document.querySelectorAll('body, [data-backend], [data-pointer], [data-form]')]
        .map(element => element.cloneNode().outerHTML.split('></')[0])].join('\\n')";

/// An open page. Dropping it stops the browser.
pub struct Page {
    chromium: Chromium,
    console: Arc<Mutex<Console>>,
}

impl Page {
    /// Opens the page of this admin listener, and waits until it shows the balancer's state.
    #[track_caller]
    pub fn open(admin: SocketAddr) -> Self {
        let page = Self::load(admin, LIGHT);
        page.is_live("true");
        page
    }

    /// Opens the page without waiting for the balancer's state.
    #[track_caller]
    pub fn load(admin: SocketAddr, look: Look) -> Self {
        let chromium = Chromium::start();
        let console = Console::listen(&chromium);
        let page = Page { chromium, console };
        page.present(look);
        let url = format!("http://{admin}/");
        let outcome = page.chromium.tab.navigate_to(&url).and_then(|tab| tab.wait_until_navigated());
        outcome.unwrap_or_else(|error| panic!("{url} cannot be opened: {error:#}"));
        page
    }

    /// Changes the window and the media features.
    pub fn present(&self, look: Look) {
        let metrics =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1.0, "mobile": false });
        self.chromium.call::<Emulation::SetDeviceMetricsOverride>(metrics);
        let scheme = if look.dark { "dark" } else { "light" };
        let motion = if look.still { "reduce" } else { "no-preference" };
        self.chromium.call::<Emulation::SetEmulatedMedia>(json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": motion },
        ] }));
    }

    /// Returns the value of a JavaScript expression. A promise is awaited.
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> Value {
        let evaluated = self.chromium.call::<Runtime::Evaluate>(
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        if let Some(details) = evaluated.exception_details {
            panic!("{expression} throws {details:?}");
        }
        evaluated.result.value.unwrap_or(Value::Null)
    }

    /// Returns an attribute of the first matching element, or `None` if there is no such element or attribute.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value = self.evaluate(&format!(
            "document.querySelector({})?.getAttribute({})",
            json!(selector),
            json!(name)
        ));
        value.as_str().map(str::to_owned)
    }

    /// Returns the visible text of the first matching element: empty if there is none, or it is hidden.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let element = format!("document.querySelector({})", json!(selector));
        let text = self.evaluate(&format!("{element}?.checkVisibility() ? {element}.innerText.trim() : ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Returns whether there is a matching element and the first one is visible.
    #[track_caller]
    pub fn shows(&self, selector: &str) -> bool {
        self.evaluate(&format!("document.querySelector({})?.checkVisibility() ?? false", json!(selector)))
            == true
    }

    /// Waits until a condition holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            if began.elapsed() > DEADLINE {
                panic!("not seen within {DEADLINE:?}: {what}");
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until an attribute of the first matching element has this value.
    #[track_caller]
    pub fn has(&self, selector: &str, name: &str, expected: &str) {
        let what = format!("{selector} with {name}=\"{expected}\"");
        self.eventually(&what, || self.attribute(selector, name).as_deref() == Some(expected));
    }

    /// Waits until the page says whether the balancer replies: "true" or "false".
    #[track_caller]
    pub fn is_live(&self, live: &str) {
        self.has("body", "data-live", live);
    }

    /// Takes a picture of the window and returns its file, in the folder for pictures.
    #[track_caller]
    pub fn picture(&self, name: &str) -> PathBuf {
        self.try_picture(name).unwrap_or_else(|error| panic!("no picture was taken: {error:#}"))
    }

    fn try_picture(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = std::env::var_os("SCREENSHOTS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("screenshots"), PathBuf::from);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, self.chromium.tab.capture_screenshot(Png, None, None, true)?)?;
        Ok(file)
    }

    /// Returns what the browser has reported of the page so far.
    pub fn console(&self) -> Console {
        self.console.lock().unwrap().clone()
    }

    /// Presses and releases a key.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.chromium.tab.press_key(key).unwrap();
    }

    /// Moves the focus to a field with the Tab key, and replaces its content.
    #[track_caller]
    pub fn fill(&self, field: &str, text: &str) {
        self.tab_to(field);
        self.press("Home");
        self.chromium.tab.press_key_with_modifiers("End", Some(&[ModifierKey::Shift])).unwrap();
        self.chromium.tab.type_str(text).unwrap();
        let typed = format!("document.activeElement.value === {}", json!(text));
        self.eventually(&format!("{field} with \"{text}\" typed"), || self.evaluate(&typed) == true);
    }

    /// Returns whether a matching element has the focus.
    #[track_caller]
    pub fn has_focus(&self, selector: &str) -> bool {
        self.evaluate(&format!("document.activeElement?.matches({}) ?? false", json!(selector))) == true
    }

    /// Moves the focus to an element with the Tab key alone.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        self.eventually(&format!("{selector}, shown"), || self.shows(selector));
        for _ in 0..100 {
            if self.has_focus(selector) {
                return;
            }
            self.press("Tab");
        }
        panic!("not reached with the Tab key: {selector}");
    }

    /// Clicks in the middle of an element.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.eventually(&format!("{selector}, shown"), || self.shows(selector));
        let clicked =
            self.chromium.tab.find_element(selector).and_then(|element| element.click().map(|_| ()));
        clicked.unwrap_or_else(|error| panic!("{selector} cannot be clicked: {error:#}"));
    }
}

impl Drop for Page {
    /// Prints the content of the page and takes a picture of it if the test fails.
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let test = thread::current().name().unwrap_or("test").replace("::", "-");
        let seen = match self.chromium.tab.evaluate(SUMMARY, false) {
            Ok(seen) => seen.value.and_then(|seen| seen.as_str().map(str::to_owned)).unwrap_or_default(),
            Err(error) => format!("(not readable: {error:#})"),
        };
        let complaints = self.console().complaints.join("\n");
        eprintln!("--- the page ---\n{seen}\n--- errors and warnings ---\n{complaints}");
        match self.try_picture(&format!("failure-{test}")) {
            Ok(file) => eprintln!("--- picture ---\n{}", file.display()),
            Err(error) => eprintln!("--- no picture ---\n{error:#}"),
        }
    }
}
