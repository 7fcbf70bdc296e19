use std::collections::{BTreeMap, BTreeSet};

mod laws;

use super::*;
use crate::envelope::Compact;
use crate::fixture::{DAY, MINUTE, NOW, Party};
use crate::organization::{Revocation, Revoked, VerifiedDocument};
use crate::{LEEWAY, SecretKey, Signer};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Consumer, provider, and a holder of a grant between them.
struct Stage {
    consumer: Party,
    provider: Party,
    holder: SecretKey,
}

impl Stage {
    fn new() -> Self {
        Self {
            consumer: Party::new(1),
            provider: Party::new(2),
            holder: key(200),
        }
    }

    fn grant(&self) -> Grant {
        Grant {
            v: 1,
            iss: self.consumer.history.org(),
            aud: self.provider.history.org(),
            agr: Digest::of(b"agreement"),
            sub: "u-1".to_owned(),
            act: vec!["job:report".to_owned()],
            roles: set(&["analyst", "planner"]),
            amr: set(&["mfa"]),
            cnf: self.holder.public(),
            cert: None,
            tables: Some(set(&["weather", "stations"])),
            cols: Some(BTreeMap::from([(
                "weather".to_owned(),
                set(&["temp", "wind"]),
            )])),
            filter: vec![serde_json::json!({"col": "origin", "op": "eq", "val": "EWR"})],
            purpose: set(&["delay-analysis"]),
            max_rows: Some(1000),
            nbf: NOW,
            exp: NOW.saturating_add(10 * MINUTE),
            jti: "g-0".to_owned(),
            prt: None,
        }
    }

    fn issue(&self, grant: &Grant) -> Chain {
        Chain::issue(grant, &self.consumer.issuer).unwrap()
    }

    fn document(&self) -> VerifiedDocument {
        self.consumer.verified(&self.consumer.document(1))
    }

    fn verify(&self, chain: &Chain) -> Result<VerifiedGrant, GrantError> {
        self.verify_at(chain.links(), NOW)
    }

    fn verify_at(&self, links: &[String], now: Timestamp) -> Result<VerifiedGrant, GrantError> {
        Chain::verify(links, &self.document(), self.provider.history.org(), now)
    }
}

/// A second link by `holder`, past the checks of [`Chain::narrow`].
fn raw_link(chain: &Chain, mut grant: Grant, holder: &SecretKey) -> Vec<String> {
    let mut links = chain.links().to_vec();
    grant.prt = Some(Digest::of(links.last().unwrap().as_bytes()));
    links.push(Compact::sign(GRANT, &grant, holder).unwrap());
    links
}

#[test]
fn a_chain_says_what_its_last_holder_may_do() {
    let stage = Stage::new();
    let chain = stage.issue(&stage.grant());
    let whole = stage.verify(&chain).unwrap();
    assert_eq!(whole.holder(), &stage.holder.public());
    assert_eq!(whole.filters().len(), 1);
    let mut less = stage.grant();
    less.cnf = key(201).public();
    less.jti = "g-1".to_owned();
    less.tables = Some(set(&["weather"]));
    less.cols = Some(BTreeMap::from([("weather".to_owned(), set(&["temp"]))]));
    less.filter = vec![serde_json::json!({"col": "temp", "op": "gt", "val": 0})];
    less.max_rows = Some(10);
    let chain = chain.narrow(less, &stage.holder).unwrap();
    let narrow = stage.verify(&chain).unwrap();
    assert_eq!(narrow.tables(), Some(&set(&["weather"])));
    assert_eq!(narrow.columns("weather"), Some(&set(&["temp"])));
    assert_eq!(narrow.columns("stations"), None);
    assert_eq!(narrow.filters().len(), 2, "filters accumulate");
    let budgets = narrow.budgets().iter().map(|b| (b.link, b.rows));
    let links = chain.links().iter().map(|l| Digest::of(l.as_bytes()));
    assert!(budgets.eq(links.zip([1000, 10])), "each link has its own");
    assert_eq!(narrow.ids(), ["g-0", "g-1"]);
    assert_eq!(narrow.holder(), &key(201).public());
    assert_eq!(narrow.digest(), Digest::of(chain.links()[1].as_bytes()));
}

#[test]
fn a3_a_grant_counts_only_at_its_audience() {
    let stage = Stage::new();
    let chain = stage.issue(&stage.grant());
    let elsewhere = Party::new(3).history.org();
    assert_eq!(
        Chain::verify(chain.links(), &stage.document(), elsewhere, NOW).unwrap_err(),
        GrantError::OtherAudience
    );
}

#[test]
fn only_a_key_that_may_issue_signs_link_0() {
    let stage = Stage::new();
    for signer in [
        &stage.consumer.doc,
        &stage.consumer.node,
        &stage.provider.issuer,
    ] {
        let chain = Chain::issue(&stage.grant(), signer).unwrap();
        assert_eq!(stage.verify(&chain).unwrap_err(), GrantError::NotAnIssuer);
    }
    // Our issuer must not speak for another organization.
    let mut grant = stage.grant();
    grant.iss = stage.provider.history.org();
    let chain = stage.issue(&grant);
    assert_eq!(
        stage.verify(&chain).unwrap_err(),
        GrantError::OtherOrganization
    );
}

#[test]
fn a_link_is_signed_by_the_holder_before_it_and_names_it() {
    let stage = Stage::new();
    let chain = stage.issue(&stage.grant());
    let mut child = stage.grant();
    child.jti = "g-1".to_owned();
    assert!(chain.narrow(child.clone(), &key(9)).is_err());
    assert!(matches!(
        stage.verify_at(&raw_link(&chain, child.clone(), &key(9)), NOW),
        Err(GrantError::Envelope { link: 1, .. })
    ));
    let mut links = raw_link(&chain, child.clone(), &stage.holder);
    assert!(stage.verify_at(&links, NOW).is_ok());
    child.prt = Some(Digest::of(b"another"));
    links[1] = Compact::sign(GRANT, &child, &stage.holder).unwrap();
    assert_eq!(
        stage.verify_at(&links, NOW).unwrap_err(),
        GrantError::Broken { link: 1 }
    );
    child.prt = None;
    links[1] = Compact::sign(GRANT, &child, &stage.holder).unwrap();
    assert_eq!(
        stage.verify_at(&links, NOW).unwrap_err(),
        GrantError::Broken { link: 1 }
    );
}

#[test]
fn a4_every_way_of_widening_is_refused() {
    let stage = Stage::new();
    let chain = stage.issue(&stage.grant());
    type Change = (Widened, fn(&mut Grant));
    let cases: [Change; 16] = [
        (Widened::Subject, |g| g.agr = Digest::of(b"other")),
        (Widened::Subject, |g| g.sub = "u-2".to_owned()),
        (Widened::Subject, |g| g.aud = g.iss),
        (Widened::Actors, |g| g.act.clear()),
        (Widened::Roles, |g| _ = g.roles.insert("admin".to_owned())),
        (Widened::Roles, |g| _ = g.amr.insert("hwk".to_owned())),
        (Widened::Tables, |g| g.tables = None),
        (Widened::Tables, |g| g.tables = Some(set(&["airports"]))),
        (Widened::Columns, |g| g.cols = None),
        (Widened::Columns, |g| g.cols = Some(BTreeMap::new())),
        (Widened::Columns, |g| {
            g.cols = Some(BTreeMap::from([("weather".to_owned(), set(&["id"]))]));
        }),
        (Widened::Purpose, |g| {
            _ = g.purpose.insert("marketing".to_owned());
        }),
        (Widened::Rows, |g| g.max_rows = None),
        (Widened::Rows, |g| g.max_rows = Some(1001)),
        (Widened::Time, |g| g.exp = g.exp.saturating_add(MINUTE)),
        (Widened::Time, |g| g.nbf = g.nbf.saturating_sub(MINUTE)),
    ];
    for (expected, change) in cases {
        let mut child = stage.grant();
        child.jti = "g-1".to_owned();
        change(&mut child);
        let link = 1;
        let refused = GrantError::Widened {
            link,
            source: expected,
        };
        let received = stage.verify_at(&raw_link(&chain, child.clone(), &stage.holder), NOW);
        assert_eq!(received.unwrap_err(), refused);
        assert_eq!(chain.narrow(child, &stage.holder).unwrap_err(), refused);
    }
}

#[test]
fn length_and_lifetime_are_two_sided() {
    let stage = Stage::new();
    let mut chain = stage.issue(&stage.grant());
    for n in 1..MAX_LINKS {
        let mut child = stage.grant();
        child.jti = format!("g-{n}");
        chain = chain.narrow(child, &stage.holder).unwrap();
    }
    assert!(stage.verify(&chain).is_ok());
    assert_eq!(
        chain.narrow(stage.grant(), &stage.holder).unwrap_err(),
        GrantError::Length(MAX_LINKS + 1)
    );
    let five = raw_link(&chain, stage.grant(), &stage.holder);
    assert_eq!(
        stage.verify_at(&five, NOW).unwrap_err(),
        GrantError::Length(5)
    );
    assert_eq!(
        stage.verify_at(&[], NOW).unwrap_err(),
        GrantError::Length(0)
    );
    let living = |seconds: u64| {
        let mut grant = stage.grant();
        grant.exp = Timestamp::from_secs(NOW.as_secs() + seconds);
        let text = Compact::sign(GRANT, &grant, &stage.consumer.issuer).unwrap();
        stage.verify_at(&[text], NOW)
    };
    assert!(living(900).is_ok());
    assert!(matches!(living(901), Err(GrantError::Rule { link: 0, .. })));
    assert!(matches!(living(0), Err(GrantError::Rule { link: 0, .. })));
}

#[test]
fn a29_time_is_two_sided_with_leeway() {
    let stage = Stage::new();
    // Later than the issuer key's own start, which has its own test.
    let start = NOW.saturating_add(5 * MINUTE);
    let mut grant = stage.grant();
    grant.nbf = start;
    let chain = stage.issue(&grant);
    let at = |now| stage.verify_at(chain.links(), now).map(|_| ());
    let second = core::time::Duration::from_secs(1);
    assert_eq!(at(start.saturating_sub(LEEWAY)), Ok(()));
    assert_eq!(
        at(start.saturating_sub(LEEWAY + second)),
        Err(GrantError::Time)
    );
    let end = grant.exp.saturating_add(LEEWAY);
    assert_eq!(at(end.saturating_sub(second)), Ok(()));
    assert_eq!(at(end), Err(GrantError::Time));
}

#[test]
fn a11_a_stale_document_vouches_for_no_grant() {
    let stage = Stage::new();
    let later = NOW.saturating_add(7 * DAY);
    let mut grant = stage.grant();
    grant.nbf = later;
    grant.exp = later.saturating_add(MINUTE);
    let chain = stage.issue(&grant);
    assert_eq!(
        stage.verify_at(chain.links(), later).unwrap_err(),
        GrantError::StaleDocument
    );
}

#[test]
fn a_revocation_reaches_every_link() {
    let stage = Stage::new();
    let mut child = stage.grant();
    child.jti = "g-1".to_owned();
    child.cnf = key(201).public();
    let chain = stage.issue(&stage.grant());
    let chain = chain.narrow(child, &stage.holder).unwrap();
    let id = |k: &SecretKey| k.public().id().to_string();
    for (what, id) in [
        (Revoked::Grant, "g-0".to_owned()),
        (Revoked::Grant, "g-1".to_owned()),
        (Revoked::Agreement, Digest::of(b"agreement").to_string()),
        (Revoked::Key, id(&stage.holder)),
        (Revoked::Key, id(&key(201))),
    ] {
        let mut document = stage.consumer.document(1);
        let since = NOW;
        document.revoked = vec![Revocation { what, id, since }];
        let document = stage.consumer.verified(&document);
        let verdict = Chain::verify(chain.links(), &document, stage.provider.history.org(), NOW);
        assert_eq!(verdict.unwrap_err(), GrantError::Revoked, "{what:?}");
    }
    // A node that holds a grant loses it when the node is revoked by name.
    let mut grant = stage.grant();
    grant.cnf = stage.consumer.node.public();
    let chain = stage.issue(&grant);
    assert!(stage.verify(&chain).is_ok());
    let mut document = stage.consumer.document(1);
    document.revoked = vec![Revocation {
        what: Revoked::Node,
        id: "node-1".to_owned(),
        since: NOW,
    }];
    let document = stage.consumer.verified(&document);
    let verdict = Chain::verify(chain.links(), &document, stage.provider.history.org(), NOW);
    assert_eq!(verdict.unwrap_err(), GrantError::Revoked);
}

#[test]
fn a_certificate_belongs_to_its_link() {
    let stage = Stage::new();
    let mut first = stage.grant();
    first.cert = Some(Digest::of(b"the first holder's"));
    let chain = stage.issue(&first);
    assert_eq!(stage.verify(&chain).unwrap().certificate(), first.cert);
    let mut next = stage.grant();
    next.jti = "g-1".to_owned();
    // Whoever hands a grant on does not stay its holder.
    let handed = chain.narrow(next.clone(), &stage.holder).unwrap();
    assert_eq!(stage.verify(&handed).unwrap().certificate(), None);
    next.cert = Some(Digest::of(b"the next holder's"));
    let handed = chain.narrow(next.clone(), &stage.holder).unwrap();
    assert_eq!(stage.verify(&handed).unwrap().certificate(), next.cert);
}

#[test]
fn a_holder_checks_offline_all_that_it_can() {
    let stage = Stage::new();
    let chain = stage.issue(&stage.grant());
    let mut child = stage.grant();
    child.jti = "g-1".to_owned();
    let narrow = chain.narrow(child.clone(), &stage.holder).unwrap();
    assert_eq!(narrow.check_offline().unwrap().len(), 2);
    let check = |links| Chain::from_links(links).check_offline();
    assert!(matches!(
        check(raw_link(&chain, child.clone(), &key(9))),
        Err(GrantError::Envelope { link: 1, .. })
    ));
    let mut links = raw_link(&chain, child.clone(), &stage.holder);
    links[0] = stage
        .issue(&Grant {
            jti: "g-2".to_owned(),
            ..stage.grant()
        })
        .links()[0]
        .clone();
    assert_eq!(check(links), Err(GrantError::Broken { link: 1 }));
    child.max_rows = None;
    assert_eq!(
        check(raw_link(&chain, child, &stage.holder)),
        Err(GrantError::Widened {
            link: 1,
            source: Widened::Rows
        })
    );
}
