//! The example data, inside the program: the demo needs no clone around it.

use std::io;
use std::path::{Path, PathBuf};

/// A file of `examples/`, at the same place below the demo's folder, so that
/// the contracts' relative paths hold in both.
macro_rules! example {
    ($path:literal) => {
        (
            $path,
            include_bytes!(concat!("../../../../examples/", $path)).as_slice(),
        )
    };
}

const FILES: &[(&str, &[u8])] = &[
    example!("data/flights.parquet"),
    example!("data/weather.parquet"),
    example!("data/planes.parquet"),
    example!("data/airlines.parquet"),
    example!("data/airports.parquet"),
    example!("first-exchange/port-authority/flights.odcs.yaml"),
    example!("first-exchange/weather-service/weather.odcs.yaml"),
    example!("first-exchange/aircraft-registry/planes.odcs.yaml"),
    example!("first-exchange/aircraft-registry/airlines.odcs.yaml"),
    example!("first-exchange/aircraft-registry/airports.odcs.yaml"),
];

/// Writes the example files below `dir` and gives the folder of the contracts.
pub(super) fn unpack(dir: &Path) -> io::Result<PathBuf> {
    for (path, bytes) in FILES {
        let path = dir.join("examples").join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(dir.join("examples/first-exchange"))
}
