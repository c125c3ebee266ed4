//! CNB lifecycle inside the build container, and the launcher inside the dyno.
//!
//! *Invariant: decides nothing about images; knows no releases, routes, database or network.*

mod build;
mod descriptor;
mod detect;
mod env;
mod files;
mod hints;
mod launch;
pub mod metadata;
mod plan;
pub mod report;
mod sbom;

use std::path::Path;
use std::process::ExitCode;

/// Why a run ended, with the code of the CNB specification.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code: 20 none detected, 21 none detected and some failed, 51 buildpack failed, 52 its output is invalid, 82 launch failed.
    pub code: u8,
    /// For the person who pushed.
    pub message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Runs what the program was started as: `landfall-lifecycle build`, or the launcher by any other name.
pub fn run() -> ExitCode {
    let mut argv = std::env::args_os();
    let program = argv.next().unwrap_or_default();
    let rest: Vec<_> = argv.collect();
    let name = Path::new(&program).file_name().and_then(|n| n.to_str()).unwrap_or("launcher").to_owned();
    let result = match (name.as_str(), rest.first().and_then(|a| a.to_str())) {
        ("landfall-lifecycle", Some("build")) => build::from_environment(),
        ("landfall-lifecycle", Some("launcher")) => launch::run("launcher", &rest[1..]),
        ("landfall-lifecycle", _) => Err(Failure::new(3, "usage: landfall-lifecycle build | landfall-lifecycle launcher [--] COMMAND")),
        (name, _) => launch::run(name, &rest),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            landfall_buildpacks::output::Output::new(std::io::stderr()).problem(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}
