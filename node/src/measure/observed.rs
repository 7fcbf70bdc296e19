//! What this node sees of partners' products in its own queries: the other
//! side of what they state.
//!
//! Kept on this machine, in `HOME/observed.json`, and told to nobody: how often
//! an organization asks is its own business. The file is no evidence; one that
//! is lost or damaged is begun anew.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampSecondType};
use arrow::record_batch::RecordBatch;
use comity_identity::{OrgId, Timestamp};
use datafusion::error::Result as EngineResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::admin::api;
use crate::clock;
use crate::query::QueryError;

/// How many queries are remembered of each product: the newest.
const MAX_QUERIES: usize = 100;

/// Products that are remembered; the one that was asked longest ago gives way.
const MAX_PRODUCTS: usize = 1024;

/// The most bytes of the file that are read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What this node's queries saw, by organization and address.
#[derive(Debug)]
pub struct Observations {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    products: BTreeMap<(OrgId, String), VecDeque<Query>>,
    changed: bool,
}

/// One query over a partner's product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Query {
    at: Timestamp,
    /// Milliseconds to the first batch; none came of one that failed before.
    first: Option<u64>,
    /// Milliseconds to the end.
    total: u64,
    rows: u64,
    /// The stable code, of one that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failed: Option<String>,
    /// The newest moment that came in the column of the promised freshness, in
    /// seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    newest: Option<i64>,
}

/// A product in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    org: OrgId,
    product: String,
    queries: VecDeque<Query>,
}

impl Observations {
    /// What was kept at `path`, or nothing.
    pub fn load(path: PathBuf) -> Self {
        let fits = std::fs::metadata(&path).is_ok_and(|m| m.len() <= MAX_FILE_BYTES);
        let bytes = fits.then(|| std::fs::read(&path).ok()).flatten();
        let kept: Vec<Kept> = bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let products = kept.into_iter().map(|k| ((k.org, k.product), k.queries));
        let seen = Mutex::new(Seen {
            products: products.collect(),
            changed: false,
        });
        Self { path, seen }
    }

    /// Writes down what was seen since the last time. Blocking.
    pub fn save(&self) -> std::io::Result<()> {
        let kept: Vec<Kept> = {
            let mut seen = self.seen();
            if !std::mem::take(&mut seen.changed) {
                return Ok(());
            }
            let products = seen.products.iter();
            products
                .map(|((org, product), queries)| Kept {
                    org: *org,
                    product: product.clone(),
                    queries: queries.clone(),
                })
                .collect()
        };
        write(&self.path, &serde_json::to_vec(&kept)?)
    }

    /// Watches a query over `product` of `org` that began at `began`.
    /// `freshness` is the column of its promised freshness, where it is open.
    pub fn watch(
        self: &Arc<Self>,
        org: OrgId,
        product: &str,
        freshness: Option<&str>,
        began: Instant,
        rows: Result<SendableRecordBatchStream, QueryError>,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let mut watched = Watched {
            observations: Arc::clone(self),
            org,
            product: product.to_owned(),
            freshness: freshness.map(str::to_owned),
            began,
            query: Some(Query {
                at: clock::now(),
                first: None,
                total: 0,
                rows: 0,
                failed: None,
                newest: None,
            }),
        };
        match rows {
            Ok(inner) => Ok(Box::pin(Watching { inner, watched })),
            Err(error) => {
                watched.failed(error.code());
                Err(error)
            }
        }
    }

    /// What was seen of a product; `None` when it was never asked.
    pub fn of(&self, org: &OrgId, product: &str) -> Option<api::Observed> {
        let seen = self.seen();
        let queries = seen.products.get(&(*org, product.to_owned()))?;
        let done = || queries.iter().filter(|q| q.failed.is_none());
        let mut failed = BTreeMap::new();
        for code in queries.iter().filter_map(|q| q.failed.as_ref()) {
            *failed.entry(code.clone()).or_insert(0) += 1;
        }
        let newest = done().filter_map(|q| Some((q.newest?, q.at))).max();
        // A handful of rows says nothing of the way.
        let speeds = done().filter(|q| q.rows >= 1000 && q.total > 0);
        Some(api::Observed {
            queries: queries.len(),
            failed,
            first_batch_ms: median(done().filter_map(|q| q.first)),
            rows_per_second: median(speeds.map(|q| q.rows * 1000 / q.total)),
            rows: done().map(|q| q.rows).sum(),
            last: queries.back().map(|q| q.at),
            newest: newest.map(|(newest, _)| newest),
            newest_at: newest.map(|(_, at)| at),
        })
    }

    fn note(&self, org: OrgId, product: String, query: Query) {
        let mut seen = self.seen();
        seen.changed = true;
        let queries = seen.products.entry((org, product)).or_default();
        if queries.len() >= MAX_QUERIES {
            queries.pop_front();
        }
        queries.push_back(query);
        if seen.products.len() > MAX_PRODUCTS {
            let last = |queries: &VecDeque<Query>| queries.back().map(|q| q.at);
            let oldest = seen
                .products
                .iter()
                .min_by_key(|(_, queries)| last(queries));
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                seen.products.remove(&key);
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of rows that is watched.
struct Watching {
    inner: SendableRecordBatchStream,
    watched: Watched,
}

/// A query that is noted once, when it ends in whatever way.
struct Watched {
    observations: Arc<Observations>,
    org: OrgId,
    product: String,
    freshness: Option<String>,
    began: Instant,
    query: Option<Query>,
}

impl Watched {
    fn batch(&mut self, batch: &RecordBatch) {
        let elapsed = millis(self.began.elapsed());
        if let Some(query) = &mut self.query {
            query.first.get_or_insert(elapsed);
            query.rows += batch.num_rows() as u64;
            let column = self
                .freshness
                .as_ref()
                .and_then(|c| batch.column_by_name(c));
            query.newest = query.newest.max(column.and_then(newest));
        }
    }

    fn failed(&mut self, code: &str) {
        if let Some(query) = &mut self.query {
            query.failed = Some(code.to_owned());
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut query) = self.query.take() {
            query.total = millis(self.began.elapsed());
            let product = std::mem::take(&mut self.product);
            self.observations.note(self.org, product, query);
        }
    }
}

impl Drop for Watched {
    /// A reader that has enough, as with a limit, ends the query well.
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for Watching {
    type Item = EngineResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inner.as_mut().poll_next(context));
        match &next {
            Some(Ok(batch)) => self.watched.batch(batch),
            Some(Err(error)) => {
                let code = QueryError::of(error).code();
                self.watched.failed(code);
            }
            None => self.watched.end(),
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for Watching {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

/// The newest moment in a column, in seconds since the Unix epoch.
fn newest(column: &ArrayRef) -> Option<i64> {
    match column.data_type() {
        DataType::Timestamp(..) | DataType::Date32 => {}
        _ => return None,
    }
    let seconds = cast(column, &DataType::Timestamp(TimeUnit::Second, None)).ok()?;
    max(seconds.as_primitive::<TimestampSecondType>())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    std::io::Write::write_all(&mut options.open(&new)?, bytes)?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use comity_identity::Digest;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::StreamExt as _;

    use super::*;

    fn org() -> OrgId {
        OrgId::from_inception(Digest::of(b"shop"))
    }

    fn batch() -> RecordBatch {
        let at = TimestampMicrosecondArray::from(vec![Some(5_000_000), None, Some(9_999_999)]);
        let id = Int64Array::from(vec![1, 2, 3]);
        RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef), ("id", Arc::new(id))])
            .unwrap()
    }

    fn rows(items: Vec<EngineResult<RecordBatch>>) -> SendableRecordBatchStream {
        let items = futures::stream::iter(items);
        Box::pin(RecordBatchStreamAdapter::new(batch().schema(), items))
    }

    #[tokio::test]
    async fn queries_are_seen_to_their_end_and_kept_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("observed.json");
        let seen = Arc::new(Observations::load(path.clone()));
        assert!(seen.of(&org(), "orders").is_none());
        let watch = |fresh, rows| seen.watch(org(), "orders", fresh, Instant::now(), rows);

        let mut all = watch(Some("at"), Ok(rows(vec![Ok(batch()), Ok(batch())]))).unwrap();
        while all.next().await.is_some() {}
        drop(all);
        // Cut off by its reader, failed in the middle, refused at once.
        let mut cut = watch(None, Ok(rows(vec![Ok(batch()), Ok(batch())]))).unwrap();
        cut.next().await;
        drop(cut);
        let broken = vec![Ok(batch()), Err(QueryError::budget("time budget").into())];
        let mut broken = watch(Some("at"), Ok(rows(broken))).unwrap();
        while broken.next().await.is_some() {}
        let refused = watch(None, Err(QueryError::partner_refused("shop", "revoked")));
        assert!(refused.is_err());

        seen.save().unwrap();
        let again = Observations::load(path.clone())
            .of(&org(), "orders")
            .unwrap();
        assert_eq!((again.queries, again.rows), (4, 9));
        assert_eq!(again.newest, Some(9), "of rows that came to an end");
        let failed = BTreeMap::from([("budget".to_owned(), 1), ("partner-refused".to_owned(), 1)]);
        assert_eq!(again.failed, failed);
        std::fs::write(&path, "{").unwrap();
        assert!(Observations::load(path).of(&org(), "orders").is_none());
    }

    #[test]
    fn what_is_remembered_has_bounds() {
        let seen = Arc::new(Observations::load("nowhere".into()));
        for n in 0..=MAX_QUERIES {
            let empty = Ok(rows(vec![]));
            drop(seen.watch(org(), "orders", None, Instant::now(), empty));
            assert_eq!(
                seen.of(&org(), "orders").unwrap().queries,
                (n + 1).min(MAX_QUERIES)
            );
        }
        for n in 0..MAX_PRODUCTS {
            let product = format!("p{n}");
            drop(seen.watch(org(), &product, None, Instant::now(), Ok(rows(vec![]))));
        }
        assert_eq!(seen.seen().products.len(), MAX_PRODUCTS);
    }
}
