//! The members of a cluster with their addresses and backends, and the snapshot that they make.

use super::change::{ChangeError, Changes};
use super::names::{self, Lookup};
use super::options::Upstream;
use super::snapshot::{RoutingSnapshot, SharedRouting};
use crate::backend::address::BackendAddress;
use crate::backend::instance::Backend;
use crate::backend::member::Member;
use crate::balance::affinity::session::{Affinity, AffinityCookie};
use crate::balance::affinity::token::AffinityKey;
use crate::balance::rotation::SecondChoice;
use crate::balance::selector::Selector;
use crate::forward::retry_budget::RetryBudget;
use std::sync::Arc;
use std::time::Instant;

/// The source of the routing snapshot.
pub(super) struct Registry {
    /// The options, without the list of backends, which `entries` holds.
    pub(super) upstream: Upstream,
    pub(super) budget: Arc<RetryBudget>,
    entries: Vec<Entry>,
}

/// A member, its addresses, and its backends.
struct Entry {
    member: Member,
    /// All addresses, including addresses whose backends belong to an earlier member.
    addresses: Vec<BackendAddress>,
    backends: Vec<Arc<Backend>>,
}

/// A member and its resolved addresses.
pub(super) type ResolvedMember = (Member, Vec<BackendAddress>);

/// Resolves members. A name that cannot be looked up keeps its addresses from `known`.
pub(super) fn resolve_members(
    members: Vec<Member>,
    lookup: &dyn Lookup,
    known: &[ResolvedMember],
) -> Result<Vec<ResolvedMember>, (Member, std::io::Error)> {
    let resolve = |member: Member| match names::resolve(&member.url, lookup) {
        Ok(addresses) => Ok((member, addresses)),
        Err(error) => match known.iter().find(|(one, _)| one.url == member.url) {
            Some((_, addresses)) => Ok((member, addresses.clone())),
            None => Err((member, error)),
        },
    };
    members.into_iter().map(resolve).collect()
}

impl Registry {
    pub(super) fn new(upstream: Upstream) -> Self {
        let budget = Arc::new(RetryBudget::new(upstream.budget, Instant::now()));
        Registry { upstream, budget, entries: Vec::new() }
    }

    /// Replaces the options. A retry budget with unchanged options keeps its counts.
    pub(super) fn set_upstream(&mut self, upstream: Upstream) {
        if self.upstream.budget != upstream.budget {
            self.budget = Arc::new(RetryBudget::new(upstream.budget, Instant::now()));
        }
        self.upstream = upstream;
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.entries.iter().flat_map(|entry| &entry.backends)
    }

    /// Returns the current members and their addresses.
    pub(super) fn members(&self) -> Vec<ResolvedMember> {
        self.entries.iter().map(|entry| (entry.member.clone(), entry.addresses.clone())).collect()
    }

    /// Returns the members whose URL has a host name.
    pub(super) fn named_members(&self) -> impl Iterator<Item = &Member> {
        self.entries.iter().map(|entry| &entry.member).filter(|member| names::is_name(&member.url))
    }

    /// Returns the member with this name, or the member whose only backend has this name.
    pub(super) fn member_named(&self, name: &str) -> Result<&Member, ChangeError> {
        let matches = |entry: &&Entry| {
            entry.member.url.authority() == name
                || entry.backends.iter().any(|backend| backend.authority() == name)
        };
        let entry = self.entries.iter().find(matches);
        let entry = entry.ok_or_else(|| ChangeError::Unknown(format!("there is no backend {name}")))?;
        let url = &entry.member.url;
        if url.authority() != name && names::is_name(url) {
            let of = url.authority();
            return Err(ChangeError::Invalid(format!(
                "{name} is one of the addresses of {of}; drain it, or remove {of}"
            )));
        }
        Ok(&entry.member)
    }

    /// Replaces the members and returns the difference. A backend whose address stays keeps its state, and its role too
    /// unless `set_roles`.
    pub(super) fn apply(
        &mut self,
        members: Vec<ResolvedMember>,
        shared: &SharedRouting,
        set_roles: bool,
    ) -> Changes {
        let mut changes = Changes::default();
        let mut before: Vec<Arc<Backend>> = self.entries.drain(..).flat_map(|entry| entry.backends).collect();
        let mut used: Vec<BackendAddress> = Vec::new();
        for (member, addresses) in members {
            let mut backends = Vec::new();
            for address in &addresses {
                if used.contains(address) {
                    tracing::warn!(
                        "backend {} resolves to {}, which is a backend already; it is used once",
                        member.url,
                        address.authority
                    );
                    continue;
                }
                used.push(address.clone());
                let backend = match before.iter().position(|backend| backend.address() == address) {
                    Some(at) => {
                        let backend = before.swap_remove(at);
                        changes.kept.push(backend.authority().to_string());
                        if set_roles {
                            backend.set_role(member.weight, member.backup);
                        }
                        backend
                    }
                    None => {
                        let backend = shared.new_backend(address, &member);
                        changes.added.push(Arc::clone(&backend));
                        backend
                    }
                };
                backends.push(backend);
            }
            self.entries.push(Entry { member, addresses, backends });
        }
        changes.removed = before.iter().map(|backend| backend.authority().to_string()).collect();
        changes
    }

    /// Builds the snapshot, and applies the limit and the health options to the backends.
    pub(super) fn snapshot(
        &self,
        shared: &Arc<SharedRouting>,
        workers: usize,
        random_key: &AffinityKey,
    ) -> RoutingSnapshot {
        let backends: Vec<_> = self.backends().map(Arc::clone).collect();
        let Upstream { strategy, choice, sticky, health, forward, trusted_proxies, .. } = &self.upstream;
        let limit = choice.limit_per_backend(workers, backends.len());
        let now = Instant::now();
        for backend in &backends {
            backend.limit().set_limit(limit);
            backend.health_state().set_checked(health.on, now);
        }
        let affinity = sticky.as_ref().map(|options| {
            let secret = options.secret.as_deref();
            let key = secret.map_or_else(|| random_key.clone(), AffinityKey::from_secret);
            Affinity::new(AffinityCookie::new(options.cookie.clone(), key), &backends)
        });
        let selector = Selector {
            backends,
            strategy: Arc::clone(strategy),
            affinity,
            options: *choice,
            queue: Arc::clone(&shared.queue),
            second: SecondChoice::default(),
        };
        RoutingSnapshot {
            selector,
            forward: *forward,
            trusted_proxies: trusted_proxies.as_slice().into(),
            health: health.clone(),
            budget: Arc::clone(&self.budget),
            shared: Arc::clone(shared),
        }
    }
}
