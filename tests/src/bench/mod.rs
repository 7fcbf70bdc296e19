//! What the benchmarks share: how a figure is taken and written.

pub mod arrow_server;
pub mod lineitem;
pub mod read;
pub mod served;
pub mod transport;

use std::fmt::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A benchmark's result.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// One way to an answer, which gives the rows of the answer.
pub struct Way<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> Run<'a> + 'a>,
}

type Run<'a> = Pin<Box<dyn Future<Output = Outcome<usize>> + 'a>>;

impl<'a> Way<'a> {
    /// A way that `run` goes each time.
    pub fn new<F>(name: &'static str, mut run: impl FnMut() -> F + 'a) -> Self
    where
        F: Future<Output = Outcome<usize>> + 'a,
    {
        Self {
            name,
            run: Box::new(move || Box::pin(run())),
        }
    }
}

/// The median time of each way, in the order of the ways: all of them in every
/// round, so that what else the machine does meets all alike.
///
/// # Errors
/// What a way fails with; ways that differ in their number of rows.
pub async fn interleaved(
    rounds: usize,
    ways: &mut [Way<'_>],
) -> Outcome<Vec<(&'static str, Duration)>> {
    let mut times = vec![Vec::with_capacity(rounds); ways.len()];
    let mut rows = None;
    // The first round warms caches and is not counted.
    for round in 0..=rounds {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let began = Instant::now();
            let found = (way.run)().await?;
            let took = began.elapsed();
            if *rows.get_or_insert(found) != found {
                return Err(format!("{} gave {found} rows, not {rows:?}", way.name).into());
            }
            if round > 0 {
                times.push(took);
            }
        }
    }
    let medians = ways.iter().zip(times).map(|(way, mut times)| {
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        (way.name, median)
    });
    Ok(medians.collect())
}

/// One row of a table for each question: the time of the first way, and of the
/// others as a multiple of it.
pub fn row(question: &str, times: &[(&'static str, Duration)]) -> String {
    let base = times.first().map_or(0.0, |(_, time)| time.as_secs_f64());
    let mut row = format!("| {question} | {:.0} ms |", base * 1000.0);
    for (_, time) in times.iter().skip(1) {
        let _ = write!(row, " {:.2} |", time.as_secs_f64() / base);
    }
    row.push('\n');
    row
}

/// What was measured where.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) {
        "development"
    } else {
        "release"
    };
    format!(
        "Machine: {cores} cores, Linux, shared with other work; {profile} build; comity {}.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The median of some figures; 0 of none.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

/// Seconds of processor time that a process took.
pub fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let field = |n: usize| after.split(' ').nth(n)?.parse::<f64>().ok();
    // In hundredths of a second: user and system.
    (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / 100.0
}

/// A figure of `/proc/PID/status`, in MiB: `VmRSS`, or `VmHWM` for its peak.
pub fn memory(pid: Option<u32>, key: &str) -> u64 {
    let status = pid.and_then(|p| std::fs::read_to_string(format!("/proc/{p}/status")).ok());
    let status = status.unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// One goal of a benchmark, and what was reached.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is measured.
    pub what: String,
    /// What it should be at least, or at most.
    pub bound: Bound,
    /// What it was.
    pub figure: f64,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// As much or more.
    AtLeast(f64),
    /// As much or less.
    AtMost(f64),
}

/// A part of a report that says which goals were met.
pub fn goals(all: &[Goal]) -> String {
    let mut text = format!("\n{GOALS}\n\n| what | goal | figure | |\n|---|---|---|---|\n");
    for Goal {
        what,
        bound,
        figure,
    } in all
    {
        let (goal, met) = match bound {
            Bound::AtLeast(least) => (format!("at least {least}"), figure >= least),
            Bound::AtMost(most) => (format!("at most {most}"), figure <= most),
        };
        let met = if met { "met" } else { "missed" };
        let _ = writeln!(text, "| {what} | {goal} | {figure:.2} | {met} |");
    }
    text
}

/// The title of [`goals`].
const GOALS: &str = "## Goals";

/// Writes a report to `bench/NAME.md`, prints it, and gathers the goals of all
/// reports in `bench/results.md`.
///
/// # Errors
/// A file that cannot be written.
pub fn report(name: &str, text: &str) -> Outcome {
    println!("{text}");
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../bench"));
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.md")), text)?;
    let mut reports: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| file.ends_with(".md") && file != "results.md")
        .collect();
    reports.sort();
    let mut results = format!(
        "# Results\n\nGathered by `make bench` from the reports beside it. {}\n{}\n",
        machine(),
        versions()?
    );
    for file in reports {
        let report = std::fs::read_to_string(folder.join(&file))?;
        let title = report.lines().next().unwrap_or_default();
        let title = title.trim_start_matches("# ");
        let _ = writeln!(results, "\n## [{title}]({file})");
        if let Some((_, goals)) = report.split_once(GOALS) {
            let goals = goals.split("\n## ").next().unwrap_or_default();
            let _ = writeln!(results, "\n{}", goals.trim());
        }
    }
    Ok(std::fs::write(folder.join("results.md"), results)?)
}

/// What was measured with: of the crates what the lock file names.
fn versions() -> Outcome<String> {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"))?;
    let of = |name: &str| {
        let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", after.split('"').next()?))
    };
    let crates = [
        "arrow-flight",
        "datafusion",
        "tonic",
        "h2",
        "rustls",
        "aws-lc-rs",
    ];
    let crates: Vec<_> = crates.into_iter().filter_map(of).collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|l| l.strip_prefix("model name"));
    let model = model.map_or("", |m| m.trim_start_matches([' ', '\t', ':']));
    Ok(format!(
        "Processor: {model}; kernel {}; {}.",
        kernel.trim().split('-').next().unwrap_or_default(),
        crates.join(", ")
    ))
}
