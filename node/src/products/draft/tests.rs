use std::path::Path;

use arrow::datatypes::Schema;
use serde_json::json;

use super::*;
use crate::products::{Contract, FileSpec, Format, Status, read};
use crate::sources::files;

async fn drafted(file: &Path, active: bool) -> (Draft, Contract, tempfile::TempDir) {
    let format = match file.extension().and_then(|e| e.to_str()) {
        Some("csv") => Format::Csv,
        _ => Format::Parquet,
    };
    let spec = FileSpec {
        format,
        path: file.canonicalize().unwrap(),
    };
    let table = files::open(&spec, Path::new("/"), &Schema::empty())
        .await
        .unwrap();
    let origin = Origin {
        server: vec![
            ("server", json!("files")),
            ("type", json!("local")),
            ("path", json!(spec.path)),
            ("format", json!(format.name())),
        ],
        remark: None,
        physical_name: None,
        primary_key: Vec::new(),
        never_null: None,
        types: BTreeMap::new(),
        unread: Vec::new(),
        active,
    };
    let name = slug(file.file_stem().unwrap().to_str().unwrap()).unwrap();
    let draft = draft(&name, &origin, &Notes::default(), table)
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("draft.odcs.yaml");
    std::fs::write(&path, &draft.text).unwrap();
    let contract = read(&path).unwrap_or_else(|e| panic!("{e}\n{}", draft.text));
    (draft, contract, dir)
}

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(name)
}

#[tokio::test]
async fn a_draft_of_every_example_passes_the_front_door() {
    for (name, rows) in [
        ("flights.parquet", 336_776),
        ("weather.parquet", 26_115),
        ("planes.parquet", 3_322),
        ("airlines.parquet", 16),
        ("airports.parquet", 1_458),
    ] {
        let (draft, contract, _dir) = drafted(&example(name), false).await;
        assert_eq!(draft.rows, Some(rows), "{name}");
        assert_eq!(contract.status(), Status::Draft);
        assert_eq!(draft.review, [], "{name}");
        assert_eq!(contract.offers().len(), 1);
    }
}

#[tokio::test]
async fn nulls_are_promised_as_they_were_counted() {
    let (_, contract, _dir) = drafted(&example("flights.parquet"), true).await;
    let table = &contract.tables()[0];
    let nullable = |name: &str| {
        let column = table.columns.iter().find(|c| c.name == name);
        column.map(|c| c.nullable).unwrap()
    };
    assert!(!nullable("year"));
    assert!(nullable("dep_time"), "8,255 flights never left");
    assert_eq!(contract.status(), Status::Active);
}

#[tokio::test]
async fn what_may_be_personal_is_neither_served_nor_announced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orders.csv");
    let mut text = "order,reached_at,customer_name,amount,on\n".to_owned();
    for i in 0..40 {
        text.push_str(&format!("{i},mail-{i}@shop.example,\"N. {i}\",{i}.5,x\n"));
    }
    std::fs::write(&file, text).unwrap();
    let (draft, contract, _dir) = drafted(&file, true).await;
    let columns: Vec<_> = draft.review.iter().map(|(c, _)| c.as_str()).collect();
    assert_eq!(columns, ["reached_at", "customer_name"]);
    let served: Vec<_> = contract.tables()[0]
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(served, ["order", "amount", "on"]);
    let public = contract.public().to_string();
    for hidden in ["reached_at", "customer_name", "orders.csv", "shop.example"] {
        assert!(!public.contains(hidden), "{hidden}: {public}");
    }
    assert!(!draft.text.contains("shop.example"), "no value is copied");
    let offered = &contract.offer().unwrap().tables["orders"].columns;
    assert!(!offered.contains("reached_at"));

    // Done as the comment says: the line goes, and the rest still reads.
    let decided: String = draft
        .text
        .lines()
        .filter(|line| !line.contains("property: comityReview"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let path = dir.path().join("decided.odcs.yaml");
    std::fs::write(&path, &decided).unwrap();
    let decided = read(&path).unwrap_or_else(|e| panic!("{e}\n{decided}"));
    assert_eq!(decided.under_review(), []);

    // A role that names such a column is refused, not served without it.
    let wider = draft
        .text
        .replace("columns: [order,", "columns: [reached_at, order,");
    assert_ne!(wider, draft.text);
    let path = dir.path().join("wider.odcs.yaml");
    std::fs::write(&path, wider).unwrap();
    assert!(read(&path).is_err());
}

#[tokio::test]
async fn what_only_the_author_knows_is_told_until_it_is_written() {
    for name in ["airlines.parquet", "weather.parquet"] {
        let (draft, contract, dir) = drafted(&example(name), false).await;
        let unwritten = unwritten(&contract);
        assert_eq!(unwritten.len(), 2, "{unwritten:?}");
        let text = draft
            .text
            .replace("What ", "Who ")
            .replace("One row of", "One");
        let path = dir.path().join("written.odcs.yaml");
        std::fs::write(&path, text).unwrap();
        assert_eq!(super::unwritten(&read(&path).unwrap()), [""; 0]);
    }
}

async fn of_text(name: &str, text: &str) -> Result<Draft, DraftError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.csv");
    std::fs::write(&file, text).unwrap();
    let (_, table) = files::describe(&file).await.unwrap();
    let origin = Origin {
        server: vec![
            ("server", json!("files")),
            ("type", json!("local")),
            ("path", json!("a.csv")),
            ("format", json!("csv")),
        ],
        remark: None,
        physical_name: None,
        primary_key: Vec::new(),
        never_null: None,
        types: BTreeMap::new(),
        unread: Vec::new(),
        active: true,
    };
    draft(name, &origin, &Notes::default(), table).await
}

#[tokio::test]
async fn a_source_without_a_column_to_serve_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "is the file empty?"),
        ("a,b\n", "only a header line?"),
        ("a;b;c\n1;2;3\n", "is ';' the delimiter?"),
        ("a\tb\n1\t2\n", "is '\\t' the delimiter?"),
        ("1,2\n3,4\n", "its name is not"),
    ] {
        let refused = of_text("a", text).await.unwrap_err().to_string();
        assert!(refused.contains(reason), "{text:?}: {refused}");
        assert!(refused.starts_with("no column can be served"), "{refused}");
    }
}

#[tokio::test]
async fn a_product_may_be_called_what_yaml_takes_for_no_text() {
    let draft = of_text("on", "a,b\n1,2\n").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("on.odcs.yaml");
    std::fs::write(&path, &draft.text).unwrap();
    let contract = read(&path).unwrap_or_else(|e| panic!("{e}\n{}", draft.text));
    assert_eq!(contract.name(), "on");
}

/// Recorded with `dbt parse` of dbt 1.11.16, without the texts of the models.
const MANIFEST: &str = include_str!("../fixtures/dbt-manifest-v12.json");

fn noted(model: &str) -> Result<dbt::Model, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, MANIFEST).unwrap();
    dbt::read(&path, model).map_err(|e| e.to_string())
}

#[test]
fn what_a_dbt_project_says_of_a_model_stands_in_its_draft() {
    let model = noted("orders").unwrap();
    assert_eq!(
        (model.table.as_str(), model.notes.major),
        ("orders_v1", Some(1))
    );
    let id = &model.notes.columns["id"];
    assert!(id.never_null && id.unique);
    assert_eq!(
        id.description.as_deref(),
        Some("The number on the invoice.")
    );
    assert_eq!(
        model.notes.columns["state"].values,
        [json!("open"), json!("shipped")]
    );
    assert!(model.notes.columns["reached"].personal);
    assert_eq!(model.notes.left_out.len(), 1, "{:?}", model.notes.left_out);

    let origin = Origin {
        server: vec![
            ("server", json!("warehouse")),
            ("type", json!("postgres")),
            ("host", json!("localhost")),
            ("port", json!(5432)),
            ("database", json!("shop")),
            ("schema", json!("public")),
        ],
        remark: None,
        physical_name: Some(model.table.clone()),
        primary_key: Vec::new(),
        never_null: None,
        types: model.types(),
        unread: Vec::new(),
        active: false,
    };
    let draft = draft_noted("orders", origin, &model.notes);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.odcs.yaml");
    std::fs::write(&path, &draft.text).unwrap();
    let contract = read(&path).unwrap_or_else(|e| panic!("{e}\n{}", draft.text));
    assert_eq!(
        contract.under_review(),
        [("orders".to_owned(), "reached".to_owned())]
    );
    let state = &contract.public()["schema"][0]["properties"][1];
    assert_eq!(
        state["quality"][0]["arguments"]["validValues"],
        json!(["open", "shipped"])
    );
    // Nobody counted, so no count is promised.
    assert!(!draft.text.contains("rowCount"), "{}", draft.text);
}

#[test]
fn a_model_is_named_by_name_version_or_id_and_others_are_told() {
    assert_eq!(noted("orders.v2").unwrap().notes.major, Some(2));
    assert_eq!(noted("model.shop.orders.v2").unwrap().table, "orders_v2");
    // Its access is not public: it is offered to nobody.
    assert!(noted("customers").unwrap().notes.closed);
    let refused = noted("sales").unwrap_err();
    assert!(refused.contains("model.shop.customers"), "{refused}");
}
