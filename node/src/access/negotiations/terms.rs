//! The terms that a request asks for and that a counter-offer names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_identity::Timestamp;
use comity_protocol::negotiation::Proposal;
use comity_protocol::product::Descriptor;
use comity_protocol::terms::{TableTerms, Terms};

use crate::admin::api;
use crate::failure::Failure;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time that a request or an offer may name, in days.
const MAX_DAYS: u32 = 3650;

/// The terms that a request asks for: the columns named, or what is offered,
/// or every column when nothing is offered; always under the offer's filters.
pub(super) fn wanted(
    ask: &api::Ask,
    descriptor: &Descriptor,
    now: Timestamp,
) -> Result<Terms, Failure> {
    let offered = descriptor.offer.as_ref();
    let mut tables = BTreeMap::new();
    for table in &descriptor.tables {
        let name = table.name.to_string();
        let offer = offered.and_then(|o| o.tables.get(&name));
        let all = || {
            table
                .columns
                .iter()
                .map(|c| c.name.clone())
                .collect::<BTreeSet<_>>()
        };
        let columns = match ask.columns.get(&name) {
            Some(columns) => columns.clone(),
            None if !ask.columns.is_empty() => continue,
            None => match (offered, offer) {
                (_, Some(offer)) => offer.columns.clone(),
                (Some(_), None) => continue,
                (None, None) => all(),
            },
        };
        if let Some(unknown) = columns.difference(&all()).next() {
            return Err(Failure::caller(
                "unknown-column",
                format!("table {name} has no column '{unknown}'"),
            )
            .next(format!("see 'comity show {}/{}'", ask.partner, ask.product)));
        }
        let mut masks = offer.map(|o| o.masks.clone()).unwrap_or_default();
        masks.retain(|column, _| columns.contains(column));
        let filter = offer.map(|o| o.filter.clone()).unwrap_or_default();
        let mut protection = offer.and_then(|o| o.protection.clone());
        if let Some(protection) = &mut protection {
            protection.group_by.retain(|c| columns.contains(c));
        }
        tables.insert(
            name,
            TableTerms {
                columns,
                filter,
                masks,
                protection,
            },
        );
    }
    if let Some(unknown) = ask.columns.keys().find(|t| !tables.contains_key(*t)) {
        return Err(Failure::caller(
            "unknown-table",
            format!("the product has no table '{unknown}'"),
        )
        .next(format!("see 'comity show {}/{}'", ask.partner, ask.product)));
    }
    Ok(Terms {
        tables,
        purposes: ask.purposes.clone(),
        limits: offered.map(|o| o.limits.clone()).unwrap_or_default(),
        not_before: now,
        expires: now
            .saturating_add(DAY * u32::try_from(ask.days).unwrap_or(MAX_DAYS).min(MAX_DAYS)),
    })
}

/// What is on the table, changed as the provider wants it.
pub(super) fn countered(
    proposal: &Proposal,
    counter: &api::Counter,
    now: Timestamp,
) -> Result<Proposal, Failure> {
    let Proposal::Access {
        product,
        range,
        descriptor,
        contract,
        terms,
        replaces,
    } = proposal
    else {
        return Err(Failure::caller(
            "not-countered",
            "a federation is approved or declined",
        ));
    };
    if counter.columns.is_empty() && counter.filters.is_empty() && counter.days.is_none() {
        // The same again would leave both sides waiting for the other.
        return Err(
            Failure::caller("nothing-countered", "a counter-offer changes something")
                .next("name --columns, --filter or --days; 'comity approve' agrees as it is"),
        );
    }
    let mut terms = terms.clone();
    for (name, columns) in &counter.columns {
        let Some(table) = terms.tables.get_mut(name) else {
            return Err(Failure::caller(
                "unknown-table",
                format!("'{name}' was not asked for"),
            ));
        };
        table.columns.clone_from(columns);
        table.retain_columns(|column| columns.contains(column));
    }
    for (name, filter) in &counter.filters {
        let Some(table) = terms.tables.get_mut(name) else {
            return Err(Failure::caller(
                "unknown-table",
                format!("'{name}' was not asked for"),
            ));
        };
        table.filter = table.filter.and(filter);
    }
    if let Some(days) = counter.days {
        terms.expires =
            now.saturating_add(DAY * u32::try_from(days).unwrap_or(MAX_DAYS).min(MAX_DAYS));
    }
    terms
        .check()
        .map_err(|e| Failure::caller("bad-terms", e.to_string()))?;
    Ok(Proposal::Access {
        product: product.clone(),
        range: *range,
        descriptor: *descriptor,
        contract: *contract,
        terms,
        replaces: *replaces,
    })
}
