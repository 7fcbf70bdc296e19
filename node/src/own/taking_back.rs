//! What this organization takes back in its document.

use comity_identity::envelope::Compact;
use comity_identity::organization::{Document, Revocation, Revoked};
use comity_identity::{Digest, LEEWAY, NodeName, OrgId, Signer as _, Timestamp, grant};
use comity_protocol::revocation;

use super::Own;
use crate::failure::{Failure, Fault};

/// The most revocations of a document (`spec/2-identity.md#I-16`).
const MAX_REVOCATIONS: usize = 512;

/// One thing of this organization that no longer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeBack {
    /// A grant and all that was narrowed from it, by its `jti`.
    Grant(String),
    /// Another node of this organization, with its key.
    Node(NodeName),
}

impl Own {
    /// Says to `peer` that the agreement or federation `id` is taken back.
    pub(crate) fn revocation(
        &self,
        peer: OrgId,
        id: Digest,
        at: Timestamp,
    ) -> Result<String, Failure> {
        let revocation = revocation::Revocation {
            v: 1,
            org: self.org(),
            peer,
            agreement: id,
            at,
        };
        let signed = revocation.sign(&*self.keys.issuer);
        signed.map_err(|e| Failure::own("revocation", e))
    }

    /// `text`, a revocation of this organization, as partners take it now: signed
    /// anew when its key has been replaced since (`spec/4-negotiation.md#N-34`).
    pub(crate) fn present_revocation(&self, text: &str) -> String {
        let anew = || {
            let envelope = Compact::parse(revocation::REVOCATION, text).ok()?;
            if envelope.claimed_kid() == self.keys.issuer.public().id() {
                return None;
            }
            let said: revocation::Revocation = envelope.danger_unverified_payload().ok()?;
            self.revocation(said.peer, said.agreement, said.at).ok()
        };
        anew().unwrap_or_else(|| text.to_owned())
    }

    /// Issues a document that takes `things` back, with all that was taken back
    /// before, and gives its version. It counts here when the journal has it;
    /// partners are told by whoever calls.
    pub async fn take_back(&self, things: &[TakeBack], now: Timestamp) -> Result<u64, Failure> {
        let _one = self.issuing.lock().await;
        let mut next = self.current().document.document().clone();
        forget_ended(&mut next.revoked, now);
        for thing in things {
            match thing {
                TakeBack::Grant(jti) => add(&mut next, Revoked::Grant, jti.clone(), now),
                TakeBack::Node(name) => self.take_back_node(&mut next, name, now)?,
            }
        }
        if next.revoked.len() > MAX_REVOCATIONS {
            return Err(Failure::new(
                Fault::Conflict,
                "revocations-full",
                "the organization document holds no more revocations",
            )
            .next("those of grants leave it after 15 minutes; ask again then"));
        }
        self.issue(next, now).await?;
        Ok(self.current().document.version())
    }

    fn take_back_node(
        &self,
        next: &mut Document,
        name: &NodeName,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if *name == self.node {
            return Err(Failure::caller(
                "own-node",
                format!("{name} is this very node: who took it back would have nobody to say so"),
            )
            .next("stop it and give it new keys with 'comity keys renew node'"));
        }
        let listed = next.nodes.iter().position(|n| n.node == *name);
        let listed = listed.ok_or_else(|| {
            Failure::new(
                Fault::Unknown,
                "unknown-node",
                format!("the organization has no node called '{name}'"),
            )
        })?;
        let gone = next.nodes.remove(listed);
        // Its key as well: it may hold grants that outlive the entry (I-38).
        add(next, Revoked::Key, gone.key.id().to_string(), now);
        add(next, Revoked::Node, name.to_string(), now);
        Ok(())
    }
}

/// Adds a revocation, once: the earlier `since` stands.
pub(crate) fn add(document: &mut Document, what: Revoked, id: String, since: Timestamp) {
    let known = |r: &Revocation| r.what == what && r.id == id;
    if !document.revoked.iter().any(known) {
        document.revoked.push(Revocation { what, id, since });
    }
}

/// Drops revocations of grants that have ended by themselves, for every clock
/// within the leeway (`spec/2-identity.md#I-54`). Keys and nodes stay: an expert
/// who reads an old signature must still find since when the key was not its
/// owner's alone.
pub(super) fn forget_ended(revoked: &mut Vec<Revocation>, now: Timestamp) {
    let ended = |r: &Revocation| {
        let last = r
            .since
            .saturating_add(grant::MAX_LIFETIME + LEEWAY + LEEWAY);
        r.what == Revoked::Grant && last < now
    };
    revoked.retain(|r| !ended(r));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::fixture;

    #[tokio::test]
    async fn a_revoked_grant_is_listed_as_long_as_it_could_count_and_no_longer() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("weather-service"));
        let (own, _dir) = founded.await.unwrap();
        let now = clock::now();
        let jti = || TakeBack::Grant("0a".repeat(16));
        let version = own.take_back(&[jti(), jti()], now).await.unwrap();
        assert_eq!(version, 2, "the document after the first");
        let listed = |own: &Own| own.current().document.document().revoked.len();
        assert_eq!(listed(&own), 1, "named once");

        let still = now.saturating_add(grant::MAX_LIFETIME + LEEWAY + LEEWAY);
        own.take_back(&[], still).await.unwrap();
        assert_eq!(listed(&own), 1);
        let later = still.saturating_add(Duration::from_secs(1));
        own.take_back(&[], later).await.unwrap();
        assert_eq!(listed(&own), 0);
    }

    #[tokio::test]
    async fn two_documents_at_once_never_have_one_version() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("weather-service"));
        let (own, _dir) = founded.await.unwrap();
        let now = clock::now();
        let take = |n: u8| {
            let own = std::sync::Arc::clone(&own);
            async move {
                let things = [TakeBack::Grant(format!("grant-{n}"))];
                own.take_back(&things, now).await.unwrap()
            }
        };
        let mut versions = futures::future::join_all((0..8).map(take)).await;
        versions.sort_unstable();
        assert_eq!(versions, (2..10).collect::<Vec<_>>());
        assert_eq!(own.current().document.document().revoked.len(), 8);
    }

    #[tokio::test]
    async fn what_the_document_has_no_room_for_is_said_and_not_dropped() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("weather-service"));
        let (own, _dir) = founded.await.unwrap();
        let now = clock::now();
        let things: Vec<_> = (0..MAX_REVOCATIONS)
            .map(|n| TakeBack::Grant(format!("grant-{n}")))
            .collect();
        own.take_back(&things, now).await.unwrap();
        let more = own
            .take_back(&[TakeBack::Grant("one-more".into())], now)
            .await;
        assert_eq!(more.unwrap_err().code(), "revocations-full");
        assert_eq!(
            own.current().document.document().revoked.len(),
            MAX_REVOCATIONS
        );
    }

    #[tokio::test]
    async fn a_node_cannot_take_itself_back_nor_one_that_is_not_there() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("weather-service"));
        let (own, _dir) = founded.await.unwrap();
        for (name, code) in [("node-1", "own-node"), ("node-9", "unknown-node")] {
            let things = [TakeBack::Node(name.parse().unwrap())];
            let refused = own.take_back(&things, clock::now()).await.unwrap_err();
            assert_eq!(refused.code(), code);
        }
        assert_eq!(own.current().document.version(), 1);
    }
}
