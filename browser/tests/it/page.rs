//! The page in the browser: looked at, waited for, and used with the keyboard and the mouse.

use crate::chromium::Chromium;
use crate::heard::Heard;
use crate::{DEADLINE, GLANCE};
use headless_chrome::browser::tab::ModifierKey;
use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption::Png;
use headless_chrome::protocol::cdp::{Emulation, Runtime};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// How the browser presents itself to the page.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub dark: bool,
    pub still: bool,
}

/// A window as it is by default.
pub const LIGHT: Look = Look { width: 1280, dark: false, still: false };

/// What can be read on the page, and what stands in the elements that tests look at.
const SEEN: &str = "[document.body?.innerText, '--- its elements ---',
    ...[...document.querySelectorAll('body, [data-backend], [data-pointer], [data-form]')]
        .map(element => element.cloneNode().outerHTML.split('></')[0])].join('\\n')";

/// An open page. The browser ends with it.
pub struct Page {
    chromium: Chromium,
    heard: Arc<Mutex<Heard>>,
}

impl Page {
    /// Opens the page of this admin listener, if there is a browser, and waits until it shows what is there.
    #[track_caller]
    pub fn open(admin: SocketAddr) -> Option<Self> {
        let page = Self::load(admin, LIGHT)?;
        page.is_live("true");
        Some(page)
    }

    /// Opens it without waiting for what it shows.
    #[track_caller]
    pub fn load(admin: SocketAddr, look: Look) -> Option<Self> {
        let chromium = Chromium::start()?;
        let heard = Heard::listen(&chromium);
        let page = Page { chromium, heard };
        page.present(look);
        let url = format!("http://{admin}/");
        let outcome = page.chromium.tab.navigate_to(&url).and_then(|tab| tab.wait_until_navigated());
        outcome.unwrap_or_else(|error| panic!("{url} cannot be opened: {error:#}"));
        Some(page)
    }

    /// Presents itself to the page like this from now on.
    pub fn present(&self, look: Look) {
        let metrics =
            json!({ "width": look.width, "height": 800, "deviceScaleFactor": 1.0, "mobile": false });
        self.chromium.call::<Emulation::SetDeviceMetricsOverride>(metrics);
        let scheme = if look.dark { "dark" } else { "light" };
        let motion = if look.still { "reduce" } else { "no-preference" };
        self.chromium.call::<Emulation::SetEmulatedMedia>(json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": motion },
        ] }));
    }

    /// What a JavaScript expression comes to. A promise is waited for.
    #[track_caller]
    pub fn ask(&self, expression: &str) -> Value {
        let evaluated = self.chromium.call::<Runtime::Evaluate>(
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        if let Some(details) = evaluated.exception_details {
            panic!("{expression} throws {details:?}");
        }
        evaluated.result.value.unwrap_or(Value::Null)
    }

    /// An attribute of the first element that is meant, if there is one with it.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value =
            self.ask(&format!("document.querySelector({})?.getAttribute({})", json!(selector), json!(name)));
        value.as_str().map(str::to_owned)
    }

    /// What a person reads in the first element that is meant. Nothing if it is not there, or not shown.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let element = format!("document.querySelector({})", json!(selector));
        let text = self.ask(&format!("{element}?.checkVisibility() ? {element}.innerText.trim() : ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Is there such an element, and is it shown?
    #[track_caller]
    pub fn shows(&self, selector: &str) -> bool {
        self.ask(&format!("document.querySelector({})?.checkVisibility() ?? false", json!(selector))) == true
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            if began.elapsed() > DEADLINE {
                panic!("was not seen in {DEADLINE:?}: {what}");
            }
            thread::sleep(GLANCE);
        }
    }

    /// Waits until an attribute of the first element that is meant has this value.
    #[track_caller]
    pub fn has(&self, selector: &str, name: &str, expected: &str) {
        let what = format!("{selector} with {name}=\"{expected}\"");
        self.eventually(&what, || self.attribute(selector, name).as_deref() == Some(expected));
    }

    /// Waits until what is polled is shown ("true"), or is said not to be ("false").
    #[track_caller]
    pub fn is_live(&self, live: &str) {
        self.has("body", "data-live", live);
    }

    /// A picture of the window, in the folder for pictures.
    #[track_caller]
    pub fn picture(&self, name: &str) -> PathBuf {
        self.try_picture(name).unwrap_or_else(|error| panic!("there is no picture: {error:#}"))
    }

    fn try_picture(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = std::env::var_os("SCREENSHOTS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("screenshots"), PathBuf::from);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, self.chromium.tab.capture_screenshot(Png, None, None, true)?)?;
        Ok(file)
    }

    /// What the browser has told of the page so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// Presses a key, and lets it go.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.chromium.tab.press_key(key).unwrap();
    }

    /// Goes to a field with the Tab key, and types over what is in it.
    #[track_caller]
    pub fn fill(&self, field: &str, text: &str) {
        self.tab_to(field);
        self.press("Home");
        self.chromium.tab.press_key_with_modifiers("End", Some(&[ModifierKey::Shift])).unwrap();
        self.chromium.tab.type_str(text).unwrap();
        let typed = format!("document.activeElement.value === {}", json!(text));
        self.eventually(&format!("{field} with \"{text}\" typed"), || self.ask(&typed) == true);
    }

    /// Has this element the focus?
    #[track_caller]
    pub fn is_at(&self, selector: &str) -> bool {
        self.ask(&format!("document.activeElement?.matches({}) ?? false", json!(selector))) == true
    }

    /// Goes to an element with the Tab key alone.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        self.eventually(&format!("{selector}, shown"), || self.shows(selector));
        for _ in 0..100 {
            if self.is_at(selector) {
                return;
            }
            self.press("Tab");
        }
        panic!("was not reached with the Tab key: {selector}");
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
    /// A test that fails says what there was to see.
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let test = thread::current().name().unwrap_or("test").replace("::", "-");
        let seen = match self.chromium.tab.evaluate(SEEN, false) {
            Ok(seen) => seen.value.and_then(|seen| seen.as_str().map(str::to_owned)).unwrap_or_default(),
            Err(error) => format!("nothing: {error:#}"),
        };
        let complaints = self.heard().complaints.join("\n");
        eprintln!("--- the page says ---\n{seen}\n--- the browser complains ---\n{complaints}");
        match self.try_picture(&format!("failure-{test}")) {
            Ok(file) => eprintln!("--- a picture ---\n{}", file.display()),
            Err(error) => eprintln!("--- no picture ---\n{error:#}"),
        }
    }
}
