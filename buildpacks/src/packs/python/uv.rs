//! Installing by uv.lock.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::{PYPI, index};
use super::{PYTHON, in_venv};
use crate::command;
use crate::contract::{Build, Problem};

/// uv, its cache, and the virtual environment it fills.
pub(super) struct Uv<'a> {
    pub program: PathBuf,
    pub cache: PathBuf,
    pub venv: &'a Path,
}

impl Uv<'_> {
    /// uv with these arguments.
    pub(super) fn command(&self, build: &Build, args: &[&str]) -> Command {
        let mut command = in_venv(build, &self.program);
        command.args(args).arg("--no-progress").env("UV_PROJECT_ENVIRONMENT", self.venv).env("UV_CACHE_DIR", &self.cache);
        // The system's trust store: it holds the operator's CA too.
        command.env("UV_NATIVE_TLS", "true");
        command.env("UV_PYTHON", PYTHON).env("UV_PYTHON_DOWNLOADS", "never").env("UV_LINK_MODE", "copy");
        command
    }

    /// Whether packages shall come from another index than the one the lockfile was made with.
    pub(super) fn mirrored(build: &Build) -> Result<bool, Problem> {
        let Some(mirror) = index("UV_DEFAULT_INDEX").filter(|url| url.trim_end_matches('/') != PYPI) else { return Ok(false) };
        let lock = build.app_text("uv.lock")?.unwrap_or_default();
        let names = |url: &str| lock.contains(&format!("registry = \"{}\"", url.trim_end_matches('/')));
        Ok(names(PYPI) && !names(&mirror))
    }

    /// uv takes files from the addresses in the lockfile, not from the mirror; and with another index than the lockfile's it calls the lockfile
    /// old. So the lockfile's packages are first installed from the mirror, by their checksums; nothing is left to download for the command
    /// that is returned, which adds the app itself if it is a package.
    pub(super) fn by_mirror(&self, build: &mut Build) -> Result<Command, Problem> {
        let list = self.cache.join("requirements.txt");
        let mut export =
            self.command(build, &["export", "--locked", "--no-dev", "--no-emit-local", "--no-header", "--quiet", "--output-file"]);
        export.arg(&list).env_remove("UV_DEFAULT_INDEX");
        if !command::run(build, export)?.ok {
            return Err(Problem::new(
                "uv.lock does not fit pyproject.toml; uv's own message is above.\n\nRun `uv lock` on your machine, commit uv.lock and push again.",
            ));
        }
        let mut install = self.command(build, &["pip", "install", "--require-hashes", "--no-deps", "--requirements"]);
        install.arg(&list).arg("--python").arg(self.venv.join("bin/python"));
        let installed = command::run(build, install)?.ok;
        let _ = std::fs::remove_file(&list);
        if !installed {
            return Err(Problem::new(
                "The packages of uv.lock could not be installed from the mirror that UV_DEFAULT_INDEX names; uv's own message is above.",
            ));
        }
        Ok(self.command(build, &["sync", "--frozen", "--no-dev", "--inexact"]))
    }
}
