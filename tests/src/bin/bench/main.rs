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

use anyhow::Result;
use landfall_tests::{Instance, Options};

use table::Table;

fn main() -> ExitCode {
    match run() {
        Ok(table) => {
            println!("{table}");
            if let Some(file) = std::env::args_os().nth(1)
                && let Err(error) = std::fs::write(&file, table.to_json())
            {
                eprintln!("writing {}: {error}", file.display());
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Table> {
    let mut table = Table::default();
    let instance = Instance::start(&Options::default())?;
    memory::idle(&instance, &mut table)?;
    deploys::push_to_live(&instance, &mut table)?;
    deploys::refused_requests(&instance, &mut table)?;
    containers::start_against_peers(&instance, &mut table)?;
    router::cost(&mut table)?;
    logs::throughput(&instance, &mut table)?;
    memory::by_dyno(&instance, &mut table)?;
    Ok(table)
}
