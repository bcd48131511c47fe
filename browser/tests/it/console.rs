//! The browser's reports on an open page: errors, warnings and requests.

use crate::chromium::Chromium;
use headless_chrome::protocol::cdp::Log::LogEntryLevel;
use headless_chrome::protocol::cdp::Runtime::ConsoleAPICalledEventTypeOption as Call;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Log, Network, Page, Runtime};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// Collects violations of the content security policy in `window.violations`.
const KEEP_VIOLATIONS: &str = "window.violations = [];
    document.addEventListener('securitypolicyviolation', event =>
        window.violations.push(event.violatedDirective + ' forbids ' + (event.blockedURI || 'something')));";

/// The reports since the tab was opened.
#[derive(Clone, Debug, Default)]
pub struct Console {
    /// Errors and warnings on the console, and uncaught exceptions. Equal ones are kept once.
    pub complaints: Vec<String>,
    /// The URL of every request.
    pub urls: Vec<String>,
}

impl Console {
    /// Starts to collect the reports of a tab that has not loaded a page yet.
    pub fn listen(chromium: &Chromium) -> Arc<Mutex<Console>> {
        let console = Arc::new(Mutex::new(Console::default()));
        let collector = Arc::clone(&console);
        let listener = move |event: &Event| collector.lock().unwrap().add(event);
        chromium.tab.add_event_listener(Arc::new(listener)).unwrap();
        chromium.call::<Runtime::Enable>(json!(null));
        chromium.call::<Log::Enable>(json!(null));
        chromium.call::<Network::Enable>(json!({}));
        chromium.call::<Page::AddScriptToEvaluateOnNewDocument>(json!({ "source": KEEP_VIOLATIONS }));
        console
    }

    fn add(&mut self, event: &Event) {
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
                    let text = |value: &Runtime::RemoteObject| match &value.value {
                        Some(value) => value.to_string(),
                        None => value.description.clone().unwrap_or_default(),
                    };
                    let texts: Vec<_> = event.params.args.iter().map(text).collect();
                    self.complain(format!("{:?}: {}", event.params.Type, texts.join(" ")));
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

    fn complain(&mut self, complaint: String) {
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }
}
