//! Base images from Debian packages: a run image, and a build image that is the run image plus one layer of tools.

mod files;
mod packages;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::image::{ImageConfig, LayerInfo, StackInfo};
use tokio_util::sync::CancellationToken;

use crate::disk::remove_tree;
use crate::fault::{Doing as _, Result, fault};
use crate::overlay::Overlay;
use crate::store::{Store, tree, write_atomic};
use run::{Running, run};

/// What stack to make.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) suite: String,
    pub(crate) mirror: String,
    pub(crate) deadline: Duration,
}

type Lines = tokio::sync::mpsc::Sender<String>;

/// The stacks made so far.
pub(crate) fn read(store: &Store) -> Result<BTreeMap<String, StackInfo>> {
    match std::fs::read(store.root().join("stacks.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::from).doing("reading stacks.json of the image store"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).doing("reading stacks.json of the image store"),
    }
}

/// Makes both images. What was half made is gone on any failure.
pub(crate) fn make(store: &Store, recipe: &Recipe, lines: &Lines, cancel: &CancellationToken) -> Result<StackInfo> {
    let word = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
    };
    let plain = |text: &str| word(text) && text.as_bytes()[0].is_ascii_lowercase();
    if !plain(&recipe.name) || !plain(&recipe.suite) {
        return Err(fault(FaultCode::Invalid, "stack and suite names hold a-z, 0-9, - and . and start with a letter"));
    }
    let running = Running { lines, cancel, until: std::time::Instant::now() + recipe.deadline };
    running.say(format!("Making the run image of Debian {} (this downloads about 60 MB)", recipe.suite));
    let base = store.stage()?;
    bootstrap(&base.fs(), recipe, &running)?;
    files::finish_run(&base.fs())?;
    running.say("Adding the build tools (this downloads about 120 MB)");
    let tools = store.stage()?;
    add_tools(store, &base.fs(), &tools.fs(), &running)?;
    for root in [&base.fs(), &tools.fs()] {
        files::clean(root)?;
    }
    running.say("Storing the layers");
    let (distro_name, distro_version) = files::distro(&base.fs())?;
    let _making = store.making();
    let base = store.layer_commit(base)?;
    let tools = store.layer_commit(tools)?;
    let config = image_config(recipe, &distro_name, &distro_version);
    let image = |kind: &str, layers: &[LayerInfo]| store.image_put(layers, &config, Some(&format!("stack/{}:{kind}", recipe.name)));
    let info = StackInfo {
        name: recipe.name.clone(),
        suite: recipe.suite.clone(),
        run_image: image("run", std::slice::from_ref(&base))?.digest,
        build_image: image("build", &[base.clone(), tools.clone()])?.digest,
        size_bytes: base.size_bytes + tools.size_bytes,
        created_at_ms: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        distro_name,
        distro_version,
    };
    let mut stacks = read(store)?;
    stacks.insert(info.name.clone(), info.clone());
    let bytes = serde_json::to_vec_pretty(&stacks).map_err(std::io::Error::from).doing("writing stacks.json")?;
    write_atomic(&store.root().join("stacks.json"), &bytes)?;
    Ok(info)
}

fn bootstrap(root: &Path, recipe: &Recipe, running: &Running<'_>) -> Result<()> {
    let mut args: Vec<String> = ["--variant=minbase", "--mode=root", "--format=directory", "--components=main"].map(str::to_owned).into();
    args.push(format!("--include={}", packages::run(&recipe.suite).join(",")));
    args.extend(packages::LEAVE_OUT.iter().map(|option| format!("--dpkgopt={option}")));
    args.extend(
        ["--aptopt=Acquire::Retries \"3\"", "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\""]
            .map(str::to_owned),
    );
    // The package lists stay for the build tools and go afterwards.
    args.extend(["--skip=cleanup/apt", "--"].map(str::to_owned));
    args.extend([recipe.suite.clone(), root.display().to_string(), recipe.mirror.clone()]);
    run("mmdebstrap", &args, running)
}

/// apt in the run image's tree; what it writes lands in `tools` alone.
fn add_tools(store: &Store, base: &Path, tools: &Path, running: &Running<'_>) -> Result<()> {
    let temp = tempfile::TempDir::new_in(store.root().join("tmp")).doing("making a directory")?;
    let (work, merged): (PathBuf, PathBuf) = (temp.path().join("work"), temp.path().join("merged"));
    for dir in [&work, &merged] {
        std::fs::create_dir(dir).doing("making a directory")?;
    }
    let overlay =
        Overlay { layers: store.root().to_path_buf(), lowers: vec![base.to_path_buf()], upper: Some((tools.to_path_buf(), work)) };
    let owned = running.to_owned();
    overlay.with(merged, move |root| {
        let running = owned.borrowed();
        files::mount_for_apt(root)?;
        let chroot = |args: &[&str]| {
            let args: Vec<String> = std::iter::once(root.display().to_string()).chain(args.iter().map(|arg| (*arg).to_owned())).collect();
            run("chroot", &args, &running)
        };
        let mut install =
            vec!["apt-get", "install", "--yes", "--no-install-recommends", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root"];
        install.extend(packages::BUILD);
        chroot(&install)
    })?;
    for place in ["proc", "dev", "etc/resolv.conf", "usr/sbin/policy-rc.d"] {
        remove_tree(&tools.join(place))?;
    }
    tree::settle_devices(tools).doing("cleaning the build tools")
}

fn image_config(recipe: &Recipe, distro: &str, version: &str) -> ImageConfig {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
    ImageConfig {
        env: pairs(&[
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/app"),
            ("LANG", "C.UTF-8"),
            ("CNB_USER_ID", "1000"),
            ("CNB_GROUP_ID", "1000"),
            ("CNB_STACK_ID", &recipe.name),
        ]),
        entrypoint: Vec::new(),
        cmd: vec!["/bin/bash".to_owned()],
        working_dir: Some("/app".to_owned()),
        user: Some("1000:1000".to_owned()),
        labels: pairs(&[
            ("io.buildpacks.stack.id", &recipe.name),
            ("io.buildpacks.base.distro.name", distro),
            ("io.buildpacks.base.distro.version", version),
        ])
        .into_iter()
        .collect(),
        exposed_ports: Vec::new(),
    }
}
