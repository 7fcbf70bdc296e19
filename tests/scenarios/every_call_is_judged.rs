//! No call of either listener is answered before it is judged.

use comity::flight::{AGREEMENT, Asked, BINDING, GRANT, PURPOSE};
use comity_identity::grant::Grant;
use comity_identity::{Digest, SecretKey};
use comity_tests::attack::Attack;
use comity_tests::calls::{CALLS, call};
use comity_tests::rogue::code;
use comity_tests::{Outcome, lab, workbench};
use tonic::metadata::{MetadataMap, MetadataValue};

const ALL: &str = "SELECT origin, temp FROM weather.weather";

/// The claims of `asked` with a true proof for the attack's channel.
fn claims(attack: &Attack, asked: &Asked) -> MetadataMap {
    let request = attack.rogue.request(&attack.channel, (), asked);
    request.expect("claims").metadata().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_partner_is_judged_whatever_is_claimed() -> Outcome {
    let attack = Attack::begin().await?;
    let asked = attack.rogue.asked(&attack.grant(), ALL)?;
    let truth = claims(&attack, &asked);

    let without = |header: &str| {
        let mut claims = truth.clone();
        claims.remove(header);
        claims.remove_bin(header);
        claims
    };
    let another = |header: &'static str, value: &str| {
        let mut claims = truth.clone();
        claims.insert(header, value.parse().expect("a header"));
        claims
    };
    let granted = |change: &dyn Fn(&mut Grant)| {
        let mut grant = attack.grant();
        change(&mut grant);
        let asked = attack.rogue.asked(&grant, ALL).expect("a chain");
        let mut claims = claims(&attack, &asked);
        claims.insert(
            AGREEMENT,
            attack.agreement.to_string().parse().expect("a header"),
        );
        claims
    };
    let second = attack.rogue.dial(&attack.weather).await?;
    let elsewhere = attack
        .rogue
        .request(&second, (), &asked)?
        .metadata()
        .clone();
    let stranger = SecretKey::from_seed(&[9; 32]);
    let by_stranger = attack.channel.request((), &asked, &stranger)?;
    let mut short = truth.clone();
    short.insert_bin(BINDING, MetadataValue::from_bytes(&[0; 3]));
    let link = asked.grant.join(" ");
    let lies = [
        ("no-claims", MetadataMap::new()),
        ("no-claims", without(AGREEMENT)),
        ("no-claims", without(GRANT)),
        ("no-claims", without(BINDING)),
        ("no-claims", another(AGREEMENT, "sha256:beef")),
        ("not-bound", elsewhere),
        ("not-bound", by_stranger.metadata().clone()),
        ("not-bound", short),
        (
            "no-agreement",
            another(AGREEMENT, &Digest::of(b"another").to_string()),
        ),
        ("grant-invalid", another(GRANT, "e30.e30.AAAA")),
        ("grant-invalid", another(GRANT, &[&*link; 5].join(" "))),
        ("grant-invalid", granted(&|g| g.aud = g.iss)),
        ("grant-invalid", granted(&|g| g.iss = attack.weather)),
        (
            "grant-invalid",
            granted(&|g| g.agr = Digest::of(b"another")),
        ),
        (
            "grant-invalid",
            granted(&|g| {
                g.nbf = comity_identity::Timestamp::from_secs(g.nbf.as_secs() - 1000);
                g.exp = comity_identity::Timestamp::from_secs(g.nbf.as_secs() + 800);
            }),
        ),
        ("purpose", another(PURPOSE, "marketing")),
        (
            "purpose",
            granted(&|g| g.purpose = ["marketing".to_owned()].into()),
        ),
    ];
    for name in CALLS {
        let honest = call(name, attack.channel.service(), &truth, ALL).await;
        let honest = honest.as_ref().map_err(code).map_err(str::to_owned);
        for (expected, lie) in &lies {
            let refused = call(name, attack.channel.service(), lie, ALL)
                .await
                .unwrap_err();
            assert_eq!(code(&refused), *expected, "{name}: {refused}");
            assert_ne!(honest, Err((*expected).to_owned()), "{name} is never open");
        }
    }
    attack.revoke().await?;
    for name in CALLS {
        let refused = call(name, attack.channel.service(), &truth, ALL)
            .await
            .unwrap_err();
        assert_eq!(code(&refused), "revoked", "{name}: {refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_workbench_wants_a_members_token() -> Outcome {
    let (lab, _dir) = lab();
    let org = lab.org("port-authority", "Port Authority", "").await?;
    let service = workbench(&org).await?.service();
    let with = |value: &str| {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", value.parse().expect("a header"));
        headers
    };
    let token = std::fs::read_to_string(org.home().workbench_token())?;
    let admin = std::fs::read_to_string(org.home().admin_token())?;
    let lies = [
        MetadataMap::new(),
        with("Bearer"),
        with("Bearer comity_wrong"),
        with(&format!("Bearer {}", admin.trim())),
        with(&format!("Digest {}", token.trim())),
        with(&format!("Bearer {}x", token.trim())),
    ];
    let truth = with(&format!("Bearer {}", token.trim()));
    for name in CALLS {
        for lie in &lies {
            let refused = call(name, service.clone(), lie, "SELECT 1").await;
            let refused = refused.unwrap_err();
            assert_eq!(code(&refused), "unauthenticated", "{name}: {refused}");
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{name}");
        }
        let honest = call(name, service.clone(), &truth, "SELECT 1").await;
        assert_ne!(
            honest.as_ref().map_err(tonic::Status::code).err(),
            Some(tonic::Code::Unauthenticated),
            "{name}"
        );
    }
    Ok(())
}
