//! Which keys of joins partners may be told, by the owner's rules and the
//! classifications of contracts (`spec/5-data-plane.md#D-228`).

use std::sync::Arc;

use super::partners::Partners;
use crate::catalog::Catalog;
use crate::config::EgressRule;
use crate::own::Own;
use crate::query::{Egress, KeyForm, TableName};

/// The classification that says that a column is for everybody.
const PUBLIC: &str = "public";

/// The owner's rules, and what holds without one.
#[derive(Debug)]
pub struct EgressRules {
    /// This organization.
    pub own: Arc<Own>,
    /// Whose names the rules use.
    pub partners: Arc<Partners>,
    /// Where classifications are.
    pub catalog: Arc<Catalog>,
    /// The rules.
    pub rules: Vec<EgressRule>,
}

impl Egress for EgressRules {
    fn form(&self, table: &TableName, column: &str, to: &str) -> KeyForm {
        let own = table.catalog == self.own.alias();
        let rules = self.rules.iter().filter(|rule| {
            // A name that a partner gave itself permits nothing, and forbids.
            let is = |alias: &str, name: &str| {
                let forbids = rule.keys == KeyForm::Never && alias == name;
                forbids || self.is_called(alias, name)
            };
            let of = match &rule.of {
                None => own,
                Some(name) => !own && is(&table.catalog, name),
            };
            of && rule.product == table.schema
                && rule.table == table.table
                && (rule.columns.is_empty() || rule.columns.contains(column))
                && (rule.to.as_deref()).is_none_or(|name| is(to, name))
        });
        let stated = rules.map(|rule| rule.keys).min();
        stated.unwrap_or_else(|| match own {
            true => self.unstated(table, column),
            // Nobody asked the partner whose keys they are.
            false => KeyForm::Never,
        })
    }
}

impl EgressRules {
    /// Whether the partner shown as `alias` is the one that a rule calls `name`.
    fn is_called(&self, alias: &str, name: &str) -> bool {
        let partners = self.partners.all();
        let mut shown = partners.iter().filter(|partner| partner.alias == alias);
        shown.any(|partner| partner.is_called(name))
    }

    /// Of an own column that no rule names: a filter, unless it is classified.
    fn unstated(&self, table: &TableName, column: &str) -> KeyForm {
        let products = self.catalog.own_products();
        let product = products
            .iter()
            .find(|p| p.address().to_string() == table.schema);
        let tables = product.into_iter().flat_map(|p| &p.descriptor.tables);
        let mut columns = tables
            .filter(|t| t.name.as_str() == table.table)
            .flat_map(|t| &t.columns)
            .filter(|c| c.name == column);
        match columns.next().map(|c| c.classification.as_deref()) {
            Some(None | Some(PUBLIC)) => KeyForm::Hashed,
            _ => KeyForm::Never,
        }
    }
}
