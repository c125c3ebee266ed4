//! Fills node_modules, runs the app's scripts, and keeps both kinds of node_modules in layers.
//!
//! `modules` is what the dyno gets; `/app/node_modules` is a link to `modules/node_modules`. Apps with a build script also have `dev`: all
//! packages, for the next build. Managers replace a linked node_modules, so they work on a real directory that is moved afterwards.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::Toolbox;
use super::manager::Kind;
use super::package::Package;
use crate::command;
use crate::contract::{Build, Problem, Types};

/// Raise when the content of the layers changes by our own doing.
const LAYER_SCHEMA: &str = "1";
const LAUNCH: Types = Types { build: true, launch: true, cache: true };
const KEPT: Types = Types { build: false, launch: false, cache: true };

/// Makes `/app/node_modules` what `key` says and runs the build script. An empty key: never kept, stays in the app directory.
pub(super) fn run(build: &mut Build, tools: &Toolbox, package: &Package, key: &str) -> Result<(), Problem> {
    let script = ["heroku-postbuild", "build"].into_iter().find(|s| package.script(s).is_some());
    build.out.step(format!("Installing dependencies with {} {}", tools.manager.name(), tools.manager.version));
    let place = build.app.join("node_modules");
    let cached = build.layer_is("modules", key) && (script.is_none() || build.layer_is("dev", key));
    if cached {
        build.out.detail("Using cached node_modules");
        keep_downloads(build, tools)?;
        build.layer_set("modules", LAUNCH, key)?;
        let Some(script) = script else { return link(build, "modules") };
        build.layer_set("dev", KEPT, key)?;
        link(build, "dev")?;
        let before = state(&build.layers.join("dev/node_modules"));
        scripted(build, tools, script)?;
        if state(&build.layers.join("dev/node_modules")) == before {
            return link(build, "modules");
        }
        remove(&place)?;
        copy(&build.layers.join("dev/node_modules"), &place)?;
    } else {
        build.layer_clear("modules")?;
        build.layer_clear("dev")?;
        install(build, tools, script.is_some())?;
        if let Some(script) = script {
            scripted(build, tools, script)?;
            if !key.is_empty() && place.is_dir() {
                build.layer_set("dev", KEPT, "")?;
                copy(&place, &build.layers.join("dev/node_modules"))?;
                build.layer_set("dev", KEPT, key)?;
            }
        }
    }
    if script.is_some() || tools.manager.kind == Kind::Berry {
        prune(build, tools)?;
    }
    if key.is_empty() {
        return Ok(());
    }
    build.layer_clear("modules")?;
    let layer = build.layer_set("modules", LAUNCH, "")?;
    move_into(&place, &layer.join("node_modules"))?;
    build.layer_set("modules", LAUNCH, key)?;
    link(build, "modules")
}

/// Everything that decides what is installed; empty with a word to the reader if node_modules must not be kept.
pub(super) fn key(build: &mut Build, tools: &Toolbox, package: &Package) -> Result<String, Problem> {
    let workspace = build.app_text("pnpm-workspace.yaml")?.is_some_and(|t| t.lines().any(|l| l.starts_with("packages:")));
    let off = std::env::var("NODE_MODULES_CACHE").is_ok_and(|v| v == "false");
    let why = if off {
        Some("NODE_MODULES_CACHE is false".to_owned())
    } else if workspace {
        Some("pnpm-workspace.yaml names packages".to_owned())
    } else {
        package.depends_on_app()
    };
    if let Some(why) = why {
        build.out.detail(format!("node_modules is installed anew at each build: {why}"));
        return Ok(String::new());
    }
    let mut hash = Sha256::new();
    let stack = ["CNB_TARGET_DISTRO_NAME", "CNB_TARGET_DISTRO_VERSION"].map(|k| std::env::var(k).unwrap_or_default()).join(" ");
    let manager = format!("{} {}", tools.manager.name(), tools.manager.version);
    let scripted = ["heroku-postbuild", "build"].iter().any(|s| package.script(s).is_some());
    for part in [LAYER_SCHEMA, &tools.version.to_string(), &manager, &stack, std::env::consts::ARCH, &package.install_parts()] {
        hash.update(format!("{}\0{part}\n", part.len()));
    }
    hash.update(format!("{} {scripted}\n", build.app.display()));
    for file in tools.manager.lockfile.into_iter().chain([".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs"]) {
        if let Some(text) = build.app_text(file)? {
            hash.update(format!("{file}\0{}\0{text}", text.len()));
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// Runs a script of package.json.
pub(super) fn scripted(build: &mut Build, tools: &Toolbox, script: &str) -> Result<(), Problem> {
    build.out.step(format!("Running the {script} script"));
    let mut command = tools.manager(build);
    command.args(["run", script]);
    if command::run(build, command)?.ok {
        return Ok(());
    }
    Err(Problem::new(format!(
        "The {script} script failed.\n\nIts own message is above. Try `{} run {script}` on your machine with Node.js {}, fix it, commit and push again.\n\
         Packages and config variables that only exist on your machine are the usual cause.",
        tools.manager.name(),
        tools.version
    )))
}

fn install(build: &mut Build, tools: &Toolbox, dev: bool) -> Result<(), Problem> {
    let place = build.app.join("node_modules");
    if place.exists() {
        build
            .out
            .warning("node_modules is in the repository; it is replaced. Add it to .gitignore and run `git rm -r --cached node_modules`.");
        remove(&place)?;
    }
    let manager = &tools.manager;
    if manager.lockfile.is_none() {
        let lockfile =
            format!("no lockfile, so each build may get other versions. Run `{} install` and commit the file it writes.", manager.name());
        build.out.warning(lockfile);
    }
    let frozen = manager.lockfile.is_some();
    let downloads = downloads(build, tools)?;
    let mut command = tools.manager(build);
    match manager.kind {
        Kind::Npm => {
            command.arg(if frozen { "ci" } else { "install" }).arg(omit(manager.version.major, dev)).args(["--no-audit", "--no-fund"]);
        }
        Kind::Pnpm => {
            command.args(["install", if frozen { "--frozen-lockfile" } else { "--no-frozen-lockfile" }]);
            command.arg(if dev { "--prod=false" } else { "--prod" }).arg("--store-dir").arg(downloads);
            command.env("CI", "true"); // It must not ask.
        }
        Kind::Yarn => {
            command.args(["install", "--non-interactive", "--no-progress", if dev { "--production=false" } else { "--production" }]);
            command.args(frozen.then_some("--frozen-lockfile"));
        }
        Kind::Berry => {
            command.args(["install", if frozen { "--immutable" } else { "--no-immutable" }]);
        }
    }
    let ran = command::run(build, command)?;
    if ran.ok {
        // Without any package there is none.
        return std::fs::create_dir_all(&place).map_err(|e| Problem::io("create", &place, e));
    }
    let lockfile = manager.lockfile.unwrap_or("package.json");
    let old = ["in sync", "frozen-lockfile", "ERR_PNPM_OUTDATED_LOCKFILE", "YN0028"].iter().any(|m| ran.said.contains(m));
    let hint = if old {
        format!("{lockfile} does not fit package.json. Run `{} install` on your machine, commit {lockfile} and push again.", manager.name())
    } else {
        "Usually a package name or version does not exist, a package does not support this version of Node.js,\n\
         or a package's own install script failed. Try the same install on your machine, commit and push again."
            .to_owned()
    };
    Err(Problem::new(format!("The dependencies could not be installed.\n\n{}'s own message is above. {hint}", manager.name())))
}

fn omit(npm: u64, dev: bool) -> &'static str {
    match (npm >= 7, dev) {
        (true, true) => "--include=dev",
        (true, false) => "--omit=dev",
        (false, true) => "--production=false",
        (false, false) => "--production",
    }
}

fn prune(build: &mut Build, tools: &Toolbox) -> Result<(), Problem> {
    build.out.step("Removing development dependencies");
    let manager = &tools.manager;
    let mut command = tools.manager(build);
    match manager.kind {
        Kind::Npm => {
            command.args(["prune", omit(manager.version.major, false), "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]);
        }
        Kind::Pnpm => {
            command.args(["prune", "--prod"]).env("CI", "true");
        }
        Kind::Yarn => {
            command.args(["install", "--production", "--ignore-scripts", "--prefer-offline", "--non-interactive", "--no-progress"]);
            command.args(manager.lockfile.map(|_| "--frozen-lockfile"));
        }
        Kind::Berry if manager.version.major < 4 => {
            build.out.detail(format!("Kept: Yarn {} cannot do it by itself; Yarn 4 can", manager.version));
            return Ok(());
        }
        Kind::Berry => {
            command.args(["workspaces", "focus", "--all", "--production"]);
        }
    }
    if command::run(build, command)?.ok {
        return Ok(());
    }
    Err(Problem::new(format!("The development dependencies could not be removed; {}'s own message is above.", manager.name())))
}

/// The layer of the manager's downloads, for builds after a change.
pub(super) fn downloads(build: &mut Build, tools: &Toolbox) -> Result<PathBuf, Problem> {
    let key = format!("{} {}", tools.manager.name(), tools.manager.version.major);
    if !build.layer_is("downloads", &key) {
        build.layer_clear("downloads")?;
    }
    build.layer_set("downloads", KEPT, &key)
}

/// Says again what the restored layer is for, without touching it.
fn keep_downloads(build: &mut Build, tools: &Toolbox) -> Result<(), Problem> {
    downloads(build, tools).map(drop)
}

/// Points `/app/node_modules` at a layer.
fn link(build: &Build, layer: &str) -> Result<(), Problem> {
    let place = build.app.join("node_modules");
    remove(&place)?;
    let target = build.layers.join(layer).join("node_modules");
    std::os::unix::fs::symlink(target, &place).map_err(|e| Problem::io("link", &place, e))
}

fn remove(place: &Path) -> Result<(), Problem> {
    let removed = match std::fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(place),
        Ok(_) => std::fs::remove_file(place),
        Err(_) => Ok(()),
    };
    removed.map_err(|e| Problem::io("remove", place, e))
}

/// Moves a directory, also to another file system.
fn move_into(from: &Path, to: &Path) -> Result<(), Problem> {
    if std::fs::rename(from, to).is_ok() {
        return Ok(());
    }
    copy(from, to)?;
    remove(from)
}

fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    let mut command = Command::new("cp");
    command.args(["--archive", "--reflink=auto", "--no-target-directory", "--"]).arg(from).arg(to);
    let ran = command.output().map_err(|e| Problem::new(format!("cannot run cp: {e}")))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(Problem::new(format!("cannot copy node_modules: {}", String::from_utf8_lossy(&ran.stderr).trim_end())))
}

/// Changes with every file that is made, written or removed below `dir`; tools' own caches (`node_modules/.cache`) do not count.
fn state(dir: &Path) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.file_name() != ".cache").collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(found) = entry.metadata() else { continue };
            hash.update(entry.path().as_os_str().as_encoded_bytes());
            if found.is_dir() {
                todo.push(entry.path());
            } else {
                hash.update(format!("\0{} {} {} {}\n", found.ino(), found.size(), found.ctime(), found.ctime_nsec()));
            }
        }
    }
    hash.finalize().into()
}
