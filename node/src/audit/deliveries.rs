//! What receipts state is what the journal recorded, and no more than was agreed.

use std::collections::BTreeMap;

use comity_identity::{Digest, OrgId};
use comity_protocol::negotiation::{AGREEMENT, Proposal, SignedDocument};
use comity_protocol::receipt::{self, Delivered, INTERRUPTED, Receipt};
use comity_protocol::terms::{Limits, Measure, Window};

use super::verify::Verdict;
use crate::ledger::{Delivery, Received, Record, Signed, SignedKind};
use crate::receipts;

/// Deliveries by the agreement and their trace.
type Deliveries<T> = BTreeMap<(Digest, String), T>;

/// What is wrong with a record.
pub(super) type Finding = (Verdict, String);

/// The deliveries of a journal up to some record (`spec/6-evidence.md#V-11`).
///
/// What was delivered to a partner is never erased (V-9): what a receipt states
/// must be there.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Those that ended and are in no receipt so far.
    sent: Deliveries<Delivered>,
    received: Deliveries<receipt::Received>,
    /// When each began that has no end so far.
    begun: Deliveries<u64>,
    agreements: BTreeMap<Digest, Agreed>,
    accounts: BTreeMap<Reader, Account>,
}

/// A partner, and the product that it reads: one account (D-130).
type Reader = (OrgId, String);

#[derive(Debug)]
struct Agreed {
    reader: Reader,
    max_rows_per_query: Option<u64>,
}

/// What a partner may read of a product, and what it read.
#[derive(Debug, Default)]
struct Account {
    /// Of each agreement over it.
    limits: Vec<Limits>,
    taken: BTreeMap<Window, Taken>,
}

/// The number of a window, and the rows of the deliveries that began and ended in it.
#[derive(Debug, Default)]
struct Taken {
    window: u64,
    rows: u64,
}

impl Accounts {
    /// Deliveries to partners that no receipt states so far.
    pub(super) fn unstated(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Takes what `record` says of deliveries, and says what cannot be.
    pub(super) fn take(&mut self, record: &Record) -> Vec<Finding> {
        match record {
            Record::Signed(signed) => {
                self.agreed(signed);
                Vec::new()
            }
            Record::Delivery(delivery) => self.delivery(delivery).into_iter().collect(),
            Record::Received(received) => {
                let counted = receipts::counted(received);
                self.received.insert(key(received), counted);
                Vec::new()
            }
            Record::Receipt(made) => self.stated(&made.agreement, &made.text),
            Record::ReceiptTaken(taken) if !taken.disputed => {
                self.countersigned(&taken.agreement, &taken.text)
            }
            _ => Vec::new(),
        }
    }

    fn agreed(&mut self, signed: &Signed) {
        // Its signatures are judged elsewhere.
        if signed.kind != SignedKind::Agreement {
            return;
        }
        let Ok(signed) = SignedDocument::recall(AGREEMENT, &signed.text) else {
            return;
        };
        let document = signed.document();
        if let Proposal::Access { product, terms, .. } = &document.proposal {
            let reader = (document.consumer.org, product.to_string());
            self.agree(signed.digest(), reader, terms.limits.clone());
        }
    }

    fn agree(&mut self, id: Digest, reader: Reader, limits: Limits) {
        let agreed = Agreed {
            reader: reader.clone(),
            max_rows_per_query: limits.max_rows_per_query,
        };
        self.agreements.insert(id, agreed);
        self.accounts.entry(reader).or_default().limits.push(limits);
    }

    fn delivery(&mut self, delivery: &Delivery) -> Option<Finding> {
        let key = (delivery.agreement?, delivery.trace.clone());
        if delivery.rows.is_none() {
            self.begun.entry(key).or_insert(delivery.at.as_secs());
            return None;
        }
        let begun = self.begun.remove(&key);
        if let Some((_, stated)) = receipts::stated(delivery) {
            self.sent.insert(key, stated);
        }
        self.over(delivery, begun?)
    }

    /// Whether more was delivered than the agreements over the product permit.
    /// Only what began and ended in one window is counted: of other answers the
    /// journal does not say which rows left when.
    fn over(&mut self, delivery: &Delivery, begun: u64) -> Option<Finding> {
        let agreed = self.agreements.get(&delivery.agreement?)?;
        let (rows, ended) = (delivery.rows?, delivery.at.as_secs());
        let finding = |what: String| {
            let trace = &delivery.trace;
            Some((Verdict::Tampered, format!("the delivery {trace} {what}")))
        };
        let most = agreed.max_rows_per_query;
        if let Some(most) = most.filter(|most| rows > *most) {
            return finding(format!("has {rows} rows; the agreement permits {most}"));
        }
        // Charged with what was reserved for it, which is not what left.
        if delivery.ended.as_deref() == Some(INTERRUPTED) {
            return None;
        }
        let Account { limits, taken } = self.accounts.get_mut(&agreed.reader)?;
        for window in Window::ALL {
            let number = ended / window.seconds();
            if begun / window.seconds() != number {
                continue;
            }
            let taken = taken.entry(window).or_default();
            if taken.window != number {
                (taken.window, taken.rows) = (number, 0);
            }
            taken.rows = taken.rows.saturating_add(rows);
            // Of several agreements, one after the other, the widest: when each
            // took the place of the one before is not asked here.
            let most = limits
                .iter()
                .map(|l| l.per.get(&window)?.get(Measure::Rows));
            let most = most.collect::<Option<Vec<_>>>();
            let most = most.and_then(|most| most.into_iter().max());
            if let Some(most) = most.filter(|most| taken.rows > *most) {
                let seconds = window.seconds();
                return finding(format!(
                    "is beyond the {most} rows that the agreement permits in {seconds} s"
                ));
            }
        }
        None
    }

    /// A receipt of this provider states what it recorded.
    fn stated(&mut self, agreement: &Digest, text: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for stated in deliveries(text, &mut findings) {
            let trace = &stated.trace;
            match self.sent.remove(&(*agreement, trace.clone())) {
                Some(sent) if sent == stated => {}
                Some(_) => findings.push((
                    Verdict::Tampered,
                    format!("the receipt states the delivery {trace} otherwise than it was recorded"),
                )),
                None => findings.push((
                    Verdict::Incomplete,
                    format!("the receipt states the delivery {trace}, of which there is no record, or a second time"),
                )),
            }
        }
        findings
    }

    /// This consumer signed for what it recorded.
    fn countersigned(&mut self, agreement: &Digest, text: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for stated in deliveries(text, &mut findings) {
            let received = self.received.remove(&(*agreement, stated.trace.clone()));
            // What a holder read directly this node did not see.
            if stated.direct.is_none() && !stated.agrees_with(received.as_ref()) {
                let what = format!(
                    "the delivery {} was countersigned otherwise than it was received",
                    stated.trace
                );
                findings.push((Verdict::Tampered, what));
            }
        }
        findings
    }
}

/// What a receipt states; nothing, and a finding, if it cannot be read.
fn deliveries(text: &str, findings: &mut Vec<Finding>) -> Vec<Delivered> {
    match Receipt::recall(text) {
        Ok((receipt, _)) => receipt.deliveries,
        Err(error) => {
            let what = format!("the receipt cannot be read: {error}");
            findings.push((Verdict::Tampered, what));
            Vec::new()
        }
    }
}

fn key(received: &Received) -> (Digest, String) {
    (received.agreement, received.trace.clone())
}

#[cfg(test)]
mod tests {
    use comity_identity::Timestamp;
    use comity_protocol::terms::Quota;

    use super::*;
    use crate::{fixture, ledger};

    /// The beginning of a minute, an hour and a day.
    const DAY: u64 = 20_775 * 24 * 60 * 60;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_secs(DAY + second)
    }

    fn agreement() -> Digest {
        Digest::of(b"agreement")
    }

    fn org() -> OrgId {
        OrgId::from_inception(Digest::of(b"partner"))
    }

    /// A delivery's beginning, or its end with `rows`.
    fn delivery(trace: u64, rows: Option<u64>, second: u64) -> Record {
        Record::Delivery(Delivery {
            trace: format!("{trace:032x}"),
            org: org(),
            subject: "pseudonym".to_owned(),
            agreement: Some(agreement()),
            purpose: None,
            query: Digest::of(b"query"),
            plan: None,
            snapshot: None,
            grant: Some(Digest::of(b"grant")),
            direct: None,
            budgets: Vec::new(),
            reserved: None,
            rows,
            bytes: rows,
            content: rows.map(|_| Digest::of(b"content")),
            ended: None,
            policy: None,
            at: at(second),
        })
    }

    fn stated(record: &Record) -> Delivered {
        let Record::Delivery(delivery) = record else {
            panic!("no delivery");
        };
        receipts::stated(delivery).unwrap().1
    }

    /// A receipt of the provider; this journal's signatures are judged elsewhere.
    fn receipt(deliveries: Vec<Delivered>) -> String {
        let receipt = Receipt {
            v: 1,
            agreement: agreement(),
            seq: 1,
            prev: None,
            deliveries,
            at: at(0),
            journal_size: 1,
            journal_root: Digest::of(b"root"),
        };
        let (own, _dir) = fixture::own("own");
        receipt.sign(&*own.keys().issuer).unwrap()
    }

    fn made(deliveries: Vec<Delivered>) -> Record {
        Record::Receipt(ledger::Receipt {
            agreement: agreement(),
            seq: 1,
            id: Digest::of(b"id"),
            text: receipt(deliveries),
            at: at(0),
        })
    }

    fn verdicts(accounts: &mut Accounts, records: &[Record]) -> Vec<Verdict> {
        let findings = records.iter().flat_map(|r| accounts.take(r));
        findings.map(|(verdict, _)| verdict).collect()
    }

    #[test]
    fn a_receipt_states_what_was_recorded_once() {
        let ends: Vec<_> = (1..=3).map(|n| delivery(n, Some(10), n)).collect();
        let sent: Vec<_> = ends.iter().map(stated).collect();
        let after = |receipts: &[Record]| {
            let mut accounts = Accounts::default();
            assert_eq!(verdicts(&mut accounts, &ends), []);
            (verdicts(&mut accounts, receipts), accounts.unstated())
        };
        assert_eq!(after(&[made(sent[..2].to_vec())]), (vec![], 1));
        let mut more = sent.clone();
        more[1].rows = 11;
        assert_eq!(after(&[made(more)]), (vec![Verdict::Tampered], 0));
        let twice = [made(sent.clone()), made(sent[..1].to_vec())];
        assert_eq!(after(&twice), (vec![Verdict::Incomplete], 0));
        let unknown = stated(&delivery(4, Some(10), 4));
        assert_eq!(
            after(&[made(vec![unknown])]),
            (vec![Verdict::Incomplete], 3)
        );
    }

    #[test]
    fn a_consumer_signed_for_what_it_received() {
        let sent = stated(&delivery(1, Some(10), 1));
        let received = |rows| {
            Record::Received(Received {
                trace: sent.trace.clone(),
                org: org(),
                agreement: agreement(),
                grant: sent.grant,
                subject: "pseudonym".to_owned(),
                query: sent.query,
                rows,
                bytes: sent.bytes,
                content: sent.content,
                ended: None,
                at: at(1),
            })
        };
        let taken = |sent: &Delivered, disputed| {
            Record::ReceiptTaken(ledger::ReceiptTaken {
                agreement: agreement(),
                seq: 1,
                id: Digest::of(b"id"),
                disputed,
                text: receipt(vec![sent.clone()]),
                receipt: None,
                direct: BTreeMap::new(),
                at: at(2),
            })
        };
        let found = |records: &[Record]| verdicts(&mut Accounts::default(), records);
        assert_eq!(found(&[received(10), taken(&sent, false)]), []);
        assert_eq!(found(&[received(9), taken(&sent, true)]), []);
        let tampered = [Verdict::Tampered];
        assert_eq!(found(&[received(9), taken(&sent, false)]), tampered);
        assert_eq!(found(&[taken(&sent, false)]), tampered, "nothing came");
        let direct = Delivered {
            direct: Some(Digest::of(b"link")),
            ..sent.clone()
        };
        assert_eq!(found(&[taken(&direct, false)]), [], "nobody saw it here");
    }

    #[test]
    fn no_more_is_delivered_than_was_agreed() {
        let limited = || {
            let mut accounts = Accounts::default();
            let rows = |most| Quota {
                rows: Some(most),
                ..Quota::default()
            };
            let limits = Limits {
                max_rows_per_query: Some(50),
                per: [(Window::Minute, rows(60)), (Window::Hour, rows(100))].into(),
                ..Limits::default()
            };
            let reader = (org(), "own/product".to_owned());
            accounts.agree(agreement(), reader, limits);
            accounts
        };
        // Begun and ended at these seconds, with so many rows.
        let found = |answers: &[(u64, u64, u64)]| {
            let records = answers.iter().zip(1..).flat_map(|(answer, n)| {
                let (begun, ended, rows) = *answer;
                [delivery(n, None, begun), delivery(n, Some(rows), ended)]
            });
            verdicts(&mut limited(), &records.collect::<Vec<_>>())
        };
        let tampered = vec![Verdict::Tampered];
        assert_eq!(found(&[(0, 1, 50), (2, 3, 10)]), []);
        assert_eq!(found(&[(0, 1, 51)]), tampered, "in one answer");
        assert_eq!(found(&[(0, 1, 50), (2, 3, 11)]), tampered, "in a minute");
        assert_eq!(found(&[(0, 1, 50), (60, 61, 50)]), []);
        let hour = [(0, 1, 50), (60, 61, 50), (120, 121, 1)];
        assert_eq!(found(&hour), tampered, "in an hour");
        // Who knows in which minute its rows left.
        assert_eq!(found(&[(0, 1, 50), (2, 61, 40)]), []);
        assert_eq!(found(&[(0, 1, 50), (3600, 3601, 50)]), []);
    }
}
