//! Who belongs to it: the backends, and how they come and go while requests are served.
//!
//! Every change, whoever asks for it, goes the same way: a list of who is wanted, and `apply`, which keeps those that are
//! there, with all that is known of them, and puts a new [`RoutingSnapshot`] in place of the old one.

use super::names::{self, Lookup};
use crate::backend::{Backend, BackendAddress, MOST_WEIGHT, Member};
use crate::balance::affinity::{Affinity, Key, Sticky};
use crate::balance::rotation::SecondChoice;
use crate::balance::selector::Selector;
use crate::cluster::change::{ChangeError, Changes};
use crate::cluster::options::{Reread, Upstream};
use crate::cluster::snapshot::{NewCounters, RoutingSnapshot, SharedRouting};
use crate::cluster::swap::Swap;
use crate::error::StartError;
use crate::forward::retry_budget::RetryBudget;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The backends of a balancer.
pub struct Membership {
    snapshot: Arc<Swap<RoutingSnapshot>>,
    registry: Mutex<Registry>,
    common: Arc<SharedRouting>,
    workers: usize,
    lookup: Arc<dyn Lookup>,
    /// Held while the configuration is read again: of two who ask, the one who reads last must apply last.
    reread: Mutex<Option<Box<Reread>>>,
    /// For cookies, where no secret is given.
    key: Key,
    serving: AtomicBool,
    /// Rings when there is another snapshot. Without it, this is the end.
    bell: Mutex<Option<Sender<()>>>,
    rung: Receiver<()>,
}

/// What the snapshot is made from. Whoever holds the lock makes the next one.
struct Registry {
    /// All but its list of backends, which `entries` has.
    upstream: Upstream,
    budget: Arc<RetryBudget>,
    entries: Vec<Entry>,
}

/// A member, where it is, and the backends that it stands for.
struct Entry {
    member: Member,
    /// Another member may lead to some of them as well, and have the backends.
    places: Vec<BackendAddress>,
    backends: Vec<Arc<Backend>>,
}

/// A member, and where it is.
type Wanted = (Member, Vec<BackendAddress>);

impl Membership {
    /// Looks up where the backends are. For so many workers.
    ///
    /// # Errors
    /// When a name has no address.
    pub fn new(
        mut upstream: Upstream,
        workers: usize,
        lookup: Arc<dyn Lookup>,
        reread: Option<Box<Reread>>,
        new_counters: Box<NewCounters>,
    ) -> Result<Self, StartError> {
        let wanted = find(std::mem::take(&mut upstream.backends), lookup.as_ref(), &[])
            .map_err(|(member, cause)| StartError::Resolve { backend: member.url.to_string(), cause })?;
        let (common, key) = (Arc::new(SharedRouting::new(new_counters)), Key::random());
        let budget = Arc::new(RetryBudget::new(upstream.budget, Instant::now()));
        let mut registry = Registry { upstream, budget, entries: Vec::new() };
        register(&mut registry, wanted, &common, true);
        let snapshot = Arc::new(Swap::new(make_snapshot(&registry, &common, workers, &key)));
        let (bell, rung) = bounded(1);
        let (registry, bell, reread) = (Mutex::new(registry), Mutex::new(Some(bell)), Mutex::new(reread));
        let serving = AtomicBool::new(false);
        Ok(Membership { snapshot, registry, common, workers, lookup, reread, key, serving, bell, rung })
    }

    /// What workers go by.
    pub fn snapshot(&self) -> &Arc<Swap<RoutingSnapshot>> {
        &self.snapshot
    }

    /// Waits until there is another snapshot, so long at most. False when there will be no other.
    pub fn wait_for_change(&self, patience: Duration) -> bool {
        self.rung.recv_timeout(patience) != Err(RecvTimeoutError::Disconnected)
    }

    /// This is the end: whoever watches backends may go.
    pub fn close(&self) {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// From now on, or no more, requests are taken.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, SeqCst);
    }

    /// Puts a snapshot with these backends in place of the one before. Those that are there already are kept as they are; `anew`: with
    /// the weight and the remove_named that the list gives them.
    fn apply(&self, registry: &mut Registry, wanted: Vec<Wanted>, anew: bool) -> Changes {
        let changes = register(registry, wanted, &self.common, anew);
        self.snapshot.replace(make_snapshot(registry, &self.common, self.workers, &self.key));
        self.common.room.look_again();
        if let Some(bell) = &*self.bell.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = bell.try_send(()); // full: it has not been heard yet, and will be
        }
        for backend in &changes.added {
            tracing::info!("backend {} joins", backend.authority());
        }
        for name in &changes.removed {
            tracing::info!("backend {name} leaves");
        }
        changes
    }

    /// Reads the configuration again and goes by it.
    ///
    /// # Errors
    /// With every reason why not, a sentence each; then nothing has changed.
    pub fn reload(&self) -> Result<Changes, Vec<String>> {
        let reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = &*reread else {
            return Err(vec!["there is no configuration file to read again".to_owned()]);
        };
        let mut upstream = read()?;
        let (members, known) = (std::mem::take(&mut upstream.backends), self.lock().wanted());
        let wanted = find(members, self.lookup.as_ref(), &known).map_err(|(member, cause)| {
            vec![format!("cannot find the address of backend {}: {cause}", member.url)]
        })?;
        let mut registry = self.lock();
        if registry.upstream.budget != upstream.budget {
            registry.budget = Arc::new(RetryBudget::new(upstream.budget, Instant::now()));
        }
        registry.upstream = upstream;
        Ok(self.apply(&mut registry, wanted, true))
    }

    /// Looks up again where the names among the backends lead. A lookup that fails changes nothing.
    pub fn look_up_names(&self) {
        let members: Vec<Member> = self
            .lock()
            .entries
            .iter()
            .map(|entry| entry.member.clone())
            .filter(|member| names::is_name(&member.url))
            .collect();
        for member in members {
            match names::places(&member.url, self.lookup.as_ref()) {
                Ok(places) => self.moved(&member, places),
                Err(error) => {
                    tracing::warn!("cannot look up {} again, its addresses stay: {error}", member.url)
                }
            }
        }
    }

    /// A name leads there now.
    fn moved(&self, member: &Member, places: Vec<BackendAddress>) {
        let mut registry = self.lock();
        let mut wanted = registry.wanted();
        // It may have been removed while it was looked up.
        let Some((_, before)) = wanted.iter_mut().find(|(one, _)| one.url == member.url) else { return };
        if *before != places {
            *before = places;
            self.apply(&mut registry, wanted, false);
        }
    }

    /// How often names are looked up; nothing if there are none.
    pub fn resolve_interval(&self) -> Option<Duration> {
        let registry = self.lock();
        let has_names = registry.entries.iter().any(|entry| names::is_name(&entry.member.url));
        has_names.then_some(registry.upstream.resolve_interval)
    }

    /// Adds a member, and the backends that it stands for.
    ///
    /// # Errors
    /// When its name has no address, it is there already, or it has a weight that the strategy does not use.
    pub fn add(&self, member: Member) -> Result<Changes, ChangeError> {
        if member.weight != 1 {
            self.check_weights()?;
        }
        let url = member.url.clone();
        let places = names::places(&url, self.lookup.as_ref()).map_err(|error| {
            ChangeError::Invalid(format!("cannot find the address of backend {url}: {error}"))
        })?;
        let mut registry = self.lock();
        let there: Vec<_> = registry.backends().map(|backend| backend.place().clone()).collect();
        if registry.entries.iter().any(|entry| entry.member.url == url)
            || places.iter().all(|place| there.contains(place))
        {
            return Err(ChangeError::Duplicate(format!("backend {url} is there already")));
        }
        let mut wanted = registry.wanted();
        wanted.push((member, places));
        Ok(self.apply(&mut registry, wanted, false))
    }

    /// Removes the member with this name, and its backends.
    ///
    /// # Errors
    /// When there is none of that name, or it is the only one.
    pub fn remove(&self, name: &str) -> Result<Changes, ChangeError> {
        let mut registry = self.lock();
        let url = registry.entry_of(name)?.member.url.clone();
        let mut wanted = registry.wanted();
        wanted.retain(|(member, _)| member.url != url);
        if wanted.is_empty() {
            return Err(ChangeError::Invalid(format!(
                "backend {name} is the only one; add another one first"
            )));
        }
        Ok(self.apply(&mut registry, wanted, false))
    }

    /// Sends a backend no further requests; it finishes those that it has.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn drain(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        backend.drain();
        self.common.room.look_again();
        Ok(backend)
    }

    /// Sends a backend requests again.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn resume(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        backend.resume();
        self.common.room.look_again();
        Ok(backend)
    }

    /// Changes a backend's weight.
    ///
    /// # Errors
    /// When there is none of that name, the strategy does not use weights, or the weight is out of its range.
    pub fn set_weight(&self, name: &str, weight: u32) -> Result<Arc<Backend>, ChangeError> {
        let backend = self.backend(name)?;
        self.check_weights()?;
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(ChangeError::Invalid(format!(
                "the weight is {weight}; it must be from 1 to {MOST_WEIGHT}"
            )));
        }
        backend.set_part(weight, backend.is_backup());
        Ok(backend)
    }

    fn check_weights(&self) -> Result<(), ChangeError> {
        if self.lock().upstream.strategy.uses_weights() {
            return Ok(());
        }
        let text =
            "round-robin gives each backend the same; choose weighted-round-robin in the configuration first";
        Err(ChangeError::Invalid(text.to_owned()))
    }

    /// Checks whether a request would be served now.
    ///
    /// # Errors
    /// With the reason why not, in a few words.
    pub fn ready(&self) -> Result<(), &'static str> {
        if !self.serving.load(SeqCst) {
            return Err("it is starting or stopping");
        }
        if self.has_usable() { Ok(()) } else { Err("no backend is usable") }
    }

    fn backend(&self, name: &str) -> Result<Arc<Backend>, ChangeError> {
        let registry = self.lock();
        let new = registry.backends().find(|backend| backend.authority() == name).map(Arc::clone);
        new.ok_or_else(|| ChangeError::Unknown(format!("there is no backend {name}")))
    }

    /// Is there anybody to send a request to?
    fn has_usable(&self) -> bool {
        let (snapshot, now) = (self.snapshot.get(), Instant::now());
        let mut backends = snapshot.selector.backends.iter();
        backends.any(|backend| {
            !backend.is_draining() && backend.health_state().usable(now) != crate::backend::Usable::No
        })
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // The registry are changed once all that can fail is done.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.entries.iter().flat_map(|entry| &entry.backends)
    }

    /// Those that are there.
    fn wanted(&self) -> Vec<Wanted> {
        self.entries.iter().map(|entry| (entry.member.clone(), entry.places.clone())).collect()
    }

    /// The member with this name, or with a backend of this name that is all it stands for.
    fn entry_of(&self, name: &str) -> Result<&Entry, ChangeError> {
        let is_it = |entry: &&Entry| {
            entry.member.url.authority() == name
                || entry.backends.iter().any(|backend| backend.authority() == name)
        };
        let entry = self.entries.iter().find(is_it);
        let entry = entry.ok_or_else(|| ChangeError::Unknown(format!("there is no backend {name}")))?;
        let url = &entry.member.url;
        if url.authority() != name && names::is_name(url) {
            let of = url.authority();
            return Err(ChangeError::Invalid(format!(
                "{name} is one of the addresses of {of}; drain it, or remove {of}"
            )));
        }
        Ok(entry)
    }
}

/// Where members are: where they were when they were last new, if they cannot be new now.
fn find(
    members: Vec<Member>,
    lookup: &dyn Lookup,
    known: &[Wanted],
) -> Result<Vec<Wanted>, (Member, std::io::Error)> {
    let place = |member: Member| match names::places(&member.url, lookup) {
        Ok(places) => Ok((member, places)),
        Err(error) => match known.iter().find(|(one, _)| one.url == member.url) {
            Some((_, places)) => Ok((member, places.clone())),
            None => Err((member, error)),
        },
    };
    members.into_iter().map(place).collect()
}

/// Writes down who is wanted: whoever is there already stays.
fn register(registry: &mut Registry, wanted: Vec<Wanted>, common: &SharedRouting, anew: bool) -> Changes {
    let mut changes = Changes::default();
    let mut before: Vec<Arc<Backend>> = registry.entries.drain(..).flat_map(|entry| entry.backends).collect();
    let mut taken: Vec<BackendAddress> = Vec::new();
    for (member, places) in wanted {
        let mut backends = Vec::new();
        for place in places.iter().cloned() {
            if taken.contains(&place) {
                tracing::warn!("backend {} leads to {}, which is there already", member.url, place.authority);
                continue;
            }
            taken.push(place.clone());
            let backend = match before.iter().position(|backend| *backend.place() == place) {
                Some(at) => {
                    let backend = before.swap_remove(at);
                    changes.kept.push(backend.authority().to_string());
                    if anew {
                        backend.set_part(member.weight, member.backup);
                    }
                    backend
                }
                None => {
                    let counters = (common.new_counters)(place.authority.as_str());
                    let backend = Backend::new(place, member.weight, member.backup, &common.room);
                    let backend = Arc::new(backend.counted(counters));
                    changes.added.push(Arc::clone(&backend));
                    backend
                }
            };
            backends.push(backend);
        }
        registry.entries.push(Entry { member, places, backends });
    }
    changes.removed = before.iter().map(|backend| backend.authority().to_string()).collect();
    changes
}

/// The snapshot that the registry make.
fn make_snapshot(
    registry: &Registry,
    common: &Arc<SharedRouting>,
    workers: usize,
    key: &Key,
) -> RoutingSnapshot {
    let backends: Vec<_> = registry.backends().map(Arc::clone).collect();
    let Upstream { strategy, choice, sticky, health, forward, trusted_proxies, .. } = &registry.upstream;
    let most = choice.most_in_flight(workers, backends.len());
    let now = Instant::now();
    for backend in &backends {
        backend.slots().set_most(most);
        backend.health_state().watch(health.on, now);
    }
    let affinity = sticky.as_ref().map(|options| {
        let key = options.secret.as_deref().map_or_else(|| key.clone(), Key::from_secret);
        Affinity::new(Sticky::new(options.cookie.clone(), key), &backends)
    });
    let selector = Selector {
        backends,
        strategy: Arc::clone(strategy),
        affinity,
        options: *choice,
        room: Arc::clone(&common.room),
        second: SecondChoice::default(),
    };
    RoutingSnapshot {
        selector,
        forward: *forward,
        trusted_proxies: trusted_proxies.as_slice().into(),
        health: health.clone(),
        budget: Arc::clone(&registry.budget),
        common: Arc::clone(common),
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

    /// Finds a name once, and then no more.
    #[derive(Default)]
    struct Once(AtomicBool);

    impl Lookup for Once {
        fn lookup(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
            let again = self.0.swap(true, SeqCst);
            if again { Err(std::io::Error::other("nobody knows")) } else { Two.lookup(host, port) }
        }
    }

    #[test]
    fn a_name_that_cannot_be_found_at_a_reload_stays_where_it_was_and_a_new_one_is_refused() {
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
        assert_eq!(problems, ["cannot find the address of backend http://other:80: nobody knows"]);
        assert_eq!(members.snapshot().get().selector.backends.len(), 3, "nothing has changed");
    }

    #[test]
    fn names_that_lead_where_they_did_leave_the_plan_alone() {
        // The second leads where the first does, and the third to what both have: they are still where they were.
        let urls = ["http://10.0.0.1:80", "http://app:80", "http://app.:80"];
        let members = urls.iter().map(|url| url.parse().unwrap()).collect();
        let members = Membership::new(Upstream::new(members), 4, Arc::new(Two), None, uncounted()).unwrap();
        let before = members.snapshot().get();
        assert_eq!(before.selector.backends.len(), 2);
        members.look_up_names();
        assert!(Arc::ptr_eq(&before, &members.snapshot().get()));
    }
}
