//! How much a query may take.

use std::time::Duration;

/// How much a query may take. `Default` suits a small machine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Partitions of a plan. Default 2.
    pub partitions: usize,
    /// Rows per batch. Default 8192.
    pub batch_rows: usize,
    /// Memory of all queries together, in bytes. Default 512 MiB; plan on 64 MiB per running query.
    pub memory_bytes: usize,
    /// Disk that spilling queries may use together, in bytes. Default 2 GiB.
    pub disk_bytes: u64,
    /// From start to the last row taken. Default 120 s.
    pub deadline: Duration,
    /// Rows that may flow through the joins and leaves of one query. Default 200 million.
    pub max_rows: u64,
    /// Queries that run at once; more wait for their turn. Default 16.
    pub max_queries: usize,
    /// How long one waits before it is answered `busy`. Default 5 s.
    pub wait: Duration,
    /// Whether Parquet evaluates filters while it decodes. Default false: faster only for selective reads of wide files.
    pub parquet_filters: bool,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            partitions: 2,
            batch_rows: 8192,
            memory_bytes: 512 << 20,
            disk_bytes: 2 << 30,
            deadline: Duration::from_secs(120),
            max_rows: 200_000_000,
            max_queries: 16,
            wait: Duration::from_secs(5),
            parquet_filters: false,
        }
    }
}
