//! Data that one person alone may not open (`spec/4-negotiation.md#N-95`).
//!
//! The first approval is written down and signs nothing; the signature comes
//! with that of another person, for the same message. Two tokens of one member
//! are one person; a token that was made after the first approval is nobody's
//! second one, or whoever may make tokens could approve alone.

use std::collections::BTreeSet;

use comity_identity::Timestamp;
use comity_protocol::negotiation::{Due, Negotiation, Proposal, Side, State};

use super::Negotiations;
use crate::access::Held;
use crate::failure::{Failure, Fault};
use crate::ledger::{Approved, OPERATOR};

/// Who an approval is from, whatever door it came through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Person {
    /// Whoever runs the node.
    Operator,
    /// The member with this name.
    Member(String),
}

impl Negotiations {
    /// For which of the data that the proposal opens one approval is not
    /// enough, in words; nothing where one is.
    pub(super) fn needs_two(&self, n: &Negotiation) -> Vec<String> {
        let Proposal::Access { terms, .. } = n.proposal() else {
            return Vec::new();
        };
        let rule = &self.approval;
        if self.only_takes_away(n) {
            return Vec::new();
        }
        if n.side() != Side::Provider || rule.two_for.is_empty() && !rule.two_for_protected {
            return Vec::new();
        }
        let address = n.proposal().address().map(|a| a.to_string());
        let Some(own) = self.catalog.own_product(&address.unwrap_or_default()) else {
            // Nothing can be signed for it either; what is unknown is not waved through.
            return vec!["the product is not announced".to_owned()];
        };
        let offer = own.descriptor.offer.as_ref();
        let mut reasons = Vec::new();
        for (name, table) in &terms.tables {
            let announced = own.descriptor.tables.iter();
            let announced = announced.filter(|t| t.name.to_string() == *name);
            for column in announced.flat_map(|t| &t.columns) {
                let listed = column.classification.as_ref();
                let listed = listed.filter(|class| rule.two_for.contains(*class));
                // Masked or not: a mask leaves something of the value.
                if let Some(class) = listed.filter(|_| table.columns.contains(&column.name)) {
                    reasons.push(format!("{name}: column {} is {class}", column.name));
                }
            }
            let offered = offer.and_then(|offer| offer.tables.get(name));
            let protected =
                table.protection.is_some() || offered.is_some_and(|o| o.protection.is_some());
            if rule.two_for_protected && protected {
                reasons.push(format!("{name}: is a protected table"));
            }
        }
        reasons
    }

    /// The approvals of what is on the table that count, one of each person.
    pub(super) fn approvals(&self, n: &Negotiation) -> Vec<Approved> {
        let known = self.approved();
        let all = known.get(&n.id()).map(Vec::as_slice).unwrap_or_default();
        let (mut people, mut counting) = (BTreeSet::new(), Vec::<Approved>::new());
        for approval in all.iter().filter(|a| a.message == n.proposed_by()) {
            let first = counting.first().map(|first| first.at);
            let Some(person) = self.person(&approval.by, first) else {
                continue;
            };
            let made = counting.iter().any(|a| self.made_one(&a.by, &approval.by));
            if !made && people.insert(person) {
                counting.push(approval.clone());
            }
        }
        counting
    }

    /// Whether nobody else need approve before this node signs.
    pub(super) fn may_sign(&self, n: &Negotiation) -> bool {
        self.needs_two(n).is_empty() || self.approvals(n).len() >= 2
    }

    /// Whether the consumer accepted what one person here offered, and another
    /// one has to approve it.
    pub(super) fn waits_for_second(&self, n: &Negotiation) -> bool {
        n.due() == Some(Due::Agree) && !self.may_sign(n)
    }

    /// That `by` approves what is on the table, if that says something new.
    pub(super) fn approval_by(
        &self,
        n: &Negotiation,
        by: &str,
        now: Timestamp,
    ) -> Result<Approved, Failure> {
        let conflict = |code, text: &str| Failure::new(Fault::Conflict, code, text);
        let before = self.approvals(n);
        let first = before.first().map(|first| first.at);
        let Some(person) = self.person(by, first) else {
            let text =
                "this token was made after the first approval; one that was held before counts";
            return Err(conflict("approval-does-not-count", text));
        };
        if before
            .iter()
            .any(|a| self.person(&a.by, None) == Some(person.clone()))
        {
            let text = "you approved this already; one more approval is needed, by somebody else";
            let next = "another person approves with a token that is theirs: 'comity approve ID --token-file FILE'";
            return Err(conflict("approved-already", text).next(next));
        }
        if before.iter().any(|a| self.made_one(&a.by, by)) {
            let text = "one of the two tokens was made by the other's holder; a token that somebody else made counts";
            return Err(conflict("approval-does-not-count", text));
        }
        let proposal = n
            .proposal()
            .digest()
            .map_err(|e| Failure::own("own-negotiation", e))?;
        Ok(Approved {
            negotiation: n.id().to_string(),
            proposal,
            message: n.proposed_by(),
            by: by.to_owned(),
            at: now,
        })
    }

    /// Whether what is on the table can be approved ahead of a signature: it is
    /// this side's to sign, now or when the consumer accepts it.
    pub(super) fn is_ours_to_sign(n: &Negotiation) -> bool {
        let open = matches!(
            n.state(),
            State::Requested | State::Offered | State::Accepted
        );
        n.side() == Side::Provider && open
    }

    /// Whether one of these two may have made the other's token: whoever
    /// administers can make tokens in any name, and is one person with all of
    /// them. Of the operator nothing is asked, who has the keys.
    fn made_one(&self, one: &str, other: &str) -> bool {
        let made = |maker: &str, by: &str| {
            let held = by.strip_prefix("token ").and_then(|id| self.held(id));
            let made_by = held.and_then(|held| held.by);
            // A maker whose token has ended may be anybody.
            let person = |by: &str| self.person(by, None);
            made_by.is_some_and(|by| {
                maker != OPERATOR && person(&by).is_none_or(|p| Some(p) == person(maker))
            })
        };
        made(one, other) || made(other, one)
    }

    fn held(&self, id: &str) -> Option<Held> {
        self.members.list().into_iter().find(|held| held.id == id)
    }

    /// Who `by` is; nobody whose token was ended, or made after `first`.
    fn person(&self, by: &str, first: Option<Timestamp>) -> Option<Person> {
        if by == OPERATOR {
            return Some(Person::Operator);
        }
        let id = by.strip_prefix("token ")?;
        let held = self.held(id)?;
        let in_time = first.is_none_or(|first| held.made <= first);
        in_time.then_some(Person::Member(held.name))
    }
}
