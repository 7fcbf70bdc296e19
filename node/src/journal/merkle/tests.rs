use proptest::prelude::*;

use super::*;

/// The leaves of the reference tests of Certificate Transparency (RFC 6962
/// `merkletree` test data, as in google/certificate-transparency).
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// The roots over the first 0 to 8 of them.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(text: &str) -> Hash {
    data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .unwrap()
        .try_into()
        .unwrap()
}

fn reference_tree() -> Tree {
    let mut tree = Tree::default();
    for leaf in LEAVES {
        tree.push(leaf_hash(leaf));
    }
    tree
}

fn numbered_tree(size: u64) -> Tree {
    let mut tree = Tree::default();
    for i in 0..size {
        tree.push(leaf_hash(&i.to_be_bytes()));
    }
    tree
}

/// The definition of RFC 6962, section 2.1, as it is written there.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&defined_root(left), &defined_root(right))
        }
    }
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let tree = reference_tree();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(tree.root(size as u64), Some(hex(root)), "size {size}");
    }
    assert_eq!(tree.root(9), None);
}

#[test]
fn inclusion_paths_are_those_of_certificate_transparency() {
    let tree = reference_tree();
    // Index and size from 0 and 1; the reference counts leaves from 1.
    let expected: [(u64, u64, &[&str]); 4] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
    ];
    for (index, size, path) in expected {
        let path: Vec<Hash> = path.iter().map(|text| hex(text)).collect();
        assert_eq!(tree.inclusion(index, size), Some(path), "{index} of {size}");
    }
}

#[test]
fn consistency_proofs_are_those_of_certificate_transparency() {
    let tree = reference_tree();
    let expected: [(u64, u64, &[&str]); 4] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (old, new, proof) in expected {
        let proof: Vec<Hash> = proof.iter().map(|text| hex(text)).collect();
        assert_eq!(tree.consistency(old, new), Some(proof), "{old} to {new}");
    }
}

#[test]
fn every_proof_of_a_small_tree_verifies_and_fits_nothing_else() {
    const SIZE: u64 = 20;
    let tree = numbered_tree(SIZE);
    for size in 1..=SIZE {
        let root = tree.root(size).unwrap();
        for index in 0..size {
            let leaf = leaf_hash(&index.to_be_bytes());
            let path = tree.inclusion(index, size).unwrap();
            assert!(verify_inclusion(&leaf, index, size, &path, &root));
            for other in (0..size).filter(|other| *other != index) {
                assert!(!verify_inclusion(&leaf, other, size, &path, &root));
            }
        }
        for old in 0..=size {
            let old_root = tree.root(old).unwrap();
            let proof = tree.consistency(old, size).unwrap();
            assert!(verify_consistency(old, size, &proof, &old_root, &root));
            let forged = leaf_hash(b"forged");
            assert!(!verify_consistency(old, size, &proof, &forged, &root));
            // From the empty tree anything may have grown.
            assert_eq!(
                verify_consistency(old, size, &proof, &old_root, &forged),
                old == 0
            );
        }
    }
    assert_eq!(tree.inclusion(0, SIZE + 1), None);
    assert_eq!(tree.inclusion(3, 3), None);
    assert_eq!(tree.consistency(3, 2), None);
    assert_eq!(tree.consistency(3, SIZE + 1), None);
}

#[test]
fn a33_a_rewritten_log_cannot_prove_that_it_grew_from_the_old_one() {
    let honest = numbered_tree(10);
    let mut rewritten = numbered_tree(7);
    for i in 0..6u64 {
        rewritten.push(leaf_hash(&(i + 100).to_be_bytes()));
    }
    let held_by_partner = honest.root(10).unwrap();
    let proof = rewritten.consistency(10, 13).unwrap();
    let new_root = rewritten.root(13).unwrap();
    assert!(!verify_consistency(
        10,
        13,
        &proof,
        &held_by_partner,
        &new_root
    ));
}

#[test]
fn an_overlong_proof_is_refused() {
    let tree = numbered_tree(2);
    let root = tree.root(2).unwrap();
    let long = vec![[0; 32]; MAX_PROOF_HASHES + 1];
    assert!(!verify_inclusion(
        &leaf_hash(&0u64.to_be_bytes()),
        0,
        2,
        &long,
        &root
    ));
    assert!(!verify_consistency(
        1,
        2,
        &long,
        &tree.root(1).unwrap(),
        &root
    ));
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_definition(size in 0u64..300, part in 0.0..=1.0f64) {
        let tree = numbered_tree(size);
        let part = (size as f64 * part) as usize;
        let leaves: Vec<Hash> = (0..part as u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        prop_assert_eq!(tree.root(part as u64), Some(defined_root(&leaves)));
    }

    #[test]
    fn hostile_proofs_do_not_panic(
        index: u64, size: u64, old: u64,
        proof in prop::collection::vec(any::<Hash>(), 0..140),
    ) {
        let hash = [7; 32];
        verify_inclusion(&hash, index, size, &proof, &hash);
        verify_consistency(old, size, &proof, &hash, &hash);
    }

    #[test]
    fn a_changed_proof_fails(old in 1u64..60, more in 1u64..60, at: prop::sample::Index, bit in 0usize..256) {
        let new = old + more;
        let tree = numbered_tree(new);
        let mut proof = tree.consistency(old, new).unwrap();
        let chosen = at.index(proof.len());
        proof[chosen][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify_consistency(old, new, &proof, &tree.root(old).unwrap(), &tree.root(new).unwrap()));
    }
}
