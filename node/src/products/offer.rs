//! What partners may get, as the contract's roles say: the starting point of a negotiation.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::Timestamp;
use comity_protocol::terms::{
    Limits, Mask, Protection, Quota, RowFilter, TableTerms, Terms, Window,
};
use serde_json::Value;

use super::filter;
use super::problem::Problem;
use super::rules::{self, Text};
use super::table::{Column, Table};
use super::yaml::{Document, child};

/// Terms without their dates: what one role may read, for which purposes, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The role's name.
    pub role: String,
    /// What the role is for, in words.
    pub description: Option<String>,
    /// The tables that may be read, by name.
    pub tables: BTreeMap<String, TableTerms>,
    /// The purposes that may be stated.
    pub purposes: BTreeSet<String>,
    /// How much may be read.
    pub limits: Limits,
}

impl Offer {
    /// The terms that are announced, which end at `expires`.
    pub fn terms(&self, expires: Timestamp) -> Terms {
        Terms {
            tables: self.tables.clone(),
            purposes: self.purposes.clone(),
            limits: self.limits.clone(),
            not_before: Timestamp::from_secs(0),
            expires,
        }
    }
}

/// The offers of a contract, in its order. Whatever this release cannot enforce
/// is a problem, never a wider offer.
pub(super) fn offers(
    document: &Document,
    tables: &[Table],
    found: &mut Vec<Problem>,
) -> Vec<Offer> {
    let roles = document.value().list("roles");
    undecided(document, tables, roles, found);
    roles
        .iter()
        .enumerate()
        .map(|(index, role)| {
            let at = child("/roles", &index.to_string());
            let mut reader = Reader { document, found };
            reader.offer(role, &at, tables)
        })
        .collect()
}

/// A restricted column leaves only masked, or because a role names it.
fn undecided(document: &Document, tables: &[Table], roles: &[Value], found: &mut Vec<Problem>) {
    for (table_index, table) in tables.iter().enumerate() {
        for (index, column) in table.columns.iter().enumerate() {
            let decided = column.default_mask.is_some()
                || (!roles.is_empty()
                    && roles
                        .iter()
                        .all(|role| decides(role, &table.id, &column.id)));
            if column.restricted() && !decided {
                let at = format!("/schema/{table_index}/properties/{index}");
                let message = format!(
                    "{} is restricted, but nothing says who may see it",
                    column.name
                );
                let instead = "customProperties: [ { property: comityMask, value: replace-with-null } ], \
                     or the columns of every role in comityReadRestrictions";
                found.push(document.problem(&at, message, Some(instead.to_owned())));
            }
        }
    }
}

fn decides(role: &Value, table: &str, column: &str) -> bool {
    let Some(restriction) =
        rules::custom(role, "comityReadRestrictions").and_then(|all| all.get(table))
    else {
        return false;
    };
    let projections = restriction.list("required-column-projections");
    restriction.get("columns").is_some()
        || projections
            .iter()
            .any(|projection| projection.text("property-id") == Some(column))
}

pub(super) struct Reader<'a> {
    document: &'a Document,
    found: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn offer(&mut self, role: &Value, at: &str, tables: &[Table]) -> Offer {
        if let Some(access) = role.text("access").filter(|access| *access != "read") {
            self.refuse(
                &child(at, "access"),
                format!("only reading can be offered, not {access}"),
                "access: read",
            );
        }
        let restrictions = rules::custom(role, "comityReadRestrictions");
        let here = place(role, at, "comityReadRestrictions");
        let protections = rules::custom(role, "comityProtection");
        let guard = place(role, at, "comityProtection");
        for (all, at) in [(restrictions, &here), (protections, &guard)] {
            for name in all
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|all| all.keys())
            {
                if !tables.iter().any(|table| table.id == *name) {
                    self.refuse(
                        &child(at, name),
                        format!("no table has the id {name}"),
                        "a table's id, or its name where it has no id",
                    );
                }
            }
        }
        let tables = tables
            .iter()
            .filter_map(|table| {
                // A role with restrictions reads the tables they name; one without reads all.
                let restriction = match restrictions {
                    Some(all) => Some(all.get(&table.id)?),
                    None => None,
                };
                let mut terms = self.table(table, restriction, &child(&here, &table.id));
                if let Some(value) = protections.and_then(|all| all.get(&table.id)) {
                    let at = child(&guard, &table.id);
                    let protection = self.protection(table, value, &mut terms.columns, &at);
                    // Without its protection the table is not offered at all.
                    terms.protection = Some(protection?);
                    let columns = terms.columns.clone();
                    terms.retain_columns(|c| columns.contains(c));
                }
                Some((table.name.clone(), terms))
            })
            .collect();
        let purposes: BTreeSet<String> = rules::custom(role, "comityPurposes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|purpose| purpose.as_str().map(str::to_owned))
            .collect();
        if purposes.is_empty() {
            let instead = "customProperties: [ { property: comityPurposes, value: [planning] } ]";
            self.refuse(
                at,
                "a role needs the purposes it is for".to_owned(),
                instead,
            );
        }
        Offer {
            role: role.text("role").unwrap_or_default().to_owned(),
            description: role.text("description").map(str::to_owned),
            tables,
            purposes,
            limits: self.limits(role, &place(role, at, "comityLimits")),
        }
    }

    fn limits(&mut self, role: &Value, at: &str) -> Limits {
        let limits = rules::custom(role, "comityLimits");
        let entry = |key: &str| limits.and_then(|limits| limits.get(key));
        let number = |key: &str| entry(key).and_then(Value::as_u64);
        if number("minGroupSize").unwrap_or(0) > 0 {
            self.refuse(
                &child(at, "minGroupSize"),
                "a group's size is counted in units, and nothing says whom a row is about"
                    .to_owned(),
                "comityProtection: { TABLE: { unit: …, minUnits: …, groupBy: […], aggregates: […] } }",
            );
        }
        let per = |window: &str| Quota {
            queries: number(&format!("maxQueriesPer{window}")),
            rows: number(&format!("maxRowsPer{window}")),
            bytes: number(&format!("maxBytesPer{window}")),
        };
        let windows = [
            (Window::Minute, per("Minute")),
            (Window::Hour, per("Hour")),
            (Window::Day, per("Day")),
        ];
        // The contract's schema has checked types and ranges.
        Limits {
            max_rows_per_query: number("maxRowsPerQuery"),
            max_bytes_per_query: number("maxBytesPerQuery"),
            max_concurrent: number("maxConcurrent"),
            per: windows
                .into_iter()
                .filter(|(_, quota)| *quota != Quota::default())
                .collect(),
            hours: entry("hours").and_then(|v| serde_json::from_value(v.clone()).ok()),
            weekdays: entry("weekdays").and_then(|v| serde_json::from_value(v.clone()).ok()),
        }
    }

    /// The protection of one table, over the columns that the role reads.
    fn protection(
        &mut self,
        table: &Table,
        value: &Value,
        columns: &mut BTreeSet<String>,
        at: &str,
    ) -> Option<Protection> {
        let unit = value.text("unit").unwrap_or_default();
        let unit = self.column(table, unit, &child(at, "unit"))?;
        // Whom a row is about is counted, and never shown.
        columns.remove(&unit);
        let groups = child(at, "groupBy");
        let group_by = self.columns(table, value.list("groupBy"), &groups);
        if let Some(hidden) = group_by.iter().find(|c| !columns.contains(*c)) {
            let message = format!("{hidden} is not among the columns that the role reads");
            self.refuse(&groups, message, "columns of the role, without the unit");
            return None;
        }
        let aggregates = value.get("aggregates").cloned().unwrap_or_default();
        Some(Protection {
            unit,
            min_units: value.get("minUnits").and_then(Value::as_u64)?,
            group_by,
            aggregates: serde_json::from_value(aggregates).ok()?,
        })
    }

    fn table(&mut self, table: &Table, restriction: Option<&Value>, at: &str) -> TableTerms {
        let (mut named, mut masks) = (None, BTreeMap::new());
        for column in &table.columns {
            if let Some(action) = &column.default_mask {
                masks.extend(
                    self.mask(action, column, at)
                        .map(|mask| (column.name.clone(), mask)),
                );
            }
        }
        let mut rows = RowFilter::default();
        if let Some(restriction) = restriction {
            if restriction.get("columns").is_some() {
                let list = child(at, "columns");
                named = Some(self.columns(table, restriction.list("columns"), &list));
            }
            let list = child(at, "required-column-projections");
            for (index, projection) in restriction
                .list("required-column-projections")
                .iter()
                .enumerate()
            {
                let at = child(&list, &index.to_string());
                let id = projection.text("property-id").unwrap_or_default();
                let Some(name) = self.column(table, id, &at) else {
                    continue;
                };
                let action = projection.text("action").unwrap_or_default();
                let mask = table.column(id).and_then(|c| self.mask(action, c, &at));
                masks.extend(mask.map(|mask| (name, mask)));
            }
            if let Some(condition) = restriction
                .get("required-row-filter")
                .filter(|c| !c.is_boolean())
            {
                let mut budget = filter::MAX_PREDICATES;
                let at = child(at, "required-row-filter");
                rows.0
                    .extend(self.predicate(table, condition, &at, &mut budget));
            }
        }
        let columns: BTreeSet<String> = named.unwrap_or_else(|| {
            let offered = table
                .columns
                .iter()
                .filter(|c| !c.restricted() || masks.contains_key(&c.name));
            offered.map(|column| column.name.clone()).collect()
        });
        masks.retain(|column, _| columns.contains(column));
        for (column, mask) in &masks {
            let required = |c: &Column| c.name == *column && !c.nullable;
            if *mask == Mask::ReplaceWithNull && table.columns.iter().any(required) {
                self.refuse(
                    at,
                    format!("{column} is required, so replace-with-null cannot mask it"),
                    "required: false at the column",
                );
            }
        }
        TableTerms {
            columns,
            filter: rows,
            masks,
            protection: None,
        }
    }

    fn columns(&mut self, table: &Table, ids: &[Value], at: &str) -> BTreeSet<String> {
        ids.iter()
            .enumerate()
            .filter_map(|(index, id)| {
                let at = child(at, &index.to_string());
                self.column(table, id.as_str().unwrap_or_default(), &at)
            })
            .collect()
    }

    pub(super) fn column(&mut self, table: &Table, id: &str, at: &str) -> Option<String> {
        let column = table.column(id).map(|column| column.name.clone());
        if column.is_none() {
            let message = format!("{} has no column with the id {id}", table.name);
            self.refuse(at, message, "a column's id, or its name where it has no id");
        }
        column
    }

    /// The mask of that name, if it is one for the column's type.
    fn mask(&mut self, action: &str, column: &Column, at: &str) -> Option<Mask> {
        let mask = serde_json::from_value(Value::String(action.to_owned())).ok();
        let mask = mask.filter(|mask| crate::query::enforces(*mask, &column.arrow));
        if mask.is_none() {
            self.refuse(
                at,
                format!(
                    "{action} cannot mask {}, which is {}",
                    column.name, column.arrow
                ),
                if column.nullable {
                    "replace-with-null"
                } else {
                    "mask-to-fixed-value"
                },
            );
        }
        mask
    }

    pub(super) fn refuse(&mut self, at: &str, message: String, instead: &str) {
        self.found
            .push(self.document.problem(at, message, Some(instead.to_owned())));
    }
}

/// The pointer of a custom property's value.
fn place(holder: &Value, at: &str, property: &str) -> String {
    let index = holder
        .list("customProperties")
        .iter()
        .position(|entry| entry.text("property") == Some(property));
    index.map_or_else(
        || at.to_owned(),
        |index| format!("{at}/customProperties/{index}/value"),
    )
}
