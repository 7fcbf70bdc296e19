//! Products as people and programs read them.

use comity_identity::{Digest, OrgId};
use comity_protocol::product::Descriptor;

use super::types::shown;
use crate::admin::api;

/// The most characters of a description that are passed on to a screen.
const MAX_DESCRIPTION_CHARS: usize = 500;

/// `descriptor` as the admin API shows it.
pub fn describe(
    alias: &str,
    org: OrgId,
    digest: Digest,
    descriptor: &Descriptor,
    agreement: Option<Digest>,
) -> api::Product {
    let tables = descriptor.tables.iter().map(|table| api::Table {
        name: table.name.to_string(),
        columns: table
            .columns
            .iter()
            .map(|column| api::Column {
                name: column.name.clone(),
                kind: shown(&column.kind),
                description: column.description.clone(),
                classification: column.classification.clone(),
            })
            .collect(),
    });
    api::Product {
        alias: alias.to_owned(),
        org,
        product: descriptor.address().to_string(),
        version: descriptor.version.to_string(),
        deprecation: descriptor.deprecation.clone(),
        descriptor: digest,
        description: purpose(descriptor),
        tables: tables.collect(),
        offer: descriptor.offer.clone(),
        agreement,
        expires: descriptor.expires_at,
        measured: None,
    }
}

/// Whether every word of `words` occurs in the product's texts, in any case.
pub fn matches(product: &api::Product, words: &str) -> bool {
    let mut text = format!(
        "{}/{} {}",
        product.alias, product.product, product.description
    );
    for table in &product.tables {
        text.push(' ');
        text.push_str(&table.name);
        for column in &table.columns {
            text.push(' ');
            text.push_str(&column.name);
            text.push(' ');
            text.push_str(column.description.as_deref().unwrap_or_default());
        }
    }
    let text = text.to_lowercase();
    words
        .split_whitespace()
        .all(|word| text.contains(&word.to_lowercase()))
}

fn purpose(descriptor: &Descriptor) -> String {
    let text = descriptor
        .contract
        .pointer("/description/purpose")
        .and_then(|p| p.as_str());
    text.unwrap_or_default()
        .chars()
        .take(MAX_DESCRIPTION_CHARS)
        .collect()
}
