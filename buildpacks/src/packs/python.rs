//! `landfall/python`: the stack's Python, a virtual environment in a layer, and the app's requirements by pip, uv or poetry.

mod install;
mod uv;
mod version;

use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::command;
use crate::contract::{Build, Problem, Types};

/// The interpreter in build and run image alike: the virtual environment points at it.
const PYTHON: &str = "/usr/bin/python3";
/// Raise when the content of the virtual environment layer changes by our own doing.
const LAYER_SCHEMA: &str = "1";
const MARKS: &[&str] = &[
    "requirements.txt",
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "Pipfile",
    "Pipfile.lock",
    "setup.py",
    "manage.py",
    "runtime.txt",
    ".python-version",
];

/// Who installs, and the files that decide what.
struct Manager {
    name: &'static str,
    files: &'static [&'static str],
}

const MANAGERS: &[(&str, Manager)] = &[
    ("requirements.txt", Manager { name: "pip", files: &["requirements.txt", "constraints.txt"] }),
    ("uv.lock", Manager { name: "uv", files: &["uv.lock", "pyproject.toml"] }),
    ("poetry.lock", Manager { name: "poetry", files: &["poetry.lock", "pyproject.toml"] }),
];

pub(crate) fn detect(app: &Path) -> bool {
    let here = |name: &str| app.join(name).is_file();
    if here("package.json") {
        // A Node.js app may have Python's other marks for its own tools.
        return MANAGERS.iter().any(|(file, _)| here(file)) || here("Pipfile") || here("Pipfile.lock");
    }
    MARKS.iter().any(|m| here(m))
}

pub(crate) fn build(build: &mut Build) -> Result<(), Problem> {
    build.out.step("Python app detected");
    let (full, chosen_by) = version::check(build)?;
    build.out.detail(format!("Using Python {full} of the stack ({chosen_by})"));
    let manager = manager(build)?;
    hook(build, "bin/pre_compile")?;
    let key = key(build, manager, &full)?;
    let types = Types { build: true, launch: true, cache: true };
    build.out.step(format!("Installing dependencies with {}", manager.name));
    if build.layer_is("venv", &key) {
        build.layer_set("venv", types, &key)?;
        build.out.detail("Using cached dependencies");
        keep_caches(build)?;
    } else {
        build.layer_clear("venv")?;
        let venv = build.layer_set("venv", types, "")?;
        install::venv(build, &venv)?;
        install::requirements(build, manager.name, &venv)?;
        install::environment(&venv)?;
        build.layer_set("venv", types, &key)?;
    }
    collectstatic(build)?;
    hook(build, "bin/post_compile")
}

fn manager(build: &Build) -> Result<&'static Manager, Problem> {
    let found: Vec<_> = MANAGERS.iter().filter(|(file, _)| build.app.join(file).is_file()).collect();
    match &found[..] {
        [(_, manager)] => Ok(manager),
        [] if build.app.join("Pipfile").is_file() || build.app.join("Pipfile.lock").is_file() => Err(Problem::new(
            "Pipenv is not supported.\n\nThis app has a Pipfile. Write its packages to a requirements.txt and push again:\n\
             \x20 pipenv requirements > requirements.txt\n  git rm Pipfile Pipfile.lock && git add requirements.txt && git commit",
        )),
        [] => Err(Problem::new(
            "No list of Python packages was found.\n\nAdd one of requirements.txt (pip), uv.lock (run `uv lock`) or poetry.lock (run `poetry lock`)\n\
             to the top directory and push again. An app without packages has an empty requirements.txt.",
        )),
        several => {
            let names: Vec<_> = several.iter().map(|(file, _)| *file).collect();
            Err(Problem::new(format!(
                "Several package managers are in use: {}.\n\nOnly one of these files can decide what is installed.\nRemove the others (`git rm FILE`), commit and push again.",
                names.join(", ")
            )))
        }
    }
}

/// Everything that decides the content of the virtual environment.
fn key(build: &Build, manager: &Manager, full: &str) -> Result<String, Problem> {
    let mut hash = Sha256::new();
    let stack =
        ["CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION", "CNB_TARGET_ARCH"].map(|k| std::env::var(k).unwrap_or_default()).join(" ");
    for part in [LAYER_SCHEMA, manager.name, full, &stack] {
        hash.update(format!("{part}\n"));
    }
    let mut files: Vec<String> = manager.files.iter().map(|f| (*f).to_owned()).collect();
    let mut at = 0;
    while at < files.len() {
        if let Some(text) = build.app_text(&files[at])? {
            hash.update(format!("{}\0{}\0{text}", files[at], text.len()));
            if manager.name == "pip" && text.lines().any(names_local_code) {
                return Ok(String::new()); // Its content can change without this file: never reuse.
            }
            // A requirements file may name others.
            let included = text.lines().filter_map(|l| {
                let l = l.trim();
                let rest = ["-r", "--requirement", "-c", "--constraint"].iter().find_map(|f| l.strip_prefix(f))?;
                Some(rest.trim_start_matches([' ', '=']).split(" #").next()?.trim().to_owned())
            });
            let base = Path::new(&files[at]).parent().map(Path::to_path_buf).unwrap_or_default();
            let included: Vec<_> = included.map(|i| base.join(i).display().to_string()).filter(|i| !files.contains(i)).collect();
            if manager.name == "pip" {
                files.extend(included);
            }
        }
        at += 1;
    }
    Ok(hex::encode(hash.finalize()))
}

/// Whether a requirement is a directory or file of the app, copied into the environment when installed.
fn names_local_code(line: &str) -> bool {
    let line = line.trim();
    line.starts_with(['.', '/']) || line.starts_with("file:") || line.contains("@ file:")
}

/// Says again what the restored cache layers are for, without touching them.
fn keep_caches(build: &Build) -> Result<(), Problem> {
    for name in ["pip-cache", "uv-cache", "poetry-cache", "uv", "poetry"] {
        if build.layer_is(name, install::tool_key(name)) {
            build.layer_set(name, Types { cache: true, ..Types::default() }, install::tool_key(name))?;
        }
    }
    Ok(())
}

fn in_venv(build: &Build, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let bin = build.layers.join("venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(bin).chain(std::env::split_paths(&path));
    if let Ok(joined) = std::env::join_paths(dirs) {
        command.env("PATH", joined);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1").env("LANG", "C.UTF-8");
    command
}

fn hook(build: &mut Build, name: &str) -> Result<(), Problem> {
    let path = build.app.join(name);
    if !path.is_file() {
        return Ok(());
    }
    build.out.step(format!("Running {name} hook"));
    let mut command = in_venv(build, "bash");
    command.arg("--").arg(&path);
    if command::run(build, command)?.ok {
        return Ok(());
    }
    Err(Problem::new(format!("The {name} hook failed.\n\nIts own message is above. Fix {name}, commit and push again.")))
}

fn collectstatic(build: &mut Build) -> Result<(), Problem> {
    let packages = build.layers.join("venv/lib");
    let django = std::fs::read_dir(packages).is_ok_and(|d| d.flatten().any(|e| e.path().join("site-packages/django").is_dir()));
    let disabled = std::env::var("DISABLE_COLLECTSTATIC").is_ok_and(|v| !v.is_empty() && v != "0");
    if !django || !build.app.join("manage.py").is_file() {
        return Ok(());
    }
    build.out.step("Django static files");
    if disabled {
        build.out.detail("Skipped: DISABLE_COLLECTSTATIC is set");
        return Ok(());
    }
    let mut command = in_venv(build, build.layers.join("venv/bin/python"));
    command.args(["manage.py", "collectstatic", "--noinput"]);
    let ran = command::run(build, command)?;
    if ran.ok {
        return Ok(());
    }
    if ran.said.contains("Unknown command: 'collectstatic'") {
        build.out.detail("Skipped: django.contrib.staticfiles is not in INSTALLED_APPS");
        return Ok(());
    }
    Err(Problem::new(
        "Django could not collect the static files.\n\n`python manage.py collectstatic --noinput` failed; its message is above.\n\
         Fix it (often STATIC_ROOT is not set, or a config variable is missing), or switch it off:\n  landfall config:set DISABLE_COLLECTSTATIC=1",
    ))
}
