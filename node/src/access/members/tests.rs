use std::time::Duration;

use super::*;
use crate::index::Settings as IndexSettings;
use crate::journal;

/// A ledger in a folder of its own.
fn ledger(dir: &tempfile::TempDir) -> Arc<Ledger> {
    let home = crate::home::Home::at(dir.path());
    let ledger = Ledger::open(
        &home,
        journal::Settings::default(),
        IndexSettings::default(),
    );
    Arc::new(ledger.unwrap())
}

fn wanted(scope: TokenScope) -> Wanted {
    Wanted {
        scope,
        ..Wanted::default()
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> &'static str {
    result.unwrap_err().code()
}

#[tokio::test]
async fn a_member_holds_several_tokens_that_end_one_by_one_or_together() {
    let dir = tempfile::tempdir().unwrap();
    let now = clock::now();
    let (first, second, third);
    {
        let members = Members::load(ledger(&dir), None).unwrap();
        first = members.add("ann", Wanted::default()).await.unwrap();
        assert_eq!(
            code(members.add("ann", Wanted::default()).await),
            "member-exists"
        );
        assert_eq!(
            code(members.give_token("ben", Wanted::default()).await),
            "unknown-member"
        );
        second = members.give_token("ann", Wanted::default()).await.unwrap();
        third = members.give_token("ann", Wanted::default()).await.unwrap();
        for (_, token) in [&first, &second, &third] {
            assert_eq!(members.verify(token, now).unwrap().name(), "ann");
        }
        assert_eq!(
            code(members.end_token("ann", "0000").await),
            "unknown-token"
        );
        assert_eq!(
            code(members.end_token("ben", &second.0.id).await),
            "unknown-token"
        );
        let verified = members.verify(&second.1, now).unwrap();
        let mut changes = members.changes();
        members.end_token("ann", &second.0.id).await.unwrap();
        assert!(!members.stands(&verified, now));
        assert!(
            changes[0].has_changed().unwrap(),
            "running answers are woken"
        );
        changes[0].mark_unchanged();
    }
    // As the journal says after a restart.
    let members = Members::load(ledger(&dir), None).unwrap();
    assert!(members.verify(&first.1, now).is_ok());
    assert_eq!(members.verify(&second.1, now), Err(Unproven::Unknown));
    members.remove("ann").await.unwrap();
    assert_eq!(code(members.remove("ann").await), "unknown-member");
    drop(members);
    let members = Members::load(ledger(&dir), None).unwrap();
    for (_, token) in [&first, &second, &third] {
        assert_eq!(members.verify(token, now), Err(Unproven::Unknown));
    }
    assert!(members.list().is_empty());
}

#[tokio::test]
async fn a_token_of_before_tokens_had_terms_goes_on_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let now = clock::now();
    let old = |token: &str| {
        Record::Member(ledger::Member {
            name: "ann".to_owned(),
            token_hash: Digest::of(token.as_bytes()),
            terms: None,
            at: now,
        })
    };
    let store = ledger(&dir);
    store.commit(&old("first")).await.unwrap();
    store.commit(&old("second")).await.unwrap();
    let members = Members::load(Arc::clone(&store), None).unwrap();
    assert_eq!(
        members.verify("first", now),
        Err(Unproven::Unknown),
        "it was replaced"
    );
    let verified = members.verify("second", now).unwrap();
    assert_eq!(verified.until(), None);
    let (_, new) = members.give_token("ann", Wanted::default()).await.unwrap();
    let id = verified.token_id().unwrap().to_owned();
    members.end_token("ann", &id).await.unwrap();
    drop(members);
    let members = Members::load(store, None).unwrap();
    assert_eq!(members.verify("second", now), Err(Unproven::Unknown));
    assert!(members.verify(&new, now).is_ok());
}

#[tokio::test]
async fn a_token_opens_what_its_scope_says_and_nothing_else() {
    use TokenScope::{Administer, Observe, Query};
    let dir = tempfile::tempdir().unwrap();
    let members = Members::load(ledger(&dir), None).unwrap();
    let now = clock::now();
    for scope in [Query, Observe, Administer] {
        let name = format!("{scope:?}");
        let (_, token) = members.add(&name, wanted(scope)).await.unwrap();
        assert_eq!(members.verify(&token, now).is_ok(), scope == Query);
        for other in [Query, Observe, Administer] {
            let opened = members.local(&token, &[other], now);
            assert_eq!(opened.is_ok(), other == scope, "{scope:?} for {other:?}");
        }
        assert!(members.local(&token, &[], now).is_err());
    }
}

#[tokio::test]
async fn a_token_counts_until_the_second_in_which_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let members = Members::load(ledger(&dir), None).unwrap();
    let now = clock::now();
    let end = now.saturating_add(Duration::from_secs(3600));
    let wanted = Wanted {
        expires: Some(end),
        roles: BTreeSet::from(["planner".to_owned()]),
        ..Wanted::default()
    };
    let (held, token) = members.add("ann", wanted.clone()).await.unwrap();
    let before = end.saturating_sub(Duration::from_secs(1));
    let verified = members.verify(&token, before).unwrap();
    assert_eq!(verified.roles(), &wanted.roles);
    assert_eq!(verified.until(), Some(end));
    assert!(members.stands(&verified, before));
    assert!(
        !members.stands(&verified, end),
        "a running answer ends with it"
    );
    let expired = Unproven::Expired {
        name: "ann".to_owned(),
        id: held.id,
    };
    assert_eq!(members.verify(&token, end), Err(expired));
}

#[tokio::test]
async fn names_roles_and_ends_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let members = Members::load(ledger(&dir), None).unwrap();
    // The last would pass for somebody of the identity provider.
    for name in ["", "two words", "a\u{0}b", &"x".repeat(65), "oidc:8f3c"] {
        assert_eq!(code(members.add(name, Wanted::default()).await), "bad-name");
    }
    for role in ["", "a,b", "two words", &"x".repeat(65)] {
        let roles = BTreeSet::from([role.to_owned()]);
        let wanted = Wanted {
            roles,
            ..Wanted::default()
        };
        assert_eq!(code(members.add("ann", wanted).await), "bad-role");
    }
    let past = Wanted {
        expires: Some(clock::now()),
        ..Wanted::default()
    };
    assert_eq!(code(members.add("ann", past).await), "bad-expiry");
    for _ in 0..MAX_TOKENS_OF_ONE {
        match members.list().is_empty() {
            true => drop(members.add("ann", Wanted::default()).await.unwrap()),
            false => drop(members.give_token("ann", Wanted::default()).await.unwrap()),
        }
    }
    assert_eq!(
        code(members.give_token("ann", Wanted::default()).await),
        "too-many-tokens"
    );
}

#[tokio::test]
async fn whoever_the_provider_vouches_for_is_written_down_and_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let second = |n| Timestamp::from_secs(n);
    {
        let members = Members::load(ledger(&dir), None).unwrap();
        assert_eq!(code(members.remove("oidc:8f3c").await), "unknown-member");
        members.see("oidc:8f3c").await.unwrap();
        members.see("oidc:8f3c").await.unwrap();
        assert!(members.seen_since_removal("oidc:8f3c", second(1)));
        assert!(!members.seen_since_removal("oidc:other", second(1)));
    }
    let members = Members::load(ledger(&dir), None).unwrap();
    assert_eq!(members.seen(), ["oidc:8f3c"]);
    members.remove("oidc:8f3c").await.unwrap();
    drop(members);
    let members = Members::load(ledger(&dir), None).unwrap();
    let now = clock::now();
    assert!(!members.seen_since_removal("oidc:8f3c", now.saturating_sub(Duration::from_secs(9))));
    let later = now.saturating_add(Duration::from_secs(9));
    assert!(
        members.seen_since_removal("oidc:8f3c", later),
        "a later login counts"
    );
}
