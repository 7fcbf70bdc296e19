//! What a statement is resolved against: the caller's tables, the listed
//! functions, and nothing else (`spec/5-data-plane.md#D-5`).

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::EngineSettings;
use crate::query::View;
use crate::query::gate::Gate;
use crate::query::reduction;
use crate::query::view::SHORT_NAMES;

/// The state of one statement: the caller's catalogs and nothing else.
pub(super) fn state(
    template: &SessionState,
    settings: &EngineSettings,
    view: &View,
) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.partitions.max(1))
        .with_batch_size(settings.batch_rows.max(1))
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(view.default_catalog(), SHORT_NAMES);
    let options = config.options_mut();
    // View types are not read by every client, and announced must equal streamed.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // The optimizer and the planner of the engine differ on whether some values
    // can be null, which made an error of it. Every field is announced as nullable.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.parquet.pushdown_filters = settings.parquet_filters;
    options.execution.parquet.reorder_filters = settings.parquet_filters;
    SessionStateBuilder::new_from_existing(template.clone())
        .with_config(config)
        .with_catalog_list(Arc::clone(view.catalogs()))
        .build()
}

/// A state with the permitted functions only, no table functions and no file formats:
/// what is not registered cannot be named, whatever the gate thinks.
pub(super) fn template(
    gate: &Gate,
    extra: &[Arc<ScalarUDF>],
    environment: Arc<RuntimeEnv>,
) -> SessionState {
    let full = SessionStateBuilder::new().with_default_features().build();
    let keep = |name: &str| gate.permits(name);
    let scalars = full
        .scalar_functions()
        .values()
        .filter(|f| keep(f.name()))
        .cloned();
    let own = scalars.chain([reduction::function()]);
    SessionStateBuilder::new()
        .with_runtime_env(environment)
        .with_expr_planners(full.expr_planners().to_vec())
        .with_scalar_functions(own.chain(extra.iter().cloned()).collect())
        .with_aggregate_functions(
            full.aggregate_functions()
                .values()
                .filter(|f| keep(f.name()))
                .cloned()
                .collect(),
        )
        .with_window_functions(
            full.window_functions()
                .values()
                .filter(|f| keep(f.name()))
                .cloned()
                .collect(),
        )
        .build()
}
