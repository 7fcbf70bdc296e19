//! What has happened on the network, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the host, for the admin API and metrics.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NetworkStats { $($(#[$doc])* pub $name: u64,)* }

        /// The counters behind [`NetworkStats`]. Each stands for itself, so no ordering is needed.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Counter,)* }

        impl Counters {
            pub(super) fn snapshot(&self) -> NetworkStats {
                NetworkStats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl NetworkStats {
            /// Each number with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections that came up.
    connections,
    /// Connections that others tried and that were refused or broke off.
    connections_refused,
    /// Dials that failed.
    dials_failed,
    /// Requests of peers for the node: read, within quota, and permitted.
    requests,
    /// Requests of peers that the host refused: over quota, a stranger's, or the node is too busy.
    requests_refused,
    /// Requests of peers that did not decode or were too long.
    requests_garbage,
    /// Requests of this node that were sent.
    asked,
    /// Requests of this node that got no answer.
    asked_failed,
    /// Heads that came by gossip.
    gossip,
    /// Heads that came by gossip and were dropped unread: over quota, too large, a stranger's, or the
    /// node is too busy.
    gossip_dropped,
    /// Peers that were disconnected because they flooded, sent nonsense or did not read.
    peers_cut_off,
}

/// One count.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
