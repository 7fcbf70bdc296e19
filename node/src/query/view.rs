//! Everything that one caller can name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use comity_protocol::product::Deprecation;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};

use super::dictionary::{Dictionary, NAME};
use super::{Egress, GovernedTable, KeyForm, Missing, PartnerTable, Sizes, TableSize, advertised};

/// The schema that holds the short names; no product can be called this.
pub(crate) const SHORT_NAMES: &str = "_";

/// A table's full name: organization alias, product, table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The organization's local alias.
    pub catalog: String,
    /// The product's address: its name, and `@MAJOR` unless that is 1.
    pub schema: String,
    /// The table's name within the product.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{:?}.{:?}", self.catalog, self.schema, self.table)
    }
}

/// Everything one caller can name; built by `access` only. What is not in the
/// view does not exist for the statement.
pub struct View {
    default_catalog: String,
    caller: Arc<str>,
    tables: Arc<BTreeMap<TableName, Arc<dyn TableProvider>>>,
    catalogs: Arc<dyn CatalogProviderList>,
    ends: BTreeMap<(String, String), Deprecation>,
    explains: bool,
    egress: Arc<dyn Egress>,
    sizes: Arc<dyn Sizes>,
    missing: Option<Arc<Missing>>,
}

impl View {
    /// Starts a view in which `default_catalog` (an organization's alias) may
    /// be left out of names, and the product as well where only one product of
    /// that organization has a table of that name.
    pub fn builder(default_catalog: &str) -> ViewBuilder {
        ViewBuilder {
            default_catalog: default_catalog.to_owned(),
            caller: Arc::from("own"),
            tables: BTreeMap::new(),
            ends: BTreeMap::new(),
            explains: false,
            egress: Arc::new(Nothing),
            sizes: Arc::new(Nothing),
            missing: None,
        }
    }

    /// The tables with their announced schemas, in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, SchemaRef)> {
        self.tables
            .iter()
            .map(|(name, table)| (name, advertised(&table.schema())))
    }

    /// The products of these tables whose end is announced: organization
    /// alias, product, end; each once.
    pub fn ends<'a>(
        &'a self,
        tables: &'a [TableName],
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Deprecation)> {
        let of = |(catalog, schema): &(String, String), table: &TableName| {
            table.catalog == *catalog && table.schema == *schema
        };
        let read = move |(product, _): &(&(String, String), &Deprecation)| {
            tables.iter().any(|table| of(product, table))
        };
        let ends = self.ends.iter().filter(read);
        ends.map(|((catalog, schema), end)| (catalog.as_str(), schema.as_str(), end))
    }

    /// Who takes turns with the others for the engine's places.
    pub(crate) fn caller(&self) -> &Arc<str> {
        &self.caller
    }

    /// Whether `EXPLAIN` may be asked.
    pub(crate) fn explains(&self) -> bool {
        self.explains
    }

    /// What keys of its tables may be told to whom.
    pub(super) fn egress(&self) -> &dyn Egress {
        &*self.egress
    }

    /// What is missing in answers, where something may be.
    pub(crate) fn missing(&self) -> Option<&Arc<Missing>> {
        self.missing.as_ref()
    }

    /// What is known of how large its tables are.
    pub(super) fn sizes(&self) -> &dyn Sizes {
        &*self.sizes
    }

    pub(crate) fn default_catalog(&self) -> &str {
        &self.default_catalog
    }

    pub(crate) fn catalogs(&self) -> &Arc<dyn CatalogProviderList> {
        &self.catalogs
    }

    /// The full name of a table of this view, if the provider is one.
    pub(crate) fn name_of(&self, provider: &Arc<dyn TableProvider>) -> Option<&TableName> {
        self.tables
            .iter()
            .find(|(_, own)| std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(provider)))
            .map(|(n, _)| n)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tables.keys()).finish()
    }
}

/// Collects the tables of a [`View`].
#[derive(Debug)]
pub struct ViewBuilder {
    default_catalog: String,
    caller: Arc<str>,
    tables: BTreeMap<TableName, Arc<dyn TableProvider>>,
    ends: BTreeMap<(String, String), Deprecation>,
    explains: bool,
    egress: Arc<dyn Egress>,
    sizes: Arc<dyn Sizes>,
    missing: Option<Arc<Missing>>,
}

/// Without rules nobody is told keys, and without counts nothing is large.
#[derive(Debug)]
struct Nothing;

impl Sizes for Nothing {
    fn of(&self, _: &TableName) -> Option<TableSize> {
        None
    }
}

impl Egress for Nothing {
    fn form(&self, _: &TableName, _: &str, _: &str) -> KeyForm {
        KeyForm::Never
    }
}

impl ViewBuilder {
    /// Says who asks: an organization, or a member of this one. The node itself
    /// where nobody says.
    pub fn caller(mut self, caller: &str) -> Self {
        self.caller = Arc::from(caller);
        self
    }

    /// Says that the product `schema` of `catalog` ends: readers are told.
    pub fn ending(mut self, catalog: &str, schema: &str, end: Option<&Deprecation>) -> Self {
        let product = (catalog.to_owned(), schema.to_owned());
        self.ends.extend(end.map(|end| (product, end.clone())));
        self
    }

    /// Permits `EXPLAIN`, and `information_schema`: to members, who may know which
    /// partners are asked what. A partner would learn of sources and policies
    /// (`spec/5-data-plane.md#D-224`).
    pub fn explaining(mut self) -> Self {
        self.explains = true;
        self
    }

    /// Says which keys of joins partners may be told.
    pub fn telling(mut self, egress: Arc<dyn Egress>) -> Self {
        self.egress = egress;
        self
    }

    /// Says how large the tables are.
    pub fn sized(mut self, sizes: Arc<dyn Sizes>) -> Self {
        self.sizes = sizes;
        self
    }

    /// Lets answers be without the rows of partners that do not answer.
    pub fn partial(mut self) -> Self {
        self.missing = Some(Arc::default());
        self
    }

    /// Adds a table of this node's own. A later table of the same name replaces an earlier one.
    pub fn governed(mut self, name: TableName, table: GovernedTable) -> Self {
        self.tables.insert(name, Arc::new(table));
        self
    }

    /// Adds a partner's table.
    pub fn partner(mut self, name: TableName, table: PartnerTable) -> Self {
        self.tables.insert(name, Arc::new(table));
        self
    }

    /// The finished view.
    pub fn build(self) -> Arc<View> {
        let mut tree: BTreeMap<&str, BTreeMap<&str, MemorySchemaProvider>> = BTreeMap::new();
        tree.entry(&self.default_catalog).or_default();
        let (mut short, mut ambiguous) = (BTreeMap::new(), BTreeSet::new());
        for (name, table) in &self.tables {
            let schema = tree
                .entry(&name.catalog)
                .or_default()
                .entry(&name.schema)
                .or_default();
            register(schema, &name.table, table);
            // Beside a second major the first keeps its short names: a statement
            // must not end because another version is announced.
            let shortened = name.catalog == self.default_catalog && !name.schema.contains('@');
            if shortened && short.insert(&name.table, table).is_some() {
                ambiguous.insert(&name.table);
            }
        }
        let shorts = MemorySchemaProvider::new();
        for (table, provider) in short
            .into_iter()
            .filter(|(name, _)| !ambiguous.contains(name))
        {
            register(&shorts, table, provider);
        }
        tree.entry(&self.default_catalog)
            .or_default()
            .insert(SHORT_NAMES, shorts);
        let tables = Arc::new(self.tables.clone());
        let catalogs = MemoryCatalogProviderList::new();
        for (name, schemas) in tree {
            let catalog = MemoryCatalogProvider::new();
            for (schema, tables) in schemas {
                // Registration in memory fails for read-only providers only.
                let _ = catalog.register_schema(schema, Arc::new(tables));
            }
            if self.explains && *name == self.default_catalog && catalog.schema(NAME).is_none() {
                let all = Dictionary {
                    catalog: name.to_owned(),
                    of: Arc::clone(&tables),
                };
                let _ = catalog.register_schema(NAME, Arc::new(all));
            }
            catalogs.register_catalog(name.to_owned(), Arc::new(catalog));
        }
        Arc::new(View {
            default_catalog: self.default_catalog,
            caller: self.caller,
            tables,
            catalogs: Arc::new(catalogs),
            ends: self.ends,
            explains: self.explains,
            egress: self.egress,
            sizes: self.sizes,
            missing: self.missing,
        })
    }
}

fn register(schema: &MemorySchemaProvider, name: &str, table: &Arc<dyn TableProvider>) {
    // Fails on a name that exists, and full names are unique.
    let _ = schema.register_table(name.to_owned(), Arc::clone(table));
}
