//! Terms (A17, A31, `spec/4-negotiation.md`, section 2): one or two of them, a line each.

use comity_identity::Digest;
use comity_protocol::terms::{
    MAX_COLUMNS, MAX_INT, MAX_LITERALS, MAX_PREDICATE_DEPTH, MAX_PREDICATES, MAX_PURPOSES,
    MAX_TABLES, Predicate, RowFilter, Terms,
};

pub(crate) fn law(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let read: Vec<Terms> = text.lines().take(2).filter_map(checked).collect();
    for terms in &read {
        alone(terms);
    }
    if let [a, b] = read.as_slice() {
        together(a, b);
        together(b, a);
    }
}

/// Terms that a peer may have sent: read, and within every bound.
fn checked(text: &str) -> Option<Terms> {
    let terms: Terms = serde_json::from_str(text).ok()?;
    // Also what breaks a bound is written as it was read.
    let written = serde_json::to_string(&terms).expect("JSON");
    let again: Terms = serde_json::from_str(&written).expect("its own JSON");
    assert_eq!(again, terms);
    terms.check().ok().map(|()| terms)
}

fn alone(terms: &Terms) {
    assert!((1..=MAX_TABLES).contains(&terms.tables.len()));
    assert!((1..=MAX_PURPOSES).contains(&terms.purposes.len()));
    assert!(terms.not_before < terms.expires && terms.expires.as_secs() <= MAX_INT);
    for table in terms.tables.values() {
        assert!((1..=MAX_COLUMNS).contains(&table.columns.len()));
        assert!(table.masks.keys().all(|c| table.columns.contains(c)));
        bounded(&table.filter);
        assert!(table.narrows(table));
        assert_eq!(table.filter.and(&table.filter), table.filter);
    }
    // Both sides sign the canonical form: it is one, and it is these terms.
    let canonical = serde_json_canonicalizer::to_string(terms).expect("canonical JSON");
    let read: Terms = serde_json::from_str(&canonical).expect("its own JSON");
    assert_eq!(read, *terms);
    let again = serde_json_canonicalizer::to_string(&read).expect("canonical JSON");
    assert_eq!(
        Digest::of(again.as_bytes()),
        Digest::of(canonical.as_bytes())
    );
    // The order: reflexive, and equal terms differ in nothing.
    assert!(terms.narrows(terms));
    assert!(terms.changes_from(terms).is_empty());
    assert!(terms.exceed(terms).is_empty());
    assert_eq!(terms.intersect(terms).as_ref(), Some(terms));
}

fn together(a: &Terms, b: &Terms) {
    assert_eq!(
        a.exceed(b).is_empty(),
        a.narrows(b),
        "exceed and narrows disagree"
    );
    assert_eq!(a.changes_from(b).is_empty(), a == b);
    for change in a.changes_from(b) {
        assert!(!change.to_string().is_empty());
    }
    assert!(
        a == b || !(a.narrows(b) && b.narrows(a)),
        "the order is antisymmetric"
    );
    let both = a.intersect(b);
    assert_eq!(both, b.intersect(a), "the order of the sides matters");
    if a.narrows(b) {
        assert_eq!(
            both.as_ref(),
            Some(a),
            "what is narrower is the intersection"
        );
    }
    if let Some(both) = both {
        assert!(
            both.narrows(a) && both.narrows(b),
            "an intersection is wider than a side"
        );
        assert_eq!(both.intersect(a).as_ref(), Some(&both));
        for (name, table) in &both.tables {
            assert!(table.narrows(&a.tables[name]) && table.narrows(&b.tables[name]));
        }
    }
}

/// A31: what was checked has the size that it may have.
fn bounded(filter: &RowFilter) {
    fn count(p: &Predicate, depth: usize, nodes: &mut usize, literals: &mut usize) {
        assert!(depth <= MAX_PREDICATE_DEPTH);
        *nodes += 1;
        match p {
            Predicate::Compare { .. } => *literals += 1,
            Predicate::In { values, .. } => *literals += values.len(),
            Predicate::IsNull { .. } => {}
            Predicate::Not(inner) => count(inner, depth + 1, nodes, literals),
            Predicate::Any(inner) | Predicate::All(inner) => {
                inner
                    .iter()
                    .for_each(|p| count(p, depth + 1, nodes, literals));
            }
        }
    }
    let (mut nodes, mut literals) = (0, 0);
    filter
        .0
        .iter()
        .for_each(|p| count(p, 1, &mut nodes, &mut literals));
    assert!(nodes <= MAX_PREDICATES && literals <= MAX_LITERALS);
}
