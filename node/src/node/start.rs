//! How a node starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_identity::grant::Grant;
use comity_identity::keyring::Keyring;
use comity_identity::tls::{direct_server_config, peer_server_config, workbench_server_config};
use comity_identity::{Digest, Timestamp};
use comity_protocol::negotiation::Side;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use rustls::time_provider::DefaultTimeProvider;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Node;
use super::errands::Errands;
use super::exchange::NetworkPost;
use super::listeners::{Listeners, address};
use super::measuring::Measuring;
use crate::access::policy::Policies;
use crate::access::{
    self, Agreements, Disclosures, Grants, HandedOut, Issuer, Members, Negotiations, Partners,
    PeerGate, Quotas, Refusals, WorkbenchGate,
};
use crate::admin::{self, Metrics, api};
use crate::catalog::Catalog;
use crate::certificate::Certificate;
use crate::clock;
use crate::config::Config;
use crate::failure::Failure;
use crate::flight;
use crate::home::Home;
use crate::index;
use crate::journal;
use crate::keys::Keys;
use crate::ledger::{self, Administered, Ledger, Marks, OPERATOR, Record};
use crate::network::{self, DialPolicy, Settings};
use crate::notify::Notifier;
use crate::own::{Own, Reach};
use crate::query::{Engine, EngineSettings};
use crate::receipts::{self, Given, Taken};
use crate::renewal;
use crate::sources::Warehouses;

/// Federations whose catalogs wait to be fetched.
const FEDERATED_QUEUE: usize = 64;

impl Node {
    /// Opens `home` and starts every listener.
    pub async fn start(home: &Home, config: Config) -> Result<Arc<Self>, Failure> {
        let ledger = open_ledger(home, &config).await?;
        let newest = ledger.newest()?;
        if let Some(newest) = newest {
            clock::noticed(newest);
        }
        let now = clock::now();
        if let Err(behind) = clock::check() {
            tracing::error!(%behind, "nothing is issued until the clock is right");
        }
        renewal::settle(home, &ledger)?;
        let keys = Keys::open(home.path()).map_err(|e| Failure::own("keys", e))?;
        let metrics = Metrics::default();
        // Before any listener is bound: nothing is served that nobody decides about.
        let policies = Policies::start(home.policies(), Arc::clone(&ledger), metrics.clone());
        let policies = Arc::new(policies.await?);
        let listeners = Listeners::bind(home, &config).await?;
        note_start(&ledger, &config, now).await?;
        let own = Arc::new(Own::load(
            Arc::clone(&ledger),
            keys,
            &config.organization.alias,
        )?);
        let keyring = open_keyring(&ledger).await?;

        let dial = dial_policy(&config);
        let settings = Settings {
            listen: config.network.listen.clone(),
            external: config.network.external.clone(),
            lan: config.network.lan,
            dial,
            max_connections: config.network.max_connections,
            memory_bytes: memory_bytes(&config),
        };
        let (network, events) = network::start(&own.keys().node, &settings)
            .await
            .map_err(|e| {
                Failure::own("network", e)
                    .next("choose another 'listen' under [network] in comity.toml")
            })?;

        let peers_at = address(&listeners.peers)?;
        let flight_host = config
            .peers
            .advertised
            .clone()
            .unwrap_or_else(|| peers_at.to_string());
        let mut hosts = vec![
            flight_host.clone(),
            address(&listeners.workbench)?.to_string(),
        ];
        hosts.dedup();
        let reach = Reach {
            addresses: reachable(&network, &config),
            flight: vec![flight_host],
        };
        own.refresh(&reach, now).await?;
        let certificate = Arc::new(Certificate::issue(&own, &hosts, now)?);

        let partners = Arc::new(Partners::load(
            Arc::clone(&own),
            Arc::clone(&ledger),
            Arc::clone(&keyring),
        )?);
        let catalog = Arc::new(
            Catalog::load(
                Arc::clone(&ledger),
                Arc::clone(&own),
                Arc::clone(&keyring),
                home.contracts(),
                Warehouses::new(config.sources.clone(), home.path().to_owned()),
                now,
            )
            .await?,
        );
        let agreements = Arc::new(Agreements::load(
            Arc::clone(&own),
            Arc::clone(&ledger),
            Arc::clone(&partners),
        )?);
        let issuer = Issuer::new(&config.oidc, home.path())?;
        let members = Arc::new(Members::load(Arc::clone(&ledger), issuer)?);
        let grants = Arc::new(Grants::new(Arc::clone(&own)));
        let local = members.list().into_iter().map(|held| held.name);
        let names: BTreeSet<String> = local.chain(members.seen()).collect();
        let who = |grant: &Grant| {
            let is = |name: &&String| grants.pseudonym(name, &grant.aud) == grant.sub;
            names.iter().find(is).cloned()
        };
        let handed = HandedOut::load(Arc::clone(&own), Arc::clone(&ledger), who, now)?;
        let refusals = Arc::new(Refusals::new(Arc::clone(&ledger)));
        let (federated, to_fetch) = mpsc::channel(FEDERATED_QUEUE);
        let negotiations = Arc::new(Negotiations::load(access::Parts {
            own: Arc::clone(&own),
            ledger: Arc::clone(&ledger),
            partners: Arc::clone(&partners),
            catalog: Arc::clone(&catalog),
            policies: Arc::clone(&policies),
            agreements: Arc::clone(&agreements),
            rules: config.approve.clone(),
            approval: config.approval.clone(),
            members: Arc::clone(&members),
            open_for: Duration::from_secs(config.negotiation.open_days * 24 * 60 * 60),
            post: Arc::new(NetworkPost::new(network.clone(), Arc::clone(&partners))),
            metrics: metrics.clone(),
            refusals: Arc::clone(&refusals),
            federated,
        })?);
        let listening = api::Listening {
            network: network
                .listening()
                .iter()
                .map(ToString::to_string)
                .collect(),
            peers: peers_at.to_string(),
            workbench: format!(
                "{}://{}",
                if config.workbench.tls {
                    "grpc+tls"
                } else {
                    "grpc"
                },
                address(&listeners.workbench)?
            ),
            admin: format!("http://{}", address(&listeners.admin)?),
        };
        let settings = receipts::Settings {
            wait: Duration::from_secs(config.evidence.receipt_seconds),
            max_unanswered: usize::try_from(config.evidence.max_unacknowledged)
                .unwrap_or(usize::MAX),
        };
        let given_under: Vec<_> = agreements
            .of_side(Side::Provider)
            .iter()
            .map(|a| a.id())
            .collect();
        let given = Given::load(
            Arc::clone(&own),
            Arc::clone(&ledger),
            metrics.clone(),
            settings,
            &given_under,
        );
        let given = Arc::new(given.await?);
        let taken = Taken::new(Arc::clone(&own), Arc::clone(&ledger), metrics.clone());
        let node = Arc::new(Self {
            home: home.clone(),
            name: config.organization.name.clone(),
            own,
            ledger,
            partners,
            catalog,
            agreements,
            negotiations,
            members,
            policies,
            refusals,
            grants,
            handed: Arc::new(handed),
            certificate,
            network,
            metrics,
            reach,
            listening,
            connected: Mutex::new(BTreeSet::new()),
            errands: Errands::new(),
            admitted: tokio::sync::Mutex::new(BTreeMap::new()),
            dial,
            engine: Arc::new(Engine::start(engine_settings(&config)).map_err(|e| {
                Failure::own(
                    "engine",
                    e.owner_detail()
                        .unwrap_or("the query engine does not start"),
                )
            })?),
            measuring: Measuring::new(home, &config.measure)?,
            given,
            taken: Arc::new(taken),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        node.serve(listeners, &config)?;
        Notifier::start(
            &config.notify,
            home.path(),
            (&node.partners, &node.agreements),
            (&node.ledger, newest.unwrap_or(now)),
            (&node.tasks, &node.stop),
        )?;
        node.meet_partners().await;
        node.tasks.spawn(Arc::clone(&node).listen(events));
        node.tasks
            .spawn(Arc::clone(&node).fetch_federated(to_fetch));
        node.tasks.spawn(Arc::clone(&node).renew_in_time());
        node.tasks.spawn(Arc::clone(&node).visit_in_time());
        node.tasks.spawn(Arc::clone(&node).reopen_sources_in_time());
        node.tasks.spawn(Arc::clone(&node).watch_policies());
        node.tasks.spawn(Arc::clone(&node).make_receipts_in_time());
        node.tasks.spawn(Arc::clone(&node).measure_in_time());
        node.tasks.spawn(Arc::clone(&node).note_observed_in_time());
        node.say_where()?;
        Ok(node)
    }

    /// Starts the Flight listeners and the admin API.
    fn serve(self: &Arc<Self>, listeners: Listeners, config: &Config) -> Result<(), Failure> {
        let tls = |e: rustls::Error| Failure::own("tls", e);
        let clock = || Arc::new(DefaultTimeProvider);
        let engine = Arc::clone(&self.engine);
        let workers = flight::Workers::start().map_err(|e| Failure::own("threads", e))?;
        let workers = Arc::new(workers);
        let keyring = Arc::clone(self.partners.keyring());
        let listener = match config.peers.direct {
            true => direct_server_config,
            false => peer_server_config,
        };
        let leaf = self.certificate.current();
        let peer_tls = listener(keyring, leaf, clock()).map_err(tls)?;
        let quotas = Arc::new(Quotas::load(
            &self.ledger,
            &self.agreements,
            crate::clock::now(),
        )?);
        let peer_gate = Arc::new(PeerGate {
            own: Arc::clone(&self.own),
            partners: Arc::clone(&self.partners),
            agreements: Arc::clone(&self.agreements),
            catalog: Arc::clone(&self.catalog),
            policies: Arc::clone(&self.policies),
            ledger: Arc::clone(&self.ledger),
            refusals: Arc::clone(&self.refusals),
            metrics: self.metrics.clone(),
            quotas,
            disclosures: Disclosures::of_home(&self.home, &*self.own.keys().pseudonym),
            notes: config.partner.clone(),
            given: Arc::clone(&self.given),
        });
        let workbench_tls = config
            .workbench
            .tls
            .then(|| workbench_server_config(self.certificate.current(), clock()).map(Arc::new))
            .transpose()
            .map_err(tls)?;
        let workbench_gate = Arc::new(WorkbenchGate {
            own: Arc::clone(&self.own),
            members: Arc::clone(&self.members),
            partners: Arc::clone(&self.partners),
            catalog: Arc::clone(&self.catalog),
            policies: Arc::clone(&self.policies),
            agreements: Arc::clone(&self.agreements),
            ledger: Arc::clone(&self.ledger),
            metrics: self.metrics.clone(),
            refusals: Arc::clone(&self.refusals),
            reach: Arc::new(access::Reach::new(
                Arc::clone(&self.own),
                Arc::clone(self.partners.keyring()),
                Arc::clone(&self.grants),
                self.certificate.current(),
                (self.dial, Arc::clone(&workers)),
                Arc::clone(&self.measuring.observed),
                Arc::clone(self.taken.reading()),
            )),
            egress: Arc::new(access::EgressRules {
                own: Arc::clone(&self.own),
                partners: Arc::clone(&self.partners),
                catalog: Arc::clone(&self.catalog),
                rules: config.egress.clone(),
            }),
            sizes: Arc::new(access::StatedSizes {
                own: Arc::clone(&self.own),
                partners: Arc::clone(&self.partners),
                catalog: Arc::clone(&self.catalog),
            }),
        });
        let token = std::fs::read_to_string(self.home.admin_token()).map_err(|e| {
            Failure::own(
                "admin-token",
                format!("{}: {e}", self.home.admin_token().display()),
            )
        })?;
        let (engine_too, stop) = (Arc::clone(&engine), self.stop.clone());
        let (refusals, stopped) = (Arc::clone(&self.refusals), stop.clone());
        self.tasks.spawn(async move {
            stopped.cancelled().await;
            refusals.write_counts().await;
        });
        let peers = flight::peers::serve(
            listeners.peers,
            Arc::new(peer_tls),
            peer_gate,
            engine,
            Arc::clone(&workers),
            stop.clone(),
        );
        let workbench = flight::workbench::serve(
            listeners.workbench,
            workbench_tls,
            workbench_gate,
            engine_too,
            workers,
            stop.clone(),
        );
        self.tasks.spawn(ended("peer listener", peers));
        self.tasks.spawn(ended("workbench listener", workbench));
        self.tasks.spawn(admin::serve_socket(
            listeners.socket,
            Arc::clone(self),
            stop.clone(),
        ));
        let token = token.trim().to_owned();
        self.tasks.spawn(admin::serve_tcp(
            listeners.admin,
            Arc::clone(self),
            token,
            stop,
        ));
        Ok(())
    }

    /// Writes down where this run listens, for the command line.
    fn say_where(&self) -> Result<(), Failure> {
        let path = self.home.running();
        let failed = |e: std::io::Error| Failure::own("home", format!("{}: {e}", path.display()));
        let text =
            serde_json::to_vec_pretty(&self.listening).map_err(|e| Failure::own("home", e))?;
        let new = path.with_extension("new");
        std::fs::write(&new, text).map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)
    }
}

async fn ended(what: &str, serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "the {what} ended");
    }
}

/// Opening reads every record: off the async runtime.
async fn open_ledger(home: &Home, config: &Config) -> Result<Arc<Ledger>, Failure> {
    let home = home.clone();
    let journal = journal::Settings {
        segment_bytes: config.journal.segment_bytes,
    };
    let index = index::Settings {
        cache_bytes: config.index.cache_bytes,
    };
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&home, journal, index)).await;
    Ok(Arc::new(opened.map_err(|_| {
        Failure::own("stopping", "the node is stopping")
    })??))
}

async fn open_keyring(ledger: &Arc<Ledger>) -> Result<Arc<Keyring>, Failure> {
    let marks = Arc::new(Marks::new(Arc::clone(ledger)));
    let opened = tokio::task::spawn_blocking(move || Keyring::open(marks)).await;
    let keyring = opened.map_err(|_| Failure::own("stopping", "the node is stopping"))?;
    Ok(Arc::new(keyring.map_err(|e| Failure::own("keyring", e))?))
}

/// Writes down that the node starts, and with which configuration: rules in it
/// agree and refuse in the organization's name (`spec/6-evidence.md#V-3`).
async fn note_start(ledger: &Ledger, config: &Config, now: Timestamp) -> Result<(), Failure> {
    let record = Record::Administered(Administered {
        act: "start".to_owned(),
        by: OPERATOR.to_owned(),
        target: format!("configuration {}", Digest::of(config.render().as_bytes())),
        at: now,
    });
    match ledger.commit(&record).await {
        Ok(_) => Ok(()),
        // A node must start on a full disk, to say so and to go on when there is
        // space; until then it promises and serves nothing.
        Err(ledger::Error::Journal(journal::JournalError::NoSpace { .. })) => {
            tracing::error!("the disk is full: this start is not in the journal");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The addresses to tell partners: those that the owner configured, or else
/// where the host listens, which on loopback reaches this machine only.
fn reachable(network: &network::Handle, config: &Config) -> Vec<String> {
    let configured = &config.network.external;
    let listening = network.listening();
    let addresses = if configured.is_empty() {
        listening
    } else {
        configured
    };
    // Loopback is of use to partners only where there is nothing else.
    let is_elsewhere = |a: &&Multiaddr| ip_of(a).is_none_or(|ip| !ip.is_loopback());
    let elsewhere: Vec<_> = addresses.iter().filter(is_elsewhere).collect();
    let told = if elsewhere.is_empty() {
        addresses.iter().collect()
    } else {
        elsewhere
    };
    told.into_iter().take(8).map(ToString::to_string).collect()
}

/// The address with which `address` begins, if it is no name.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Queries may use all that is theirs without keeping partners out.
fn memory_bytes(config: &Config) -> usize {
    let network = config.network.memory_budget_bytes;
    let all = network.saturating_add(config.query.memory_bytes);
    usize::try_from(all).unwrap_or(usize::MAX)
}

/// Where partners are dialled: what the owner says, or else where this node is itself.
fn dial_policy(config: &Config) -> DialPolicy {
    if let Some(areas) = &config.network.dial {
        return DialPolicy::only(areas);
    }
    let network = &config.network;
    let told = if network.external.is_empty() {
        &network.listen
    } else {
        &network.external
    };
    let policy = DialPolicy::like(told.iter().filter_map(ip_of));
    if network.lan {
        policy.and_private()
    } else {
        policy
    }
}

fn engine_settings(config: &Config) -> EngineSettings {
    let query = &config.query;
    let partitions = match query.partitions {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        n => n as usize,
    };
    EngineSettings {
        partitions,
        memory_bytes: usize::try_from(query.memory_bytes).unwrap_or(usize::MAX),
        deadline: Duration::from_secs(query.deadline_seconds),
        max_rows: query.max_rows,
        max_queries: query.concurrent as usize,
        wait: Duration::from_secs(query.wait_seconds),
        ..EngineSettings::default()
    }
}
