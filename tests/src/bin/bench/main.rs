//! `make bench`: what Landfall costs, measured on a Landfall of its own, as ratios where a peer is named, all in one run.
//!
//! These machines are shared: every number is a median of several, and a ratio is of things measured in turns.

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

fn run() -> Result<Table> {
    let mut table = Table::default();
    let instance = Instance::start(&Options::default())?;
    memory::idle(&instance, "fresh", &mut table)?;
    deploys::push_to_live(&instance, &mut table)?;
    deploys::refused_requests(&instance, &mut table)?;
    containers::start_against_peers(&instance, &mut table)?;
    router::cost(&mut table)?;
    logs::throughput(&instance, &mut table)?;
    memory::by_dyno(&instance, &mut table)?;
    Ok(table)
}
