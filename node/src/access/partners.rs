//! The organizations we deal with: invited, introduced, federated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::keyring::{self, Admission, AdmitError, Keyring};
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::invitation::Invitation;
use comity_protocol::wire::InvitationProof;

use crate::admin::api;
use crate::clock;
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{self, Facet, InvitationUsed, Invited, Ledger, Record, Stage, stage_key};
use crate::own::Own;

/// The most invitations that may be open at one time.
const MAX_OPEN_INVITATIONS: usize = 100;

/// Bytes of an invitation's secret.
const SECRET_BYTES: usize = 16;

/// The organizations known here, by what they are called.
#[derive(Debug)]
pub struct Partners {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    keyring: Arc<Keyring>,
    known: RwLock<BTreeMap<OrgId, Partner>>,
    invitations: Mutex<BTreeMap<Digest, OpenInvitation>>,
}

/// Another organization, as it is called and reached here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// The organization.
    pub org: OrgId,
    /// Its local name, which is its catalog in SQL.
    pub alias: String,
    /// The peer id of the node that introduced itself.
    pub peer_id: String,
    /// Where that node was reached at first; its document knows better later.
    pub addresses: Vec<String>,
    /// The invitation that both used.
    pub invitation: Option<Digest>,
    /// The federation that both signed.
    pub federation: Option<Digest>,
}

#[derive(Clone, Debug)]
struct OpenInvitation {
    invited: Invited,
    used_by: Option<OrgId>,
}

impl Partners {
    /// Reads partners and invitations from the ledger.
    pub fn load(
        own: Arc<Own>,
        ledger: Arc<Ledger>,
        keyring: Arc<Keyring>,
    ) -> Result<Self, ledger::Error> {
        let mut known = BTreeMap::new();
        for (key, record) in ledger.scan(Table::Organizations, &[])? {
            let is_partner = key.last() == Some(&(Facet::Partner as u8));
            if let (true, Record::Partner(p)) = (is_partner, record) {
                known.insert(p.org, partner(p));
            }
        }
        for (_, record) in ledger.scan(Table::Agreements, &[])? {
            if let Record::Signed(signed) = record
                && signed.kind == ledger::SignedKind::Federation
                && let Some(partner) = known.get_mut(&signed.peer)
            {
                partner.federation = Some(signed.id);
            }
        }
        let mut invitations = BTreeMap::new();
        for (_, record) in ledger.scan(Table::Invitations, &[])? {
            let Record::Invited(invited) = record else {
                continue;
            };
            let used = ledger.get(Table::Invitations, &stage_key(&invited.id, Stage::Ended))?;
            let used_by = match used {
                Some(Record::InvitationUsed(used)) => Some(used.by),
                _ => None,
            };
            invitations.insert(invited.id, OpenInvitation { invited, used_by });
        }
        Ok(Self {
            own,
            ledger,
            keyring,
            known: RwLock::new(known),
            invitations: Mutex::new(invitations),
        })
    }

    /// Makes an invitation. Its secret is in the text alone; only the hash is kept.
    pub async fn invite(&self, ask: api::Invite) -> Result<api::Invitation, Failure> {
        let now = clock::now();
        if let Some(alias) = &ask.alias {
            self.check_alias(alias)?;
        }
        if self.open_invitations(now) >= MAX_OPEN_INVITATIONS {
            return Err(Failure::caller(
                "too-many-invitations",
                "100 invitations are open already",
            ));
        }
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|e| Failure::own("no-randomness", e))?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let evidence = self.own.evidence();
        let current = self.own.current();
        let node = current
            .document
            .document()
            .nodes
            .iter()
            .find(|n| n.node == *self.own.node());
        let node = node.ok_or_else(|| Failure::own("own-document", "this node is not listed"))?;
        let expires = now.saturating_add(Duration::from_secs(ask.hours.min(168) * 3600));
        let invitation = Invitation {
            v: 1,
            org: evidence.org,
            alias: self.own.alias().to_owned(),
            history: evidence.history,
            document: evidence.document,
            peer_id: node.peer_id.clone(),
            addresses: node.addresses.clone(),
            secret: secret.clone(),
            expires_at: expires,
        };
        let code = invitation
            .sign(&*self.own.keys().issuer)
            .map_err(|e| Failure::own("invitation", e))?;
        let invited = Invited {
            id: Invitation::id(&code),
            secret_hash: Digest::of(secret.as_bytes()),
            alias: ask.alias,
            expires,
        };
        self.ledger
            .commit(&Record::Invited(invited.clone()))
            .await?;
        self.invitations().insert(
            invited.id,
            OpenInvitation {
                invited,
                used_by: None,
            },
        );
        Ok(api::Invitation { code, expires })
    }

    /// Invitations that somebody may still use at `now`.
    pub fn open_invitations(&self, now: Timestamp) -> usize {
        let open = |i: &&OpenInvitation| i.used_by.is_none() && now < i.invited.expires;
        self.invitations().values().filter(open).count()
    }

    /// Checks a proof that `org` was invited, and gives what to call it.
    ///
    /// An invitation works for one organization: the one that used it first may
    /// use it again, because its first attempt may have been cut off.
    pub fn check_proof(
        &self,
        proof: &InvitationProof,
        org: &OrgId,
        now: Timestamp,
    ) -> Option<Option<String>> {
        let invitations = self.invitations();
        let open = invitations.get(&proof.invitation)?;
        let right = Digest::of(proof.secret.as_bytes()) == open.invited.secret_hash;
        let free = open.used_by.is_none_or(|by| by == *org);
        (right && free && now < open.invited.expires).then(|| open.invited.alias.clone())
    }

    /// Whether `org` came with this invitation of ours.
    pub fn came_with(&self, org: &OrgId, invitation: &Digest) -> bool {
        self.invitations()
            .get(invitation)
            .is_some_and(|i| i.used_by == Some(*org))
    }

    /// Takes an organization into the keyring and the list of partners. The
    /// caller has an invitation, which is what makes first contact deliberate.
    pub async fn introduce(
        &self,
        evidence: keyring::Evidence,
        partner: Partner,
        alias_wanted: bool,
    ) -> Result<Partner, Failure> {
        let now = clock::now();
        let mut partner = partner;
        if let Some(known) = self.get(&partner.org) {
            partner.alias = known.alias;
            partner.federation = known.federation;
        } else {
            partner.alias = self.free_alias(&partner.alias, &partner.org, alias_wanted)?;
        }
        self.keep(evidence, now, true)
            .await
            .map_err(|e| admission_failure(&partner.alias, &e))?;
        let mut records = vec![Record::Partner(ledger::Partner {
            org: partner.org,
            alias: partner.alias.clone(),
            peer_id: partner.peer_id.clone(),
            addresses: partner.addresses.clone(),
            invitation: partner.invitation,
            at: now,
        })];
        let ours = partner
            .invitation
            .filter(|id| self.invitations().contains_key(id));
        if let Some(id) = ours {
            records.push(Record::InvitationUsed(InvitationUsed {
                id,
                by: partner.org,
            }));
        }
        self.ledger.commit_all(&records).await?;
        if let Some(id) = ours
            && let Some(open) = self.invitations().get_mut(&id)
        {
            open.used_by = Some(partner.org);
        }
        self.write().insert(partner.org, partner.clone());
        Ok(partner)
    }

    /// News about an organization that is known: a longer history, a newer document.
    pub async fn update(&self, evidence: keyring::Evidence) -> Result<Admission, AdmitError> {
        self.keep(evidence, clock::now(), false).await
    }

    /// The federation with `org` is signed by both.
    pub fn federated(&self, org: &OrgId, federation: Digest) {
        if let Some(partner) = self.write().get_mut(org) {
            partner.federation = Some(federation);
        }
    }

    /// The partner with this id.
    pub fn get(&self, org: &OrgId) -> Option<Partner> {
        self.read().get(org).cloned()
    }

    /// The partner that is called `alias` here.
    pub fn by_alias(&self, alias: &str) -> Option<Partner> {
        self.read().values().find(|p| p.alias == alias).cloned()
    }

    /// What `org` is called here; the beginning of its id when it has no name.
    pub fn alias(&self, org: &OrgId) -> String {
        if *org == self.own.org() {
            return self.own.alias().to_owned();
        }
        self.get(org).map_or_else(|| org.short(), |p| p.alias)
    }

    /// All partners, by id.
    pub fn all(&self) -> Vec<Partner> {
        self.read().values().cloned().collect()
    }

    /// The organization whose current document lists this libp2p peer id.
    pub fn org_of_peer(&self, peer_id: &str, now: Timestamp) -> Option<OrgId> {
        let partners = self.all();
        let lists = |p: &&Partner| {
            let organization = self.keyring.get(&p.org);
            organization.is_some_and(|o| o.document().node_by_peer_id(peer_id, now).is_some())
        };
        partners.iter().find(lists).map(|p| p.org)
    }

    /// The keyring that says whose keys count.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The keyring waits for the disk, so it runs on a blocking thread.
    async fn keep(
        &self,
        evidence: keyring::Evidence,
        now: Timestamp,
        may_be_new: bool,
    ) -> Result<Admission, AdmitError> {
        let keyring = Arc::clone(&self.keyring);
        // `introduce` of an organization that is known updates it by the same rules as `admit`.
        let work = move || {
            if may_be_new {
                keyring.introduce(&evidence, now)
            } else {
                keyring.admit(&evidence, now)
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(_) => Err(AdmitError::Store(keyring::StoreFailure::new(
                "the node is stopping",
            ))),
        }
    }

    fn free_alias(&self, wanted: &str, org: &OrgId, explicit: bool) -> Result<String, Failure> {
        let taken = wanted == self.own.alias() || self.by_alias(wanted).is_some();
        if is_alias(wanted) && !taken {
            return Ok(wanted.to_owned());
        }
        if explicit {
            self.check_alias(wanted)?;
        }
        // The name that a stranger gives itself is a suggestion; its id decides between two.
        let base = if is_alias(wanted) { wanted } else { "partner" };
        let base: String = base.chars().take(50).collect();
        Ok(format!("{base}-{}", org.short()))
    }

    fn check_alias(&self, alias: &str) -> Result<(), Failure> {
        if !is_alias(alias) {
            return Err(
                Failure::caller("bad-alias", format!("'{alias}' is not a short name"))
                    .next("use 1 to 63 of a-z 0-9 -, beginning with a letter or digit"),
            );
        }
        if alias == self.own.alias() || self.by_alias(alias).is_some() {
            return Err(
                Failure::caller("alias-taken", format!("'{alias}' is somebody else here"))
                    .next("choose another name with --as"),
            );
        }
        Ok(())
    }

    fn invitations(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, OpenInvitation>> {
        self.invitations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<OrgId, Partner>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<OrgId, Partner>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why evidence was not taken, as the operator reads it.
pub(crate) fn admission_failure(alias: &str, error: &AdmitError) -> Failure {
    match error {
        AdmitError::Store(_) => Failure::own("ledger", error),
        AdmitError::Forked(_) | AdmitError::Frozen(_) => Failure::partner("frozen", alias, error)
            .next("the organization contradicted itself; talk to its people before anything else"),
        _ => Failure::partner("bad-evidence", alias, error),
    }
}

fn partner(record: ledger::Partner) -> Partner {
    Partner {
        org: record.org,
        alias: record.alias,
        peer_id: record.peer_id,
        addresses: record.addresses,
        invitation: record.invitation,
        federation: None,
    }
}

fn is_alias(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(legal)
}
