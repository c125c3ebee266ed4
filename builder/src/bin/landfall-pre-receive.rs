//! The hooks as a program of their own, for installations that do not link them to `landfall`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    landfall_builder::hook::run(name).unwrap_or(ExitCode::FAILURE)
}
