//! The backends of a balancer, and how they are added and removed while requests are served.
//!
//! Every change takes the same path: a list of members goes to `apply`, which keeps the backends that stay, with their
//! state, and replaces the [`RoutingSnapshot`].

use super::change::{ChangeError, Changes};
use super::names::{self, Lookup};
use super::options::{Reread, Upstream};
use super::registry::{Registry, ResolvedMember, resolve_members};
use super::snapshot::{NewCounters, RoutingSnapshot, SharedRouting};
use super::swap::Swap;
use crate::backend::address::BackendAddress;
use crate::backend::health_state::Usable;
use crate::backend::instance::Backend;
use crate::backend::member::{MOST_WEIGHT, Member};
use crate::balance::affinity::token::AffinityKey;
use crate::error::StartError;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The answer to a reload where there is nothing to read.
const NO_FILE: &str =
    "this balancer was started without a configuration file; to reload one, start it with --config FILE";

/// The backends of a balancer.
pub struct Membership {
    snapshot: Arc<Swap<RoutingSnapshot>>,
    /// Locked while a snapshot is built and published.
    registry: Mutex<Registry>,
    shared: Arc<SharedRouting>,
    workers: usize,
    lookup: Arc<dyn Lookup>,
    /// Locked from reading the configuration to applying it: of two concurrent calls, the later read is applied last.
    reread: Mutex<Option<Box<Reread>>>,
    /// The key of cookies where no secret is configured.
    random_key: AffinityKey,
    serving: AtomicBool,
    /// Signals each new snapshot. `None` once the membership is closed.
    change_sender: Mutex<Option<Sender<()>>>,
    change_receiver: Receiver<()>,
}

impl Membership {
    /// Resolves the backends and builds the first snapshot, for this number of workers.
    ///
    /// # Errors
    /// When a name has no address, or the operating system provides no random bytes.
    pub fn new(
        mut upstream: Upstream,
        workers: usize,
        lookup: Arc<dyn Lookup>,
        reread: Option<Box<Reread>>,
        new_counters: Box<NewCounters>,
    ) -> Result<Self, StartError> {
        let members = resolve_members(std::mem::take(&mut upstream.backends), lookup.as_ref(), &[])
            .map_err(|(member, cause)| StartError::Resolve { backend: member.url.to_string(), cause })?;
        let random_key = AffinityKey::random().map_err(StartError::Random)?;
        let shared = Arc::new(SharedRouting::new(new_counters));
        let mut registry = Registry::new(upstream);
        registry.apply(members, &shared, true);
        let snapshot = Arc::new(Swap::new(registry.snapshot(&shared, workers, &random_key)));
        let (change_sender, change_receiver) = bounded(1);
        Ok(Membership {
            snapshot,
            registry: Mutex::new(registry),
            shared,
            workers,
            lookup,
            reread: Mutex::new(reread),
            random_key,
            serving: AtomicBool::new(false),
            change_sender: Mutex::new(Some(change_sender)),
            change_receiver,
        })
    }

    /// Returns the snapshot that workers read.
    pub fn snapshot(&self) -> &Arc<Swap<RoutingSnapshot>> {
        &self.snapshot
    }

    /// Waits at most this long for a new snapshot. Returns `false` once the membership is closed.
    pub fn wait_for_change(&self, timeout: Duration) -> bool {
        self.change_receiver.recv_timeout(timeout) != Err(RecvTimeoutError::Disconnected)
    }

    /// Ends all current and later waits for a change.
    pub fn close(&self) {
        self.change_sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Sets whether requests are accepted, which [`ready`](Self::ready) reports.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, SeqCst);
    }

    /// Replaces the members and publishes a new snapshot. See [`Registry::apply`].
    fn apply(&self, registry: &mut Registry, members: Vec<ResolvedMember>, set_roles: bool) -> Changes {
        let changes = registry.apply(members, &self.shared, set_roles);
        self.snapshot.replace(registry.snapshot(&self.shared, self.workers, &self.random_key));
        self.shared.queue.announce_change();
        if let Some(sender) = &*self.change_sender.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.try_send(()); // full: an earlier signal has not been received yet
        }
        for backend in &changes.added {
            tracing::info!("backend {} was added", backend.authority());
        }
        for name in &changes.removed {
            tracing::info!("backend {name} was removed");
        }
        changes
    }

    /// Reads the configuration again and applies it.
    ///
    /// # Errors
    /// All problems, one sentence each. Nothing has changed then.
    pub fn reload(&self) -> Result<Changes, Vec<String>> {
        let reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = &*reread else {
            return Err(vec![NO_FILE.to_owned()]);
        };
        let mut upstream = read()?;
        let (members, known) = (std::mem::take(&mut upstream.backends), self.lock().members());
        let members = resolve_members(members, self.lookup.as_ref(), &known).map_err(|(member, cause)| {
            vec![format!("cannot find the address of backend {}: {cause}", member.url)]
        })?;
        let mut registry = self.lock();
        registry.set_upstream(upstream);
        Ok(self.apply(&mut registry, members, true))
    }

    /// Resolves the backends with host names again. A failed lookup changes nothing.
    pub fn look_up_names(&self) {
        let members: Vec<Member> = self.lock().named_members().cloned().collect();
        for member in members {
            match names::resolve(&member.url, self.lookup.as_ref()) {
                Ok(addresses) => self.set_addresses(&member, addresses),
                Err(error) => {
                    tracing::warn!(
                        "cannot resolve {} again; its known addresses stay in use: {error}",
                        member.url
                    )
                }
            }
        }
    }

    fn set_addresses(&self, member: &Member, addresses: Vec<BackendAddress>) {
        let mut registry = self.lock();
        let mut members = registry.members();
        // It may have been removed during the lookup.
        let Some((_, before)) = members.iter_mut().find(|(one, _)| one.url == member.url) else { return };
        if *before != addresses {
            *before = addresses;
            self.apply(&mut registry, members, false);
        }
    }

    /// Returns the interval at which names are looked up, or `None` if no backend has a host name.
    pub fn resolve_interval(&self) -> Option<Duration> {
        let registry = self.lock();
        let has_names = registry.named_members().next().is_some();
        has_names.then_some(registry.upstream.resolve_interval)
    }

    /// Adds a member with its backends.
    ///
    /// # Errors
    /// When its name has no address, it exists already, or it has a weight that the strategy does not use.
    pub fn add(&self, member: Member) -> Result<Changes, ChangeError> {
        if member.weight != 1 {
            self.check_weights()?;
        }
        let url = member.url.clone();
        let addresses = names::resolve(&url, self.lookup.as_ref()).map_err(|error| {
            ChangeError::Invalid(format!("cannot find the address of backend {url}: {error}"))
        })?;
        let mut registry = self.lock();
        let mut members = registry.members();
        let is_new = |address: &BackendAddress| !registry.backends().any(|one| one.address() == address);
        if members.iter().any(|(one, _)| one.url == url) || !addresses.iter().any(is_new) {
            return Err(ChangeError::Duplicate(format!("backend {url} exists already")));
        }
        members.push((member, addresses));
        Ok(self.apply(&mut registry, members, false))
    }

    /// Removes the member with this name, and its backends.
    ///
    /// # Errors
    /// When there is no such member, or it is the only one.
    pub fn remove(&self, name: &str) -> Result<Changes, ChangeError> {
        let mut registry = self.lock();
        let url = registry.member_named(name)?.url.clone();
        let mut members = registry.members();
        members.retain(|(member, _)| member.url != url);
        if members.is_empty() {
            return Err(ChangeError::Invalid(format!(
                "backend {name} is the only one; add another one first"
            )));
        }
        Ok(self.apply(&mut registry, members, false))
    }

    /// Stops sending requests to a backend, which finishes the requests in flight.
    ///
    /// # Errors
    /// When there is no such backend.
    pub fn drain(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        backend.drain();
        self.shared.queue.announce_change();
        Ok(backend)
    }

    /// Resumes sending requests to a backend.
    ///
    /// # Errors
    /// When there is no such backend.
    pub fn resume(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        backend.resume();
        self.shared.queue.announce_change();
        Ok(backend)
    }

    /// Changes the weight of a backend.
    ///
    /// # Errors
    /// When there is no such backend, the strategy does not use weights, or the weight is out of range.
    pub fn set_weight(&self, name: &str, weight: u32) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        self.check_weights()?;
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(ChangeError::Invalid(format!(
                "the weight is {weight}; it must be from 1 to {MOST_WEIGHT}"
            )));
        }
        backend.set_role(weight, backend.is_backup());
        Ok(backend)
    }

    fn check_weights(&self) -> Result<(), ChangeError> {
        if self.lock().upstream.strategy.uses_weights() {
            return Ok(());
        }
        let text = "round-robin gives each backend the same share; choose weighted-round-robin in the configuration first";
        Err(ChangeError::Invalid(text.to_owned()))
    }

    /// Checks whether a request would be served now.
    ///
    /// # Errors
    /// The reason why it would not, in a few words.
    pub fn ready(&self) -> Result<(), &'static str> {
        if !self.serving.load(SeqCst) {
            return Err("it is starting or stopping");
        }
        if self.has_usable() { Ok(()) } else { Err("no backend is usable") }
    }

    fn backend(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let registry = self.lock();
        let backend = registry.backends().find(|backend| backend.authority() == name).map(Arc::clone);
        backend.ok_or_else(|| ChangeError::Unknown(format!("there is no backend {name}")))
    }

    fn has_usable(&self) -> bool {
        let (snapshot, now) = (self.snapshot.get(), Instant::now());
        let mut backends = snapshot.selector.backends.iter();
        backends.any(|backend| !backend.is_draining() && backend.health_state().usable(now) != Usable::No)
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // The registry is changed only after all that can fail is done.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::counters::BackendCounters;
    use std::net::SocketAddr;

    fn uncounted() -> Box<NewCounters> {
        let histogram =
            || prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("tries", "Tries."));
        Box::new(move |_| BackendCounters::new(histogram().unwrap()))
    }

    struct Two;

    impl Lookup for Two {
        fn lookup(&self, _host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
            Ok([1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], port))).into())
        }
    }

    /// Resolves a name once, and then fails.
    #[derive(Default)]
    struct Once(AtomicBool);

    impl Lookup for Once {
        fn lookup(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
            let again = self.0.swap(true, SeqCst);
            if again { Err(std::io::Error::other("unknown host")) } else { Two.lookup(host, port) }
        }
    }

    #[test]
    fn a_reload_keeps_the_addresses_of_a_failed_lookup_and_refuses_a_new_name() {
        let backends =
            |urls: &[&str]| -> Vec<Member> { urls.iter().map(|url| url.parse().unwrap()).collect() };
        let later = std::sync::Mutex::new(vec![
            backends(&["http://app:80", "http://other:80"]),
            backends(&["http://app:80,weight=2", "http://10.0.0.9:80"]),
        ]);
        let reread: Box<Reread> = Box::new(move || Ok(Upstream::new(later.lock().unwrap().pop().unwrap())));
        let upstream = Upstream::new(backends(&["http://app:80"]));
        let members =
            Membership::new(upstream, 4, Arc::new(Once::default()), Some(reread), uncounted()).unwrap();
        let changes = members.reload().unwrap();
        assert_eq!((changes.kept.len(), changes.added.len()), (2, 1));
        assert_eq!(members.snapshot().get().selector.backends[0].weight(), 2);
        let problems = members.reload().unwrap_err();
        assert_eq!(problems, ["cannot find the address of backend http://other:80: unknown host"]);
        assert_eq!(members.snapshot().get().selector.backends.len(), 3, "nothing has changed");
    }

    #[test]
    fn names_with_unchanged_addresses_keep_the_snapshot() {
        // The second member shares an address with the first, and the third shares all addresses with both.
        let urls = ["http://10.0.0.1:80", "http://app:80", "http://app.:80"];
        let members = urls.iter().map(|url| url.parse().unwrap()).collect();
        let members = Membership::new(Upstream::new(members), 4, Arc::new(Two), None, uncounted()).unwrap();
        let before = members.snapshot().get();
        assert_eq!(before.selector.backends.len(), 2);
        members.look_up_names();
        assert!(Arc::ptr_eq(&before, &members.snapshot().get()));
    }
}
