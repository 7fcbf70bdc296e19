//! Taking back grants, members, nodes and whole partners.
//!
//! Each is in the journal before it counts, counts here before anybody is told,
//! and is then told to every partner over a direct stream. Who cannot be reached
//! is told when it is back: a visit repeats whatever was not heard.

use std::sync::Arc;

use comity_identity::NodeName;

use super::Node;
use crate::admin::api::{LiveGrant, Revocable, TakenBack};
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::own::TakeBack;

/// The most characters of a grant's `jti` (`spec/2-identity.md#I-34`).
const MAX_JTI: usize = 128;

impl Node {
    /// Takes back what `ask` names, and has the partners told.
    pub async fn take_back(
        self: &Arc<Self>,
        ask: crate::admin::api::TakeBack,
    ) -> Result<TakenBack, Failure> {
        let mut taken = TakenBack {
            what: ask.what,
            id: ask.id,
            document: None,
            grants: Vec::new(),
            agreements: Vec::new(),
        };
        match ask.what {
            Revocable::Grant => self.take_back_grant(&mut taken).await?,
            Revocable::Member => self.take_back_member(&mut taken).await?,
            Revocable::Node => self.take_back_node(&mut taken).await?,
            Revocable::Partner => self.take_back_partner(&mut taken).await?,
        }
        // A member's name is personal data: the journal has it, from which it can be erased.
        let id = (taken.what != Revocable::Member).then_some(&taken.id);
        tracing::info!(what = ?taken.what, id, "revoked");
        Ok(taken)
    }

    /// The grants that live now, for whoever wants to take one back.
    pub fn live_grants(&self) -> Vec<LiveGrant> {
        let now = clock::now();
        let live = self.grants.live(now).into_iter();
        let live = live.chain(self.handed.live(now));
        let shown = live.map(|(jti, member, agreement, expires)| LiveGrant {
            partner: self
                .agreements
                .get(&agreement)
                .map(|a| self.partners.alias(&a.peer()))
                .unwrap_or_default(),
            jti,
            member,
            agreement,
            expires,
        });
        shown.collect()
    }

    async fn take_back_grant(self: &Arc<Self>, taken: &mut TakenBack) -> Result<(), Failure> {
        let is_jti = (1..=MAX_JTI).contains(&taken.id.len())
            && taken.id.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !is_jti {
            let message = format!("a grant's id has 1 to {MAX_JTI} printable characters");
            return Err(Failure::caller("bad-name", message)
                .next("see the grants that live with 'comity revoke grant'"));
        }
        let now = clock::now();
        let things = [TakeBack::Grant(taken.id.clone())];
        taken.document = Some(self.own.take_back(&things, now).await?);
        self.grants.forget_grant(&taken.id, now);
        self.handed.forget_grant(&taken.id);
        taken.grants.push(taken.id.clone());
        self.tell_everybody();
        Ok(())
    }

    /// The token first: from then on no grant is issued for the member, and those
    /// that were are what is taken back.
    async fn take_back_member(self: &Arc<Self>, taken: &mut TakenBack) -> Result<(), Failure> {
        self.members.remove(&taken.id).await?;
        let now = clock::now();
        taken.grants = self.grants.forget_member(&taken.id, now);
        taken
            .grants
            .extend(self.handed.forget_member(&taken.id, now));
        if taken.grants.is_empty() {
            return Ok(());
        }
        let things: Vec<_> = taken.grants.iter().cloned().map(TakeBack::Grant).collect();
        taken.document = Some(self.own.take_back(&things, now).await?);
        self.tell_everybody();
        Ok(())
    }

    async fn take_back_node(self: &Arc<Self>, taken: &mut TakenBack) -> Result<(), Failure> {
        let name: NodeName = taken
            .id
            .parse()
            .map_err(|e| Failure::caller("bad-node-name", format!("{}: {e}", taken.id)))?;
        let things = [TakeBack::Node(name)];
        taken.document = Some(self.own.take_back(&things, clock::now()).await?);
        self.tell_everybody();
        Ok(())
    }

    async fn take_back_partner(self: &Arc<Self>, taken: &mut TakenBack) -> Result<(), Failure> {
        let partner = self
            .partners
            .by_alias(&taken.id)
            .ok_or_else(|| Failure::no_partner(&taken.id))?;
        if partner.is_ended() {
            let message = format!("the federation with {} has ended already", taken.id);
            return Err(Failure::new(Fault::Conflict, "ended", message)
                .next("to recognize it again, send it a new 'comity invite'"));
        }
        let ending = self.partners.ending(&partner)?;
        let records = ending.records(self.own.org());
        taken.agreements = self.agreements.revoke_all(&partner.org, records).await?;
        self.partners.end(ending);
        self.visit(partner.org);
        Ok(())
    }

    /// Has every partner shown the present document, at once. Those who are away
    /// see it when they are back.
    pub(super) fn tell_everybody(self: &Arc<Self>) {
        for partner in self.partners.all() {
            self.visit(partner.org);
        }
    }
}
