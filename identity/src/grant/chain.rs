//! Issuing, narrowing and verifying a chain of grants.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{GRANT, Grant, GrantError, MAX_LIFETIME, MAX_LINKS};
use crate::envelope::{Compact, EnvelopeError};
use crate::organization::{Freshness, Revoked, Role, VerifiedDocument};
use crate::{Digest, LEEWAY, OrgId, PublicKey, Signer, Timestamp};

/// The version of the payload.
const VERSION: u64 = 1;
/// The most characters of `sub`, `jti`, and of each name in a grant.
const MAX_TEXT_CHARS: usize = 128;
/// The most actors.
const MAX_ACTORS: usize = 8;

/// A chain of links as its holder keeps it: texts, oldest first.
///
/// A chain may come from anywhere; only [`Chain::verify`] says what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    links: Vec<String>,
}

impl Chain {
    /// A new chain of one link, signed by an issuer key. `grant.prt` must be absent.
    pub fn issue(grant: &Grant, issuer: &dyn Signer) -> Result<Self, GrantError> {
        content(grant, 0)?;
        Ok(Self {
            links: vec![sign(grant, issuer, 0)?],
        })
    }

    /// This chain with one more link, signed by the holder of the last one.
    /// `grant.prt` is filled in. Fails if the link would widen anything, or if
    /// `holder` is not the last link's holder.
    pub fn narrow(&self, mut grant: Grant, holder: &dyn Signer) -> Result<Self, GrantError> {
        let link = self.links.len();
        if link >= MAX_LINKS {
            return Err(GrantError::Length(link + 1));
        }
        let last = self.links.last().ok_or(GrantError::Length(0))?;
        let parent: Grant = Compact::parse(GRANT, last)
            .and_then(|envelope| envelope.danger_unverified_payload())
            .map_err(|source| GrantError::Envelope { link, source })?;
        if parent.cnf != holder.public() {
            let source = EnvelopeError::WrongKey;
            return Err(GrantError::Envelope { link, source });
        }
        grant.prt = Some(Digest::of(last.as_bytes()));
        content(&grant, link)?;
        grant
            .narrows(&parent)
            .map_err(|source| GrantError::Widened { link, source })?;
        let mut links = self.links.clone();
        links.push(sign(&grant, holder, link)?);
        Ok(Self { links })
    }

    /// A chain as received from whoever holds it. Nothing is checked.
    pub fn from_links(links: Vec<String>) -> Self {
        Self { links }
    }

    /// What each link says, oldest first. **Nothing is verified**: for whoever
    /// holds the chain and wants to read it, and to find out whose document
    /// [`Chain::verify`] needs.
    pub fn danger_unverified(&self) -> Result<Vec<Grant>, GrantError> {
        if self.links.is_empty() || self.links.len() > MAX_LINKS {
            return Err(GrantError::Length(self.links.len()));
        }
        let read = |(link, text): (usize, &String)| {
            Compact::parse(GRANT, text)
                .and_then(|envelope| envelope.danger_unverified_payload())
                .map_err(|source| GrantError::Envelope { link, source })
        };
        self.links.iter().enumerate().map(read).collect()
    }

    /// As much of [`Chain::verify`] as its holder can do offline: that every
    /// link but the first is signed by the holder before it, follows it and
    /// narrows it. Who signed the first, and what was revoked since, only a
    /// node can tell. Gives what each link says.
    pub fn check_offline(&self) -> Result<Vec<Grant>, GrantError> {
        let grants = self.danger_unverified()?;
        for (link, grant) in grants.iter().enumerate() {
            content(grant, link)?;
        }
        for (i, pair) in grants.windows(2).enumerate() {
            let (link, [parent, grant]) = (i + 1, pair) else {
                continue;
            };
            let (Some(before), Some(text)) = (self.links.get(i), self.links.get(link)) else {
                continue;
            };
            Compact::parse(GRANT, text)
                .and_then(|envelope| envelope.verify(&parent.cnf).map(drop))
                .map_err(|source| GrantError::Envelope { link, source })?;
            if grant.prt != Some(Digest::of(before.as_bytes())) {
                return Err(GrantError::Broken { link });
            }
            grant
                .narrows(parent)
                .map_err(|source| GrantError::Widened { link, source })?;
        }
        Ok(grants)
    }

    /// The links' texts, oldest first: what is sent.
    pub fn links(&self) -> &[String] {
        &self.links
    }

    /// Verifies a chain received as `links`, for use at `now`.
    ///
    /// `issuer` is the document of the organization that the *connection*
    /// belongs to, `audience` the verifier's own organization.
    pub fn verify(
        links: &[String],
        issuer: &VerifiedDocument,
        audience: OrgId,
        now: Timestamp,
    ) -> Result<VerifiedGrant, GrantError> {
        // spec/2-identity.md#I-31: bounds before any parsing.
        if links.is_empty() || links.len() > MAX_LINKS {
            return Err(GrantError::Length(links.len()));
        }
        // spec/2-identity.md#I-36 (A11)
        if issuer.freshness(now) != Freshness::Fresh {
            return Err(GrantError::StaleDocument);
        }
        let mut verified: Option<VerifiedGrant> = None;
        for (link, text) in links.iter().enumerate() {
            let (grant, digest) = match &verified {
                None => first(text, issuer, audience, now)?,
                Some(parent) => next(text, parent, link)?,
            };
            content(&grant, link)?;
            check_time(&grant, now)?;
            check_revocation(&grant, issuer, now)?;
            verified = Some(VerifiedGrant::after(verified, grant, digest));
        }
        verified.ok_or(GrantError::Length(0))
    }
}

/// Link 0: signed by a key with the role `issue` (spec/2-identity.md#I-32).
fn first(
    text: &str,
    issuer: &VerifiedDocument,
    audience: OrgId,
    now: Timestamp,
) -> Result<(Grant, Digest), GrantError> {
    let wrap = |source| GrantError::Envelope { link: 0, source };
    let envelope = Compact::parse(GRANT, text).map_err(wrap)?;
    let key = issuer
        .issuer(&envelope.claimed_kid(), Role::Issue, now)
        .ok_or(GrantError::NotAnIssuer)?;
    let envelope = envelope.verify(key).map_err(wrap)?;
    let grant: Grant = envelope.payload().map_err(wrap)?;
    // spec/2-identity.md#I-39
    if grant.iss != issuer.org() {
        return Err(GrantError::OtherOrganization);
    }
    if grant.aud != audience {
        return Err(GrantError::OtherAudience);
    }
    Ok((grant, envelope.digest()))
}

/// A later link: signed by the holder before it (spec/2-identity.md#I-33).
fn next(text: &str, parent: &VerifiedGrant, link: usize) -> Result<(Grant, Digest), GrantError> {
    let wrap = |source| GrantError::Envelope { link, source };
    let envelope = Compact::parse(GRANT, text)
        .and_then(|envelope| envelope.verify(&parent.last.cnf))
        .map_err(wrap)?;
    let grant: Grant = envelope.payload().map_err(wrap)?;
    if grant.prt != Some(parent.digest) {
        return Err(GrantError::Broken { link });
    }
    grant
        .narrows(&parent.last)
        .map_err(|source| GrantError::Widened { link, source })?;
    Ok((grant, envelope.digest()))
}

/// What a link may say, whatever came before it (spec/2-identity.md#I-34).
fn content(grant: &Grant, link: usize) -> Result<(), GrantError> {
    let require = |holds: bool, rule: &'static str| {
        if holds {
            Ok(())
        } else {
            Err(GrantError::Rule { link, rule })
        }
    };
    require(grant.v == VERSION, "unknown version of the payload")?;
    require(
        grant.prt.is_some() == (link > 0),
        "link 0 has no prt, every other link has one",
    )?;
    require(
        grant.nbf < grant.exp && grant.exp.since(grant.nbf) <= MAX_LIFETIME,
        "it lives for more than 0 and at most 900 seconds",
    )?;
    require(grant.act.len() <= MAX_ACTORS, "there are at most 8 actors")?;
    let texts = [&grant.sub, &grant.jti];
    require(
        texts.into_iter().chain(&grant.act).all(|t| is_name(t)),
        "sub, jti and actors have 1 to 128 printable ASCII characters",
    )
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_CHARS && text.bytes().all(|b| b.is_ascii_graphic())
}

/// spec/2-identity.md#I-37
fn check_time(grant: &Grant, now: Timestamp) -> Result<(), GrantError> {
    let started = grant.nbf <= now.saturating_add(LEEWAY);
    let running = now < grant.exp.saturating_add(LEEWAY);
    if started && running {
        Ok(())
    } else {
        Err(GrantError::Time)
    }
}

/// spec/2-identity.md#I-38
fn check_revocation(
    grant: &Grant,
    issuer: &VerifiedDocument,
    now: Timestamp,
) -> Result<(), GrantError> {
    let revoked = issuer.is_revoked(Revoked::Grant, &grant.jti, now)
        || issuer.is_revoked(Revoked::Agreement, &grant.agr.to_string(), now)
        || issuer.is_key_revoked(&grant.cnf.id(), now);
    if revoked {
        Err(GrantError::Revoked)
    } else {
        Ok(())
    }
}

fn sign(grant: &Grant, signer: &dyn Signer, link: usize) -> Result<String, GrantError> {
    Compact::sign(GRANT, grant, signer).map_err(|source| GrantError::Envelope { link, source })
}

/// A verified chain: what its last holder may do. [`Chain::verify`] is its one
/// constructor.
///
/// Every link narrows the one before it, so the last link holds the effective
/// values; only the filters accumulate.
#[derive(Clone, Debug)]
pub struct VerifiedGrant {
    last: Grant,
    filters: Vec<LinkFilter>,
    ids: Vec<String>,
    links: Vec<Digest>,
    budgets: Vec<Budget>,
    digest: Digest,
}

/// How many rows one link permits in its life (`spec/2-identity.md#I-58`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The digest of the link's text. Not its `jti`: a holder chooses those of
    /// the links that it signs, and could spend a stranger's budget under one.
    pub link: Digest,
    /// The most rows, of all answers under this link together.
    pub rows: u64,
    /// When the link ends, and its budget with it.
    pub expires: Timestamp,
}

/// A row filter that one link added, and what its author could read.
#[derive(Clone, Debug)]
pub struct LinkFilter {
    value: Value,
    author: Option<Visible>,
}

/// The tables and columns of a grant; `None`: all of the agreement.
#[derive(Clone, Debug)]
struct Visible {
    tables: Option<BTreeSet<String>>,
    cols: Option<BTreeMap<String, BTreeSet<String>>>,
}

impl LinkFilter {
    /// The filter, in the words of whoever enforces it. One that its reader
    /// does not understand must deny.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether the links before left `column` of `table` to the filter's
    /// author. A filter over anything else asks about rows that its author
    /// may not read, and the row count answers (`spec/2-identity.md#I-35`).
    pub fn author_reads(&self, table: &str, column: &str) -> bool {
        let Some(author) = &self.author else {
            return true;
        };
        let names = |set: Option<&BTreeSet<String>>, name| set.is_none_or(|s| s.contains(name));
        let columns = author.cols.as_ref().and_then(|cols| cols.get(table));
        names(author.tables.as_ref(), table) && names(columns, column)
    }
}

impl VerifiedGrant {
    fn after(parent: Option<Self>, last: Grant, digest: Digest) -> Self {
        let author = parent.as_ref().map(|p| Visible {
            tables: p.last.tables.clone(),
            cols: p.last.cols.clone(),
        });
        let (mut filters, mut ids, mut links, mut budgets) =
            parent.map_or_else(Default::default, |p| (p.filters, p.ids, p.links, p.budgets));
        filters.extend(last.filter.iter().map(|value| LinkFilter {
            value: value.clone(),
            author: author.clone(),
        }));
        ids.push(last.jti.clone());
        links.push(digest);
        budgets.extend(last.max_rows.map(|rows| Budget {
            link: digest,
            rows,
            expires: last.exp,
        }));
        Self {
            last,
            filters,
            ids,
            links,
            budgets,
            digest,
        }
    }

    /// The organization whose member or job acts.
    pub fn issuer(&self) -> OrgId {
        self.last.iss
    }

    /// The organization that is asked.
    pub fn audience(&self) -> OrgId {
        self.last.aud
    }

    /// The agreement that is used.
    pub fn agreement(&self) -> Digest {
        self.last.agr
    }

    /// Who acts, under a pseudonym.
    pub fn subject(&self) -> &str {
        &self.last.sub
    }

    /// Through whom.
    pub fn actors(&self) -> &[String] {
        &self.last.act
    }

    /// Roles of the subject.
    pub fn roles(&self) -> &BTreeSet<String> {
        &self.last.roles
    }

    /// How the subject was authenticated.
    pub fn authentication(&self) -> &BTreeSet<String> {
        &self.last.amr
    }

    /// The key whose possession must be proven ([`crate::binding`]).
    pub fn holder(&self) -> &PublicKey {
        &self.last.cnf
    }

    /// The only tables that may be read; `None`: all of the agreement.
    pub fn tables(&self) -> Option<&BTreeSet<String>> {
        self.last.tables.as_ref()
    }

    /// The only columns of `table` that may be read; `None`: all of the agreement.
    pub fn columns(&self, table: &str) -> Option<&BTreeSet<String>> {
        self.last.cols.as_ref()?.get(table)
    }

    /// For the tables named, the only columns that may be read.
    pub fn all_columns(&self) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        self.last.cols.as_ref()
    }

    /// Row filters of all links; all of them must hold.
    pub fn filters(&self) -> &[LinkFilter] {
        &self.filters
    }

    /// The only purposes that may be claimed.
    pub fn purposes(&self) -> &BTreeSet<String> {
        &self.last.purpose
    }

    /// The certificate with which the last holder may come by itself, by its
    /// digest; that of an earlier link opens nothing any more.
    pub fn certificate(&self) -> Option<Digest> {
        self.last.cert
    }

    /// The row budgets of the links that have one, oldest first. An answer
    /// takes its rows from all of them.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// From when the chain counts.
    pub fn not_before(&self) -> Timestamp {
        self.last.nbf
    }

    /// Until when the chain counts.
    pub fn expires(&self) -> Timestamp {
        self.last.exp
    }

    /// The `jti` of every link, oldest first.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The digests of the links' texts, oldest first.
    pub fn links(&self) -> &[Digest] {
        &self.links
    }

    /// The digest of the last link's text: what the proof of possession names.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
