//! Fills the virtual environment layer.

use std::path::Path;
use std::process::Command;

use super::uv::Uv;
use super::{PYTHON, in_venv};
use crate::command;
use crate::contract::{Build, Problem, Types};

/// The uv and poetry that lockfiles are installed with.
const UV: &str = "uv==0.13.9";
/// With its plugin for mirrors: by itself poetry asks for pypi.org's JSON API, which mirrors do not have.
const POETRY: &str = "poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5";

/// The index of lockfiles that name none.
pub(super) const PYPI: &str = "https://pypi.org/simple";

/// Key of a tool's or cache's layer.
pub(super) fn tool_key(layer: &str) -> &'static str {
    match layer {
        "uv" => UV,
        "poetry" => POETRY,
        _ => "cache",
    }
}

/// An empty virtual environment of the stack's Python.
pub(super) fn venv(build: &mut Build, venv: &Path) -> Result<(), Problem> {
    let mut command = Command::new(PYTHON);
    command.args(["-m", "venv", "--without-pip"]).arg(venv);
    if command::run(build, command)?.ok {
        return Ok(());
    }
    Err(Problem::new(
        "Python could not make a virtual environment; its message is above.\nThe stack's build image should have python3-venv: make the stack again.",
    ))
}

/// Installs what the app asks for.
pub(super) fn requirements(build: &mut Build, manager: &str, venv: &Path) -> Result<(), Problem> {
    let cache = Types { cache: true, ..Types::default() };
    let command = match manager {
        "uv" => {
            let tool = tool(build, "uv", UV)?;
            let cache = build.layer_set("uv-cache", cache, tool_key("uv-cache"))?;
            let uv = Uv { program: tool.join("bin/uv"), cache, venv };
            if Uv::mirrored(build)? { uv.by_mirror(build)? } else { uv.command(build, &["sync", "--locked", "--no-dev"]) }
        }
        "poetry" => {
            let tool = tool(build, "poetry", POETRY)?;
            let cache = build.layer_set("poetry-cache", cache, tool_key("poetry-cache"))?;
            let mut command = in_venv(build, tool.join("bin/poetry"));
            command.args(["sync", "--only", "main", "--no-interaction", "--no-ansi"]);
            command.env("VIRTUAL_ENV", venv).env("POETRY_VIRTUALENVS_CREATE", "false");
            command.env("POETRY_CACHE_DIR", &cache).env("POETRY_CONFIG_DIR", cache.join("config"));
            command.env("POETRY_PYPI_MIRROR_URL", index("PIP_INDEX_URL").unwrap_or_else(|| format!("{PYPI}/")));
            command
        }
        _ => {
            let cache = build.layer_set("pip-cache", cache, tool_key("pip-cache"))?;
            let mut command = pip(build, &cache);
            command.arg("--python").arg(venv.join("bin/python"));
            command.args(["install", "--no-compile", "--progress-bar=off", "--no-input", "-r", "requirements.txt"]);
            command
        }
    };
    if !command::run(build, command)?.ok {
        return Err(Problem::new(format!(
            "The dependencies could not be installed.\n\n{manager}'s own message is above. Usually a package name or version does not exist,\n\
             two packages want different versions of a third, or the lockfile is older than the list.\n\
             Try the same install on your machine, fix the file, commit and push again."
        )));
    }
    let mut compile = in_venv(build, venv.join("bin/python"));
    compile.args(["-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash"]).arg(venv.join("lib"));
    command::run(build, compile)?; // Packages may hold files that are not for this Python; they stay uncompiled.
    Ok(())
}

/// What the dyno's processes see. Written once with the layer.
pub(super) fn environment(venv: &Path) -> Result<(), Problem> {
    let dirs = [
        ("env", [("LANG.default", "C.UTF-8"), ("PYTHONUNBUFFERED.override", "1")]),
        ("env.launch", [("WEB_CONCURRENCY.default", "2"), ("PYTHONHASHSEED.default", "random")]),
    ];
    for (dir, files) in dirs {
        let dir = venv.join(dir);
        std::fs::create_dir_all(&dir).map_err(|e| Problem::io("create", &dir, e))?;
        for (name, value) in files {
            std::fs::write(dir.join(name), value).map_err(|e| Problem::io("write", &dir.join(name), e))?;
        }
    }
    Ok(())
}

/// Another package index than pypi.org, by the variable that names it.
pub(super) fn index(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

/// pip of the build image; PIP_* of the platform stay as they are.
fn pip(build: &Build, cache: &Path) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-m", "pip"]).env("PIP_CACHE_DIR", cache).env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_ROOT_USER_ACTION", "ignore");
    command.current_dir(&build.app);
    command
}

/// uv or poetry in its own cached layer, which the image does not get.
fn tool(build: &mut Build, layer: &str, requirement: &str) -> Result<std::path::PathBuf, Problem> {
    let types = Types { cache: true, ..Types::default() };
    if build.layer_is(layer, requirement) {
        return build.layer_set(layer, types, requirement);
    }
    build.layer_clear(layer)?;
    let path = build.layer_set(layer, types, "")?;
    let cache = build.layer_set("pip-cache", types, tool_key("pip-cache"))?;
    self::venv(build, &path)?;
    let mut command = pip(build, &cache);
    command.arg("--python").arg(path.join("bin/python")).args(["install", "--quiet", "--no-input"]).args(requirement.split(' '));
    if !command::run(build, command)?.ok {
        return Err(Problem::new(format!(
            "{requirement} could not be installed; pip's message is above.\nIs the package index reachable? PIP_INDEX_URL names another one."
        )));
    }
    build.layer_set(layer, types, requirement)
}
