//! `comity revoke`: grants, members and whole partners, while answers are under way.

use comity::admin::api::{self, LiveGrant, Revocable, TakeBack, TakenBack};
use comity::lab::{LabError, Org};
use comity_tests::streams::{ALL, Two, agree, begun, to_the_end};
use comity_tests::{Outcome, agreements, sql, workbench, workbench_as};

/// About 300,000 rows and 40 MB: more than the windows on the way hold.
const SCALE: f64 = 0.05;
const COUNT: &str = "SELECT count(*) AS n FROM provider.lineitem.lineitem";

async fn take_back(org: &Org, what: Revocable, id: &str) -> Result<TakenBack, LabError> {
    let id = id.to_owned();
    org.post("/v1/revocations", &TakeBack { what, id }).await
}

async fn partner(org: &Org, alias: &str) -> Result<api::PartnerStatus, Box<dyn std::error::Error>> {
    let partners = org.status().await?.partners;
    let found = partners.into_iter().find(|p| p.alias == alias);
    Ok(found.ok_or("no such partner")?)
}

/// Waits until `org` holds at least this version of the partner's document.
async fn learns(org: &Org, alias: &str, version: u64) -> Result<(), LabError> {
    org.until(&format!("document {version} of {alias}"), || async {
        let partners = org.status().await?.partners;
        let mut found = partners.into_iter().filter(|p| p.alias == alias);
        Ok(found.find(|p| p.document_version >= version).map(|_| ()))
    })
    .await
}

async fn becomes(org: &Org, alias: &str, state: &str) -> Result<(), LabError> {
    org.until(&format!("{alias} to be {state}"), || async {
        let partners = org.status().await?.partners;
        let mut found = partners.into_iter().filter(|p| p.alias == alias);
        Ok(found.find(|p| p.state == state).map(|_| ()))
    })
    .await
}

async fn member(org: &Org, name: &str) -> Result<api::MemberToken, LabError> {
    let added = api::AddMember {
        name: name.to_owned(),
        ..api::AddMember::default()
    };
    org.post("/v1/members", &added).await
}

/// The consumer takes back a grant, and then a member with its grants: the
/// provider hears of it in the organization document and ends the answers.
#[tokio::test(flavor = "multi_thread")]
async fn a30_a_revoked_grant_and_a_removed_member_end_their_running_answers() -> Outcome {
    let two = Two::meet(SCALE, 16).await?;
    let token = member(&two.consumer, "analyst").await?.token;
    let analyst = workbench_as(&two.consumer, &token).await?;
    let owner = workbench(&two.consumer).await?;

    let rows = begun(&owner).await?;
    let live: Vec<LiveGrant> = two.consumer.get("/v1/grants").await?;
    let [grant] = live.as_slice() else {
        return Err(format!("{live:?}").into());
    };
    assert_eq!(
        (grant.member.as_str(), grant.partner.as_str()),
        ("owner", "provider")
    );
    let taken = take_back(&two.consumer, Revocable::Grant, &grant.jti).await?;
    learns(
        &two.provider,
        "consumer",
        taken.document.ok_or("no document")?,
    )
    .await?;
    let (_, ended) = to_the_end(rows).await;
    assert!(
        ended
            .as_deref()
            .unwrap_or_default()
            .contains("grant-invalid"),
        "{ended:?}"
    );
    // The member itself is as good as before: its next question has a new grant.
    assert!(!sql(&two.consumer, COUNT).await?.is_empty());

    let (mine, theirs) = (begun(&owner).await?, begun(&analyst).await?);
    let taken = take_back(&two.consumer, Revocable::Member, "analyst").await?;
    assert_eq!(taken.grants.len(), 1, "{taken:?}");
    learns(
        &two.provider,
        "consumer",
        taken.document.ok_or("no document")?,
    )
    .await?;
    let (_, ended) = to_the_end(theirs).await;
    assert!(ended.is_some(), "the removed member read on to the end");
    let again = analyst.query(COUNT, None).await;
    let said = again.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said.contains("unauthenticated"), "{said}");
    let (_, ended) = to_the_end(mine).await;
    assert_eq!(ended, None, "another member's answer is not touched");
    let live: Vec<LiveGrant> = two.consumer.get("/v1/grants").await?;
    assert!(live.iter().all(|g| g.member == "owner"), "{live:?}");
    Ok(())
}

/// Both sides: the provider cuts, and the consumer cuts what it takes back itself.
#[tokio::test(flavor = "multi_thread")]
async fn a30_a_revoked_agreement_ends_running_answers_and_kills_tickets() -> Outcome {
    let two = Two::meet(SCALE, 16).await?;
    let client = workbench(&two.consumer).await?;
    let mut agreement = two.agreement;
    for side in [&two.provider, &two.consumer] {
        let rows = begun(&client).await?;
        let id = agreement.to_string().replace("sha256:", "");
        let said = side.run(&["revoke", "agreement", &id]).await?;
        assert!(said.contains("revoked"), "{said}");
        let (_, ended) = to_the_end(rows).await;
        assert!(
            ended.as_deref().unwrap_or_default().contains("revoked"),
            "{ended:?}"
        );
        let refused = client.query(ALL, None).await.err().map(|e| e.to_string());
        assert!(refused.is_some_and(|said| said.contains("revoked")));
        agreement = agree(&two.consumer).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_was_ended_reads_nothing_and_may_be_invited_again() -> Outcome {
    let mut two = Two::meet(SCALE, 16).await?;
    let client = workbench(&two.consumer).await?;
    let rows = begun(&client).await?;
    let taken = take_back(&two.provider, Revocable::Partner, "consumer").await?;
    assert_eq!(taken.agreements, [two.agreement]);
    let (_, ended) = to_the_end(rows).await;
    assert!(ended.is_some(), "the ended partner read on to the end");
    becomes(&two.consumer, "provider", "ended").await?;
    let key = two.agreement.to_string();
    for org in [&two.provider, &two.consumer] {
        assert_eq!(agreements(org).await?[&key].state, "revoked");
    }
    // Told and heard, its node is let in no more.
    two.consumer
        .until("the end of the connection", || async {
            let partners = two.consumer.status().await?.partners;
            Ok(partners.iter().all(|p| !p.connected).then_some(()))
        })
        .await?;
    let twice = take_back(&two.provider, Revocable::Partner, "consumer").await;
    assert!(twice.unwrap_err().to_string().contains("ended already"));

    // Nobody comes back by itself, after a restart of both either.
    for org in [&mut two.provider, &mut two.consumer] {
        org.stop().await?;
        org.start().await?;
    }
    assert_eq!(partner(&two.provider, "consumer").await?.state, "ended");
    assert_eq!(partner(&two.consumer, "provider").await?.state, "ended");
    assert!(sql(&two.consumer, COUNT).await.is_err());

    // By a new invitation, under the same name, and with a new agreement.
    two.provider.federate(&two.consumer).await?;
    becomes(&two.provider, "consumer", "federated").await?;
    two.consumer.discovers("provider", "lineitem").await?;
    assert!(
        sql(&two.consumer, COUNT).await.is_err(),
        "the old agreement stays revoked"
    );
    agree(&two.consumer).await?;
    assert!(!sql(&two.consumer, COUNT).await?.is_empty());
    Ok(())
}

/// N-32: an invitation that was used before the end opens nothing after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_partner_does_not_come_back_with_its_old_invitation() -> Outcome {
    let (lab, _dir) = comity_tests::lab();
    let provider = lab.org("provider", "Provider", "").await?;
    let consumer = lab.org("consumer", "Consumer", "").await?;
    let invite = api::Invite {
        alias: Some("consumer".to_owned()),
        hours: 1,
        roles: Vec::new(),
    };
    let invitation: api::Invitation = provider.post("/v1/invitations", &invite).await?;
    let join = api::Join {
        code: invitation.code,
        alias: Some("provider".to_owned()),
    };
    let _: api::Joined = consumer.post("/v1/join", &join).await?;
    take_back(&provider, Revocable::Partner, "consumer").await?;
    becomes(&consumer, "provider", "ended").await?;
    let again: Result<api::Joined, _> = consumer.post("/v1/join", &join).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(partner(&provider, "consumer").await?.state, "ended");
    Ok(())
}

/// Whoever cannot be reached is served nothing meanwhile, and is told when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_away_learns_of_the_end_when_it_is_back() -> Outcome {
    let mut two = Two::meet(0.001, 16).await?;
    two.consumer.stop().await?;
    take_back(&two.provider, Revocable::Partner, "consumer").await?;
    // The one that took it back is restarted in between as well.
    two.provider.kill().await;
    two.provider.start().await?;
    assert_eq!(partner(&two.provider, "consumer").await?.state, "ended");
    two.consumer.start().await?;
    becomes(&two.consumer, "provider", "ended").await?;
    let key = two.agreement.to_string();
    assert_eq!(agreements(&two.consumer).await?[&key].state, "revoked");
    Ok(())
}
