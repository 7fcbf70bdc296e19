//! `comity product list`.

use crate::admin::Client;
use crate::admin::api;
use crate::cli::output::{Output, Problem, table};
use crate::home::Home;

/// List the products that this organization announces.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product list")]
pub(super) struct List {}

impl List {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let products: Vec<api::Product> =
            Client::new(home.admin_socket()).get("/v1/products").await?;
        output.answer(&products, |products| {
            if products.is_empty() {
                return "nothing is announced; announce a product with 'comity product publish FILE'\n"
                    .to_owned();
            }
            let row = |p: &api::Product| {
                vec![
                    p.product.clone(),
                    p.version.clone(),
                    p.tables.len().to_string(),
                    p.deprecation
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), |end| end.sunset.to_string()),
                    p.description.clone(),
                ]
            };
            let rows: Vec<Vec<String>> = products.iter().map(row).collect();
            table(
                &["PRODUCT", "VERSION", "TABLES", "ENDS", "DESCRIPTION"],
                &rows,
            )
        });
        Ok(())
    }
}
