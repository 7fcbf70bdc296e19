//! The `comity` command.

use std::process::ExitCode;

/// Of ten gigabytes that streamed through, glibc's allocator kept 600 MiB in the
/// node, because threads free what other threads allocated (`bench/memory.md`).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    comity::cli::main()
}
