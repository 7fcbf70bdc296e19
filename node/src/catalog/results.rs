//! What was measured: a chain of signed statements for each product, own and
//! foreign (`spec/3-catalog.md`, section 8).

use std::collections::BTreeMap;
use std::sync::Arc;

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::catalog::MAX_PRODUCTS;
use comity_protocol::keys::StatementError;
use comity_protocol::results::{
    Check, Link, MAX_CHECKS, Results, ResultsList, TableExtent, VerifiedResults, is_id, link,
};

use super::{Catalog, Foreign, OwnProduct, kept, read, write};
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{
    Contradicted, Contradiction, MAX_STATEMENTS, Measured, Record, results_key, rewritten_key,
};
use crate::products::Contract;

/// The most products of one organization whose chains are kept, over all time:
/// whoever announces ever new ones is not followed any further.
const MAX_CHAINS: usize = 4 * MAX_PRODUCTS;

/// The chains, by organization and address.
#[derive(Debug, Default)]
pub(super) struct Chains {
    known: BTreeMap<(OrgId, String), BTreeMap<u64, Digest>>,
    /// The last list of each organization whose statements are all here.
    taken: BTreeMap<OrgId, Digest>,
}

/// A measurement that is not part of a chain yet.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// When it was made.
    pub at: Timestamp,
    /// By when the next one of its kind is announced.
    pub due: Option<Timestamp>,
    /// What measured.
    pub process: String,
    /// Its version.
    pub process_version: String,
    /// The verdicts.
    pub checks: Vec<Check>,
    /// Verdicts that were left out before.
    pub omitted: u64,
    /// How far the tables reach.
    pub tables: Vec<TableExtent>,
}

/// A statement of a chain.
#[derive(Clone, Debug)]
pub struct Stated {
    /// What it says.
    pub results: Results,
    /// Its id.
    pub digest: Digest,
}

impl Chains {
    fn newest(&self, org: &OrgId, product: &str) -> Option<(u64, Digest)> {
        let chain = self.known.get(&(*org, product.to_owned()))?;
        chain.last_key_value().map(|(seq, digest)| (*seq, *digest))
    }

    fn of(&self, org: &OrgId) -> usize {
        let from = (*org, String::new());
        let later = self.known.range(from..);
        later.take_while(|((whose, _), _)| whose == org).count()
    }

    fn at(&self, org: &OrgId, product: &str, seq: u64) -> Option<Digest> {
        let chain = self.known.get(&(*org, product.to_owned()))?;
        chain.get(&seq).copied()
    }

    /// As the index does: one that comes takes the place of the one before it
    /// by [`MAX_STATEMENTS`].
    fn insert(&mut self, org: OrgId, product: &str, seq: u64, digest: Digest) {
        let chain = self.known.entry((org, product.to_owned())).or_default();
        chain.retain(|known, _| known % MAX_STATEMENTS != seq % MAX_STATEMENTS);
        chain.insert(seq, digest);
    }
}

impl Catalog {
    /// Signs a measurement of an own product as the next of its chain, and
    /// journals it. The next head announces it: [`Catalog::announce_results`].
    pub async fn state(
        &self,
        product: &OwnProduct,
        mut measured: Measurement,
    ) -> Result<Stated, Failure> {
        let _one = self.stating.lock().await;
        let (org, address) = (self.own.org(), product.address());
        let newest = read(&self.chains).newest(&org, &address.to_string());
        let descriptor = &product.descriptor;
        let contract_id = descriptor.contract.get("id").and_then(|id| id.as_str());
        let contract_id = contract_id.filter(|id| is_id(id)).map(str::to_owned);
        let contract_id = contract_id.unwrap_or_else(|| address.to_string());
        loop {
            let left = measured.checks.len().min(MAX_CHECKS);
            measured.omitted += (measured.checks.len() - left) as u64;
            measured.checks.truncate(left);
            let results = Results {
                org,
                product: address.clone(),
                version: descriptor.version,
                contract_digest: descriptor.contract_digest,
                contract_id: contract_id.clone(),
                seq: newest.map_or(1, |(seq, _)| seq + 1),
                prev: newest.map(|(_, digest)| digest),
                at: measured.at,
                due: measured.due,
                process: measured.process.clone(),
                process_version: measured.process_version.clone(),
                checks: measured.checks.clone(),
                omitted: measured.omitted,
                tables: measured.tables.clone(),
            };
            let text = match results.sign(&*self.own.keys().issuer) {
                Ok(text) => text,
                // Long ids: half of the verdicts say more than none.
                Err(StatementError::Envelope(_)) if left > 1 => {
                    measured.omitted += (left - left / 2) as u64;
                    measured.checks.truncate(left / 2);
                    continue;
                }
                Err(error) => return Err(Failure::own("results", error)),
            };
            return self.keep_statement(results, text).await;
        }
    }

    async fn keep_statement(&self, results: Results, text: String) -> Result<Stated, Failure> {
        let (org, product) = (results.org, results.product.to_string());
        let digest = Digest::of(text.as_bytes());
        let record = Record::Measured(Measured {
            org,
            product: product.clone(),
            seq: results.seq,
            text,
        });
        self.ledger.commit(&record).await?;
        write(&self.chains).insert(org, &product, results.seq, digest);
        Ok(Stated { results, digest })
    }

    /// Signs the next head if something was measured since the last one. Gives
    /// whether it did.
    pub async fn announce_results(&self, now: Timestamp) -> Result<bool, Failure> {
        let _one = self.publishing.lock().await;
        let Some(announced) = self.announced() else {
            return Ok(false);
        };
        let products = read(&self.products).clone();
        if announced.results == self.results_of(&products) {
            return Ok(false);
        }
        self.announce(Vec::new(), None, now).await?;
        Ok(true)
    }

    /// The newest statement of a product, if there is one that can be read.
    pub fn newest_results(&self, org: &OrgId, product: &str) -> Option<Results> {
        let (seq, digest) = read(&self.chains).newest(org, product)?;
        let text = self.statement(org, product, seq, &digest).ok()??;
        Results::recall(&text).ok()
    }

    /// The statements of a product that are kept, newest first.
    pub fn statements(&self, org: &OrgId, product: &str) -> Result<Vec<Stated>, Failure> {
        let known = read(&self.chains)
            .known
            .get(&(*org, product.to_owned()))
            .cloned()
            .unwrap_or_default();
        let mut stated = Vec::new();
        for (seq, digest) in known.into_iter().rev() {
            if let Some(text) = self.statement(org, product, seq, &digest)? {
                let results = Results::recall(&text).map_err(|e| Failure::own("results", e))?;
                stated.push(Stated { results, digest });
            }
        }
        Ok(stated)
    }

    /// The contract that `product` was announced from, as it was then: private.
    pub async fn contract_of(&self, product: &OwnProduct) -> Option<Contract> {
        kept::recall(&self.kept, &product.file, product.file_digest).await
    }

    /// The newest proof that an organization changed what it had stated of a
    /// product: the number of the known statement, and when the other came.
    pub fn rewritten(
        &self,
        org: &OrgId,
        product: &str,
    ) -> Result<Option<(u64, Timestamp)>, Failure> {
        let key = rewritten_key(org, product);
        match self.ledger.get(Table::Results, &key)? {
            Some(Record::Contradiction(c)) => Ok(Some((c.number, c.at))),
            _ => Ok(None),
        }
    }

    /// The digest of the list of results that `org` announces, unless all of
    /// it was taken.
    pub fn results_wanted(&self, org: &OrgId) -> Option<Digest> {
        let announced = read(&self.foreign).get(org).and_then(Foreign::results)?;
        let taken = read(&self.chains).taken.get(org).copied();
        (taken != Some(announced)).then_some(announced)
    }

    /// The statements of `list` that are not here, of products that `org`
    /// announces (`spec/3-catalog.md#C-95`).
    pub fn results_missing(&self, org: &OrgId, list: &ResultsList) -> Vec<(String, Digest)> {
        let foreign = read(&self.foreign);
        let chains = read(&self.chains);
        let Some(foreign) = foreign.get(org) else {
            return Vec::new();
        };
        let missing = list.entries().filter(|(product, digest)| {
            let newest = chains.newest(org, product).map(|(_, newest)| newest);
            foreign.product(product).is_some() && newest != Some(**digest)
        });
        missing.map(|(p, d)| (p.clone(), *d)).collect()
    }

    /// Verifies a statement of `org` about `product`.
    pub fn verify_results(
        &self,
        org: &OrgId,
        product: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<VerifiedResults, Failure> {
        self.count_fetched(org, text.len(), now)?;
        let verified = VerifiedResults::verify(text, org, &*self.keyring, now);
        let verified = verified.map_err(|e| refused(org, e))?;
        if verified.results().product.to_string() != product {
            let other = StatementError::Rule("the results are of another product than listed");
            return Err(refused(org, other));
        }
        Ok(verified)
    }

    /// The statement before `results` that should be asked for, because
    /// nothing here follows on it.
    pub fn results_before(&self, results: &VerifiedResults) -> Option<Digest> {
        let said = results.results();
        let newest = read(&self.chains).newest(&said.org, &said.product.to_string());
        match newest {
            None => said.prev,
            Some(known) => match link(said.seq, said.prev, results.digest(), known) {
                Link::Gap(_) => said.prev,
                _ => None,
            },
        }
    }

    /// Takes statements of one chain over, oldest first. One that excludes what
    /// is known is kept as evidence beside it (A36, `spec/3-catalog.md#C-96`).
    pub async fn take_results(
        &self,
        statements: Vec<VerifiedResults>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let _one = self.stating.lock().await;
        for statement in statements {
            let said = statement.results();
            let (org, product) = (said.org, said.product.to_string());
            let standing = {
                let chains = read(&self.chains);
                let newest = chains.newest(&org, &product);
                if newest.is_none() && chains.of(&org) >= MAX_CHAINS {
                    let many = StatementError::Rule("it stated results of too many products");
                    return Err(refused(&org, many));
                }
                let place = newest.map_or(Link::Next, |known| {
                    link(said.seq, said.prev, statement.digest(), known)
                });
                match (place, chains.at(&org, &product, said.seq)) {
                    (Link::Older, Some(known)) if known != statement.digest() => Link::Rewritten,
                    (place, _) => place,
                }
            };
            match standing {
                Link::Same | Link::Older => {}
                Link::Next | Link::Gap(_) => {
                    let text = statement.text().to_owned();
                    self.keep_statement(said.clone(), text).await?;
                }
                Link::Rewritten => self.note_rewritten(&statement, now).await?,
            }
        }
        Ok(())
    }

    /// Every statement of this list of `org` is here, or was asked for in vain.
    pub fn results_taken(&self, org: OrgId, list: Digest) {
        write(&self.chains).taken.insert(org, list);
    }

    async fn note_rewritten(&self, other: &VerifiedResults, now: Timestamp) -> Result<(), Failure> {
        let said = other.results();
        let (org, product) = (said.org, said.product.to_string());
        let (number, known) = {
            let chains = read(&self.chains);
            // The same number, or the one that it leaves out of its chain.
            let same = chains.at(&org, &product, said.seq).map(|d| (said.seq, d));
            match same.or_else(|| chains.newest(&org, &product)) {
                Some(known) => known,
                None => return Ok(()),
            }
        };
        let Some(known) = self.statement(&org, &product, number, &known)? else {
            return Ok(());
        };
        let key = rewritten_key(&org, &product);
        if let Some(Record::Contradiction(c)) = self.ledger.get(Table::Results, &key)?
            && c.other == other.text()
        {
            return Ok(());
        }
        tracing::warn!(%org, product, seq = number, "it changed what it had stated of its measurements; both statements are kept");
        let evidence = Contradiction {
            org,
            what: Contradicted::Results,
            number,
            known,
            other: other.text().to_owned(),
            at: now,
        };
        self.ledger.commit(&Record::Contradiction(evidence)).await?;
        // What it says now goes on from there, and is shown with the warning.
        if said.seq > number {
            let text = other.text().to_owned();
            self.keep_statement(said.clone(), text).await?;
        }
        Ok(())
    }

    /// The list of the newest statements of `products`, once there is one.
    pub(super) fn results_of(
        &self,
        products: &BTreeMap<String, Arc<OwnProduct>>,
    ) -> Option<String> {
        let (org, chains) = (self.own.org(), read(&self.chains));
        let newest = products.iter().filter_map(|(address, product)| {
            Some((product.address(), chains.newest(&org, address)?.1))
        });
        let list = ResultsList::new(newest);
        (!list.is_empty()).then(|| list.to_text())
    }

    /// An own statement with this id, of a product that is announced.
    pub(super) fn own_statement(&self, digest: &Digest) -> Option<String> {
        let org = self.own.org();
        let place = {
            let chains = read(&self.chains);
            let mut own = chains.known.iter().filter(|((whose, _), _)| *whose == org);
            own.find_map(|((_, product), chain)| {
                let (seq, _) = chain.iter().find(|(_, known)| *known == digest)?;
                Some((product.clone(), *seq))
            })
        };
        let (product, seq) = place?;
        self.statement(&org, &product, seq, digest).ok().flatten()
    }

    fn statement(
        &self,
        org: &OrgId,
        product: &str,
        seq: u64,
        digest: &Digest,
    ) -> Result<Option<String>, Failure> {
        let key = results_key(org, product, seq);
        let Some(Record::Measured(stored)) = self.ledger.get(Table::Results, &key)? else {
            return Ok(None);
        };
        // Another one may have taken its place meanwhile.
        Ok((Digest::of(stored.text.as_bytes()) == *digest).then_some(stored.text))
    }

    /// Reads which statements there are.
    pub(super) fn load_chains(&self) -> Result<(), Failure> {
        for (_, record) in self.ledger.scan(Table::Results, &[])? {
            if let Record::Measured(stored) = record {
                let digest = Digest::of(stored.text.as_bytes());
                write(&self.chains).insert(stored.org, &stored.product, stored.seq, digest);
            }
        }
        Ok(())
    }
}

fn refused(org: &OrgId, error: StatementError) -> Failure {
    Failure::partner("bad-results", &org.short(), error)
}
