//! One of several answers that together are the answer to a statement
//! (`spec/5-data-plane.md#D-232`).

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::barrier::BarrierExec;
use super::guard::GuardExec;
use super::partner::Asked;
use super::{StatementExec, federation};

/// The most partitions of one answer. Each is asked for by itself: with more,
/// asking would cost more than reading.
pub const MAX_PARTITIONS: u16 = 128;

/// The partition with the number `index` of `count`. All of them together have
/// every row of the answer once; some may have none.
///
/// Over the same states of the sources the same partition has the same rows in
/// the same order, whenever it is asked for: a reader can go on after a cut with
/// those that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    index: u16,
    count: u16,
}

/// Why something is no partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a partition is written INDEX/COUNT, from 0/1 to {}/{MAX_PARTITIONS}", MAX_PARTITIONS - 1)]
pub struct NoPartition;

impl Partition {
    /// All partitions of an answer in `count`, in their order.
    ///
    /// # Errors
    /// None, or more than [`MAX_PARTITIONS`].
    pub fn all(
        count: u16,
    ) -> std::result::Result<impl ExactSizeIterator<Item = Self>, NoPartition> {
        match count {
            1..=MAX_PARTITIONS => Ok((0..count).map(move |index| Self { index, count })),
            _ => Err(NoPartition),
        }
    }

    /// Its number, from 0.
    pub fn index(self) -> u16 {
        self.index
    }

    /// Of how many it is one.
    pub fn count(self) -> u16 {
        self.count
    }
}

impl FromStr for Partition {
    type Err = NoPartition;

    fn from_str(text: &str) -> std::result::Result<Self, NoPartition> {
        let (index, count) = text.split_once('/').ok_or(NoPartition)?;
        // Not what parses as well: `+1`, `01`.
        let number = |text: &str| {
            let number: u16 = text.parse().map_err(|_| NoPartition)?;
            let same = number.to_string() == text;
            same.then_some(number).ok_or(NoPartition)
        };
        let (index, count) = (number(index)?, number(count)?);
        Self::all(count)?.nth(index.into()).ok_or(NoPartition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Plans as many partitions as there are, which depends on nothing but the
/// statement and the files: not on how long files are, nor on who reads first.
pub(super) fn configure(state: &mut SessionState, partition: Partition) {
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = partition.count.into();
    options.optimizer.repartition_file_min_size = 0;
    options.optimizer.enable_round_robin_repartition = false;
    // Else whoever comes first reads the files of the others too.
    options.execution.enable_file_stream_work_stealing = false;
}

/// The partition that a run wants of the one partner that it asks, if it asks one
/// alone: in the configuration of the run.
#[derive(Debug)]
pub(super) struct OfPartner(Mutex<Option<Partition>>);

impl OfPartner {
    pub(super) fn new(partition: Partition) -> Self {
        Self(Mutex::new(Some(partition)))
    }

    /// That of `run`.
    pub(super) fn of(run: &TaskContext) -> Option<Partition> {
        let wanted: Option<Arc<Self>> = run.session_config().get_extension();
        wanted.and_then(|wanted| *wanted.lock())
    }

    /// The partner computes nothing in this `run`: gives the partition that it was
    /// asked for, and from now on all rows are asked for.
    pub(super) fn take(run: &TaskContext) -> Option<Partition> {
        let wanted: Option<Arc<Self>> = run.session_config().get_extension();
        wanted.and_then(|wanted| wanted.lock().take())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Partition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a plan is read in partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Its own partitions are those of the answer.
    Here,
    /// All of it is one answer of a partner, who splits it.
    AtPartner,
    /// Not at all: the first partition has everything.
    Whole,
}

impl Split {
    /// How `plan` is read. Only what goes through its rows one by one leaves
    /// partitions as they are; a limit, for one, would count in each anew.
    ///
    /// Where anything is hidden, nothing is split: files are cut by their length, and
    /// in which partition a visible row is would tell how much is hidden before it
    /// (`spec/5-data-plane.md#D-18`).
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let node: &dyn Any = plan.as_ref();
        let hides = node
            .downcast_ref::<BarrierExec>()
            .is_some_and(BarrierExec::hides);
        if plan.fetch().is_some() || hides {
            return Self::Whole;
        }
        if let Some(below) = below(plan) {
            return Self::of(below);
        }
        let asked =
            node.is::<StatementExec<Asked>>() || node.is::<StatementExec<federation::Asked>>();
        if files(plan).is_some() || node.is::<EmptyExec>() {
            Self::Here
        } else if asked {
            Self::AtPartner
        } else {
            Self::Whole
        }
    }
}

/// The plan whose rows `plan` goes through one by one, if it does.
fn below(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    let node: &dyn Any = plan.as_ref();
    if let Some(barrier) = node.downcast_ref::<BarrierExec>() {
        return Some(barrier.inner());
    }
    let passes = node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<CooperativeExec>()
        || node.is::<GuardExec>();
    match &plan.children()[..] {
        [below] if passes => Some(below),
        _ => None,
    }
}

/// The leaf that reads files of which every column is known. Of JSON the columns
/// are those of the first rows: later ones may have more, which nobody sees.
fn files(plan: &Arc<dyn ExecutionPlan>) -> Option<&DataSourceExec> {
    let leaf: &dyn Any = plan.as_ref();
    let leaf = leaf.downcast_ref::<DataSourceExec>()?;
    let source: &dyn Any = leaf.data_source().as_ref();
    let files = source.downcast_ref::<FileScanConfig>()?;
    (files.file_source().file_type() != "json").then_some(leaf)
}

/// `plan`, which is split [`Split::Here`], with its files cut into `partition`'s
/// count of parts where they can be: the engine cuts them below some nodes only.
pub(super) fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    partition: Partition,
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(leaf) = files(plan) {
        let parts = leaf.repartitioned(partition.count.into(), config)?;
        return Ok(parts.unwrap_or_else(|| Arc::clone(plan)));
    }
    let Some(below) = below(plan) else {
        return Ok(Arc::clone(plan));
    };
    let parts = cut(below, partition, config)?;
    let node: &dyn Any = plan.as_ref();
    match node.is::<BarrierExec>() {
        true => Ok(Arc::new(BarrierExec::new(parts, plan.schema()))),
        false => replace_children_if_necessary(Arc::clone(plan), vec![parts]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_written_in_one_way() {
        for text in ["0/1", "3/16", "127/128"] {
            let partition: Partition = text.parse().unwrap();
            assert_eq!(partition.to_string(), text);
        }
        for text in [
            "", "/", "0/0", "1/1", "16/16", "0/129", "00/1", "+0/1", "0/ 1", "-1/2", "0/1/2",
            "0/65537",
        ] {
            assert_eq!(text.parse::<Partition>(), Err(NoPartition), "{text}");
        }
    }
}
