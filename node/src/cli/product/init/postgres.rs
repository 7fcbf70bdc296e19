//! A table of a PostgreSQL database.

use serde_json::json;
use tokio_postgres::config::Host;

use super::{Found, Init, WAREHOUSE};
use crate::cli::output::Problem;
use crate::config::Config;
use crate::home::Home;
use crate::products::draft::Origin;
use crate::products::{PostgresServer, PostgresSpec};
use crate::sources::Warehouses;

impl Init {
    /// A table of the database at the location: that of a dbt model, or the one named.
    pub(super) async fn database(
        &self,
        home: &Home,
        model: Option<(&str, &str)>,
    ) -> Result<Found, Problem> {
        let location = self.location.as_deref().unwrap_or_default();
        let at = address(location)?;
        let named = self.table.as_deref();
        let named = named.map(|table| table.split_once('.').unwrap_or(("public", table)));
        let (schema, table) = model.or(named).ok_or_else(|| {
            Problem::usage("which table of the database?").next("--table public.orders")
        })?;
        let host = match at.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => "localhost".to_owned(),
        };
        let server = PostgresServer {
            name: WAREHOUSE.to_owned(),
            host,
            port: at.get_ports().first().copied().unwrap_or(5432),
            database: at
                .get_dbname()
                .ok_or_else(|| Problem::usage("the address names no database"))?
                .to_owned(),
        };
        // The node may not be founded yet: then its configuration has nothing to add.
        let configured = Config::load(&home.config()).ok();
        let mut access = configured
            .and_then(|config| config.sources.get(WAREHOUSE).cloned())
            .unwrap_or_default();
        if let Some(user) = at.get_user() {
            access.username = Some(user.to_owned());
        }
        let warehouses = Warehouses::new(
            [(WAREHOUSE.to_owned(), access)].into(),
            home.path().to_owned(),
        );
        let spec = PostgresSpec {
            server: server.clone(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        let described = warehouses
            .describe(&spec)
            .await
            .map_err(|e| Problem::failed(e.to_string()))?;
        let origin = Origin {
            server: vec![
                ("server", json!(server.name)),
                ("type", json!("postgres")),
                ("host", json!(server.host)),
                ("port", json!(server.port)),
                ("database", json!(server.database)),
                ("schema", json!(schema)),
            ],
            remark: None,
            physical_name: Some(table.to_owned()),
            primary_key: described.primary_key,
            never_null: Some(described.never_null),
            types: described.types,
            unread: described.unread,
            active: self.active,
        };
        Ok((table.to_owned(), origin, described.table))
    }
}

/// `postgres://USER@HOST:PORT/DATABASE` and no more: what else the driver knows
/// there would be ignored, and stands in comity.toml.
fn address(location: &str) -> Result<tokio_postgres::Config, Problem> {
    const FORM: &str = "postgres://USER@HOST:PORT/DATABASE";
    if let Some((_, parameters)) = location.split_once('?') {
        let names: Vec<_> = parameters
            .split('&')
            .filter_map(|parameter| parameter.split('=').next())
            .collect();
        let message = format!(
            "the address has parameters, which are not read: {}",
            names.join(", ")
        );
        return Err(Problem::usage(message).next(format!(
            "{FORM}, with `tls`, `ca_file` and `timeout_seconds` in [sources.{WAREHOUSE}] of comity.toml"
        )));
    }
    let at: tokio_postgres::Config = location
        .parse()
        .map_err(|e| Problem::usage(format!("the address is not {FORM}: {e}")))?;
    if at.get_password().is_some() {
        let message = "a password on the command line can be read by others";
        return Err(
            Problem::usage(message).next("leave it out, and set DATACONTRACT_POSTGRES_PASSWORD")
        );
    }
    if at.get_hosts().len() > 1 {
        return Err(Problem::usage("the address names several hosts").next(FORM));
    }
    match at.get_dbname() {
        Some(name) if !name.contains('/') => Ok(at),
        Some(name) => {
            let message = format!("the database of the address would be called '{name}'");
            let plain = location.trim_end_matches('/');
            Err(Problem::usage(message).next(format!("{plain}, without what follows the database")))
        }
        None => Err(Problem::usage("the address names no database").next(FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_whole_or_refused() {
        assert!(address("postgres://reader@db.example.org:5433/shop").is_ok());
        for (wrong, said) in [
            ("postgres://reader@localhost/shop/", "shop/"),
            (
                "postgres://reader@localhost/shop?sslmode=require",
                "sslmode",
            ),
            ("postgres://reader@localhost/shop?a=1&b=secret", "a, b"),
            ("postgres://reader@a,b/shop", "several hosts"),
            ("postgres://reader@localhost", "no database"),
        ] {
            let refused = format!("{:?}", address(wrong).unwrap_err());
            assert!(
                refused.contains(said) && !refused.contains("secret"),
                "{refused}"
            );
        }
    }
}
