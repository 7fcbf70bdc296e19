//! The descriptor: a product's public projection, signed (`spec/3-catalog.md`, section 1).

use core::time::Duration;
use std::collections::BTreeSet;

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::keys::{IssuerKeys, StatementError, open};
use crate::names::{Name, is_column};
use crate::terms::{MAX_COLUMNS, MAX_INT, MAX_TABLES, Predicate, TableTerms, Terms};
use crate::version::Version;

#[cfg(test)]
mod tests;

/// The kind of a descriptor.
pub const DESCRIPTOR: Typ = Typ::new("comity-descriptor+jwt", 256 * 1024);

/// The longest life of a descriptor: a publisher that is gone disappears without a broker.
pub const MAX_DESCRIPTOR_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The time between the announcement of an end and the end, where the contract
/// promises no other (`spec/3-catalog.md#C-78`).
pub const DEFAULT_NOTICE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How far ahead of our clock a statement may have been issued.
pub const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// The payload of a descriptor (`spec/schemas/descriptor.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// The payload's version: 1.
    pub v: u64,
    /// Whose product it is.
    pub org: OrgId,
    /// The product's name.
    pub product: Name,
    /// The product's version, as its contract says.
    pub version: Version,
    /// Counts the descriptors of this product.
    pub seq: u64,
    /// The descriptor before this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prev: Option<Digest>,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// SHA-256 over the canonical JSON (RFC 8785) of `contract`.
    pub contract_digest: Digest,
    /// The public projection of the ODCS contract.
    pub contract: serde_json::Value,
    /// What is served: tables with their Arrow schemas.
    pub tables: Vec<Table>,
    /// What partners may ask for without further talk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offer: Option<Terms>,
    /// The announced end of this major version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deprecation: Option<Deprecation>,
}

/// The announced end of a major version (`spec/3-catalog.md#C-77`). A part of
/// the descriptor: signed with it, fetched with it, and never out of step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deprecation {
    /// When the end was announced first.
    pub since: Timestamp,
    /// Until when it is served at least.
    pub sunset: Timestamp,
    /// What to read instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replacement: Option<Address>,
}

/// A served table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table's name within the product.
    pub name: Name,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A served column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Its type on the wire.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// How sensitive it is, in the owner's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classification: Option<String>,
}

/// The Arrow types that cross between organizations. Every column is nullable on the wire.
/// A descriptor with another type is not read at all (`spec/3-catalog.md#C-9`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 8-bit signed.
    Int8,
    /// 16-bit signed.
    Int16,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// 8-bit unsigned.
    #[serde(rename = "uint8")]
    UInt8,
    /// 16-bit unsigned.
    #[serde(rename = "uint16")]
    UInt16,
    /// 32-bit unsigned.
    #[serde(rename = "uint32")]
    UInt32,
    /// 64-bit unsigned.
    #[serde(rename = "uint64")]
    UInt64,
    /// 32-bit IEEE 754.
    Float32,
    /// 64-bit IEEE 754.
    Float64,
    /// UTF-8 text.
    Utf8,
    /// Bytes.
    Binary,
    /// Days since the epoch.
    Date32,
    /// Microseconds since the epoch, no zone.
    TimestampMicros,
    /// Microseconds since the epoch, UTC.
    TimestampMicrosUtc,
    /// Microseconds since midnight.
    TimeMicros,
    /// Up to 38 digits, with the digits after the point.
    Decimal128 {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// Values of one of the types above, any number of them; each may be null.
    List {
        /// The type of the values, no list itself.
        item: Box<Self>,
    },
}

/// A descriptor that its organization signed and that is well formed.
/// [`VerifiedDescriptor::verify`] is its one constructor.
#[derive(Clone, Debug)]
pub struct VerifiedDescriptor {
    descriptor: Descriptor,
    text: String,
    digest: Digest,
}

impl Descriptor {
    /// Signs the descriptor with a key that announces.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, StatementError> {
        self.check()?;
        Ok(Compact::sign(DESCRIPTOR, self, signer)?)
    }

    /// The address of this major version.
    pub fn address(&self) -> Address {
        Address {
            product: self.product.clone(),
            major: self.version.major,
        }
    }

    /// The digest that `contract_digest` must have.
    pub fn digest_of_contract(contract: &serde_json::Value) -> Result<Digest, StatementError> {
        let bytes = serde_json_canonicalizer::to_vec(contract)
            .map_err(|_| StatementError::Rule("the contract has no canonical form"))?;
        Ok(Digest::of(&bytes))
    }

    /// What a descriptor must be, beside its tables (`spec/3-catalog.md#C-3`).
    fn check(&self) -> Result<(), StatementError> {
        require(self.v == 1, "the descriptor's version is not 1")?;
        require(
            self.expires_at > self.issued_at
                && self.expires_at.since(self.issued_at) <= MAX_DESCRIPTOR_LIFETIME,
            "a descriptor holds for more than 0 and at most 30 days",
        )?;
        require(self.seq <= MAX_INT, "a number is above 2^53 - 1")?;
        // spec/3-catalog.md#C-4
        require(
            Self::digest_of_contract(&self.contract)? == self.contract_digest,
            "the contract's digest is not the one stated",
        )?;
        // spec/3-catalog.md#C-5
        let tables = (1..=MAX_TABLES).contains(&self.tables.len());
        require(tables, "a product has 1 to 64 tables")?;
        let mut names = BTreeSet::new();
        for table in &self.tables {
            require(names.insert(&table.name), "two tables have one name")?;
            table.check()?;
        }
        if let Some(end) = &self.deprecation {
            require(
                end.since <= self.issued_at && end.sunset >= end.since,
                "an end is announced before it comes, and not in the future",
            )?;
            require(
                end.sunset.as_secs() <= MAX_INT,
                "a number is above 2^53 - 1",
            )?;
        }
        // spec/3-catalog.md#C-6
        if let Some(offer) = &self.offer {
            offer
                .check()
                .map_err(|_| StatementError::Rule("the offer is not well formed"))?;
            require(
                offer.is_within(&self.tables),
                "the offer names what the product has not",
            )?;
        }
        Ok(())
    }
}

impl Table {
    /// What a table must be (`spec/3-catalog.md#C-5`).
    fn check(&self) -> Result<(), StatementError> {
        let columns = (1..=MAX_COLUMNS).contains(&self.columns.len());
        require(columns, "a table has 1 to 1024 columns")?;
        let mut names = BTreeSet::new();
        for column in &self.columns {
            require(is_column(&column.name), "a column's name is not allowed")?;
            require(names.insert(&column.name), "two columns have one name")?;
            column.kind.check(true)?;
        }
        Ok(())
    }
}

impl ColumnType {
    fn check(&self, may_be_list: bool) -> Result<(), StatementError> {
        match self {
            Self::Decimal128 { precision, scale } => {
                let fits = (1..=38).contains(precision) && scale <= precision;
                require(fits, "a decimal has 1 to 38 digits")
            }
            // spec/3-catalog.md#C-60
            Self::List { item } => {
                require(may_be_list, "a list has values that are no lists")?;
                item.check(false)
            }
            _ => Ok(()),
        }
    }
}

impl Terms {
    /// Whether every table and column that the terms name is one of `tables`.
    pub fn is_within(&self, tables: &[Table]) -> bool {
        self.tables.iter().all(|(name, terms)| {
            let table = tables.iter().find(|t| t.name.as_str() == name);
            table.is_some_and(|table| {
                terms
                    .columns
                    .iter()
                    .all(|c| table.columns.iter().any(|known| known.name == *c))
            })
        })
    }
}

impl Descriptor {
    /// Whether a consumer may ask for `terms`: what they name is announced,
    /// and beyond the filters of the offer they filter by announced columns
    /// only. Only the provider filters by what it hides
    /// (`spec/4-negotiation.md#N-28`).
    pub fn may_be_asked(&self, terms: &Terms) -> bool {
        let offered = self.offer.as_ref();
        let announced = |name: &str, column: &str| {
            let mut tables = self.tables.iter().filter(|t| t.name.as_str() == name);
            tables.any(|t| t.columns.iter().any(|c| c.name == column))
        };
        let asks = |(name, table): (&String, &TableTerms)| {
            let offer = offered.and_then(|o| o.tables.get(name));
            let own = |p: &&Predicate| !offer.is_some_and(|o| o.filter.0.contains(*p));
            let mut asked = table.filter.0.iter().filter(own);
            // Which groups are large enough says something of the unit.
            let protection = table.protection.as_ref();
            let unit = protection.is_none_or(|p| {
                let offered = offer.and_then(|o| o.protection.as_ref());
                offered.is_some_and(|o| o.unit == p.unit) || announced(name, &p.unit)
            });
            unit && asked.all(|p| p.columns().into_iter().all(|c| announced(name, c)))
        };
        terms.is_within(&self.tables) && terms.tables.iter().all(asks)
    }
}

impl VerifiedDescriptor {
    /// Checks that `org` signed `text` with an announcing key, that it is well
    /// formed and in force at `now`.
    pub fn verify(
        text: &str,
        org: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        // spec/3-catalog.md#C-1
        let verified = open(DESCRIPTOR, text, org, Role::Announce, keys, now)?;
        let descriptor: Descriptor = verified.payload()?;
        // spec/3-catalog.md#C-2
        if descriptor.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        descriptor.check()?;
        // spec/3-catalog.md#C-7
        let in_force =
            descriptor.issued_at <= now.saturating_add(MAX_SKEW) && now < descriptor.expires_at;
        if !in_force {
            return Err(StatementError::Time);
        }
        Ok(Self {
            descriptor,
            text: text.to_owned(),
            digest: verified.digest(),
        })
    }

    /// The payload.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The exact envelope.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the exact envelope: the descriptor's id.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

fn require(holds: bool, rule: &'static str) -> Result<(), StatementError> {
    if holds {
        Ok(())
    } else {
        Err(StatementError::Rule(rule))
    }
}
