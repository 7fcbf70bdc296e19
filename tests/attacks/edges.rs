//! A26, A27 and A46: addresses, names, and what is built in. (A28 is beside the
//! sources: what a contract may name is its owner's affair.)

use std::path::Path;
use std::time::Duration;

use comity::lab::Org;
use comity_protocol::wire::Request;
use comity_tests::attack::Attack;
use comity_tests::rogue_host::{RogueHost, hello};
use comity_tests::{Outcome, contracts, lab};
use tokio::net::TcpListener;

/// How long nobody may knock. The knock of the legal case comes within it, or
/// the test fails there.
const WATCH: Duration = Duration::from_secs(15);

/// Says under `[network]` where `org` dials, and starts it anew.
async fn dials(org: &mut Org, areas: &str) -> Outcome {
    org.stop().await?;
    let path = org.home().config();
    let text = std::fs::read_to_string(&path)?;
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("dial = "))
        .map(|line| match line {
            "[network]" => format!("[network]\ndial = {areas}\n"),
            line => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&path, text)?;
    org.start().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_a_partners_document_leads_to_no_connection_that_the_owner_forbids() -> Outcome {
    let mut attack = Attack::begin().await?;
    // A trap on this machine, announced as the partner's node.
    let trap = TcpListener::bind("127.0.0.1:0").await?;
    let port = trap.local_addr()?.port();
    let mut document = attack.rogue.own().current().document.document().clone();
    for node in &mut document.nodes {
        node.addresses = vec![format!("/ip4/127.0.0.1/tcp/{port}")];
        node.flight = vec![format!("127.0.0.1:{port}")];
    }
    for (areas, knocks) in [("[\"public\"]", false), ("[\"loopback\"]", true)] {
        dials(&mut attack.three.weather, areas).await?;
        document.version += 1;
        let Request::Hello(mut said) = hello(&attack.rogue, None) else {
            return Err("not a Hello".into());
        };
        said.document = document.clone().sign(&*attack.rogue.own().keys().doc)?;
        let host = RogueHost::start(&attack.rogue, &attack.weather).await?;
        host.ask(Request::Hello(said)).await?;
        // From now on the node has to dial whoever it wants to tell something.
        drop(host);
        let knock = tokio::time::timeout(WATCH, trap.accept()).await;
        assert_eq!(knock.is_ok(), knocks, "{areas}: {knock:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_a_name_that_only_looks_like_another_is_refused() -> Outcome {
    let (lab, dir) = lab();
    let org = lab.org("weather-service", "Weather Service", "").await?;
    let contract = std::fs::read_to_string(contracts().join("weather-service/weather.odcs.yaml"))?;
    let path = dir.path().join("weather.odcs.yaml");
    assert!(contract.contains("\nname: weather\n"), "{contract}");
    for name in [
        "we\u{430}ther",
        "weather\u{200b}",
        "\u{202e}rehtaew",
        "weather ",
        "Weather",
        "weather/../flights",
    ] {
        let text = contract.replace("\nname: weather\n", &format!("\nname: \"{name}\"\n"));
        std::fs::write(&path, text)?;
        let refused = org.publish(&path).await.unwrap_err().to_string();
        assert!(refused.contains("name"), "{refused}");
        assert!(
            !refused.contains('\u{202e}') && !refused.contains('\u{200b}'),
            "{refused:?}"
        );
    }
    Ok(())
}

/// The first versions in which what is known of each is mended: RustSec does not
/// list all of it, so that `cargo audit` alone would stay silent.
const FLOORS: [(&str, [u64; 3]); 16] = [
    ("libp2p", [0, 57, 1]),
    ("libp2p-gossipsub", [0, 50, 1]),
    ("libp2p-quic", [0, 13, 1]),
    ("yamux", [0, 14, 1]),
    ("quinn-proto", [0, 11, 15]),
    ("h2", [0, 4, 16]),
    ("tonic", [0, 12, 3]),
    ("rustls-webpki", [0, 103, 13]),
    ("hickory-proto", [0, 26, 1]),
    ("crossbeam-epoch", [0, 9, 20]),
    ("ed25519-dalek", [2, 0, 0]),
    ("curve25519-dalek", [4, 1, 3]),
    ("jsonwebtoken", [10, 3, 0]),
    ("rustls", [0, 23, 18]),
    ("aws-lc-sys", [0, 39, 0]),
    ("age", [0, 11, 1]),
];

/// The packages of a `Cargo.lock` that are below their floors, or that it does not have.
fn below(lock: &str) -> Vec<String> {
    let mut low: Vec<String> = Vec::new();
    for (name, floor) in FLOORS {
        let entry = format!("\nname = \"{name}\"\nversion = \"");
        let versions = lock.match_indices(&entry).map(|(at, found)| {
            let version = lock.get(at + found.len()..).unwrap_or_default();
            version.split('"').next().unwrap_or_default()
        });
        // Of several versions each is linked by somebody.
        match versions.map(numbers).min() {
            None => low.push(format!("{name} is not there")),
            Some(oldest) if oldest < floor => low.push(format!("{name} {oldest:?}")),
            Some(_) => {}
        }
    }
    low
}

fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[test]
fn a46_no_dependency_is_below_its_floor() -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = std::fs::read_to_string(path)?;
    assert_eq!(below(&lock), Vec::<String>::new());
    for (name, _) in FLOORS {
        let entry = format!("\nname = \"{name}\"\nversion = \"");
        let lowered: Vec<&str> = lock.split(&entry).collect();
        let rest = lowered.iter().skip(1).map(|part| {
            let (_, after) = part.split_once('"').expect("a version");
            format!("{entry}0.0.1\"{after}")
        });
        let lowered = rest.fold(lowered[0].to_owned(), |text, part| text + &part);
        assert_eq!(below(&lowered).len(), 1, "{name}");
    }
    Ok(())
}
