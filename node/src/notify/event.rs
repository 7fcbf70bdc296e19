//! What is told of, and the records from which it follows.

use comity_identity::envelope::Compact;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::{Body, MESSAGE, Message};
use serde::{Deserialize, Serialize};

use crate::ledger::{Record, SignedKind};

/// What can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A partner asked, or asked otherwise.
    RequestReceived,
    /// A partner offered terms.
    OfferReceived,
    /// Both signed an agreement.
    AgreementSigned,
    /// An agreement ends within seven days.
    AgreementEndingSoon,
    /// An agreement's time is over, or another one took its place.
    AgreementEnded,
    /// An agreement or a federation was revoked, by either side.
    Revoked,
    /// A receipt is disputed, or a partner's journal was rewritten.
    Dispute,
    /// Policies were refused; those before them decide.
    PolicyAlarm,
    /// One of two persons approved; another one must.
    ApprovalNeeded,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::RequestReceived,
        Self::OfferReceived,
        Self::AgreementSigned,
        Self::AgreementEndingSoon,
        Self::AgreementEnded,
        Self::Revoked,
        Self::Dispute,
        Self::PolicyAlarm,
        Self::ApprovalNeeded,
    ];
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub event: Event,
    /// Its id: the same for every try, so that a receiver can tell repetitions.
    pub id: String,
    /// The other organization, where it is known.
    pub peer: Option<OrgId>,
    /// The negotiation.
    pub negotiation: Option<String>,
    /// The agreement, or the federation.
    pub agreement: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

impl Notice {
    /// What follows from a unit of the journal whose first record is at `position`.
    pub fn of_unit(position: u64, records: &[Record]) -> Vec<Self> {
        // A second approval is in one unit with the signature: nobody need approve any more.
        let signs = records.iter().any(|record| match record {
            Record::Message(m) => m.sent && matches!(said(&m.text), Some(Body::Agree { .. })),
            _ => false,
        });
        let numbered = (position..).zip(records);
        let told = numbered.filter_map(|(position, record)| {
            let notice = Self::of_record(position, record)?;
            let approved = notice.event == Event::ApprovalNeeded && signs;
            (!approved).then_some(notice)
        });
        told.collect()
    }

    /// What is due to the time alone. One agreement ends once.
    pub(super) fn of_agreement(event: Event, agreement: Digest, at: Timestamp) -> Self {
        let id = match event {
            Event::AgreementEndingSoon => format!("{}-ending-soon", agreement.short()),
            _ => format!("{}-ended", agreement.short()),
        };
        Self {
            event,
            id,
            peer: None,
            negotiation: None,
            agreement: Some(agreement),
            at,
        }
    }

    fn of_record(position: u64, record: &Record) -> Option<Self> {
        let notice = |event, at| Self {
            event,
            id: format!("journal-{position}"),
            peer: None,
            negotiation: None,
            agreement: None,
            at,
        };
        let about = |event, agreement: Digest, at| Self {
            agreement: Some(agreement),
            ..notice(event, at)
        };
        let notice = match record {
            Record::Message(m) if !m.sent => Self {
                peer: Some(m.peer),
                negotiation: Some(m.negotiation.clone()),
                ..notice(
                    match said(&m.text)? {
                        Body::Request { .. } => Event::RequestReceived,
                        Body::Offer { .. } => Event::OfferReceived,
                        _ => return None,
                    },
                    m.at,
                )
            },
            Record::Signed(s) if s.kind == SignedKind::Agreement => Self {
                peer: Some(s.peer),
                negotiation: Some(s.negotiation.clone()),
                ..about(Event::AgreementSigned, s.id, crate::clock::now())
            },
            Record::Replaced(r) => about(Event::AgreementEnded, r.agreement, r.at),
            Record::Revoked(r) => about(Event::Revoked, r.agreement, r.at),
            Record::ReceiptAnswered(r) if r.disputed => about(Event::Dispute, r.agreement, r.at),
            Record::ReceiptTaken(r) if r.disputed => about(Event::Dispute, r.agreement, r.at),
            Record::JournalRewritten(j) => Self {
                peer: Some(j.org),
                ..notice(Event::Dispute, j.at)
            },
            Record::PolicyRefused(p) => notice(Event::PolicyAlarm, p.at),
            Record::Approved(a) => Self {
                negotiation: Some(a.negotiation.clone()),
                ..notice(Event::ApprovalNeeded, a.at)
            },
            _ => return None,
        };
        Some(notice)
    }
}

/// What a message says that was verified before it was written.
fn said(text: &str) -> Option<Body> {
    let envelope = Compact::parse(MESSAGE, text).ok()?;
    let message: Message = envelope.danger_unverified_payload().ok()?;
    Some(message.body)
}
