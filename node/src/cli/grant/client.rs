//! `comity grant client`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::super::output::{Output, Problem};
use super::file;
use crate::clock;
use crate::flight::{AGREEMENT, GRANT};
use crate::keys::HolderKey;

/// Write what an ordinary Flight client needs to use a grant at the provider.
///
/// The client's certificate and key, the provider's authority, and the headers,
/// each in a file, and an example in Python.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity grant client job.grant --key job.key -o job-client")]
pub(super) struct ClientFiles {
    /// The grant.
    file: PathBuf,
    /// Its holder's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder for the files; made if it does not exist.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

#[derive(Debug, Serialize)]
struct Written {
    folder: PathBuf,
    uri: Option<String>,
    headers: BTreeMap<&'static str, String>,
}

impl ClientFiles {
    pub(super) fn run(self, output: &Output) -> Result<(), Problem> {
        let failed = |e: &dyn std::fmt::Display| Problem::failed(e.to_string());
        let (grant, chain) = file::read(&self.file)?;
        let key = HolderKey::open(&self.key, clock::now()).map_err(|e| failed(&e))?;
        let last = chain.danger_unverified().map_err(|e| failed(&e))?.pop();
        let last = last.ok_or_else(|| failed(&"the grant has no link"))?;
        if last.cnf != key.name().key || last.cert != key.name().certificate {
            return Err(
                failed(&"the grant does not name this key and its certificate")
                    .next("issue or narrow it --to the file that 'comity grant key' printed"),
            );
        }
        let headers = BTreeMap::from([
            (AGREEMENT, last.agr.to_string()),
            (GRANT, grant.links.join(" ")),
        ]);
        let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let headers_json = serde_json::to_string_pretty(&headers).map_err(|e| failed(&e))?;
        std::fs::create_dir_all(&self.output).map_err(|e| failed(&e))?;
        for (name, text) in [
            ("client.pem", pem("CERTIFICATE", key.certificate().der())),
            ("client.key", pem("PRIVATE KEY", key.tls().pkcs8())),
            ("ca.pem", pem("CERTIFICATE", grant.tls_ca.as_bytes())),
            ("headers.json", headers_json),
        ] {
            file::replace(&self.output.join(name), text.as_bytes())?;
        }
        let written = Written {
            folder: self.output,
            uri: grant.addresses.first().map(|a| format!("grpc+tls://{a}")),
            headers,
        };
        output.answer(&written, example);
        Ok(())
    }
}

fn example(written: &Written) -> String {
    let uri = written.uri.as_deref().unwrap_or("grpc+tls://HOST:PORT");
    let folder = written.folder.display();
    format!(
        r#"# pip install adbc-driver-flightsql pyarrow
import json, pathlib
import adbc_driver_flightsql.dbapi as flight_sql
d = pathlib.Path("{folder}")
option = "adbc.flight.sql."
settings = {{option + "rpc.call_header." + k: v for k, v in json.loads((d / "headers.json").read_text()).items()}}
for name, file in [("tls_root_certs", "ca.pem"), ("mtls_cert_chain", "client.pem"), ("mtls_private_key", "client.key")]:
    settings[option + "client_option." + name] = (d / file).read_text()
with flight_sql.connect("{uri}", db_kwargs=settings) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT …")  # PRODUCT.TABLE, as 'comity grant show' names the product
    print(cursor.fetch_arrow_table())
"#
    )
}
