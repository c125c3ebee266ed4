//! Start to exit of the smallest container: Landfall's agent against `crun run` and `runc run` of the same bundle, in turns.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landfall_runtime::client::Agent;
use landfall_runtime_wire::{ContainerEvent, ContainerSpec, ContainerState, Limits, Stdio, UserBlock};
use landfall_tests::{Instance, Run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::table::{Table, middle_half, ms};

/// Many: the kernel makes whoever moves a process to a cgroup wait in steps of 5 ms.
const ROUNDS: usize = 41;

/// Before each: whoever starts a container soon after another finds the kernel's grace period over, and gains by what the other has waited.
const REST: Duration = Duration::from_millis(100);

pub(crate) fn start_against_peers(instance: &Instance, table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let agent = Agent::new(instance.run_dir().join("agent.sock"));
    let stack = runtime.block_on(agent.stacks())?.into_iter().next().context("a stack")?;
    let model = runtime.block_on(agent.start(spec("bench-model", &stack.run_image, &["/bin/sleep", "1000"])?))?;
    let bundle = Bundle::of(instance, "bench-model")?;

    let (mut ours, mut crun, mut runc) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        std::thread::sleep(REST);
        ours.push(runtime.block_on(once(&agent, &stack.run_image, round))?);
        std::thread::sleep(REST);
        crun.push(bundle.run("crun")?);
        std::thread::sleep(REST);
        runc.push(bundle.run("runc")?);
    }
    runtime.block_on(agent.remove(&model.id))?;
    let (ours, crun, runc) = (middle_half(ours), middle_half(crun), middle_half(runc));
    let ratio = |peer: Duration| format!("{:.2}× {}", ours.as_secs_f64() / peer.as_secs_f64(), ms(peer));
    table.row(
        "container start to exit (network, overlay, log included)",
        ms(ours),
        format!("crun {}, runc {}; aim ≤ 1.5× crun", ratio(crun), ratio(runc)),
    );
    Ok(())
}

fn spec(id: &str, image: &str, args: &[&str]) -> Result<ContainerSpec> {
    Ok(ContainerSpec {
        id: id.to_owned().try_into()?,
        // A kind the control plane knows and leaves alone.
        labels: BTreeMap::from([("kind".to_owned(), "bench".to_owned())]),
        image: image.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: Vec::new(),
        cwd: Some("/".into()),
        hostname: "bench".to_owned(),
        user_block: UserBlock(4000),
        limits: Limits {
            memory_bytes: 256 << 20,
            memory_quota_bytes: None,
            cpu_shares: 1024,
            cpu_percent: None,
            pids: 64,
            disk_bytes: None,
            wall_ms: None,
        },
        port: None,
        log: None,
        stdio: Stdio::Log,
        files: Vec::new(),
    })
}

async fn once(agent: &Agent, image: &str, round: usize) -> Result<Duration> {
    let spec = spec(&format!("bench-{round}"), image, &["/bin/true"])?;
    let id = spec.id.clone();
    let mut watch = agent.watch().await?;
    let started = Instant::now();
    agent.start(spec).await?;
    loop {
        match watch.next().await.context("the agent hung up")?? {
            ContainerEvent::Changed { container } if container.id == id && matches!(container.state, ContainerState::Exited(_)) => break,
            ContainerEvent::Removed { id: gone } if gone == id => break,
            _ => {}
        }
    }
    let took = started.elapsed();
    agent.remove(&id).await?;
    Ok(took)
}

/// What the shim of a running container gave to its engine, for another one: the same root, namespaces, ids, mounts, limits and filter.
struct Bundle {
    /// Its mounts are the shim's.
    shim: String,
    dir: TempDir,
}

impl Bundle {
    fn of(instance: &Instance, id: &str) -> Result<Self> {
        let home = instance.run_dir().join("agent/containers").join(id);
        let shim =
            Run::new("pgrep", &["-f", &format!("landfall-shim {}", home.join("config.json").display())]).ok()?.stdout.trim().to_owned();
        let seen = format!("/proc/{shim}/root{}", home.join("bundle/config.json").display());
        let mut config: Value = serde_json::from_slice(&fs::read(&seen).with_context(|| seen)?)?;
        // Init waits for a shim; the program does not.
        config["process"]["args"] = json!(["/bin/true"]);
        config["linux"]["cgroupsPath"] = json!("/landfall-bench-peer");
        let dir = TempDir::new()?;
        fs::write(dir.path().join("config.json"), config.to_string())?;
        Ok(Self { shim, dir })
    }

    fn run(&self, runtime: &str) -> Result<Duration> {
        // The peers refuse a hybrid cgroup set-up unless its empty unified mount is out of their sight.
        let hide = std::path::Path::new("/sys/fs/cgroup/unified").exists();
        let script = if hide { "umount /sys/fs/cgroup/unified; exec \"$@\"" } else { "exec \"$@\"" };
        let bundle = self.dir.path().to_string_lossy();
        // The shell's own start is measured and taken off.
        let timed = |args: &[&str]| -> Result<Duration> {
            let mut all = vec!["--mount", "--target", &self.shim, "unshare", "--mount", "sh", "-c", script, "sh"];
            all.extend(args);
            let started = Instant::now();
            Run::new("nsenter", &all).ok()?;
            Ok(started.elapsed())
        };
        let empty = timed(&["true"])?;
        Ok(timed(&[runtime, "run", "--bundle", &bundle, "landfall-bench-peer"])?.saturating_sub(empty))
    }
}
