//! `landfall/nodejs`: the Node.js the app asks for, its packages by npm, Yarn or pnpm, and its build script.

mod install;
mod manager;
mod package;
mod range;
mod registry;
mod version;

use std::path::{Path, PathBuf};
use std::process::Command;

use semver::Version;

use crate::contract::{Build, LaunchProcess, Problem};
use manager::{Kind, Manager};
use package::Package;
use registry::Registry;

/// What the app's packages and scripts are run with.
struct Toolbox {
    version: Version,
    node: PathBuf,
    manager: Manager,
    /// The manager's script, which Node.js runs.
    program: PathBuf,
    npm: PathBuf,
    downloads: PathBuf,
    home: Option<PathBuf>,
}

/// A directory for one build, removed when it ends, however it ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn detect(app: &Path) -> bool {
    app.join("package.json").is_file()
}

pub(crate) fn build(build: &mut Build) -> Result<(), Problem> {
    build.out.step("Node.js app detected");
    let package = Package::of(build)?;
    let scratch = Scratch(build.layers.join(".scratch"));
    let home = scratch.0.join("home");
    std::fs::create_dir_all(&home).map_err(|e| Problem::io("create", &home, e))?;
    let registry = Registry::new(&scratch.0);

    let (version, node) = version::provide(build, &package, &registry)?;
    let manager = Manager::of(build, &package, &version)?;
    if manager.kind == Kind::Berry && build.app_text(".yarnrc.yml")?.is_some_and(|t| t.lines().any(is_pnp)) {
        return Err(Problem::new(
            "Yarn Plug'n'Play is not supported.\n\nWrite `nodeLinker: node-modules` in .yarnrc.yml, run `yarn install`, commit and push again.",
        ));
    }
    let program = manager.provide(build, &registry)?;
    let npm = if manager.kind == Kind::Npm { program.clone() } else { manager::npm(&version)?.provide(build, &registry)? };
    let home = std::env::var_os("HOME").is_none_or(|h| !writable(Path::new(&h))).then_some(home);
    let mut tools = Toolbox { version, node, manager, program, npm, downloads: PathBuf::new(), home };
    tools.downloads = install::downloads(build, &tools)?;

    if package.script("heroku-prebuild").is_some() {
        install::scripted(build, &tools, "heroku-prebuild")?;
    }
    let key = install::key(build, &tools, &package)?;
    install::run(build, &tools, &package, &key)?;
    if package.script("heroku-cleanup").is_some() {
        install::scripted(build, &tools, "heroku-cleanup")?;
    }
    processes(build, &package)
}

impl Toolbox {
    /// The package manager, run by Node.js itself.
    fn manager(&self, build: &Build) -> Command {
        let mut command = Command::new(self.node.join("bin/node"));
        command.arg(&self.program);
        let bins = [Some(self.program.as_path()), Some(self.npm.as_path())].into_iter().flatten().filter_map(Path::parent);
        let own = [build.app.join("node_modules/.bin")].into_iter().chain(bins.map(Path::to_path_buf)).chain([self.node.join("bin")]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Ok(joined) = std::env::join_paths(own.chain(std::env::split_paths(&path))) {
            command.env("PATH", joined);
        }
        if std::env::var_os("NODE_ENV").is_none() {
            command.env("NODE_ENV", "production");
        }
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command.env("npm_config_cache", &self.downloads).env("npm_config_update_notifier", "false").env("npm_config_progress", "false");
        command.env("npm_config_logs_max", "0"); // They would change the layer of downloads at each build.
        command.env("npm_package_config_node_gyp_nodedir", &self.node); // Headers are there: nothing to download.
        if self.manager.kind == Kind::Yarn {
            command.env("YARN_CACHE_FOLDER", &self.downloads);
        }
        if self.manager.kind == Kind::Berry {
            command.env("YARN_GLOBAL_FOLDER", &self.downloads).env("YARN_ENABLE_TELEMETRY", "0").env("YARN_IGNORE_PATH", "1");
            command.env("YARN_NODE_LINKER", "node-modules").env("YARN_ENABLE_PROGRESS_BARS", "0");
            for (ours, theirs) in [("HTTP_PROXY", "YARN_HTTP_PROXY"), ("HTTPS_PROXY", "YARN_HTTPS_PROXY")] {
                if let Some(proxy) = std::env::var_os(ours) {
                    command.env(theirs, proxy);
                }
            }
        }
        if self.manager.kind == Kind::Pnpm {
            // One store for install and prune: with another, prune would make node_modules anew and lose what the build script wrote there.
            command.env("npm_config_store_dir", &self.downloads).env("pnpm_config_store_dir", &self.downloads);
            // The version is chosen already.
            command.env("npm_config_manage_package_manager_versions", "false").env("pnpm_config_manage_package_manager_versions", "false");
        }
        command
    }
}

/// The web process of an app without one in a Procfile. The start script is run as such, so that signals reach the app, unless npm must be there.
fn processes(build: &Build, package: &Package) -> Result<(), Problem> {
    let line = match package.script("start") {
        Some(start) if package.script("prestart").is_some() || package.script("poststart").is_some() || start.contains("npm_") => {
            "npm start"
        }
        Some(start) => start,
        None if build.app.join("server.js").is_file() => "node server.js",
        None => return Ok(()),
    };
    build.launch(&[LaunchProcess {
        kind: "web".into(),
        command: vec!["bash".into(), "-c".into()],
        args: vec![line.to_owned()],
        default: true,
    }])
}

fn is_pnp(line: &str) -> bool {
    line.strip_prefix("nodeLinker:").is_some_and(|v| v.trim().trim_matches(['"', '\'']) == "pnp")
}

fn writable(dir: &Path) -> bool {
    let probe = dir.join(format!(".landfall-{}", std::process::id()));
    std::fs::write(&probe, "").is_ok() && std::fs::remove_file(&probe).is_ok()
}
