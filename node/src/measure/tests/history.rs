//! How statements are shown.

use comity_protocol::results::Results;

use super::*;
use crate::catalog::Stated;

/// A statement of `product`, measured so many seconds before now.
fn stated(product: &OwnProduct, seq: u64, ago: u64, due: Option<u64>) -> Stated {
    let at = NOW.saturating_sub(Duration::from_secs(ago));
    let results = Results {
        org: product.descriptor.org,
        product: product.address(),
        version: product.descriptor.version,
        contract_digest: product.descriptor.contract_digest,
        contract_id: "c".to_owned(),
        seq,
        prev: (seq > 1).then(|| Digest::of(&(seq - 1).to_be_bytes())),
        at,
        due: due.map(|after| at.saturating_add(Duration::from_secs(after))),
        process: PROCESS.to_owned(),
        process_version: "0".to_owned(),
        checks: Vec::new(),
        omitted: 0,
        tables: Vec::new(),
    };
    Stated {
        results,
        digest: Digest::of(&seq.to_be_bytes()),
    }
}

#[test]
fn a_measurement_that_is_overdue_says_so() {
    let product = product(
        json!([{"name": "id", "required": true}]),
        json!([]),
        json!([]),
    );
    let late = |due| {
        let statements = [stated(&product, 1, 3600, due)];
        let view = measured(&product.descriptor, &statements, None, NOW);
        assert!(
            view.promises[0].verdicts.is_empty(),
            "promised, not measured"
        );
        view.statements[0].late
    };
    assert!(!late(Some(3600)) && late(Some(3599)) && !late(None));
}

#[test]
fn a_chain_with_a_gap_is_not_shown_as_unbroken() {
    let product = product(json!([{"name": "id"}]), json!([]), json!([]));
    let unbroken = |numbers: &[u64]| -> Vec<bool> {
        let chain: Vec<Stated> = numbers
            .iter()
            .map(|n| stated(&product, *n, 0, None))
            .collect();
        let chain = history(&product.descriptor, &chain, NOW);
        chain.iter().map(|m| m.unbroken).collect()
    };
    assert_eq!(unbroken(&[3, 2, 1]), [true, true, true]);
    assert_eq!(unbroken(&[4, 2, 1]), [false, true, true]);
    assert_eq!(
        unbroken(&[3, 2]),
        [true, false],
        "what was before is not here"
    );
}
