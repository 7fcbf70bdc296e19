//! Objects in SeaweedFS, an S3 server, on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};
use tokio::sync::OnceCell;

use super::*;
use crate::products::Travel;
use crate::query::QueryError;

const KEY_ID: &str = "canary-key-id";
const SECRET: &str = "canary-secret";
const BUCKET: &str = "lake";
/// More than all retries together take.
const BOUND: Duration = Duration::from_secs(120);

/// The server of all tests. It ends with this process, when its standard input does.
struct Server {
    endpoint: String,
    _process: Child,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();

fn python() -> String {
    std::env::var("COMITY_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

async fn start() -> Server {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/lakes/s3_server.py");
    let started = Command::new(python())
        .args([script, BUCKET, KEY_ID, SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut process = started.unwrap();
    let mut endpoint = String::new();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    output.read_line(&mut endpoint).unwrap();
    assert!(
        endpoint.starts_with("http"),
        "no S3 server: 'make unit' installs it and sets COMITY_PYTHON"
    );
    Server {
        endpoint: endpoint.trim().to_owned(),
        _process: process,
    }
}

fn access(secret: &'static str) -> Access {
    Access::from_variables(move |name| match name {
        "DATACONTRACT_S3_ACCESS_KEY_ID" => Some(KEY_ID.to_owned()),
        "DATACONTRACT_S3_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
        _ => None,
    })
}

async fn spec(key: &str, content: Content) -> S3Spec {
    let server = SERVER.get_or_init(start).await;
    S3Spec {
        endpoint: Some(server.endpoint.clone()),
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        content,
    }
}

/// The bucket, to write to.
async fn bucket() -> Arc<dyn ObjectStore> {
    access(SECRET)
        .connect(&spec("", Content::Files(Format::Parquet)).await)
        .unwrap()
}

fn parquet(ids: std::ops::Range<i64>) -> Vec<u8> {
    let ids: arrow::array::ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn put(key: &str, bytes: Vec<u8>) {
    bucket()
        .await
        .put(&Path::from(key), bytes.into())
        .await
        .unwrap();
}

fn declared() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("year", DataType::Int32, true),
    ])
}

async fn query(source: &Arc<dyn TableProvider>, sql: &str) -> Result<Vec<String>, QueryError> {
    let context = SessionContext::new();
    context.register_table("t", Arc::clone(source)).unwrap();
    let read = async { context.sql(sql).await?.collect().await };
    let batches = read.await.map_err(|e| QueryError::of(&e))?;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|c| array_value_to_string(c, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(rows)
}

#[tokio::test]
async fn an_arrow_object_is_laid_on_the_disk_and_read_batch_by_batch() {
    let (rows, batches) = (4_096, 64);
    let ids: arrow::array::ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let schema = batch.schema();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &schema).unwrap();
    for _ in 0..batches {
        writer.write(&batch).unwrap();
    }
    put("arrow/a.arrow", writer.into_inner().unwrap()).await;
    let content = Content::Files(Format::Arrow);
    let declared = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let location = Path::from("arrow/a.arrow");
    for (store, on_disk) in [
        (Store::new(bucket().await), false),
        (Store::new(bucket().await).spooled(), true),
    ] {
        let meta = store.head(&location).await.unwrap();
        let pinned = store.pinned(&meta).unwrap().location;
        let found = store.as_object_store().get(&pinned).await.unwrap();
        let is_file = matches!(found.payload, GetResultPayload::File(..));
        assert_eq!(is_file, on_disk);
        assert_eq!(found.bytes().await.unwrap().len() as u64, meta.size);
    }
    let (spec, access) = (spec("arrow/a.arrow", content).await, access(SECRET));
    let source = open(&spec, &access, &declared).await.unwrap();
    let counted = query(&source, "SELECT count(*), max(id) FROM t")
        .await
        .unwrap();
    assert_eq!(counted, [format!("{}|{}", rows * batches, rows - 1)]);
    put("arrow/a.arrow", vec![0; 2_097_152]).await;
    let error = query(&source, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable", "{error:?}");
}

const FILES: Content = Content::Files(Format::Parquet);

#[tokio::test]
async fn objects_and_partitioned_folders_are_read_and_pruned() {
    put("parted/year=2012/a.parquet", parquet(0..2)).await;
    put("parted/year=2013/a.parquet", parquet(2..4)).await;
    put("parted/year=2013/.hidden.parquet", parquet(8..9)).await;
    put("parted/_old/a.parquet", parquet(9..10)).await;
    put("parted-not/year=2014/a.parquet", parquet(7..8)).await;
    let open = async |key: &str| open(&spec(key, FILES).await, &access(SECRET), &declared()).await;
    let one = open("parted/year=2012/a.parquet").await.unwrap();
    assert_eq!(
        query(&one, "SELECT id FROM t ORDER BY id").await.unwrap(),
        ["0", "1"]
    );
    let all = open("parted").await.unwrap();
    let rows = query(
        &all,
        "SELECT year, sum(id) FROM t GROUP BY year ORDER BY year",
    )
    .await;
    assert_eq!(rows.unwrap(), ["2012|1", "2013|5"]);

    let context = SessionContext::new();
    context.register_table("t", all).unwrap();
    let statement = context
        .sql("SELECT id FROM t WHERE year > 2012")
        .await
        .unwrap();
    let plan = statement.create_physical_plan().await.unwrap();
    let plan = displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(plan.matches("a.parquet").count(), 1, "{plan}");
    assert!(!plan.contains(SECRET) && !plan.contains(KEY_ID), "{plan}");

    let error = open("nothing").await.unwrap_err();
    assert!(matches!(error, S3Error::Empty { .. }), "{error}");
    let error = open("nothing.parquet").await.unwrap_err();
    assert!(matches!(error, S3Error::Store { .. }), "{error}");
}

#[tokio::test]
async fn an_object_that_is_replaced_or_gone_is_an_error_until_the_source_is_opened_again() {
    put("swap/a.parquet", parquet(0..3)).await;
    put("swap/b.parquet", parquet(3..6)).await;
    let spec = spec("swap", FILES).await;
    let before = open(&spec, &access(SECRET), &declared()).await.unwrap();
    let sum = "SELECT sum(id) FROM t";
    assert_eq!(query(&before, sum).await.unwrap(), ["15"]);
    let other = parquet(5..8);
    assert_eq!(
        other.len(),
        parquet(0..3).len(),
        "only the etag tells them apart"
    );
    put("swap/a.parquet", other).await;
    let replaced = query(&before, sum).await.unwrap_err();
    assert_eq!(replaced.code(), "source-unavailable", "{replaced:?}");
    let detail = replaced.owner_detail().unwrap();
    assert!(
        detail.contains("replaced") && detail.contains("a.parquet"),
        "{detail}"
    );
    assert!(!replaced.to_string().contains("swap"), "{replaced}");
    let after = open(&spec, &access(SECRET), &declared()).await.unwrap();
    assert_eq!(query(&after, sum).await.unwrap(), ["30"]);
    bucket()
        .await
        .delete(&Path::from("swap/b.parquet"))
        .await
        .unwrap();
    let gone = query(&after, sum).await.unwrap_err();
    assert_eq!(gone.code(), "source-unavailable", "{gone:?}");
}

#[tokio::test]
async fn a_delta_table_in_a_bucket_is_read_as_one_in_a_folder() {
    let endpoint = spec("", FILES).await.endpoint.unwrap();
    let write = "
import sys
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
endpoint, bucket, key, secret = sys.argv[1:]
options = {'AWS_ACCESS_KEY_ID': key, 'AWS_SECRET_ACCESS_KEY': secret, 'AWS_ENDPOINT_URL': endpoint,
           'AWS_ALLOW_HTTP': 'true', 'AWS_REGION': 'us-east-1', 'aws_conditional_put': 'etag'}
table = f's3://{bucket}/delta'
for n in range(12):
    rows = pa.table({'id': pa.array([n], pa.int64()), 'year': pa.array([2012 + n % 2], pa.int32())})
    write_deltalake(table, rows, mode='append', partition_by=['year'], storage_options=options)
    if n == 10:
        DeltaTable(table, storage_options=options).create_checkpoint()
";
    let done = Command::new(python())
        .args(["-c", write, &endpoint, BUCKET, KEY_ID, SECRET])
        .status();
    assert!(done.unwrap().success());
    for (travel, ids) in [(Travel::Newest, "12"), (Travel::Version(4), "5")] {
        let spec = spec("delta", Content::Delta(travel)).await;
        let table = open(&spec, &access(SECRET), &declared()).await.unwrap();
        assert_eq!(
            query(&table, "SELECT count(*) FROM t").await.unwrap(),
            [ids]
        );
        let odd = query(&table, "SELECT min(id) FROM t WHERE year = 2013").await;
        assert_eq!(odd.unwrap(), ["1"]);
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_shown_to_nobody() {
    put("secret/a.parquet", parquet(0..1)).await;
    let spec = spec("secret", FILES).await;
    let wrong = access("canary-wrong");
    let error = open(&spec, &wrong, &declared()).await.unwrap_err();
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{wrong:?}"),
        format!("{spec:?}"),
    ] {
        assert!(
            !text.contains("canary-wrong") && !text.contains(SECRET),
            "{text}"
        );
    }
    let none = Access::default();
    let error = open(&spec, &none, &declared()).await.unwrap_err();
    assert!(
        matches!(error, S3Error::Access(AccessError::NoCredentials)),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_bounded_time() {
    let mut spec = spec("x", FILES).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    spec.endpoint = Some(format!("http://127.0.0.1:{port}"));
    let (access, declared) = (access(SECRET), declared());
    let opened = tokio::time::timeout(BOUND, open(&spec, &access, &declared)).await;
    let error = opened.expect("an answer in bounded time").unwrap_err();
    assert!(matches!(error, S3Error::Store { .. }), "{error}");
}
