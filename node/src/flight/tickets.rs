//! Tickets: opaque handles of prepared queries (A16, `spec/5-data-plane.md#D-112` to D-114).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_identity::{Digest, Timestamp};

use super::Denied;
use crate::query::Prepared;

/// How long a ticket may be redeemed, as often as its holder likes.
pub(super) const TICKET_TIME: Duration = Duration::from_secs(15 * 60);

/// The most live tickets; the oldest go first. A busy dashboard has a few hundred.
pub(super) const MAX_TICKETS: usize = 4096;

/// Bytes of a handle.
const HANDLE_BYTES: usize = 16;

/// The live tickets of a listener.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<Live>);

#[derive(Debug, Default)]
struct Live {
    by_handle: HashMap<Vec<u8>, Ticket>,
    oldest: VecDeque<Vec<u8>>,
}

/// What a ticket stands for.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    /// Who may redeem it.
    pub(super) key: String,
    /// The planned query.
    pub(super) prepared: Prepared,
    /// The digest of its text.
    pub(super) query: Digest,
    /// Until when.
    pub(super) expires: Timestamp,
}

impl Tickets {
    /// Keeps a query and gives its handle.
    pub(super) fn issue(
        &self,
        key: &str,
        prepared: Prepared,
        query: Digest,
        now: Timestamp,
    ) -> Result<(Vec<u8>, Timestamp), Denied> {
        let mut handle = vec![0; HANDLE_BYTES];
        getrandom::fill(&mut handle)
            .map_err(|_| Denied::new("unavailable", "no randomness", ""))?;
        let expires = now.saturating_add(TICKET_TIME);
        let ticket = Ticket {
            key: key.to_owned(),
            prepared,
            query,
            expires,
        };
        let mut live = self.live();
        while live.oldest.len() >= MAX_TICKETS {
            if let Some(oldest) = live.oldest.pop_front() {
                live.by_handle.remove(&oldest);
            }
        }
        live.by_handle.insert(handle.clone(), ticket);
        live.oldest.push_back(handle.clone());
        Ok((handle, expires))
    }

    /// What `handle` stands for, if it is live and `key`'s. Whether it is
    /// unknown, another's or expired makes no difference in the answer.
    pub(super) fn redeem(
        &self,
        handle: &[u8],
        key: &str,
        now: Timestamp,
    ) -> Result<Ticket, Denied> {
        let live = self.live();
        let ticket = live
            .by_handle
            .get(handle)
            .filter(|t| t.key == key && now < t.expires);
        ticket.cloned().ok_or_else(|| {
            Denied::new(
                "expired-ticket",
                "the ticket is unknown or has expired; ask again",
                "",
            )
        })
    }

    /// Ends a ticket of `key`. Gives whether there was one.
    pub(super) fn end(&self, handle: &[u8], key: &str) -> bool {
        let mut live = self.live();
        let ours = live.by_handle.get(handle).is_some_and(|t| t.key == key);
        if ours {
            live.by_handle.remove(handle);
            live.oldest.retain(|h| h != handle);
        }
        ours
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
