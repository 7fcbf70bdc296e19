//! The owner's systems are told what the journal has: by a signed webhook and a program.

use std::collections::BTreeMap;

use comity::admin::api;
use comity::lab::{Lab, Org};
use comity_tests::clock::with_a_clock;
use comity_tests::{Outcome, contracts, decide, lab, python, reaches, waits_for};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

type Failed = Box<dyn std::error::Error>;

/// 24 bytes.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One post: its headers, and its body as text.
#[derive(Debug)]
struct Post {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Post {
    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Post> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Post { headers, body })
}

/// Posts that wait to be looked at: more than any test makes.
const MAX_POSTS: usize = 256;

/// An endpoint that takes no first post: it wants it again.
async fn endpoint() -> std::io::Result<(u16, mpsc::Receiver<Post>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let (sender, posts) = mpsc::channel(MAX_POSTS);
    tokio::spawn(async move {
        let mut status = "503 Service Unavailable";
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(post) = read(&mut stream).await else {
                continue;
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            status = "200 OK";
            if sender.send(post).await.is_err() {
                return;
            }
        }
    });
    Ok((port, posts))
}

/// The next post about `event`; others in between are passed over.
async fn next(posts: &mut mpsc::Receiver<Post>, event: &str) -> Result<Post, Failed> {
    let find = async {
        while let Some(post) = posts.recv().await {
            if post.event()["type"] == event {
                return Some(post);
            }
        }
        None
    };
    let found = tokio::time::timeout(std::time::Duration::from_secs(60), find).await?;
    Ok(found.ok_or("the endpoint ended")?)
}

/// What another implementation signs it with.
fn signature(post: &Post) -> Result<String, Failed> {
    const HMAC: &str = "import sys,hmac,hashlib,base64\n\
        key, message = base64.b64decode(sys.argv[1]), sys.stdin.buffer.read()\n\
        print(base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode())";
    let (id, at) = (
        &post.headers["webhook-id"],
        &post.headers["webhook-timestamp"],
    );
    let mut process = python::command()
        .args(["-c", HMAC, SECRET])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let message = format!("{id}.{at}.{}", post.body);
    std::io::Write::write_all(
        &mut process.stdin.take().ok_or("no input")?,
        message.as_bytes(),
    )?;
    let said = String::from_utf8(process.wait_with_output()?.stdout)?;
    Ok(format!("v1,{}", said.trim()))
}

async fn told(lab: &Lab, port: u16, heard: &str) -> Result<Org, Failed> {
    let mut registry = lab
        .found("aircraft-registry", "Aircraft Registry", "")
        .await?;
    let path = registry.home().config();
    let mut config = std::fs::read_to_string(&path)?;
    for (default, set) in [
        (
            "# webhook = \"https://hooks.example.com/comity\"",
            format!("webhook = \"http://127.0.0.1:{port}/comity\""),
        ),
        (
            "# secret_file = \"webhook.secret\"",
            "secret_file = \"webhook.secret\"".to_owned(),
        ),
        (
            "\ncommand = []",
            format!("\ncommand = [\"/usr/bin/tee\", \"-a\", \"{heard}\"]"),
        ),
    ] {
        assert!(config.contains(default), "{default}");
        config = config.replacen(default, &set, 1);
    }
    std::fs::write(&path, config)?;
    let secret = registry.home().path().join("webhook.secret");
    std::fs::write(secret, format!("whsec_{SECRET}\n"))?;
    registry.start().await?;
    Ok(registry)
}

/// N-110, N-111.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_and_a_program_are_told_and_the_webhook_is_signed() -> Outcome {
    let (lab, dir) = lab();
    let (at, mut posts) = endpoint().await?;
    let heard = dir.path().join("heard");
    let registry = told(&lab, at, &heard.display().to_string()).await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    registry.federate(&port).await?;
    let contract = contracts().join("aircraft-registry/airlines.odcs.yaml");
    registry.publish(&contract).await?;
    port.discovers("aircraft-registry", "airlines").await?;
    // The federation's request was the first post, and was not taken.
    let first = next(&mut posts, "request-received").await?;
    let again = next(&mut posts, "request-received").await?;
    assert_eq!(first.headers["webhook-id"], again.headers["webhook-id"]);

    let ask = json!({
        "partner": "aircraft-registry", "product": "airlines", "purposes": ["delay-analysis"],
        "days": 90, "reason": "for our eyes only",
    });
    let n: api::Negotiation = port.post("/v1/requests", &ask).await?;
    waits_for(&registry, &n.id).await?;
    let post = next(&mut posts, "request-received").await?;
    assert_eq!(post.headers["webhook-signature"], signature(&post)?);
    let event = post.event();
    assert_eq!(event["data"]["negotiation"], n.id.as_str());
    assert_eq!(event["data"]["partner"], "port-authority");
    assert!(!post.body.contains("for our eyes only"), "{}", post.body);

    decide(&registry, &n.id, "approve").await?;
    let signed = reaches(&port, &n.id, "FINALIZED").await?;
    let agreement = signed.agreement.ok_or("not signed")?;
    for (event, act) in [("agreement-signed", None), ("revoked", Some("revoke"))] {
        if let Some(act) = act {
            let id = agreement.to_string();
            let id = id.strip_prefix("sha256:").unwrap_or(&id);
            registry.run(&[act, id]).await?;
        }
        let post = next(&mut posts, event).await?;
        assert_eq!(post.headers["webhook-signature"], signature(&post)?);
        assert_eq!(post.event()["data"]["agreement"], json!(agreement));
    }
    registry
        .until("the program to be told", || async {
            let heard = std::fs::read_to_string(&heard).unwrap_or_default();
            Ok(heard.contains("\"revoked\"").then_some(()))
        })
        .await?;
    Ok(())
}

/// N-110: what follows from the journal by the time alone, and of what went by
/// while the node was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_told_to_end_in_time_and_that_it_has_ended() -> Outcome {
    let (lab, dir) = lab();
    let (at, mut posts) = endpoint().await?;
    let heard = dir.path().join("heard");
    let mut registry = told(&lab, at, &heard.display().to_string()).await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    registry.federate(&port).await?;
    let contract = contracts().join("aircraft-registry/airlines.odcs.yaml");
    registry.publish(&contract).await?;
    port.discovers("aircraft-registry", "airlines").await?;
    let ask = json!({
        "partner": "aircraft-registry", "product": "airlines", "purposes": ["delay-analysis"],
        "days": 90, "reason": "delays",
    });
    let n: api::Negotiation = port.post("/v1/requests", &ask).await?;
    waits_for(&registry, &n.id).await?;
    decide(&registry, &n.id, "approve").await?;
    let agreement = reaches(&port, &n.id, "FINALIZED").await?.agreement;
    let clock = dir.path().join("clock");
    for (later, event) in [
        ("+84d", "agreement-ending-soon"),
        ("+91d", "agreement-ended"),
    ] {
        with_a_clock(&mut registry, &clock, later).await?;
        let post = next(&mut posts, event).await?;
        assert_eq!(post.event()["data"]["agreement"], json!(agreement));
        assert_eq!(post.event()["data"]["partner"], "port-authority");
        // The program as well, before the node is stopped.
        registry
            .until("the program to be told", || async {
                let heard = std::fs::read_to_string(&heard).unwrap_or_default();
                Ok(heard.contains(event).then_some(()))
            })
            .await?;
    }
    let heard = std::fs::read_to_string(&heard)?;
    assert_eq!(heard.matches("agreement-ending-soon").count(), 1, "{heard}");
    Ok(())
}
