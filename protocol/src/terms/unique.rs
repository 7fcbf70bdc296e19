//! Sets and maps whose text names nothing twice (`spec/1-envelope.md#E-15`).
//!
//! Serde's own readers let the last of two entries win. Another reader may let
//! the first win, and the two sides of an agreement would enforce two filters
//! for one signed text (A48).

use core::fmt;
use core::marker::PhantomData;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a set; an element that occurs twice is an error.
pub(super) fn set<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    deserializer.deserialize_seq(SetVisitor(PhantomData))
}

/// Reads a set that may be left out; `null` is not "left out".
pub(super) fn some_set<'de, D, T>(deserializer: D) -> Result<Option<BTreeSet<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    set(deserializer).map(Some)
}

/// Reads a map; a key that occurs twice is an error.
pub(super) fn map<'de, D, K, T>(deserializer: D) -> Result<BTreeMap<K, T>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(MapVisitor(PhantomData))
}

struct SetVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Ord> Visitor<'de> for SetVisitor<T> {
    type Value = BTreeSet<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list without repetition")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut set = BTreeSet::new();
        while let Some(element) = seq.next_element()? {
            if !set.insert(element) {
                return Err(A::Error::custom("an element occurs twice"));
            }
        }
        Ok(set)
    }
}

struct MapVisitor<K, T>(PhantomData<(K, T)>);

impl<'de, K: Deserialize<'de> + Ord, T: Deserialize<'de>> Visitor<'de> for MapVisitor<K, T> {
    type Value = BTreeMap<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repetition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(map)
    }
}
