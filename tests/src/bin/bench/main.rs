//! `make bench`: what Landfall costs, measured on a Landfall of its own, as ratios where a peer is named, all in one run.
//!
//! These machines are shared: every number is the middle of several, and a ratio is of things measured in turns.

mod containers;
mod deploys;
mod logs;
mod memory;
mod router;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use landfall_tests::{Instance, Options};

use table::Table;

fn main() -> ExitCode {
    match run() {
        Ok(table) => {
            println!("{table}");
            if only().is_some() {
                return ExitCode::SUCCESS;
            }
            match keep(&table) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Into the file of results (first argument) and the page that shows them (second).
fn keep(table: &Table) -> Result<()> {
    let mut files = std::env::args_os().skip(1).map(std::path::PathBuf::from);
    if let Some(results) = files.next() {
        std::fs::write(&results, table.to_json()).with_context(|| format!("writing {}", results.display()))?;
    }
    if let Some(page) = files.next() {
        let text = std::fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
        let text = table::replaced(&text, table).with_context(|| format!("{} has no place for the table", page.display()))?;
        std::fs::write(&page, text).with_context(|| format!("writing {}", page.display()))?;
    }
    Ok(())
}

/// For a look at one part of it: LANDFALL_BENCH_ONLY=router. Then nothing is kept.
fn only() -> Option<String> {
    std::env::var("LANDFALL_BENCH_ONLY").ok().filter(|part| !part.is_empty())
}

fn run() -> Result<Table> {
    type Part = fn(&Instance, &mut Table) -> Result<()>;
    let parts: [(&str, Part); 7] = [
        ("idle", |instance, table| memory::idle(instance, "fresh", table)),
        ("push", deploys::push_to_live),
        ("load", deploys::refused_requests),
        ("containers", containers::start_against_peers),
        ("router", |_, table| router::cost(table)),
        ("logs", logs::throughput),
        ("dynos", memory::by_dyno),
    ];
    let mut table = Table::default();
    let instance = Instance::start(&Options::default())?;
    let only = only();
    for (name, part) in parts {
        if only.as_ref().is_none_or(|only| only == name) {
            part(&instance, &mut table).with_context(|| format!("measuring {name}"))?;
        }
    }
    Ok(table)
}
