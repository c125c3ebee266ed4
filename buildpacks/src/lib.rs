//! Built-in buildpacks, behind the Cloud Native Buildpacks contract that outside ones obey.
//!
//! *Invariant: touches only the directories it is given; knows no apps, database or HTTP API. `serve` is the file server of `landfall/static`, run in dynos only.*

mod command;
pub mod contract;
mod install;
pub mod output;
pub mod packs;
pub mod procfile;
mod serve;
pub mod shell;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use contract::{Build, Problem};
use output::Output;

/// Runs what the program was started as: a buildpack's `bin/detect` or `bin/build`, `landfall-buildpacks install DIR`, or `landfall-buildpacks serve`.
pub fn run() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let program = argv.first().map(PathBuf::from).unwrap_or_default();
    let result = match (program.file_name().and_then(OsStr::to_str), &argv[1.min(argv.len())..]) {
        (Some("detect"), [_, _]) => {
            return match pack(&program) {
                Some(pack) if (pack.detect)(Path::new(".")) => ExitCode::SUCCESS,
                Some(_) => ExitCode::from(100),
                None => ExitCode::FAILURE,
            };
        }
        (Some("build"), [layers, _, _]) => build(&program, layers),
        (_, [install, dir]) if install == "install" => install::install(Path::new(dir)),
        (_, [serve, rest @ ..]) if serve == "serve" && rest.len() < 2 => serve::run(rest),
        _ => Err(Problem::new(
            "usage: landfall-buildpacks install DIR\n       landfall-buildpacks serve [ROOT]\nThe buildpacks themselves are started as bin/detect and bin/build by the lifecycle.",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            Output::stdout().problem(problem.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Which buildpack `…/<escaped id>/<version>/bin/<phase>` is.
fn pack(program: &Path) -> Option<&'static packs::Pack> {
    let id = program.ancestors().nth(3)?.file_name()?.to_str()?;
    packs::PACKS.iter().find(|p| p.id.replace('/', "_") == id)
}

fn build(program: &Path, layers: &OsStr) -> Result<(), Problem> {
    let pack = pack(program).ok_or_else(|| Problem::new(format!("{} is not the path of a built-in buildpack", program.display())))?;
    let app = std::env::current_dir().map_err(|e| Problem::io("enter", Path::new("the app directory"), e))?;
    (pack.build)(&mut Build { app, layers: layers.into(), out: Output::stdout() })
}
