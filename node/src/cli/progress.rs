//! Rows as they come, where somebody looks.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A line on standard error while a command waits for rows; gone at the end.
/// How many there will be nobody knows before they are here.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Begins at none; without a terminal nothing is drawn.
    pub(super) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        let style =
            ProgressStyle::with_template("{spinner} {human_pos} rows, {per_sec}, {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Counts rows that came.
    pub(super) fn add(&self, rows: u64) {
        self.0.inc(rows);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
