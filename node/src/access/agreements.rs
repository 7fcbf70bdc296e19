//! The agreements that both sides signed: in force, expired, revoked, replaced.

mod replacing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::address::Range;
use comity_protocol::negotiation::{AGREEMENT, Proposal, Side, SignedDocument};
use comity_protocol::revocation::Revocation;
use comity_protocol::terms::Terms;
use tokio_util::sync::CancellationToken;

use super::partners::Partners;
use crate::admin::api;
use crate::clock;
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{self, Ledger, Record, Replaced, Revoked, SignedKind, Stage, stage_key};
use crate::own::Own;

/// Every agreement of this organization, by id.
#[derive(Debug)]
pub struct Agreements {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    partners: Arc<Partners>,
    all: RwLock<BTreeMap<Digest, Arc<Agreement>>>,
    told: Mutex<BTreeSet<Digest>>,
}

/// One agreement, and whether it was taken back.
#[derive(Clone, Debug)]
pub struct Agreement {
    signed: SignedDocument,
    side: Side,
    peer: OrgId,
    product: String,
    range: Range,
    terms: Terms,
    revoked: Option<Revoked>,
    replaced: Option<Replaced>,
    /// What is still served for a moment after it was replaced.
    grace: Option<Terms>,
    stop: CancellationToken,
}

/// Whether an agreement counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    InForce,
    /// Its time has not come or is over, or another one took its place.
    Expired,
    /// A side took it back.
    Revoked,
}

impl Agreement {
    fn new(own: &OrgId, signed: SignedDocument, revoked: Option<Revoked>) -> Option<Self> {
        let document = signed.document();
        let side = document.side_of(own)?;
        let peer = match side {
            Side::Provider => document.consumer.org,
            Side::Consumer => document.provider.org,
        };
        let Proposal::Access { range, terms, .. } = &document.proposal else {
            return None;
        };
        let (range, terms) = (*range, terms.clone());
        let product = document.proposal.address()?.to_string();
        let stop = CancellationToken::new();
        if revoked.is_some() {
            stop.cancel();
        }
        Some(Self {
            signed,
            side,
            peer,
            product,
            range,
            terms,
            revoked,
            replaced: None,
            grace: None,
            stop,
        })
    }

    /// The agreement's id.
    pub fn id(&self) -> Digest {
        self.signed.digest()
    }

    /// The document with both signatures.
    pub fn signed(&self) -> &SignedDocument {
        &self.signed
    }

    /// What this organization is in it.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The other organization.
    pub fn peer(&self) -> OrgId {
        self.peer
    }

    /// The product's address.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// The versions of the product that it covers.
    pub fn range(&self) -> Range {
        self.range
    }

    /// The descriptor that the consumer read.
    pub fn descriptor(&self) -> Option<Digest> {
        match &self.signed.document().proposal {
            Proposal::Access { descriptor, .. } => Some(*descriptor),
            Proposal::Federation { .. } => None,
        }
    }

    /// What it permits; after it was replaced, what the other one permits too.
    pub fn terms(&self) -> &Terms {
        self.grace.as_ref().unwrap_or(&self.terms)
    }

    /// What both signed, whatever came after.
    pub fn signed_terms(&self) -> &Terms {
        &self.terms
    }

    /// Fires when the agreement is revoked: running streams end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether it counts at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.revoked.is_some() {
            return Standing::Revoked;
        }
        let replaced = self.replaced.as_ref();
        if replaced.is_some_and(|replaced| !self.is_graced(replaced, now)) {
            return Standing::Expired;
        }
        let terms = self.terms();
        let runs = terms.not_before <= now && now < terms.expires;
        if runs {
            Standing::InForce
        } else {
            Standing::Expired
        }
    }
}

impl Agreements {
    /// Reads the agreements from the ledger.
    pub fn load(
        own: Arc<Own>,
        ledger: Arc<Ledger>,
        partners: Arc<Partners>,
    ) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        for (_, record) in ledger.scan(Table::Agreements, &[])? {
            let Record::Signed(signed) = record else {
                continue;
            };
            if signed.kind != SignedKind::Agreement {
                continue;
            }
            let document = SignedDocument::recall(AGREEMENT, &signed.text)
                .map_err(|e| Failure::own("own-agreement", e))?;
            let ended = ledger.get(Table::Agreements, &stage_key(&signed.id, Stage::Ended))?;
            let (revoked, replaced) = match ended {
                Some(Record::Revoked(revoked)) => (Some(revoked), None),
                Some(Record::Replaced(replaced)) => (None, Some(replaced)),
                _ => (None, None),
            };
            if let Some(mut agreement) = Agreement::new(&own.org(), document, revoked) {
                agreement.replaced = replaced;
                all.insert(agreement.id(), agreement);
            }
        }
        let all = replacing::settled(all);
        Ok(Self {
            own,
            ledger,
            partners,
            all: RwLock::new(all),
            told: Mutex::default(),
        })
    }

    /// The agreement with this id.
    pub fn get(&self, id: &Digest) -> Option<Arc<Agreement>> {
        self.read().get(id).cloned()
    }

    /// Every agreement in which this organization is `side`.
    pub fn of_side(&self, side: Side) -> Vec<Arc<Agreement>> {
        self.read()
            .values()
            .filter(|a| a.side == side)
            .cloned()
            .collect()
    }

    /// The agreement that opens `product` of `peer` to this organization now:
    /// of several, the one that lasts longest.
    pub fn opening(&self, peer: &OrgId, product: &str, now: Timestamp) -> Option<Arc<Agreement>> {
        let ours = self.about(Side::Consumer, peer, product).into_iter();
        let live = ours.filter(|a| a.standing(now) == Standing::InForce);
        live.max_by_key(|a| (a.terms.expires, a.id()))
    }

    /// Every agreement with `peer` about `product` in which this organization is
    /// `side`, whether or not it counts now.
    pub fn about(&self, side: Side, peer: &OrgId, product: &str) -> Vec<Arc<Agreement>> {
        let same = |a: &&Arc<Agreement>| a.side == side && a.peer == *peer && a.product == product;
        self.read().values().filter(same).cloned().collect()
    }

    /// As the admin API shows them.
    pub fn list(&self) -> Vec<api::Agreement> {
        let now = clock::now();
        self.read().values().map(|a| self.view(a, now)).collect()
    }

    /// How many are in force.
    pub fn in_force(&self, now: Timestamp) -> usize {
        self.read()
            .values()
            .filter(|a| a.standing(now) == Standing::InForce)
            .count()
    }

    /// The one agreement whose id begins with these hex digits.
    pub fn find(&self, beginning: &str) -> Result<Arc<Agreement>, Failure> {
        let begins = |a: &&Arc<Agreement>| {
            a.id()
                .to_string()
                .trim_start_matches("sha256:")
                .starts_with(beginning)
        };
        let all = self.read();
        let mut found = all.values().filter(begins);
        match (found.next(), found.next()) {
            (Some(agreement), None) => Ok(Arc::clone(agreement)),
            (None, _) => Err(Failure::new(
                crate::failure::Fault::Unknown,
                "unknown-agreement",
                format!("no agreement begins with {beginning}"),
            )
            .next("see 'comity agreements'")),
            (Some(_), Some(_)) => Err(Failure::caller(
                "ambiguous",
                format!("several agreements begin with {beginning}"),
            )
            .next("give more digits of the id")),
        }
    }

    /// Takes an agreement back, as either side may at any time
    /// (`spec/4-negotiation.md#N-24`). It counts from the moment that the
    /// journal has it; the text is for telling the other side.
    pub async fn revoke(&self, agreement: &Agreement) -> Result<String, Failure> {
        let now = clock::now();
        if let Some(revoked) = &agreement.revoked {
            return Ok(revoked.text.clone());
        }
        let text = self.revocation(agreement, now)?;
        self.end(agreement, self.own.org(), text.clone(), now)
            .await?;
        Ok(text)
    }

    /// The other side took an agreement back with `text`. Gives whether that is believed.
    pub async fn revoked_by_peer(&self, peer: &OrgId, text: &str) -> Result<bool, Failure> {
        let now = clock::now();
        let keyring = self.partners.keyring();
        let Ok(revocation) = Revocation::verify(text, peer, &**keyring, now) else {
            return Ok(false);
        };
        let Some(agreement) = self.get(&revocation.agreement) else {
            return Ok(false);
        };
        // Only a party takes back, and only its own agreement.
        if agreement.peer != *peer || revocation.peer != self.own.org() {
            return Ok(false);
        }
        // Recorded before it is answered; told again, it is the same
        // (spec/4-negotiation.md#N-24).
        if agreement.revoked.is_none() {
            self.end(&agreement, *peer, text.to_owned(), now).await?;
        }
        Ok(true)
    }

    /// Takes back every agreement with `peer`, given and received, together
    /// with `more` records: all of it is there after a crash, or nothing.
    pub async fn revoke_all(
        &self,
        peer: &OrgId,
        more: Vec<Record>,
    ) -> Result<Vec<Digest>, Failure> {
        let now = clock::now();
        let live: Vec<_> = self.read().values().cloned().collect();
        let live = live
            .into_iter()
            .filter(|a| a.peer == *peer && a.revoked.is_none());
        let mut ended = Vec::new();
        for agreement in live {
            let text = self.revocation(&agreement, now)?;
            let by = self.own.org();
            ended.push((record_of(&agreement, by, text, now), agreement));
        }
        let records = ended.iter().map(|(r, _)| Record::Revoked(r.clone()));
        let records: Vec<_> = records.chain(more).collect();
        self.ledger.commit_all(&records).await?;
        let mut ids = Vec::new();
        for (revoked, agreement) in ended {
            ids.push(agreement.id());
            self.show_ended(&agreement, revoked);
        }
        Ok(ids)
    }

    /// Revocations of this organization that `peer` may not have heard of, by
    /// agreement. One that was signed with a key which has been replaced since
    /// is signed anew: the partner would refuse it.
    pub fn notices_for(&self, peer: &OrgId) -> Vec<(Digest, String)> {
        let own = self.own.org();
        let (all, told) = (self.read(), self.told());
        let of_peer = all.iter().filter(|(_, a)| a.peer == *peer);
        of_peer
            .filter_map(|(id, a)| Some((id, a.revoked.as_ref()?)))
            .filter(|(id, r)| r.by == own && !told.contains(*id))
            .map(|(id, r)| (*id, self.own.present_revocation(&r.text)))
            .collect()
    }

    /// The partner recorded the revocation of `agreement`. Remembered until the
    /// node stops: telling it once more after a restart costs one message.
    pub fn notice_heard(&self, agreement: Digest) {
        self.told().insert(agreement);
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the admin API shows one.
    pub fn view(&self, agreement: &Agreement, now: Timestamp) -> api::Agreement {
        api::Agreement {
            id: agreement.id(),
            role: match agreement.side {
                Side::Provider => "provider".to_owned(),
                Side::Consumer => "consumer".to_owned(),
            },
            partner: self.partners.alias(&agreement.peer),
            product: agreement.product.clone(),
            range: agreement.range,
            state: match agreement.standing(now) {
                _ if agreement.revoked.is_none() && agreement.replaced.is_some() => {
                    "replaced".to_owned()
                }
                Standing::InForce => "in-force".to_owned(),
                Standing::Expired => "expired".to_owned(),
                Standing::Revoked => "revoked".to_owned(),
            },
            replaced_by: agreement.replaced.as_ref().map(|r| r.by),
            replaces: agreement.replaces(),
            terms: agreement.terms.clone(),
        }
    }

    async fn end(
        &self,
        agreement: &Agreement,
        by: OrgId,
        text: String,
        at: Timestamp,
    ) -> Result<(), ledger::Error> {
        let revoked = record_of(agreement, by, text, at);
        self.ledger
            .commit(&Record::Revoked(revoked.clone()))
            .await?;
        self.show_ended(agreement, revoked);
        Ok(())
    }

    fn revocation(&self, agreement: &Agreement, at: Timestamp) -> Result<String, Failure> {
        self.own.revocation(agreement.peer, agreement.id(), at)
    }

    /// Only what the journal has.
    fn show_ended(&self, agreement: &Agreement, revoked: Revoked) {
        let (mut left, mut cut) = (vec![agreement.id()], Vec::new());
        {
            let mut all = self.write();
            while let Some(id) = left.pop() {
                let known = all.get(&id).filter(|a| a.revoked.is_none()).cloned();
                if let Some(known) = known {
                    let mut ended = Agreement::clone(&known);
                    ended.revoked = Some(revoked.clone());
                    cut.push(ended.stop.clone());
                    all.insert(id, Arc::new(ended));
                }
                // spec/4-negotiation.md#N-102: what took its place goes with it.
                let after = all.values().filter(|a| a.replaces() == Some(id));
                left.extend(after.filter(|a| a.revoked.is_none()).map(|a| a.id()));
            }
            cut.extend(replacing::end_grace(&mut all, &agreement.id()));
        }
        // After the map: a request that comes now finds it revoked, and one
        // that was admitted before is cut.
        for stop in cut {
            stop.cancel();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Digest, Arc<Agreement>>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Digest, Arc<Agreement>>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record_of(agreement: &Agreement, by: OrgId, text: String, at: Timestamp) -> Revoked {
    Revoked {
        agreement: agreement.id(),
        by,
        text,
        at,
    }
}
