//! What a record means to the index: which keys point at it.
//!
//! The index holds journal positions and nothing else, so every entry can be
//! made again from the record alone, in any order, any number of times.

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::receipt;
use comity_protocol::results::Results;

use super::{Contradicted, OIDC, Record};
use crate::index::{Op, Table};

/// Which fact about an organization an index entry points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Facet {
    /// Its high-water mark and evidence.
    Known = 1,
    /// How it is called and reached.
    Partner = 2,
    /// Its newest two heads with one number.
    TwoHeads = 3,
    /// Its newest two documents with one version.
    TwoDocuments = 4,
    /// How far its journal was proven to go.
    Witnessed = 5,
    /// The newest proof that it rewrote its journal.
    Rewritten = 6,
}

/// Which fact about an agreement, a federation or an invitation an entry points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// It was made.
    Made = 1,
    /// It was used up or revoked.
    Ended = 2,
}

/// Which fact about an agreement's receipts an entry points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiptFacet {
    /// The last receipt that this node, the provider, made.
    Last = 1,
    /// One that is not answered yet.
    Unanswered = 2,
    /// One that is disputed, which the operator has not accepted.
    Disputed = 3,
    /// The last one that this node, the consumer, answered.
    Taken = 4,
}

/// The key of a fact about an organization.
pub fn org_key(org: &OrgId, facet: Facet) -> Vec<u8> {
    let mut key = org.as_bytes().to_vec();
    key.push(facet as u8);
    key
}

/// The key of a fact about a digest-named thing.
pub fn stage_key(id: &Digest, stage: Stage) -> Vec<u8> {
    let mut key = id.as_bytes().to_vec();
    key.push(stage as u8);
    key
}

/// The key of the `position`-th record of a negotiation: they sort by position.
pub fn message_key(negotiation: &str, position: u64) -> Vec<u8> {
    let mut key = negotiation.as_bytes().to_vec();
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// The key of another organization's descriptor.
pub fn descriptor_key(org: &OrgId, digest: &Digest) -> Vec<u8> {
    let mut key = org.as_bytes().to_vec();
    key.extend_from_slice(digest.as_bytes());
    key
}

/// The key of a delivery that no receipt settled yet: at the provider's what
/// was sent, at the consumer's what was received.
pub fn delivery_key(agreement: &Digest, trace: &str) -> Vec<u8> {
    let mut key = agreement.as_bytes().to_vec();
    key.extend_from_slice(trace.as_bytes());
    key
}

/// The key of a fact about the receipts of an agreement; `seq` is that of the
/// receipt where there may be several, else 0.
pub fn receipt_key(agreement: &Digest, facet: ReceiptFacet, seq: u64) -> Vec<u8> {
    let mut key = agreement.as_bytes().to_vec();
    key.push(facet as u8);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// The key of a grant that was handed out, by the digest of its first link.
pub fn grant_key(agreement: &Digest, link: &Digest) -> Vec<u8> {
    let mut key = vec![1];
    key.extend_from_slice(agreement.as_bytes());
    key.extend_from_slice(link.as_bytes());
    key
}

/// How the keys of grants begin that end in the same hour as `at`: those that
/// live are found without those that lived.
pub fn grant_hour(at: Timestamp) -> Vec<u8> {
    let mut key = vec![2];
    key.extend_from_slice(&(at.as_secs() / 3600).to_be_bytes());
    key
}

/// The key of the receipt that says how much holders of a grant were delivered
/// directly, by the digest of its first link.
pub fn direct_key(agreement: &Digest, link: &Digest) -> Vec<u8> {
    let mut key = vec![3];
    key.extend_from_slice(agreement.as_bytes());
    key.extend_from_slice(link.as_bytes());
    key
}

/// How many statements of what was measured are kept of each product: the
/// newest hundred, four days of hourly ones. The journal has all of them.
pub const MAX_STATEMENTS: u64 = 100;

/// The key of what was measured of a product: a ring, in which a statement
/// takes the place of the one [`MAX_STATEMENTS`] before it.
pub fn results_key(org: &OrgId, product: &str, seq: u64) -> Vec<u8> {
    let mut key = product_key(org, product);
    key.extend_from_slice(&(seq % MAX_STATEMENTS).to_be_bytes());
    key
}

/// The key of the newest proof that an organization changed what it had stated
/// of a product.
pub fn rewritten_key(org: &OrgId, product: &str) -> Vec<u8> {
    let mut key = product_key(org, product);
    key.extend_from_slice(&u64::MAX.to_be_bytes());
    key
}

fn product_key(org: &OrgId, product: &str) -> Vec<u8> {
    let mut key = org.as_bytes().to_vec();
    key.extend_from_slice(product.as_bytes());
    // No name has it: one product's keys never begin with another's.
    key.push(0);
    key
}

/// The key of a member's token; of a member's only one, where it has no id.
fn token_key(name: &str, id: Option<&str>) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    if let Some(id) = id {
        // No name has it: one member's keys never begin with another's.
        key.push(0);
        key.extend_from_slice(id.as_bytes());
    }
    key
}

/// The key of this organization's own evidence, and of its own head.
pub const OWN: &[u8] = b"own";

/// The key of the policies that came into force last.
pub const POLICY: &[u8] = b"policy";

/// The index entries that `record` at `position` makes.
pub(super) fn entries(position: u64, record: &Record) -> Vec<(Table, Op)> {
    let put = |table, key: Vec<u8>| vec![(table, Op::put(key, position.to_be_bytes()))];
    match record {
        Record::Own(_) => put(Table::Documents, OWN.to_vec()),
        Record::Known(k) => put(Table::Organizations, org_key(&k.mark.org, Facet::Known)),
        Record::Partner(p) => put(Table::Organizations, org_key(&p.org, Facet::Partner)),
        Record::Invited(i) => put(Table::Invitations, stage_key(&i.id, Stage::Made)),
        Record::InvitationUsed(i) => put(Table::Invitations, stage_key(&i.id, Stage::Ended)),
        Record::Published(p) => put(Table::Products, p.product.clone().into_bytes()),
        // In place of the product: a retired one is remembered, not served.
        Record::Retired(r) => put(Table::Products, r.product.clone().into_bytes()),
        Record::Announced(_) => put(Table::Heads, OWN.to_vec()),
        Record::ForeignDescriptor(s) => {
            let digest = Digest::of(s.text.as_bytes());
            put(Table::Descriptors, descriptor_key(&s.org, &digest))
        }
        Record::ForeignHead(h) => put(Table::Heads, h.org.as_bytes().to_vec()),
        Record::Measured(m) => put(Table::Results, results_key(&m.org, &m.product, m.seq)),
        Record::Contradiction(c) => match c.what {
            Contradicted::Head => put(Table::Organizations, org_key(&c.org, Facet::TwoHeads)),
            Contradicted::Document => {
                put(Table::Organizations, org_key(&c.org, Facet::TwoDocuments))
            }
            // Verified before it was written.
            Contradicted::Results => Results::recall(&c.known).map_or_else(
                |_| Vec::new(),
                |r| {
                    put(
                        Table::Results,
                        rewritten_key(&c.org, &r.product.to_string()),
                    )
                },
            ),
        },
        Record::Message(m) => put(Table::Negotiations, message_key(&m.negotiation, position)),
        Record::Approved(a) => put(Table::Negotiations, message_key(&a.negotiation, position)),
        Record::Signed(s) => put(Table::Agreements, stage_key(&s.id, Stage::Made)),
        Record::Replaced(r) => put(Table::Agreements, stage_key(&r.agreement, Stage::Ended)),
        Record::Revoked(r) => put(Table::Agreements, stage_key(&r.agreement, Stage::Ended)),
        Record::Member(m) => put(
            Table::Members,
            token_key(&m.name, m.terms.as_ref().map(|t| t.id.as_str())),
        ),
        Record::MemberTokenEnded(m) => {
            let key = token_key(&m.name, m.token.as_deref());
            vec![(Table::Members, Op::delete(key))]
        }
        Record::MemberSeen(m) => put(Table::Members, token_key(&m.name, None)),
        // Whoever the provider vouches for is remembered as removed: tokens of
        // before then are still about, and this node cannot end them.
        Record::MemberRemoved(m) if m.name.starts_with(OIDC) => {
            put(Table::Members, token_key(&m.name, Some("removed")))
        }
        Record::MemberRemoved(m) => {
            let ids = m.tokens.iter().map(|id| Some(id.as_str()));
            let keys = ids.chain([None]).map(|id| token_key(&m.name, id));
            keys.map(|key| (Table::Members, Op::delete(key))).collect()
        }
        Record::GrantIssued(g) => {
            let link = Digest::of(g.text.as_bytes());
            let mut by_end = grant_hour(g.expires);
            by_end.extend_from_slice(link.as_bytes());
            let mut ops = put(Table::Grants, grant_key(&g.agreement, &link));
            ops.extend(put(Table::Grants, by_end));
            ops
        }
        Record::PolicyActivated(_) => put(Table::Documents, POLICY.to_vec()),
        // The start, and then the end in its place. Deliveries of before receipts
        // were exchanged have no grant, and get none.
        Record::Delivery(d) => match (&d.agreement, &d.grant) {
            (Some(agreement), Some(_)) => put(Table::Deliveries, delivery_key(agreement, &d.trace)),
            _ => Vec::new(),
        },
        Record::Received(r) => put(Table::Deliveries, delivery_key(&r.agreement, &r.trace)),
        Record::Receipt(r) => {
            let of = |facet, seq| receipt_key(&r.agreement, facet, seq);
            let mut ops = settled(&r.agreement, &r.text);
            for key in [
                of(ReceiptFacet::Last, 0),
                of(ReceiptFacet::Unanswered, r.seq),
            ] {
                ops.extend(put(Table::Receipts, key));
            }
            ops
        }
        Record::ReceiptAnswered(r) => {
            let of = |facet| receipt_key(&r.agreement, facet, r.seq);
            let mut ops = vec![(Table::Receipts, Op::delete(of(ReceiptFacet::Unanswered)))];
            if r.disputed {
                ops.extend(put(Table::Receipts, of(ReceiptFacet::Disputed)));
            }
            ops
        }
        Record::DisputeAccepted(d) => {
            let key = receipt_key(&d.agreement, ReceiptFacet::Disputed, d.seq);
            vec![(Table::Receipts, Op::delete(key))]
        }
        Record::ReceiptTaken(r) => {
            let mut ops = settled(&r.agreement, r.receipt.as_ref().unwrap_or(&r.text));
            let key = receipt_key(&r.agreement, ReceiptFacet::Taken, 0);
            ops.extend(put(Table::Receipts, key));
            for link in r.direct.keys() {
                ops.extend(put(Table::Grants, direct_key(&r.agreement, link)));
            }
            ops
        }
        Record::Witnessed(w) => put(Table::Organizations, org_key(&w.org, Facet::Witnessed)),
        Record::JournalRewritten(j) => put(Table::Organizations, org_key(&j.org, Facet::Rewritten)),
        // Read from the journal in order; nothing looks them up by key.
        Record::Refused(_)
        | Record::RefusedMore(_)
        | Record::Administered(_)
        | Record::Erased(_)
        | Record::KeysTold(_)
        | Record::PolicyRefused(_) => Vec::new(),
    }
}

/// The deliveries of a receipt are settled: they are looked up no more. The
/// text was verified, or made, before it was written.
fn settled(agreement: &Digest, text: &str) -> Vec<(Table, Op)> {
    let Ok((receipt, _)) = receipt::Receipt::recall(text) else {
        return Vec::new();
    };
    let traces = receipt.deliveries.iter().map(|d| &d.trace);
    traces
        .map(|trace| {
            (
                Table::Deliveries,
                Op::delete(delivery_key(agreement, trace)),
            )
        })
        .collect()
}
