//! What the operator asks of the products, own and partners'.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use comity_protocol::negotiation::Side;
use comity_protocol::product::{Descriptor, VerifiedDescriptor};

use super::Node;
use crate::access::{Agreement, Partner, Standing};
use crate::admin::api;
use crate::catalog::{OwnProduct, describe, matches};
use crate::clock;
use crate::failure::{Failure, Fault};

impl Node {
    /// Announces a product.
    pub async fn publish(self: &Arc<Self>, ask: api::Publish) -> Result<api::Published, Failure> {
        let path = Path::new(&ask.path);
        let published = self.catalog.publish(path, clock::now()).await?;
        self.spread_head().await;
        self.measuring.soon();
        Ok(api::Published {
            product: self.view_own(&published.product),
            second_looks: published.second_looks,
        })
    }

    /// Announces the end of a major version.
    pub async fn deprecate(self: &Arc<Self>, ask: api::Deprecate) -> Result<api::Product, Failure> {
        let (address, sunset) = (&ask.product, ask.sunset);
        let ending = self
            .catalog
            .deprecate(address, sunset, ask.replacement, clock::now())
            .await?;
        self.spread_head().await;
        tracing::info!(product = %address, %sunset, "its end is announced");
        Ok(self.view_own(&ending))
    }

    /// Withdraws a major version for good.
    pub async fn retire(self: &Arc<Self>, ask: api::Retire) -> Result<api::Product, Failure> {
        let now = clock::now();
        let live = || {
            let given = self.agreements.of_side(Side::Provider);
            let product = ask.product.to_string();
            // One whose time has not come counts: it was promised too.
            let permits = |a: &&Arc<Agreement>| {
                a.product() == product
                    && a.standing(now) != Standing::Revoked
                    && now < a.terms().expires
            };
            given.iter().filter(permits).count()
        };
        let retired = self.catalog.retire(&ask.product, live, now).await?;
        self.spread_head().await;
        tracing::info!(product = %ask.product, "retired");
        Ok(self.view_own(&retired))
    }

    /// Partners' products that an agreement opens to us and that end, or are
    /// withdrawn already.
    pub(super) fn ending(&self) -> Vec<api::Ending> {
        let now = clock::now();
        let mut ending = BTreeMap::new();
        for agreement in self.agreements.of_side(Side::Consumer) {
            let peer = agreement.peer();
            if agreement.standing(now) != Standing::InForce {
                continue;
            }
            let found = self.catalog.foreign_product(&peer, agreement.product());
            let deprecation = match &found {
                Some(product) => match &product.descriptor().deprecation {
                    Some(deprecation) => Some(deprecation.clone()),
                    None => continue,
                },
                None if self.catalog.is_withdrawn(&peer, agreement.product()) => None,
                None => continue,
            };
            let partner = self.partners.alias(&peer);
            let product = agreement.product().to_owned();
            ending.insert((partner, product), deprecation);
        }
        let view = |((partner, product), deprecation)| api::Ending {
            partner,
            product,
            deprecation,
        };
        ending.into_iter().map(view).collect()
    }

    /// One product, own or a partner's.
    pub fn show(&self, alias: &str, product: &str) -> Result<api::Product, Failure> {
        if alias == self.own.alias() {
            let own = self.announced(alias, product)?;
            let mut view = self.view_own(&own);
            view.measured = Some(self.measured(&self.own.org(), &own.descriptor)?);
            return Ok(view);
        }
        let (partner, found) = self.foreign(alias, product)?;
        let mut view = self.view_foreign(&partner, &found);
        view.measured = Some(self.measured(&partner.org, found.descriptor())?);
        Ok(view)
    }

    /// The whole descriptor of one product, own or a partner's: what is compared.
    pub fn descriptor(&self, alias: &str, product: &str) -> Result<Descriptor, Failure> {
        if alias == self.own.alias() {
            return Ok(self.announced(alias, product)?.descriptor.clone());
        }
        Ok(self.foreign(alias, product)?.1.descriptor().clone())
    }

    pub(super) fn announced(&self, alias: &str, product: &str) -> Result<Arc<OwnProduct>, Failure> {
        let own = self.catalog.own_product(product);
        own.ok_or_else(|| {
            let majors = self.catalog.own_products();
            let majors = majors.iter().map(|p| p.address().to_string());
            not_announced(alias, product, &majors.collect::<Vec<_>>())
        })
    }

    pub(super) fn foreign(
        &self,
        alias: &str,
        product: &str,
    ) -> Result<(Partner, Arc<VerifiedDescriptor>), Failure> {
        let partner = self.partners.by_alias(alias);
        let partner = partner.ok_or_else(|| Failure::no_partner(alias))?;
        let found = self.catalog.foreign_product(&partner.org, product);
        let found = found.ok_or_else(|| unknown_product(alias, product))?;
        Ok((partner, found))
    }

    /// What this organization announces.
    pub fn own_products(&self) -> Vec<api::Product> {
        let own = self.catalog.own_products();
        own.iter().map(|p| self.view_own(p)).collect()
    }

    /// The products whose texts hold every word.
    pub fn search(&self, words: &str) -> Vec<api::Product> {
        let mut found = self.own_products();
        for partner in self.partners.all() {
            for product in self.catalog.foreign_products(&partner.org) {
                found.push(self.view_foreign(&partner, &product));
            }
        }
        found.retain(|p| matches(p, words));
        found
    }

    pub(super) fn view_own(&self, product: &OwnProduct) -> api::Product {
        let (alias, org) = (self.own.alias(), self.own.org());
        describe(alias, org, product.digest, &product.descriptor, None)
    }

    fn view_foreign(&self, partner: &Partner, product: &VerifiedDescriptor) -> api::Product {
        let descriptor = product.descriptor();
        let address = descriptor.address().to_string();
        let agreement = self
            .agreements
            .opening(&partner.org, &address, clock::now());
        describe(
            &partner.alias,
            partner.org,
            product.digest(),
            descriptor,
            agreement.map(|a| a.id()),
        )
    }
}

/// An own product that is not announced, or not in this major.
fn not_announced(alias: &str, product: &str, announced: &[String]) -> Failure {
    let name = |address: &str| address.split('@').next().unwrap_or_default().to_owned();
    let others = announced.iter().filter(|a| name(a) == name(product));
    let others: Vec<&str> = others.map(String::as_str).collect();
    let major = product.split_once('@').map_or("1", |(_, major)| major);
    let message = match others.is_empty() {
        true => format!("{alias} (you) announces no product '{product}'"),
        false => format!(
            "there is no major {major} of {}: announced is {}",
            name(product),
            others.join(", ")
        ),
    };
    Failure::new(Fault::Unknown, "unknown-product", message).next("see 'comity product list'")
}

fn unknown_product(alias: &str, product: &str) -> Failure {
    let message = format!("{alias} announces no product '{product}'");
    Failure::new(Fault::Unknown, "unknown-product", message).next("see 'comity search'")
}
