//! The law of contract files (A17, A31): a text is refused, or is a contract that is
//! the same whenever it is read, whose public part has one digest and a bound, and
//! whose offers are terms that a partner would take.

use std::path::Path;

use comity_identity::{Digest, Timestamp};
use comity_protocol::terms::{MAX_COLUMNS, MAX_TABLES};

use super::{Contract, MAX_PUBLIC_BYTES};

pub(crate) fn law(data: &[u8]) {
    let file = Path::new("fuzzed/product.odcs.yaml");
    let contract = match Contract::parse(file, data) {
        Ok(contract) => contract,
        Err(problems) => {
            let told = problems.to_string();
            assert!(!told.is_empty(), "a refusal says why");
            let again = Contract::parse(file, data).expect_err("it was refused");
            assert_eq!(again.to_string(), told);
            return;
        }
    };
    let canonical = serde_json_canonicalizer::to_vec(contract.public()).expect("JSON");
    assert!(canonical.len() <= MAX_PUBLIC_BYTES);
    assert_eq!(contract.contract_digest(), Digest::of(&canonical));
    let again = Contract::parse(file, data).expect("it was read");
    assert_eq!(again.contract_digest(), contract.contract_digest());
    assert!((1..=MAX_TABLES).contains(&contract.tables().len()));
    for offer in contract.offers() {
        let terms = offer.terms(Timestamp::from_secs(1_900_000_000));
        assert_eq!(terms.check(), Ok(()), "an offer that no partner would take");
        assert!(terms.narrows(&terms));
        assert!(
            terms
                .tables
                .values()
                .all(|t| t.columns.len() <= MAX_COLUMNS)
        );
    }
    // What is private of every contract, whatever it says (the allow-list of `public`).
    let public = contract.public().as_object().expect("an object");
    for private in ["servers", "team", "slaDefaultElement", "contractOwner"] {
        assert!(!public.contains_key(private), "{private} is public");
    }
}
