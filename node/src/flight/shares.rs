//! How many connections each caller may have: what one takes, another still has.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use comity_identity::OrgId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accept::Caller;

/// Connections that may be open. Each costs a file descriptor, of which a
/// process has 1,024 by default on common systems, and some buffers.
pub(super) const MAX_CONNECTIONS: usize = 512;

/// Connections of holders of grants who come by themselves that may be open, of
/// all connections. Anybody can make such a certificate: strangers must not take
/// the places of partners' nodes (A25).
const MAX_HOLDERS: usize = 64;

/// Connections of holders that may be open from one address.
const MAX_HOLDERS_OF_ONE: usize = 8;

/// Connections of one organization's nodes that may be open: a partner that
/// opens as many as it can leaves the others theirs (A25). A node needs one.
const MAX_CONNECTIONS_OF_ORG: usize = 64;

/// What a connection takes of the share of whoever it is.
#[derive(Debug)]
pub(super) enum OwnPlace {
    /// The workbench has no shares.
    None,
    Node(#[expect(dead_code, reason = "held until the connection ends")] Share<OrgId>),
    Holder(#[expect(dead_code, reason = "held until the connection ends")] HolderPlace),
}

/// The places, and the shares of those who are known after the handshake.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    places: Arc<Semaphore>,
    orgs: Arc<Shares<OrgId>>,
    holders: Holders,
}

impl Callers {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            orgs: Arc::new(Shares::new(MAX_CONNECTIONS_OF_ORG)),
            holders: Holders {
                places: Arc::new(Semaphore::new(MAX_HOLDERS)),
                shares: Arc::new(Shares::new(MAX_HOLDERS_OF_ONE)),
            },
        }
    }

    /// A place for one more connection, whoever it is.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A part of the share of `caller`, who comes from `from`.
    pub(super) fn take(&self, caller: Option<&Caller>, from: IpAddr) -> io::Result<OwnPlace> {
        match caller {
            None => Ok(OwnPlace::None),
            Some(Caller::Holder(_)) => self.holders.take(from).map(OwnPlace::Holder),
            Some(Caller::Node(peer)) => {
                let share = self.orgs.take(peer.org).map(OwnPlace::Node);
                share.ok_or_else(|| {
                    io::Error::other("too many connections of one organization are open")
                })
            }
        }
    }
}

/// The places of holders who come by themselves.
#[derive(Clone, Debug)]
struct Holders {
    places: Arc<Semaphore>,
    shares: Arc<Shares<IpAddr>>,
}

/// One holder's place.
#[derive(Debug)]
pub(super) struct HolderPlace {
    _place: OwnedSemaphorePermit,
    _share: Share<IpAddr>,
}

impl Holders {
    fn take(&self, from: IpAddr) -> io::Result<HolderPlace> {
        let full = || io::Error::other("too many holders of grants are connected");
        Ok(HolderPlace {
            _share: self.shares.take(from).ok_or_else(full)?,
            _place: Arc::clone(&self.places)
                .try_acquire_owned()
                .map_err(|_| full())?,
        })
    }
}

/// How much of something each address or organization has, and the most that it may have.
#[derive(Debug)]
pub(super) struct Shares<K: Copy + Eq + Hash> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One part of the share of `whose`.
#[derive(Debug)]
pub(super) struct Share<K: Copy + Eq + Hash> {
    of: Arc<Shares<K>>,
    whose: K,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    pub(super) fn take(self: &Arc<Self>, whose: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(whose).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            of: Arc::clone(self),
            whose,
        })
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use comity_identity::Digest;

    use super::*;

    #[test]
    fn a25_connections_of_one_organization_leave_room_for_others() {
        let shares = Arc::new(Shares::new(MAX_CONNECTIONS_OF_ORG));
        let [one, other] =
            [b"one".as_slice(), b"other"].map(|n| OrgId::from_inception(Digest::of(n)));
        let all: Vec<_> = (0..MAX_CONNECTIONS_OF_ORG)
            .map(|_| shares.take(one).unwrap())
            .collect();
        assert!(shares.take(one).is_none(), "its share");
        assert!(shares.take(other).is_some());
        drop(all);
        assert!(shares.take(one).is_some(), "places that were given back");
    }

    #[test]
    fn a25_holders_of_one_address_leave_room_for_others() {
        let holders = Holders {
            places: Arc::new(Semaphore::new(MAX_HOLDERS_OF_ONE + 1)),
            shares: Arc::new(Shares::new(MAX_HOLDERS_OF_ONE)),
        };
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut held: Vec<_> = (0..MAX_HOLDERS_OF_ONE)
            .map(|_| holders.take(one).unwrap())
            .collect();
        assert!(holders.take(one).is_err(), "its share");
        let last = holders.take(other).unwrap();
        assert!(holders.take(other).is_err(), "all places");
        held.pop();
        assert!(holders.take(one).is_ok(), "a place that was given back");
        drop(last);
    }
}
