//! Grants with keys of their own: issued, narrowed offline, used directly,
//! stolen, renewed and taken back.

use std::path::PathBuf;
use std::sync::Arc;

use comity::admin::api::{self, GrantFile, LiveGrant};
use comity::flight::{AGREEMENT, GRANT, PeerChannel};
use comity::keys::HolderKey;
use comity::network::{Area, DialPolicy};
use comity_identity::envelope::Compact;
use comity_identity::grant::{self, Chain, Grant};
use comity_identity::tls::{CurrentLeaf, Distrust, LeafName, Trust, peer_client_config};
use comity_identity::{Digest, Timestamp};
use comity_tests::rogue::{code, count, statement, ticket};
use comity_tests::{Outcome, Three, ask, python, reaches, workers};
use futures::TryStreamExt as _;
use tonic::{Request, Status};

const ROWS: usize = 26_115;
const ALL: &str = "SELECT temp FROM weather.weather";

/// Any error of a step.
type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// Three organizations; Port Authority has an agreement with Weather Service.
struct Stage {
    three: Three,
    agreement: Digest,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn begin() -> Done<Self> {
        let mut three = Three::meet().await?;
        for provider in [&mut three.weather, &mut three.registry] {
            provider.stop().await?;
            let path = provider.home().config();
            let text = std::fs::read_to_string(&path)?;
            assert!(text.contains("\ndirect = false\n"), "{text}");
            std::fs::write(
                &path,
                text.replace("\ndirect = false\n", "\ndirect = true\n"),
            )?;
            provider.start().await?;
        }
        let n = ask(&three.port, "weather-service", "weather").await?;
        let agreement = reaches(&three.port, &n.id, "FINALIZED").await?.agreement;
        three.port.run(&["member", "add", "analyst"]).await?;
        Ok(Self {
            three,
            agreement: agreement.ok_or("not signed")?,
            dir: tempfile::tempdir()?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Makes a holder's key, `NAME.key` and `NAME.pub`.
    async fn key(&self, name: &str) -> Done<HolderKey> {
        let file = self.text(&format!("{name}.key"));
        let told = self.three.port.run(&["grant", "key", "-o", &file]).await?;
        std::fs::write(self.path(&format!("{name}.pub")), told)?;
        Ok(HolderKey::open(file.as_ref(), comity::clock::now())?)
    }

    /// Has Port Authority issue `NAME.grant` to `NAME.pub`.
    async fn issue(&self, name: &str, more: &[&str]) -> Done<GrantFile> {
        let (to, out) = (
            self.text(&format!("{name}.pub")),
            self.text(&format!("{name}.grant")),
        );
        let agreement = self.agreement.to_string().replace("sha256:", "");
        let mut args = vec!["grant", "issue", "--agreement", &agreement, "--to", &to];
        args.extend(["--for", "analyst", "-o", &out]);
        args.extend(more);
        self.three.port.run(&args).await?;
        self.read(name)
    }

    /// Has the holder of `from` narrow its grant to `to`, offline.
    async fn narrow(&self, from: &str, to: &str, more: &[&str]) -> Done<GrantFile> {
        let grant = self.text(&format!("{from}.grant"));
        let key = self.text(&format!("{from}.key"));
        let (next, out) = (
            self.text(&format!("{to}.pub")),
            self.text(&format!("{to}.grant")),
        );
        let mut args = vec!["grant", "narrow", &grant, "--key", &key, "--to", &next];
        args.extend(["-o", &out]);
        args.extend(more);
        self.three.port.run(&args).await?;
        self.read(to)
    }

    fn read(&self, name: &str) -> Done<GrantFile> {
        let text = std::fs::read_to_string(self.path(&format!("{name}.grant")))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Writes the client's files for `name`; gives their folder.
    async fn client(&self, name: &str) -> Done<String> {
        let folder = self.text(&format!("{name}-client"));
        let (grant, key) = (
            self.text(&format!("{name}.grant")),
            self.text(&format!("{name}.key")),
        );
        let args = ["grant", "client", &grant, "--key", &key, "-o", &folder];
        let told = self.three.port.run(&args).await?;
        assert!(told.contains("adbc_driver_flightsql"), "{told}");
        Ok(folder)
    }

    /// Waits until no receipt of Weather Service is open, and gives how they stand.
    async fn settled(&self) -> Done<api::Receipts> {
        let weather = &self.three.weather;
        let settled = weather.until("the receipts", || async {
            let list: Vec<api::Receipts> = weather.get("/v1/receipts").await?;
            Ok(list
                .into_iter()
                .find(|r| r.made > 0 && (r.open, r.unanswered) == (0, 0)))
        });
        Ok(settled.await?)
    }
}

/// Believes the one authority that a grant's file names.
#[derive(Debug)]
struct Named(Vec<u8>);

impl Trust for Named {
    fn anchor(&self, _: &LeafName, _: Timestamp) -> Result<Vec<u8>, Distrust> {
        Ok(self.0.clone())
    }
}

/// A connection of somebody with `key` to the first address of `file`.
async fn dial(file: &GrantFile, key: &HolderKey) -> Done<PeerChannel> {
    let leaf = key.certificate().der();
    let current = Arc::new(CurrentLeaf::new(leaf, key.tls())?);
    let tls = peer_client_config(
        Arc::new(Named(file.tls_ca.as_bytes().to_vec())),
        file.provider,
        current,
        Arc::new(rustls::time_provider::DefaultTimeProvider),
    )?;
    let address = file.addresses.first().ok_or("no address")?;
    let loopback = DialPolicy::only(&[Area::Loopback]);
    Ok(PeerChannel::dial(workers(), &Arc::new(tls), leaf.to_vec(), address, loopback).await?)
}

/// A call with the claims of `links`, and no proof but the connection's own.
fn call<T>(message: T, agreement: Digest, links: &[String]) -> Request<T> {
    let mut request = Request::new(message);
    let headers = request.metadata_mut();
    let value = |text: String| text.parse().expect("a header");
    headers.insert(AGREEMENT, value(agreement.to_string()));
    headers.insert(GRANT, value(links.join(" ")));
    request
}

/// How many rows `sql` gives over `channel` under `links`.
async fn rows(
    channel: &PeerChannel,
    agreement: Digest,
    links: &[String],
    sql: &str,
) -> Result<usize, Status> {
    let plan = call(statement(sql), agreement, links);
    let info = channel.service().get_flight_info(plan).await?.into_inner();
    let get = call(ticket(&info), agreement, links);
    let messages = channel.service().do_get(get).await?.into_inner();
    let messages =
        messages.map_err(|status| arrow_flight::error::FlightError::Tonic(Box::new(status)));
    let batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
    let batches: Vec<_> = batches.try_collect().await.map_err(|e| match e {
        arrow_flight::error::FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    })?;
    Ok(count(&batches))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_say_so_takes_nodes_only() -> Outcome {
    let mut stage = Stage::begin().await?;
    let job = stage.key("job").await?;
    let file = stage.issue("job", &[]).await?;
    let weather = &mut stage.three.weather;
    weather.stop().await?;
    let path = weather.home().config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(
        &path,
        text.replace("\ndirect = true\n", "\ndirect = false\n"),
    )?;
    weather.start().await?;
    // TLS 1.3: the client may hear of it with its first call only.
    if let Ok(channel) = dial(&file, &job).await {
        let refused = rows(&channel, stage.agreement, &file.links, ALL).await;
        assert_eq!(code(&refused.unwrap_err()), "none", "no call is answered");
    }
    Ok(())
}

/// What a script of `tests/clients` prints.
async fn script(name: &str, args: [String; 3]) -> Done<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name);
    let output =
        tokio::task::spawn_blocking(move || python::command().arg(path).args(args).output());
    let output = output.await??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_reads_at_the_provider_with_an_ordinary_client_and_both_sign_for_it() -> Outcome {
    let stage = Stage::begin().await?;
    stage.key("job").await?;
    let more = [
        "--actor",
        "job:train-42",
        "--columns",
        "weather=origin,temp",
    ];
    let file = stage.issue("job", &more).await?;
    let folder = stage.client("job").await?;
    let uri = format!("grpc+tls://{}", file.addresses[0]);
    let run = |name, sql: &str| script(name, [folder.clone(), uri.clone(), sql.to_owned()]);
    let all = ROWS.to_string();
    assert_eq!(run("direct_pyarrow.py", ALL).await?, all);
    assert_eq!(run("direct_job.py", ALL).await?, all);
    // A column that the agreement opens and this grant does not.
    let narrower = "SELECT wind_speed FROM weather.weather";
    assert!(
        run("direct_pyarrow.py", narrower)
            .await?
            .contains("refused")
    );

    // The consumer's node saw none of it, and vouches for the grant it issued.
    let receipts = stage.settled().await?;
    assert_eq!((receipts.disputed, receipts.paused), (0, false));

    let text = stage.text("job.grant");
    let shown = stage.three.port.run(&["grant", "show", &text]).await?;
    assert!(shown.contains("job:train-42") && shown.contains("weather: origin, temp"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a2_a3_a_stolen_grant_opens_nothing() -> Outcome {
    let stage = Stage::begin().await?;
    let (job, thief) = (stage.key("job").await?, stage.key("thief").await?);
    let file = stage.issue("job", &[]).await?;
    let of = stage.agreement;
    let own = dial(&file, &job).await?;
    assert_eq!(rows(&own, of, &file.links, ALL).await?, ROWS);

    // A2: whoever copied the grant has another key.
    let stolen = dial(&file, &thief).await?;
    let refused = rows(&stolen, of, &file.links, ALL).await.unwrap_err();
    assert_eq!(code(&refused), "not-bound");
    // A certificate alone is nobody's.
    let refused = stolen.service().get_flight_info(statement(ALL)).await;
    assert_eq!(code(&refused.unwrap_err()), "no-claims");
    // A1, A16: nor is a ticket, with the thief's own grant or the holder's.
    let plan = call(statement(ALL), of, &file.links);
    let info = own.service().get_flight_info(plan).await?.into_inner();
    let theirs = stage.issue("thief", &[]).await?;
    assert_eq!(rows(&stolen, of, &theirs.links, ALL).await?, ROWS);
    for (links, expected) in [
        (&file.links, "not-bound"),
        (&theirs.links, "expired-ticket"),
    ] {
        let get = call(ticket(&info), of, links);
        let refused = stolen.service().do_get(get).await.unwrap_err();
        assert_eq!(code(&refused), expected);
    }
    // A3: another provider, who knows the consumer just as well.
    let registry = stage.three.registry.status().await?;
    let elsewhere = GrantFile {
        provider: registry.org,
        addresses: vec![registry.listening.peers],
        tls_ca: ca_of(&stage.three.registry)?,
        ..file.clone()
    };
    let elsewhere = dial(&elsewhere, &job).await?;
    let refused = rows(&elsewhere, of, &file.links, ALL).await.unwrap_err();
    assert_eq!(code(&refused), "grant-invalid");
    // A grant for a key alone names no certificate: it goes through the node.
    let key = job.name().key.to_string();
    std::fs::write(stage.path("keyed.pub"), key)?;
    let keyed = stage.issue("keyed", &[]).await?;
    let refused = rows(&own, of, &keyed.links, ALL).await.unwrap_err();
    assert_eq!(code(&refused), "not-bound");
    Ok(())
}

fn ca_of(org: &comity::lab::Org) -> Done<comity_identity::Der> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let ca = CertificateDer::from_pem_file(org.home().ca_pem()).map_err(|e| e.to_string())?;
    Ok(comity_identity::Der::new(ca.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_what_is_handed_on_is_less_and_whoever_handed_it_on_is_not_its_holder() -> Outcome {
    let stage = Stage::begin().await?;
    let (job, worker) = (stage.key("job").await?, stage.key("worker").await?);
    let of = stage.agreement;
    stage
        .issue(
            "job",
            &["--columns", "weather=origin,temp", "--rows", "30000"],
        )
        .await?;
    let jfk = r#"{"weather":[{"compare":{"column":"origin","op":"eq","value":{"text":"JFK"}}}]}"#;
    let less = ["--columns", "weather=origin", "--where", jfk];
    let narrow = stage.narrow("job", "worker", &less).await?;
    let worker = dial(&narrow, &worker).await?;
    let origins = "SELECT origin FROM weather.weather";
    let some = rows(&worker, of, &narrow.links, origins).await?;
    assert!(some > 0 && some < ROWS, "{some}");
    let refused = rows(&worker, of, &narrow.links, ALL).await.unwrap_err();
    assert_ne!(code(&refused), "none", "{refused}");
    // The one before it in the chain has its own grant, not this one.
    let own = dial(&narrow, &job).await?;
    let refused = rows(&own, of, &narrow.links, origins).await.unwrap_err();
    assert_eq!(code(&refused), "not-bound");
    // And the next one has not that of the one before it.
    let refused = rows(&worker, of, &narrow.links[..1], origins).await;
    assert_eq!(code(&refused.unwrap_err()), "not-bound");

    // The command refuses to widen, and says in what.
    for (more, why) in [
        (["--columns", "weather=visib"], "adds a column"),
        (["--rows", "40000"], "permits more rows"),
        (["--purpose", "marketing"], "adds a purpose"),
    ] {
        let refused = stage.narrow("job", "worker", &more).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    // So does the provider, whatever program signed the link.
    let first = stage.read("job")?.links;
    let mut wider: Grant = Chain::from_links(first.clone())
        .danger_unverified()?
        .remove(0);
    wider.cols = None;
    wider.jti = "wider".to_owned();
    wider.prt = Some(Digest::of(first[0].as_bytes()));
    let text = Compact::sign(grant::GRANT, &wider, job.signing())?;
    let links = [first[0].clone(), text];
    let refused = rows(&own, of, &links, ALL).await.unwrap_err();
    assert_eq!(code(&refused), "grant-invalid");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_row_budget_is_shared_by_all_that_was_narrowed_and_outlives_a_restart() -> Outcome {
    let mut stage = Stage::begin().await?;
    let (job, worker) = (stage.key("job").await?, stage.key("worker").await?);
    let of = stage.agreement;
    let file = stage.issue("job", &["--rows", "100"]).await?;
    let narrow = stage.narrow("job", "worker", &["--rows", "80"]).await?;
    let ten = |n: usize| format!("SELECT temp FROM weather.weather LIMIT {n}");
    let (own, next) = (dial(&file, &job).await?, dial(&narrow, &worker).await?);
    assert_eq!(rows(&own, of, &file.links, &ten(40)).await?, 40);
    assert_eq!(rows(&next, of, &narrow.links, &ten(50)).await?, 50);
    // 10 are left of the first link's, 30 of the second's.
    let over = rows(&next, of, &narrow.links, &ten(11)).await.unwrap_err();
    assert_eq!(code(&over), "too-many-rows");
    // Another link beneath the first one has no rows of its own.
    stage.key("other").await?;
    let other = stage.narrow("job", "other", &["--rows", "80"]).await?;
    let key = HolderKey::open(&stage.path("other.key"), comity::clock::now())?;
    let channel = dial(&other, &key).await?;
    let over = rows(&channel, of, &other.links, &ten(11))
        .await
        .unwrap_err();
    assert_eq!(code(&over), "too-many-rows");

    stage.three.weather.stop().await?;
    stage.three.weather.start().await?;
    let own = dial(&file, &job).await?;
    let over = rows(&own, of, &file.links, &ten(11)).await.unwrap_err();
    assert_eq!(code(&over), "too-many-rows");
    assert_eq!(rows(&own, of, &file.links, &ten(10)).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_listed_renewed_and_taken_back_also_after_a_restart() -> Outcome {
    let mut stage = Stage::begin().await?;
    let job = stage.key("job").await?;
    let of = stage.agreement;
    let first = stage.issue("job", &["--minutes", "10"]).await?;
    let path = stage.text("job.grant");
    stage.three.port.run(&["grant", "renew", &path]).await?;
    let second = stage.read("job")?;
    assert_ne!(first.links, second.links);
    let channel = dial(&second, &job).await?;
    assert_eq!(rows(&channel, of, &second.links, ALL).await?, ROWS);

    // It left the node, so a restart forgets nothing of it.
    stage.three.port.stop().await?;
    stage.three.port.start().await?;
    let live: Vec<LiveGrant> = stage.three.port.get("/v1/grants").await?;
    let jti = |file: &GrantFile| {
        let chain = Chain::from_links(file.links.clone());
        chain.danger_unverified().map(|g| g[0].jti.clone())
    };
    let (one, two) = (jti(&first)?, jti(&second)?);
    for jti in [&one, &two] {
        assert!(live.iter().any(|g| g.jti == *jti && g.member == "analyst"));
    }
    stage.three.port.run(&["revoke", "grant", &two]).await?;
    let refused = stage.three.port.run(&["grant", "renew", &path]).await;
    assert!(refused.is_err(), "what was taken back is not renewed");
    let gone = |links: Vec<String>| {
        let (channel, weather) = (channel.clone(), &stage.three.weather);
        async move {
            let what = "the revocation at the provider";
            let refused = weather.until(what, || async {
                Ok(rows(&channel, of, &links, ALL).await.err())
            });
            refused.await
        }
    };
    assert_eq!(code(&gone(second.links).await?), "grant-invalid");
    // The member goes, and what it answered for with it.
    assert_eq!(rows(&channel, of, &first.links, ALL).await?, ROWS);
    stage
        .three
        .port
        .run(&["member", "remove", "analyst"])
        .await?;
    assert_eq!(code(&gone(first.links).await?), "grant-invalid");
    assert!(
        stage.issue("job", &[]).await.is_err(),
        "nobody answers for it"
    );
    Ok(())
}
