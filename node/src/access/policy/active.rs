//! The set of policies that decides now: how one comes into force.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use comity_identity::{Digest, Timestamp};
use tokio::sync::{Mutex, watch};

use super::asked::Asked;
use super::corpus::Corpus;
use super::engine::CedarEngine;
use super::explain::Explanation;
use super::folder::Files;
use super::permitted::refused;
use super::set::{Problem, ValidSet, shipped};
use super::{Decision, PolicyEngine};
use crate::access::agreements::Agreement;
use crate::access::scope::OutOfScope;
use crate::admin::{Metrics, api};
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::index::Table;
use crate::ledger::{Ledger, POLICY, PolicyActivated, PolicyRefused, Record};

/// The policies of a running node.
#[derive(Debug)]
pub struct Policies {
    folder: PathBuf,
    ledger: Arc<Ledger>,
    metrics: Metrics,
    active: RwLock<Active>,
    /// Counts the sets that came into force.
    changes: watch::Sender<u64>,
    refused: RwLock<Option<Refusal>>,
    errors: AtomicU64,
    watch: Mutex<Watch>,
}

/// Why what lies in the folder is not what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Since when.
    pub at: Timestamp,
}

#[derive(Clone, Debug)]
struct Active {
    engine: Arc<dyn PolicyEngine>,
    files: Vec<String>,
}

/// What one look at the folder saw.
type Seen = Result<Option<Files>, Problem>;

#[derive(Debug)]
struct Watch {
    /// What was judged last, taken or refused.
    judged: Seen,
    /// What the last look saw, if it was something else.
    last: Option<Seen>,
}

impl Policies {
    /// Reads the policies in `folder`, or those that come with the program when
    /// there is no such folder. A set that is not valid stops the start
    /// (`spec/7-policy.md#R-7`).
    pub async fn start(
        folder: PathBuf,
        ledger: Arc<Ledger>,
        metrics: Metrics,
    ) -> Result<Self, Failure> {
        let invalid = |problems: &[Problem]| {
            Failure::own("policy", told(problems))
                .next("correct the files; 'comity policy check' reads them as the node does")
        };
        let seen = look(&folder).await.map_err(|p| invalid(&[p]))?;
        let files = seen.clone().unwrap_or_else(shipped);
        let engine = compile(files).await.map_err(|p| invalid(&p))?;
        journal(&ledger, &engine).await?;
        Ok(Self {
            folder,
            ledger,
            metrics,
            active: RwLock::new(Active::of(engine)),
            changes: watch::Sender::new(1),
            refused: RwLock::default(),
            errors: AtomicU64::new(0),
            watch: Mutex::new(Watch {
                judged: Ok(seen),
                last: None,
            }),
        })
    }

    /// Decides by the set in force. An error raises the alarm
    /// (`spec/7-policy.md#R-4`).
    pub fn decide(&self, asked: &Asked) -> Decision {
        let decision = self.active().engine.decide(asked);
        if !decision.errors.is_empty() {
            self.errors.fetch_add(1, Ordering::Relaxed);
            self.metrics.policy_alarm("evaluation-error");
            tracing::error!(
                action = asked.action.name(), errors = ?decision.errors, policy = %decision.policy,
                "a policy could not be evaluated, so the request is denied"
            );
        }
        decision
    }

    /// Decides and says what that rests on.
    pub fn explain(&self, asked: Asked) -> Explanation {
        self.active().engine.explain(asked)
    }

    /// Whether policy leaves a request as it is, which must hold only now; see
    /// [`super::Permitted`] for one that must go on to.
    pub fn permit(&self, asked: Asked) -> Result<Digest, OutOfScope> {
        let decision = self.decide(&asked);
        if decision.allows() {
            Ok(decision.policy)
        } else {
            Err(refused(self, asked, &decision))
        }
    }

    /// Whether `role` may take out the evidence of `agreement`, or of all.
    pub fn permit_export(
        &self,
        role: &str,
        agreement: Option<&Agreement>,
    ) -> Result<Digest, Failure> {
        let asked = Asked::export(role, agreement, clock::now());
        self.permit(asked).map_err(|why| {
            tracing::info!(reason = why.reason, "an export was refused by policy");
            self.metrics.refused(why.code);
            let message = "a policy of this node does not permit the export";
            Failure::new(Fault::Conflict, "policy", message)
                .next("see which one with 'comity policy explain'")
        })
    }

    /// The digest of the set in force.
    pub fn digest(&self) -> Digest {
        self.active().engine.digest()
    }

    /// Grows by one when another set comes into force, after it did.
    pub fn epoch(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Changes when [`Policies::epoch`] does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// As the admin API shows it.
    pub fn status(&self) -> api::PolicyStatus {
        let active = self.active();
        let refused = self.refused.read().unwrap_or_else(PoisonError::into_inner);
        api::PolicyStatus {
            digest: active.engine.digest(),
            files: active.files,
            activated: self.epoch(),
            refused: refused.as_ref().map(|r| r.problems.clone()),
            refused_at: refused.as_ref().map(|r| r.at),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    /// Looks at the folder once. What two looks in a row saw alike is judged: an
    /// editor that is still writing, or a copy under way, may leave a file that
    /// is valid without the policies that were to follow.
    pub async fn look(&self) {
        let seen = look(&self.folder).await;
        let mut watch = self.watch.lock().await;
        if seen == watch.judged {
            watch.last = None;
            return;
        }
        if watch.last.as_ref() != Some(&seen) {
            watch.last = Some(seen);
            return;
        }
        let judged = match seen.clone() {
            Ok(Some(files)) => compile(files).await,
            // Fail closed: the shipped policies may permit more than those that went.
            Ok(None) => {
                let reason = "the folder is gone; bring it back, or restart the node to use the policies that come with the program";
                Err(vec![Problem::of_file("policies", reason)])
            }
            Err(problem) => Err(vec![problem]),
        };
        let done = match judged {
            Ok(engine) => self.activate(engine).await,
            Err(problems) => {
                self.refuse(problems).await;
                Ok(())
            }
        };
        // What could not be written down is tried again at the next look.
        match done {
            Ok(()) => watch.judged = seen,
            Err(error) => {
                tracing::error!(%error, "new policies cannot be logged, so they do not count yet");
            }
        }
    }

    /// The journal first: what decides is what the journal says decides
    /// (`spec/7-policy.md#R-6`).
    async fn activate(&self, engine: CedarEngine) -> Result<(), Failure> {
        let digest = engine.digest();
        if digest != self.digest() {
            journal(&self.ledger, &engine).await?;
            let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
            *active = Active::of(engine);
            drop(active);
            // After the set: whoever reads the new number finds the new set.
            self.changes.send_modify(|epoch| *epoch += 1);
        }
        *self.refused.write().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!(policy = %digest, "these policies decide now");
        Ok(())
    }

    async fn refuse(&self, problems: Vec<Problem>) {
        let in_force = self.digest();
        tracing::error!(
            problems = told(&problems), %in_force,
            "new policies were refused as a whole; those before them go on to decide"
        );
        self.metrics.policy_alarm("set-refused");
        let at = clock::now();
        let record = Record::PolicyRefused(PolicyRefused {
            problems: problems.iter().map(ToString::to_string).collect(),
            in_force,
            at,
        });
        *self.refused.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Refusal { problems, at });
        if let Err(error) = self.ledger.commit(&record).await {
            tracing::error!(%error, "the refusal of policies could not be logged");
        }
    }

    fn active(&self) -> Active {
        self.active
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Active {
    fn of(engine: CedarEngine) -> Self {
        Self {
            files: engine.set().files().keys().cloned().collect(),
            engine: Arc::new(engine),
        }
    }
}

impl CedarEngine {
    /// Makes an engine of `files`: validated as a whole, and every test among
    /// them met (`spec/7-policy.md#R-3`).
    pub fn compile(files: &Files) -> Result<Self, Vec<Problem>> {
        let engine = Self::new(ValidSet::validate(files)?);
        let failed = Corpus::read(files)?.run(&engine);
        if failed.is_empty() {
            return Ok(engine);
        }
        let problem =
            |f: super::CaseFailure| Problem::of_file(&f.file, format!("{}: {}", f.case, f.reason));
        Err(failed.into_iter().take(MAX_FAILURES).map(problem).collect())
    }
}

/// The most failed tests that are told at one time.
const MAX_FAILURES: usize = 20;

fn told(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Reading waits for the disk: off the async runtime.
async fn look(folder: &Path) -> Seen {
    let path = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || Files::read(&path)).await;
    read.unwrap_or_else(|_| Err(Problem::of_file("policies", "the node is stopping")))
}

/// Validation may take tens of milliseconds: off the async runtime.
async fn compile(files: Files) -> Result<CedarEngine, Vec<Problem>> {
    let compiled = tokio::task::spawn_blocking(move || CedarEngine::compile(&files)).await;
    compiled.unwrap_or_else(|_| Err(vec![Problem::of_file("policies", "could not be judged")]))
}

/// Writes the set down, unless it is the last one that was.
async fn journal(ledger: &Ledger, engine: &CedarEngine) -> Result<(), Failure> {
    let digest = engine.digest();
    if let Some(Record::PolicyActivated(last)) = ledger.get(Table::Documents, POLICY)?
        && last.digest == digest
    {
        return Ok(());
    }
    let record = Record::PolicyActivated(PolicyActivated {
        digest,
        files: engine.set().files().clone(),
        at: clock::now(),
    });
    ledger.commit(&record).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
