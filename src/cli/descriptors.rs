//! The limit on open files.

use crate::balancer::config::ValidConfig;
use crate::edge::kind::EdgeKind;

/// Descriptors besides those of clients and of connections to backends: listeners, the poller, standard streams, and
/// clients that are refused.
const OTHERS: usize = 100;

/// Raises the limit on open files, and lowers `max_connections` to what it leaves room for.
///
/// Each connection takes a descriptor, and the usual soft limit of 1024 is too low. Where the hard limit is low as well,
/// fewer clients are let in, because each of them needs a connection to a backend.
pub fn fit(config: &mut ValidConfig) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!("cannot raise the limit on open files: {error}");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
    });
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let set = config.get();
    let others = set.workers * set.upstream.backends.len() + OTHERS;
    let fitting = limit.saturating_sub(others).max(limit / 4).max(1);
    let wanted = set.edge.max_connections;
    if set.edge_kind == EdgeKind::Parked && wanted > fitting {
        tracing::warn!(
            "max_connections is {wanted}, but the limit of {limit} open files leaves room for {fitting}; raise the \
             limit (ulimit -n), or set max_connections to what fits"
        );
        config.lower_max_connections(fitting);
    }
}
