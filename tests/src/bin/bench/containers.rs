//! Start to exit of the smallest container: Landfall's agent against `crun run` and `runc run` of the same root, in turns.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landfall_runtime::client::Agent;
use landfall_runtime_wire::{ContainerEvent, ContainerId, ContainerSpec, ContainerState, Limits, Stdio, UserBlock};
use landfall_tests::{Instance, Run};

use crate::table::{Table, median, ms};

const ROUNDS: usize = 15;

pub(crate) fn start_against_peers(instance: &Instance, table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let agent = Agent::new(instance.run_dir().join("agent.sock"));
    let stack = runtime.block_on(agent.stacks())?.into_iter().next().context("a stack")?;
    let layers = runtime.block_on(agent.image(&stack.run_image))?.layers;
    let layer = layers.first().context("a layer")?.diff_id.trim_start_matches("sha256:").to_owned();
    // Instances share base layers by links; runc wants a root that is none.
    let root = instance.data_dir().join("agent/images/layers").join(layer).join("fs").canonicalize()?;
    let bundle = tempfile::TempDir::new()?;
    fs::write(bundle.path().join("config.json"), peer_config(&root.to_string_lossy()))?;

    let (mut ours, mut crun, mut runc) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(runtime.block_on(once(&agent, &stack.run_image, round))?);
        crun.push(peer("crun", bundle.path(), round)?);
        runc.push(peer("runc", bundle.path(), round)?);
    }
    let (ours, crun, runc) = (median(ours), median(crun), median(runc));
    let ratio = |peer: Duration| format!("{:.2}× {}", ours.as_secs_f64() / peer.as_secs_f64(), ms(peer));
    table.row(
        "container start to exit (network, overlay, log included)",
        ms(ours),
        format!("crun {}, runc {}; aim ≤ 1.5× crun", ratio(crun), ratio(runc)),
    );
    Ok(())
}

async fn once(agent: &Agent, image: &str, round: usize) -> Result<Duration> {
    let id = ContainerId::try_from(format!("bench-{round}"))?;
    let spec = ContainerSpec {
        id: id.clone(),
        // A kind the control plane knows and leaves alone.
        labels: BTreeMap::from([("kind".to_owned(), "bench".to_owned())]),
        image: image.to_owned(),
        args: vec!["/bin/true".to_owned()],
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
    };
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

/// The peers refuse a hybrid cgroup set-up unless its empty unified mount is out of their sight.
fn peer(runtime: &str, bundle: &std::path::Path, round: usize) -> Result<Duration> {
    let hide = std::path::Path::new("/sys/fs/cgroup/unified").exists();
    let script = if hide { "umount /sys/fs/cgroup/unified; exec \"$@\"" } else { "exec \"$@\"" };
    let name = format!("landfall-bench-{runtime}-{round}");
    let bundle = bundle.to_string_lossy();
    // The shell's own start is measured and taken off.
    let timed = |args: &[&str]| -> Result<Duration> {
        let mut all = vec!["-m", "sh", "-c", script, "sh"];
        all.extend(args);
        let started = Instant::now();
        Run::new("unshare", &all).ok()?;
        Ok(started.elapsed())
    };
    let empty = timed(&["true"])?;
    Ok(timed(&[runtime, "run", "--bundle", &bundle, &name])?.saturating_sub(empty))
}

fn peer_config(root: &str) -> String {
    let namespaces = ["pid", "mount", "network", "ipc", "uts"].map(|kind| serde_json::json!({ "type": kind }));
    serde_json::json!({
        "ociVersion": "1.0.2",
        "process": { "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "env": ["PATH=/bin:/usr/bin"], "cwd": "/", "noNewPrivileges": true },
        "root": { "path": root, "readonly": true },
        "hostname": "bench",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }
        ],
        "linux": { "namespaces": namespaces, "resources": { "memory": { "limit": 268_435_456 } } }
    })
    .to_string()
}
