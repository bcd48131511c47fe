//! What the browser tells of a page while it is open: what it complains about, and whom it asks.

use crate::chromium::Chromium;
use headless_chrome::protocol::cdp::Log::LogEntryLevel;
use headless_chrome::protocol::cdp::Runtime::ConsoleAPICalledEventTypeOption as Call;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Log, Network, Page, Runtime};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// Keeps the violations of the content security policy where they can be asked for.
const KEEP_VIOLATIONS: &str = "window.violations = [];
    document.addEventListener('securitypolicyviolation', event =>
        window.violations.push(event.violatedDirective + ' forbids ' + (event.blockedURI || 'something')));";

/// What has been heard since the tab was opened.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Errors and warnings on the console, and exceptions that nobody has caught.
    pub complaints: Vec<String>,
    /// The URL of every request.
    pub urls: Vec<String>,
}

impl Heard {
    /// Listens to a tab that has not been anywhere yet.
    pub fn listen(chromium: &Chromium) -> Arc<Mutex<Heard>> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let hears = Arc::clone(&heard);
        let listener = move |event: &Event| hears.lock().unwrap().hear(event);
        chromium.tab.add_event_listener(Arc::new(listener)).unwrap();
        chromium.call::<Runtime::Enable>(json!(null));
        chromium.call::<Log::Enable>(json!(null));
        chromium.call::<Network::Enable>(json!({}));
        chromium.call::<Page::AddScriptToEvaluateOnNewDocument>(json!({ "source": KEEP_VIOLATIONS }));
        heard
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::NetworkRequestWillBeSent(event) => self.urls.push(event.params.request.url.clone()),
            Event::NetworkWebSocketCreated(event) => self.urls.push(event.params.url.clone()),
            Event::RuntimeExceptionThrown(event) => {
                let details = &event.params.exception_details;
                let thrown = details.exception.as_ref().and_then(|thrown| thrown.description.clone());
                self.complain(format!("uncaught: {} {}", details.text, thrown.unwrap_or_default()));
            }
            Event::RuntimeConsoleAPICalled(event) => {
                if matches!(event.params.Type, Call::Error | Call::Warning | Call::Assert) {
                    let words = |said: &Runtime::RemoteObject| match &said.value {
                        Some(value) => value.to_string(),
                        None => said.description.clone().unwrap_or_default(),
                    };
                    let said: Vec<_> = event.params.args.iter().map(words).collect();
                    self.complain(format!("{:?}: {}", event.params.Type, said.join(" ")));
                }
            }
            Event::LogEntryAdded(event) => {
                let entry = &event.params.entry;
                if matches!(entry.level, LogEntryLevel::Warning | LogEntryLevel::Error) {
                    let url = entry.url.as_deref().unwrap_or_default();
                    self.complain(format!("{:?}: {} {url}", entry.level, entry.text));
                }
            }
            _ => {}
        }
    }
    /// Whatever is said four times a second is noted once.
    fn complain(&mut self, words: String) {
        if !self.complaints.contains(&words) {
            self.complaints.push(words);
        }
    }
}
