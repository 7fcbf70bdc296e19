//! `comity pull`: a product, or a part of it, as a file.

use std::fs::File;

use arrow::array::RecordBatch;
use comity_tests::bench::lineitem;
use comity_tests::streams::Two;
use comity_tests::{Outcome, Three, ask, reaches};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const ROWS: usize = 26_115;

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_pulled_into_a_file_of_each_format() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    let pull = async |file: &str, more: &[&str]| {
        let args = [&["pull", "weather-service/weather", "-o", file], more].concat();
        three.port.run(&args).await
    };
    let said = pull(&path("all.parquet"), &[]).await?;
    assert!(said.contains(&format!("{ROWS} rows")), "{said}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path("all.parquet"))?)?;
    let batches: Vec<RecordBatch> = reader.build()?.collect::<Result<_, _>>()?;
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        ROWS
    );
    assert_eq!(batches[0].num_columns(), 14);

    let some = ["--columns", "origin,temp", "--where", "temp > 90 -- hot"];
    pull(&path("hot.arrow"), &some).await?;
    let reader = arrow::ipc::reader::FileReader::try_new(File::open(path("hot.arrow"))?, None)?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    let hot: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert!(
        hot > 0 && hot < ROWS && batches[0].num_columns() == 2,
        "{hot}"
    );
    pull(&path("hot.csv"), &some).await?;
    let lines = std::fs::read_to_string(path("hot.csv"))?;
    assert_eq!(lines.lines().count(), hot + 1);

    for (file, more, said) in [
        (path("hot.csv"), &[][..], "exists"),
        (path("hot.txt"), &[], "does not end with"),
        (
            path("x.csv"),
            &["--table", "other"],
            "has the tables weather",
        ),
        (path("x.csv"), &["--columns", "visib"], "visib"),
        (path("x.csv"), &["--where", "temp >"], "bad-sql"),
        (path("nowhere/x.csv"), &[], "No such file"),
    ] {
        let failed = pull(&file, more).await.unwrap_err().to_string();
        assert!(failed.contains(said), "{failed}");
    }
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 3);
    Ok(())
}

/// Of an answer that was cut off there is no file that looks like all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cut_off_leaves_nothing() -> Outcome {
    let two = Two::meet(0.2, 16).await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("lineitem.parquet").display().to_string();
    let id = two.agreement.to_string();
    let args = ["pull", "provider/lineitem", "-o", &file];
    let pulling = two.consumer.run(&args);
    let revoking = async {
        // Once a part of it is there.
        two.consumer
            .until("the first rows", || async {
                let begun = std::fs::read_dir(dir.path())
                    .into_iter()
                    .flatten()
                    .flatten();
                let begun = begun.filter_map(|f| f.metadata().ok()).any(|m| m.len() > 0);
                Ok(begun.then_some(()))
            })
            .await?;
        let id = id.trim_start_matches("sha256:");
        two.provider.run(&["revoke", "agreement", id]).await
    };
    let (pulled, revoked) = tokio::join!(pulling, revoking);
    revoked?;
    let said = pulled.unwrap_err().to_string();
    assert!(said.contains("revoked"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

fn rows_of(folder: &std::path::Path) -> Result<usize, Box<dyn std::error::Error>> {
    let mut rows = 0;
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "parquet") {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
            rows += reader.metadata().file_metadata().num_rows() as usize;
        }
    }
    Ok(rows)
}

/// Waits until both nodes are back.
async fn answers(two: &Two) -> Outcome {
    two.consumer
        .until("an answer after the restart", || async {
            let sql = "SELECT 1 FROM provider.lineitem.lineitem LIMIT 1";
            Ok(two.consumer.run(&["sql", sql]).await.ok())
        })
        .await?;
    Ok(())
}

/// A pull into a folder that was cut off goes on where it was, and does not mix
/// what was there before with rows of other data.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_in_partitions_goes_on_after_a_cut() -> Outcome {
    let mut two = Two::meet(0.05, 16).await?;
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("lineitem");
    let shown = folder.display().to_string();
    let pull = [
        "pull",
        "provider/lineitem",
        "--partitions",
        "8",
        "-o",
        &shown,
    ];
    let said = two.consumer.run(&pull).await?;
    assert!(said.contains("in 8 files"), "{said}");
    let all = two
        .consumer
        .run(&[
            "sql",
            "--format",
            "jsonl",
            "SELECT count(*) AS n FROM provider.lineitem.lineitem",
        ])
        .await?;
    let all: serde_json::Value = serde_json::from_str(&all)?;
    let all = all["n"].as_u64().ok_or("no count")? as usize;
    assert_eq!(rows_of(&folder)?, all);
    let files = |folder: &std::path::Path| -> Result<usize, std::io::Error> {
        let sizes = std::fs::read_dir(folder)?.filter_map(|f| f.ok()?.metadata().ok());
        Ok(sizes.filter(|m| m.len() > 20_000).count())
    };
    assert_eq!(files(&folder)?, 3, "it was split at the provider");

    // As after a cut: some are there, and the nodes were restarted since.
    let before = std::fs::read(folder.join("part-00001.parquet"))?;
    for lost in ["part-00000.parquet", "part-00005.parquet"] {
        std::fs::remove_file(folder.join(lost))?;
    }
    for org in [&mut two.provider, &mut two.consumer] {
        org.stop().await?;
        org.start().await?;
    }
    answers(&two).await?;
    let said = two.consumer.run(&pull).await?;
    assert!(
        said.contains("2 files") && said.contains("6 were there"),
        "{said}"
    );
    assert_eq!(rows_of(&folder)?, all);
    assert_eq!(std::fs::read(folder.join("part-00001.parquet"))?, before);

    // Another answer, and other data.
    let other = [&pull[..], &["--columns", "l_orderkey"]].concat();
    let failed = two.consumer.run(&other).await.unwrap_err().to_string();
    assert!(failed.contains("another answer"), "{failed}");
    std::fs::remove_file(folder.join("part-00003.parquet"))?;
    two.provider.stop().await?;
    let source = two.files().join("lineitem.parquet");
    lineitem::write(&source, 0.02).map_err(|e| e.to_string())?;
    two.provider.start().await?;
    answers(&two).await?;
    let failed = two.consumer.run(&pull).await.unwrap_err().to_string();
    assert!(failed.contains("has changed"), "{failed}");
    assert!(!folder.join("part-00003.parquet").exists());
    Ok(())
}
