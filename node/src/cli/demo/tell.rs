//! How the demo talks: numbered steps with times, a spinner while one runs.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::output::{Output, printable};

/// Prints steps as they happen, or collects them for `--json`.
pub(super) struct Teller<'a> {
    output: &'a Output,
    start: Instant,
    steps: Vec<Step>,
}

/// One step of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// What was done.
    title: String,
    /// How long it took.
    milliseconds: u128,
    /// What came of it.
    lines: Vec<String>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self {
            output,
            start: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Runs one step, showing that it runs, and prints its outcome.
    pub(super) async fn step<T, E>(
        &mut self,
        title: &str,
        work: impl Future<Output = Result<(T, Vec<String>), E>>,
    ) -> Result<T, E> {
        let number = self.steps.len() + 1;
        let spinner = self.spinner(number, title);
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        spinner.finish_and_clear();
        let (value, lines) = result?;
        if !self.output.is_json() {
            println!("{number:>2}. {title}  [{}]", human(took));
            for line in &lines {
                for part in printable(line).lines() {
                    println!("      {part}");
                }
            }
        }
        self.steps.push(Step {
            title: title.to_owned(),
            milliseconds: took.as_millis(),
            lines,
        });
        Ok(value)
    }

    /// Says how long everything took.
    pub(super) fn end(self, kept: Option<serde_json::Value>) {
        let total = self.start.elapsed();
        let value = serde_json::json!({
            "steps": self.steps, "milliseconds": total.as_millis(), "nodes": kept,
        });
        self.output
            .answer(&value, |_| format!("\nDone in {}.", human(total)));
    }

    fn spinner(&self, number: usize, title: &str) -> ProgressBar {
        if self.output.is_json() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(format!("{number:>2}. {title}"));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }
}

fn human(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..10_000 => format!("{ms} ms"),
        ms => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}
