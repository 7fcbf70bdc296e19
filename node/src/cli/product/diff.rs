//! `comity product diff`.

use std::path::{Path, PathBuf};

use comity_identity::Timestamp;
use comity_protocol::compatibility::{Comparison, Edition, Finding, Kind};
use comity_protocol::product::Descriptor;
use comity_protocol::terms::Terms;
use comity_protocol::version::{Bump, Version};
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::Client;
use crate::cli::output::{Output, Problem, printable, table};
use crate::home::Home;
use crate::products::{self, Contract};

/// Show what changed between two versions, and the version that it needs.
///
/// Each side is a contract file, or an announced product: NAME, PARTNER/NAME,
/// NAME@MAJOR, or NAME@VERSION to be sure which. Ends with 1 when the version of NEW is too
/// low for what changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product diff orders orders.odcs.yaml\n  comity product diff orders@1.4.0 orders.odcs.yaml\n  comity product diff --json v1/orders.odcs.yaml v2/orders.odcs.yaml"
)]
pub(super) struct Diff {
    /// What was: a file or an announced product.
    old: String,
    /// What is to be: a file or an announced product.
    new: String,
}

/// The difference in the shape of OMDS (Bitol RFC-0039).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    kind: &'static str,
    source1: Value,
    source2: Value,
    impact: Value,
    suggested_version: Version,
    /// Whether the version of `source2` is too low for the differences.
    too_low: bool,
    diffs: &'a [Finding],
}

impl Diff {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let old = Side::read(&self.old, home).await?;
        let new = Side::read(&self.new, home).await?;
        if old.name() != new.name() {
            let message = format!(
                "{} and {} are two products, not two versions of one",
                old.name(),
                new.name()
            );
            return Err(Problem::usage(message));
        }
        let comparison = Comparison::of(&old.edition()?, &new.edition()?);
        let source = |named: &str, version: Version| json!({"name": named, "version": version});
        let answer = Answer {
            kind: "MetadataDifference",
            source1: source(&self.old, comparison.old_version()),
            source2: source(&self.new, comparison.new_version()),
            impact: json!({
                "major": comparison.count(Bump::Major),
                "minor": comparison.count(Bump::Minor),
                "patch": comparison.count(Bump::Patch),
            }),
            suggested_version: comparison.suggested(),
            too_low: comparison.is_too_low(),
            diffs: comparison.findings(),
        };
        output.answer(&answer, |_| text(old.name(), &comparison));
        if comparison.is_too_low() {
            let message = format!("{} is too low for what changed", comparison.new_version());
            let next = format!("write version: \"{}\"", comparison.suggested());
            return Err(Problem::failed(message).next(next));
        }
        Ok(())
    }
}

/// One of the two things compared.
#[derive(Debug)]
enum Side {
    /// A contract file. Its sources are not opened, so the wire types are unknown.
    File(Box<(Contract, Option<Terms>)>),
    /// What is announced.
    Announced(Box<Descriptor>),
}

impl Side {
    async fn read(named: &str, home: &Home) -> Result<Self, Problem> {
        let path = Path::new(named);
        let is_yaml = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"));
        if is_yaml || path.is_file() {
            return Self::file(path.to_owned()).await;
        }
        // NAME@1.4.0 is the address NAME@1, and the version that is expected there.
        let (name, version) = match named.split_once('@') {
            Some((name, text)) if text.contains('.') => {
                let version: Version = text
                    .parse()
                    .map_err(|_| Problem::usage(format!("'{text}' is not a version")))?;
                (format!("{name}@{}", version.major), Some(version))
            }
            _ => (named.to_owned(), None),
        };
        let client = Client::new(home.admin_socket());
        let full = if name.contains('/') {
            name
        } else {
            crate::cli::search::own(&client, &name).await?
        };
        let (partner, product) = crate::cli::search::split(&full)?;
        let path = format!("/v1/products/{partner}/{product}/descriptor");
        let descriptor: Descriptor = client.get(&path).await?;
        if let Some(version) = version.filter(|version| *version != descriptor.version) {
            let announced = descriptor.version;
            let message = format!("{full} is announced as {announced}, not as {version}");
            return Err(Problem::failed(message)
                .next("compare with the file of that version: only the newest is announced"));
        }
        Ok(Self::Announced(Box::new(descriptor)))
    }

    /// Off the async runtime: it validates a large JSON schema.
    async fn file(path: PathBuf) -> Result<Self, Problem> {
        let read = tokio::task::spawn_blocking(move || products::read(&path)).await;
        let contract = read
            .map_err(|e| Problem::failed(format!("the file could not be read: {e}")))?
            .map_err(|problems| Problem::failed(problems.to_string()))?;
        // The times of an offer are not compared.
        let offer = contract.offer().map(|o| o.terms(Timestamp::from_secs(0)));
        Ok(Self::File(Box::new((contract, offer))))
    }

    fn name(&self) -> &str {
        match self {
            Self::File(file) => file.0.name(),
            Self::Announced(descriptor) => descriptor.product.as_str(),
        }
    }

    fn edition(&self) -> Result<Edition<'_>, Problem> {
        let bad = |e: comity_protocol::version::NotAVersion| Problem::failed(e.to_string());
        match self {
            Self::File(file) => Ok(Edition {
                version: file.0.version().parse().map_err(bad)?,
                contract: file.0.public(),
                tables: None,
                offer: file.1.as_ref(),
            }),
            Self::Announced(descriptor) => Ok(Edition::of(descriptor)),
        }
    }
}

fn text(product: &str, comparison: &Comparison) -> String {
    let (old, new) = (comparison.old_version(), comparison.new_version());
    let Some(bump) = comparison.bump() else {
        return format!("{product} {old} -> {new}: nothing differs\n");
    };
    let row = |f: &Finding| {
        let sign = match f.kind {
            Kind::Add => "+",
            Kind::Remove => "-",
            Kind::Change => "~",
        };
        let mut marks = vec![match f.impact {
            Bump::Major => "breaking",
            Bump::Minor => "additive",
            Bump::Patch => "text",
        }];
        marks.extend(f.second_look.then_some("second look"));
        marks.extend(f.producer.then_some("own checks"));
        vec![
            marks.join(", "),
            format!("{sign} {}", f.path),
            change(f),
            f.reason.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = comparison.findings().iter().map(row).collect();
    let mut text = format!("{product} {old} -> {new}\n\n");
    text.push_str(&table(&["IMPACT", "WHERE", "CHANGE", "WHY"], &rows));
    text.push_str(&format!(
        "\n{} breaking, {} additive, {} text: a {bump} change, at least {}\n",
        comparison.count(Bump::Major),
        comparison.count(Bump::Minor),
        comparison.count(Bump::Patch),
        comparison.suggested(),
    ));
    let looks = comparison.second_looks().count();
    if looks > 0 {
        text.push_str(&format!(
            "{looks} let more leave the organization: let a second person look at them\n"
        ));
    }
    text
}

/// The values before and after, where they are short enough for a table.
fn change(finding: &Finding) -> String {
    const MAX_SHOWN: usize = 32;
    let shown = |value: &Option<Value>| {
        let text = match value {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Object(_) | Value::Array(_)) => "…".to_owned(),
            Some(other) => other.to_string(),
        };
        let mut cut: String = text.chars().take(MAX_SHOWN).collect();
        if cut.len() < text.len() {
            cut.push('…');
        }
        printable(cut)
    };
    match finding.kind {
        Kind::Add => shown(&finding.new),
        Kind::Remove => shown(&finding.old),
        Kind::Change => format!("{} -> {}", shown(&finding.old), shown(&finding.new)),
    }
}
