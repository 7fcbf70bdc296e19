//! Telling the owner's own systems what happened: a webhook, a command.
//!
//! What is told follows from what the journal has: the ledger hands over every
//! unit after it is on the disk, so nothing is announced that is not written.
//! It is news and not evidence: a queue that is full and an endpoint that stays
//! away lose notices, with a line in the log; the journal has all of it.

mod command;
mod event;
mod webhook;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use comity_identity::Timestamp;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Agreements, Partners};
use crate::clock;
use crate::config;
use crate::failure::Failure;
use crate::ledger::{Ledger, Record};

use command::Command;
pub use event::{Event, Notice};
use webhook::Webhook;

/// The most notices that wait; further ones are lost.
const QUEUE: usize = 256;

/// The most notices that are told at one time, each to the webhook and the command.
const AT_ONCE: usize = 4;

/// How often agreements are looked through for their end.
const TICK: Duration = Duration::from_secs(60);

/// How long before its end an agreement is told to end.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Tells the owner's systems.
#[derive(Debug)]
pub struct Notifier {
    partners: Arc<Partners>,
    agreements: Arc<Agreements>,
    events: BTreeSet<Event>,
    webhook: Option<Webhook>,
    command: Option<Command>,
    places: Arc<Semaphore>,
    waiting: mpsc::Sender<Notice>,
}

impl Notifier {
    /// Begins to tell what `settings` ask for; nothing where they name nobody.
    /// `since` is when the ledger was last written before: of agreements that
    /// came to their end since then nobody was told.
    pub fn start(
        settings: &config::Notify,
        home: &Path,
        (partners, agreements): (&Arc<Partners>, &Arc<Agreements>),
        (ledger, since): (&Ledger, Timestamp),
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<(), Failure> {
        let webhook = Webhook::new(settings, home)?;
        let command = Command::new(settings);
        if webhook.is_none() && command.is_none() {
            return Ok(());
        }
        let (waiting, queue) = mpsc::channel(QUEUE);
        let notifier = Arc::new(Self {
            partners: Arc::clone(partners),
            agreements: Arc::clone(agreements),
            events: settings.events.clone(),
            webhook,
            command,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting,
        });
        let hears = Arc::clone(&notifier);
        ledger.observe(move |position, records| hears.hear(position, records));
        tasks.spawn(Arc::clone(&notifier).tell(queue, tasks.clone(), stop.clone()));
        tasks.spawn(notifier.watch_ends(since, stop.clone()));
        Ok(())
    }

    /// What was just written down.
    fn hear(&self, position: u64, records: &[Record]) {
        for notice in Notice::of_unit(position, records) {
            self.queue(notice);
        }
    }

    fn queue(&self, notice: Notice) {
        if !self.events.contains(&notice.event) {
            return;
        }
        // Never waits: whoever writes the journal is not held up by an endpoint.
        if self.waiting.try_send(notice).is_err() {
            tracing::warn!("a notice is lost: too many wait for the webhook or the command");
        }
    }

    async fn tell(
        self: Arc<Self>,
        mut queue: mpsc::Receiver<Notice>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let notice = tokio::select! {
                notice = queue.recv() => notice,
                () = stop.cancelled() => return,
            };
            let Some(notice) = notice else { return };
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let (notifier, stopped) = (Arc::clone(&self), stop.clone());
            tasks.spawn(async move {
                let _place = place;
                tokio::select! {
                    () = notifier.deliver(&notice) => {}
                    () = stopped.cancelled() => {}
                }
            });
        }
    }

    async fn deliver(&self, notice: &Notice) {
        let body = self.body(notice);
        let (webhook, command) = (self.webhook.as_ref(), self.command.as_ref());
        tokio::join!(
            async {
                if let Some(webhook) = webhook {
                    webhook.deliver(&notice.id, &body).await;
                }
            },
            async {
                if let Some(command) = command {
                    command.run(&body).await;
                }
            },
        );
    }

    /// What is told: which event, about what, when. No terms, no notes, nobody's
    /// name (`spec/4-negotiation.md#N-110`).
    fn body(&self, notice: &Notice) -> Vec<u8> {
        let agreement = notice.agreement.and_then(|id| self.agreements.get(&id));
        let peer = notice.peer.or_else(|| agreement.as_ref().map(|a| a.peer()));
        let body = json!({
            "type": notice.event,
            "timestamp": notice.at.to_string(),
            "data": {
                "partner": peer.map(|peer| self.partners.alias(&peer)),
                "org": peer,
                "negotiation": notice.negotiation,
                "agreement": notice.agreement,
                "product": agreement.as_ref().map(|a| a.product()),
            },
        });
        body.to_string().into_bytes()
    }

    /// Agreements end by themselves: the journal said when they were signed.
    async fn watch_ends(self: Arc<Self>, since: Timestamp, stop: CancellationToken) {
        let mut looked = since;
        loop {
            let now = clock::now();
            for notice in self.ends_between(looked, now) {
                self.queue(notice);
            }
            looked = now;
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn ends_between(&self, looked: Timestamp, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        for agreement in self.agreements.running() {
            let end = agreement.signed_terms().expires;
            let soon = end.saturating_sub(SOON);
            for (event, at) in [
                (Event::AgreementEndingSoon, soon),
                (Event::AgreementEnded, end),
            ] {
                if looked < at && at <= now {
                    notices.push(Notice::of_agreement(event, agreement.id(), at));
                }
            }
        }
        notices
    }
}
