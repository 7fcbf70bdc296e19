//! Whose keys counted when, as the journal recorded it.

use std::collections::HashMap;

use comity_identity::history::History;
use comity_identity::organization::{Role, VerifiedDocument};
use comity_identity::{KeyId, OrgId, PublicKey, Timestamp};
use comity_protocol::keys::IssuerKeys;

use crate::ledger::Record;

/// The organizations' histories and documents that the journal holds up to
/// some record, each verified as it was when it was recorded.
///
/// An old signature is judged by the documents of its time: a key that was
/// rotated since still signed it (`spec/2-identity.md#I-26`).
#[derive(Debug, Default)]
pub(super) struct Recorded {
    own: Option<OrgId>,
    documents: HashMap<OrgId, Vec<VerifiedDocument>>,
    /// Histories repeat with every document: each is verified once.
    histories: HashMap<Vec<String>, History>,
}

impl Recorded {
    /// The organization whose journal this is.
    pub(super) fn own(&self) -> Option<OrgId> {
        self.own
    }

    /// Takes what `record` says about an organization's keys; says why it cannot be true.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), String> {
        let (history, document) = match record {
            Record::Own(evidence) => {
                if self.own.is_some_and(|own| own != evidence.org) {
                    return Err("the journal changes its organization".to_owned());
                }
                self.own = Some(evidence.org);
                (&evidence.history, &evidence.document)
            }
            Record::Known(known) => (&known.evidence.history, &known.evidence.document),
            _ => return Ok(()),
        };
        if !self.histories.contains_key(history) {
            let verified = History::verify(history).map_err(|e| e.to_string())?;
            self.histories.insert(history.clone(), verified);
        }
        let Some(history) = self.histories.get(history) else {
            return Ok(());
        };
        let document =
            VerifiedDocument::verify_recorded(document, history).map_err(|e| e.to_string())?;
        let org = document.org();
        if matches!(record, Record::Own(evidence) if evidence.org != org) {
            return Err("the organization's evidence is another one's".to_owned());
        }
        let known = self.documents.entry(org).or_default();
        if known
            .last()
            .is_none_or(|last| last.digest() != document.digest())
        {
            known.push(document);
        }
        Ok(())
    }

    /// [`Self::take`] of a record's JSON; what cannot be true is left out.
    pub(super) fn take_json(&mut self, record: &[u8]) {
        if let Ok(record) = serde_json::from_slice(record) {
            let _ = self.take(&record);
        }
    }

    /// The organization that had the agreeing key `kid` at `at`, and the key.
    pub(super) fn holder(&self, kid: &KeyId, at: Timestamp) -> Option<(OrgId, PublicKey)> {
        self.documents
            .keys()
            .find_map(|org| Some((*org, self.issuer(org, kid, Role::Agree, at)?)))
    }
}

impl IssuerKeys for Recorded {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, at: Timestamp) -> Option<PublicKey> {
        let documents = self.documents.get(org)?.iter().rev();
        documents
            .filter_map(|document| document.issuer(kid, role, at))
            .next()
            .copied()
    }
}
