//! Measuring own products in time and on demand, and taking what pipelines
//! measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::product::Descriptor;
use tokio::sync::Notify;

use super::Node;
use crate::admin::api;
use crate::catalog::{Measurement, OwnProduct};
use crate::clock;
use crate::config;
use crate::failure::{Failure, Fault};
use crate::founding::{random_token, write_private};
use crate::home::Home;
use crate::journal::Health;
use crate::measure::{self, Observations, PROCESS, Run, Verdicts};
use crate::products::Contract;

/// How often the node looks whether a product is to be measured.
const TICK: Duration = Duration::from_secs(5);

/// How long after the announced time a measurement may still come: it waits
/// for others, and for a node that restarts.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How long an operator waits for a measurement that goes on without them.
const PATIENCE: Duration = Duration::from_secs(50);

/// Runs of one product that are taken from pipelines in a day: each is signed,
/// stays in the journal, and is told to every partner.
const MAX_RUNS_A_DAY: u32 = 500;

/// The measurements of this node's products.
#[derive(Debug)]
pub(super) struct Measuring {
    every: Option<Duration>,
    timeout: Duration,
    /// SHA-256 of the token with which pipelines publish.
    token: Digest,
    token_text: String,
    /// The last measurement of each product, with its contract.
    last: Mutex<BTreeMap<String, (Timestamp, Digest)>>,
    /// One at a time: a measurement reads whole tables.
    one: tokio::sync::Mutex<()>,
    soon: Notify,
    /// Runs that pipelines published of each product, on the day with this number.
    runs: Mutex<(u64, BTreeMap<String, u32>)>,
    /// What this node's queries saw of partners' products.
    pub(super) observed: Arc<Observations>,
}

impl Measuring {
    pub(super) fn new(home: &Home, config: &config::Measure) -> Result<Self, Failure> {
        let token = results_token(home)?;
        Ok(Self {
            every: (config.every_seconds > 0).then(|| Duration::from_secs(config.every_seconds)),
            timeout: Duration::from_secs(config.timeout_seconds),
            token: Digest::of(token.as_bytes()),
            token_text: token,
            last: Mutex::default(),
            one: tokio::sync::Mutex::default(),
            soon: Notify::new(),
            runs: Mutex::default(),
            observed: Arc::new(Observations::load(home.observed())),
        })
    }

    /// A product was published: it is measured now.
    pub(super) fn soon(&self) {
        self.soon.notify_one();
    }

    /// Counts a run of `product`; gives whether it is one of those that are taken.
    fn counts_run(&self, product: &str, now: Timestamp) -> bool {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let day = now.as_secs() / (24 * 60 * 60);
        if runs.0 != day {
            *runs = (day, BTreeMap::new());
        }
        let count = runs.1.entry(product.to_owned()).or_default();
        *count += 1;
        *count <= MAX_RUNS_A_DAY
    }

    fn last(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Timestamp, Digest)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token with which pipelines publish; made when there is none.
fn results_token(home: &Home) -> Result<String, Failure> {
    let path = home.results_token();
    if !path.exists() {
        write_private(&path, &random_token()?)?;
    }
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|e| Failure::own("home", format!("{}: {e}", path.display())))?;
    let token = text.trim();
    if token.len() < 16 {
        let message = format!("{}: the token is too short", path.display());
        return Err(Failure::own("home", message).next("delete the file; the node makes another"));
    }
    Ok(token.to_owned())
}

impl Node {
    /// Measures every product when it is published, and again and again
    /// (`spec/3-catalog.md#C-98`). One head announces all that a round brought.
    pub(super) async fn measure_in_time(self: Arc<Self>) {
        let Some(every) = self.measuring.every else {
            return;
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.measuring.soon.notified() => {}
                () = self.stop.cancelled() => return,
            }
            if self.ledger.health() != Health::Ok {
                continue;
            }
            for product in self.catalog.own_products() {
                if self.is_to_be_measured(&product, every, clock::now()) {
                    let measured = self.measure_and_state(&product);
                    tokio::select! {
                        measured = measured => drop(measured),
                        () = self.stop.cancelled() => return,
                    }
                }
            }
            self.announce_measured().await;
        }
    }

    /// Writes down what queries saw of partners' products, now and then and at
    /// the end. A file that cannot be written costs a line in the log.
    pub(super) async fn note_observed_in_time(self: Arc<Self>) {
        loop {
            let ends = tokio::select! {
                () = tokio::time::sleep(TICK) => false,
                () = self.stop.cancelled() => true,
            };
            let observed = Arc::clone(&self.measuring.observed);
            let saved = tokio::task::spawn_blocking(move || observed.save()).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "what queries saw was not written down");
            }
            if ends {
                return;
            }
        }
    }

    fn is_to_be_measured(&self, product: &OwnProduct, every: Duration, now: Timestamp) -> bool {
        let address = product.address().to_string();
        let contract = product.descriptor.contract_digest;
        let known = self.measuring.last().get(&address).copied();
        let last = known.or_else(|| {
            // Since the start: what was stated before.
            let stated = self.catalog.statements(&self.own.org(), &address).ok()?;
            let ours = stated.iter().find(|s| s.results.process == PROCESS)?;
            Some((ours.results.at, ours.results.contract_digest))
        });
        if let Some(last) = last {
            self.measuring.last().insert(address, last);
        }
        last.is_none_or(|(at, of)| of != contract || now.since(at) >= every)
    }

    /// Measures one product and states the result. Gives why there are
    /// promises without a verdict, for the owner.
    async fn measure_and_state(&self, product: &OwnProduct) -> Result<Verdicts, Failure> {
        let _one = self.measuring.one.lock().await;
        let now = clock::now();
        let address = product.address().to_string();
        let tried = (now, product.descriptor.contract_digest);
        // Before: one that fails is tried again in its time, not at once.
        self.measuring.last().insert(address.clone(), tried);
        let contract = self.catalog.contract_of(product).await;
        let verdicts = measure::measure(
            &self.engine,
            self.own.alias(),
            product,
            contract.as_ref().map_or(&[][..], Contract::sql_rules),
            self.measuring.timeout,
            now,
        )
        .await;
        for (promise, reason) in &verdicts.reasons {
            tracing::warn!(product = address, promise, reason, "no verdict");
        }
        let measured = Measurement {
            at: now,
            due: self.measuring.every.map(|e| now.saturating_add(e + GRACE)),
            process: PROCESS.to_owned(),
            process_version: env!("CARGO_PKG_VERSION").to_owned(),
            checks: verdicts.checks.clone(),
            omitted: 0,
            tables: verdicts.tables.clone(),
        };
        match self.catalog.state(product, measured).await {
            Ok(stated) => {
                tracing::info!(product = address, seq = stated.results.seq, "measured");
                Ok(verdicts)
            }
            Err(error) => {
                tracing::error!(product = address, %error, "the measurement was not stated");
                Err(error)
            }
        }
    }

    async fn announce_measured(self: &Arc<Self>) {
        match self.catalog.announce_results(clock::now()).await {
            Ok(true) => self.spread_head().await,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the measurements were not announced"),
        }
    }

    /// Measures an own product now, and announces the result.
    pub async fn measure(
        self: &Arc<Self>,
        ask: api::Measure,
    ) -> Result<api::JustMeasured, Failure> {
        let address = ask.product.to_string();
        let product = self.announced(self.own.alias(), &address)?;
        let node = Arc::clone(self);
        let measuring = self.tasks.spawn(async move {
            let measured = node.measure_and_state(&product).await;
            node.announce_measured().await;
            measured
        });
        let measured = tokio::time::timeout(PATIENCE, measuring).await;
        let measured = measured.map_err(|_| {
            let message = format!("{address} is still being measured");
            Failure::new(Fault::Conflict, "still-measuring", message).next(format!(
                "see the result with 'comity show {}/{address}'",
                self.own.alias()
            ))
        })?;
        let verdicts = measured.map_err(|e| Failure::own("measuring", e))??;
        Ok(api::JustMeasured {
            product: self.show(self.own.alias(), &address)?,
            reasons: verdicts.reasons,
            kept: verdicts.kept,
        })
    }

    /// What was measured of a product, beside what it promises.
    pub(super) fn measured(
        &self,
        org: &OrgId,
        descriptor: &Descriptor,
    ) -> Result<api::Measured, Failure> {
        let product = descriptor.address().to_string();
        let statements = self.catalog.statements(org, &product)?;
        let rewritten = self.catalog.rewritten(org, &product)?;
        let mut view = measure::measured(descriptor, &statements, rewritten, clock::now());
        view.observed = self.measuring.observed.of(org, &product);
        Ok(view)
    }

    /// The chain of a product's statements, own or a partner's.
    pub fn measurements(
        &self,
        alias: &str,
        product: &str,
    ) -> Result<Vec<api::Measurement>, Failure> {
        let (org, descriptor) = match alias == self.own.alias() {
            true => {
                let own = self.announced(alias, product)?;
                (self.own.org(), own.descriptor.clone())
            }
            false => {
                let (partner, found) = self.foreign(alias, product)?;
                (partner.org, found.descriptor().clone())
            }
        };
        let statements = self.catalog.statements(&org, product)?;
        Ok(measure::history(&descriptor, &statements, clock::now()))
    }

    /// Whether `token` is the one for publishing test results.
    pub fn takes_results(&self, token: &str) -> bool {
        // Equal hashes, not equal texts: the comparison's timing says nothing.
        Digest::of(token.as_bytes()) == self.measuring.token
    }

    /// Where pipelines publish test results.
    pub fn results_url(&self) -> api::ResultsUrl {
        let (base, token) = (&self.listening.admin, &self.measuring.token_text);
        api::ResultsUrl {
            url: format!("{base}/api/test-results/{token}"),
        }
    }

    /// Takes a run of `datacontract test`, states and announces it.
    pub async fn take_run(self: &Arc<Self>, body: &[u8]) -> Result<api::ResultsTaken, Failure> {
        let run = Run::read(body)?;
        let product = self.product_of(&run)?;
        let contract = self.catalog.contract_of(&product).await;
        let now = clock::now();
        let measure::Taken {
            measurement: measured,
            left_out,
        } = measure::ingest(&run, &product.descriptor, contract.as_ref(), now);
        if measured.checks.is_empty() {
            let message = "no check of the run is about a promise or a column of the product";
            return Err(Failure::caller("bad-results", message));
        }
        if !self
            .measuring
            .counts_run(&product.address().to_string(), now)
        {
            let message = format!("{MAX_RUNS_A_DAY} runs of this product were taken today");
            return Err(Failure::new(Fault::Conflict, "too-many-results", message));
        }
        let verdicts = measured.checks.len();
        let stated = self.catalog.state(&product, measured).await?;
        tracing::info!(
            product = %product.address(),
            seq = stated.results.seq,
            verdicts,
            left_out,
            "took test results"
        );
        self.announce_measured().await;
        Ok(api::ResultsTaken { verdicts, left_out })
    }

    /// The announced product that a run is about: the contract's id and the
    /// version must both be its own.
    fn product_of(&self, run: &Run) -> Result<Arc<OwnProduct>, Failure> {
        let (id, version) = (&run.data_contract_id, &run.data_contract_version);
        let products = self.catalog.own_products();
        let of = |p: &&Arc<OwnProduct>| {
            let known = p.descriptor.contract.get("id").and_then(|id| id.as_str());
            known.is_some()
                && known == id.as_deref()
                && version.as_deref() == Some(&p.descriptor.version.to_string())
        };
        products.iter().find(of).cloned().ok_or_else(|| {
            let message = "no product that is announced has the contract id and version of the run";
            Failure::new(Fault::Unknown, "unknown-product", message)
                .next("publish the contract that was tested; see 'comity product list'")
        })
    }
}
