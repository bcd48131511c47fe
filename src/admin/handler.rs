//! Answers the admin requests: guards each one, passes it to the API, and survives a panic in it.

use super::api::{self, Services};
use super::control::{Control, DemoControls, Insight};
use super::guard::{self, Denial};
use super::reply::AdminReply;
use super::token::AdminToken;
use crate::edge::exchange::Exchange;
use crate::edge::relay::ReplyBuffers;
use crate::queue::receiver::JobReceiver;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The state that the answering threads share.
pub struct Handler {
    pub control: Arc<dyn Control>,
    pub insight: Arc<dyn Insight>,
    /// `None` except in the demo.
    pub demo_controls: Option<Arc<dyn DemoControls>>,
    /// Address of the listener, as bound.
    pub address: SocketAddr,
    /// Token that requests must carry, if any.
    pub token: Option<AdminToken>,
}

impl Handler {
    /// Answers requests until the queue is closed and empty.
    pub fn answer_all(&self, mut receiver: JobReceiver) {
        let mut buffers = ReplyBuffers::default();
        while let Some(mut exchange) = receiver.take(Duration::MAX, &|| ()) {
            let answered = catch_unwind(AssertUnwindSafe(|| {
                self.answer(&mut exchange).send(&mut exchange, &mut buffers);
            }));
            if answered.is_err() {
                tracing::error!(
                    "an admin request caused a panic; its thread continues with the next request"
                );
                let sentence = "the request failed inside the balancer; its log has the reason";
                let reply = AdminReply::error(StatusCode::INTERNAL_SERVER_ERROR, sentence);
                reply.send(&mut exchange, &mut buffers);
            }
        }
    }

    fn answer(&self, exchange: &mut Exchange) -> AdminReply {
        let head = &exchange.head;
        let (method, target) = (head.method.clone(), head.uri.clone());
        match guard::check(&method, target.path(), &head.headers, self.address, self.token.as_ref()) {
            Ok(()) => {
                let demo_controls = self.demo_controls.as_deref();
                let services = Services { control: &*self.control, insight: &*self.insight, demo_controls };
                api::answer(services, &method, &target, exchange)
            }
            Err(denial) => denied(denial),
        }
    }
}

/// Returns the reply to a request that is not served. A 401 names the scheme to use (RFC 9110 §15.5.2).
fn denied(denial: Denial) -> AdminReply {
    let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    let headers = (denial.status == StatusCode::UNAUTHORIZED).then_some(challenge).into_iter().collect();
    AdminReply { headers, ..AdminReply::error(denial.status, denial.reason) }
}
