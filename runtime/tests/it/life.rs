//! Start, stop, attach, exec, deaths of shim and agent, teardown.

use std::time::Duration;

use landfall_runtime::wire::agent::FaultCode;
use landfall_runtime::wire::{ContainerState, LogTarget, Stdio};

use crate::harness::{Instance, drain, exec, exited};

#[tokio::test(flavor = "multi_thread")]
async fn starts_tells_execs_and_stops() {
    let instance = Instance::new().await;
    let mut spec = instance.spec("web-1", &["/bin/httpd", "-f", "-p", "8000", "-h", "/app"]);
    spec.port = Some(8000);
    let info = instance.agent.start(spec.clone()).await.unwrap();
    assert_eq!(info.labels["app"], "a1");
    instance.reach("web-1", |state| *state == ContainerState::Ready).await;
    assert_eq!(instance.agent.start(spec).await.unwrap().ip, info.ip, "the same id gives the same container");

    let (text, code) = exec(&instance, "web-1", &["sh", "-c", "id -u; echo $GREETING; exit 7"]).await;
    assert_eq!((text.as_str(), code), ("1000\nhi\n", 7));
    let stats = instance.agent.stats().await.unwrap();
    assert!(stats.len() == 1 && stats[0].memory_bytes > 0 && stats[0].pids >= 1, "{stats:?}");

    instance.agent.stop(&info.id, Duration::from_millis(500)).await.unwrap();
    assert!(exited(&instance.agent.list().await.unwrap()[0].state));
    instance.agent.remove(&info.id).await.unwrap();
    assert!(instance.agent.list().await.unwrap().is_empty());
    assert!(!instance.config.container_data_dir("web-1").exists() && !instance.config.container_run_dir("web-1").exists());
}

/// Whenever the stop comes: as soon as the container has a name, a description, a shim.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_start_stops() {
    let instance = Instance::new().await;
    for (round, stage) in [".", "config.json", "s"].into_iter().cycle().take(9).enumerate() {
        let spec = instance.spec(&format!("hasty-{round}"), &["sleep", "1000"]);
        let id = spec.id.clone();
        let reached = instance.config.container_run_dir(id.as_str()).join(stage);
        let stop = async {
            while instance.agent.list().await.unwrap().is_empty() || !reached.exists() {}
            let begun = std::time::Instant::now();
            instance.agent.stop(&id, Duration::ZERO).await.unwrap();
            begun.elapsed()
        };
        let (started, took) = tokio::join!(instance.agent.start(spec), stop);
        started.unwrap();
        assert!(took < instance.config.limits.create_timeout / 2, "{stage}: {took:?}");
        assert!(exited(&instance.agent.list().await.unwrap()[0].state));
        instance.agent.remove(&id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_input_comes_back_and_the_status_too() {
    let instance = Instance::new().await;
    let mut spec = instance.spec("run-1", &["sh", "-c", "cat; exit 5"]);
    spec.stdio = Stdio::Pipes;
    let info = instance.agent.start(spec).await.unwrap();
    let mut attached = instance.agent.attach(&info.id).await.unwrap();
    attached.input.write(b"hello\n").await.unwrap();
    attached.input.close().await.unwrap();
    assert_eq!(drain(attached).await, ("hello\n".to_owned(), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_runs_alone_and_is_gone() {
    let instance = Instance::new().await;
    let id = "alone-1".to_owned().try_into().unwrap();
    let args = ["sh", "-c", "exit 9"].map(str::to_owned).into();
    assert_eq!(landfall_runtime::run(&instance.agent, id, "busybox:1", args).await.unwrap(), 9);
    assert!(instance.agent.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_leaves_nothing_and_says_why() {
    let instance = Instance::new().await;
    let mut spec = instance.spec("bad-1", &["true"]);
    spec.image = "nothing:1".to_owned();
    assert_eq!(instance.agent.start(spec).await.unwrap_err().fault_code(), Some(FaultCode::NotFound));
    let mut spec = instance.spec("bad-2", &["true"]);
    spec.env.push(("A=B".to_owned(), String::new()));
    assert_eq!(instance.agent.start(spec).await.unwrap_err().fault_code(), Some(FaultCode::Invalid));
    assert!(instance.agent.list().await.unwrap().is_empty());
    assert!(!instance.config.container_run_dir("bad-2").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_adopts_what_runs_and_hears_it_end() {
    let mut instance = Instance::new().await;
    let info = instance.agent.start(instance.spec("keep-1", &["sleep", "600"])).await.unwrap();
    let short = instance.agent.start(instance.spec("gone-1", &["sleep", "600"])).await.unwrap();
    instance.halt();
    kill_shim(&instance, "gone-1");
    instance.boot().await;
    let gone = instance.reach("gone-1", exited).await;
    assert_eq!(gone.ip, short.ip);
    let kept = instance.reach("keep-1", |state| *state == ContainerState::Ready).await;
    assert_eq!((kept.ip, kept.labels), (info.ip, info.labels.clone()));
    let other = instance.agent.start(instance.spec("new-1", &["sleep", "600"])).await.unwrap();
    assert!(other.ip != info.ip && other.ip != short.ip);
    instance.agent.stop(&info.id, Duration::ZERO).await.unwrap();
    instance.reach("keep-1", exited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_container_with_it() {
    let instance = Instance::new().await;
    instance.agent.start(instance.spec("victim-1", &["sleep", "612"])).await.unwrap();
    kill_shim(&instance, "victim-1");
    let info = instance.reach("victim-1", exited).await;
    assert!(matches!(info.state, ContainerState::Exited(status) if status.code == 137));
    assert!(!processes().iter().any(|line| line.contains("sleep\x00612")), "the container's process is gone");
}

/// Shim and init of different versions are what a broken installation looks like.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_passed_self_test_nothing_starts() {
    let programs = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let mut real = None;
    let instance = Instance::with(|config| {
        std::fs::copy(config.libexec_dir.join("landfall-shim"), programs.path().join("landfall-shim")).unwrap();
        std::fs::copy("/bin/busybox", programs.path().join("landfall-init")).unwrap();
        real = Some(std::mem::replace(&mut config.libexec_dir, programs.path().to_owned()));
    })
    .await;
    let refused = instance.agent.start(instance.spec("early", &["sleep", "600"])).await.unwrap_err().to_string();
    assert!(refused.contains("did not pass its self-test, so no container is started"), "{refused}");
    assert!(instance.agent.list().await.unwrap().is_empty());
    std::fs::copy(real.unwrap().join("landfall-init"), programs.path().join("new")).unwrap();
    std::fs::rename(programs.path().join("new"), programs.path().join("landfall-init")).unwrap();
    instance.agent.start(instance.spec("late", &["sleep", "600"])).await.unwrap();
    let selftests = [instance.config.run_dir.join("agent/selftest"), instance.config.data_dir.join("selftest")];
    assert!(selftests.iter().all(|dir| !dir.exists()), "the self-test cleaned up");
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_leaves_nothing() {
    let mut instance = Instance::new().await;
    instance.agent.start(instance.spec("left-1", &["sleep", "613"])).await.unwrap();
    instance.halt();
    let config = instance.config.clone();
    landfall_runtime::agent::teardown(&config).await.unwrap();
    assert!(!processes().iter().any(|line| line.contains("sleep\x00613")));
    assert!(!std::path::Path::new("/sys/class/net").join(&config.bridge).exists());
    let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&tables.stdout).contains(&config.nft_table));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(instance.dir.path().to_str().unwrap()), "{mounts}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for name in [config.cgroup_parent.clone(), format!("{}-shims", config.cgroup_parent)] {
            assert!(!hierarchy.path().join(&name).exists(), "{} in {}", name, hierarchy.path().display());
        }
    }
    landfall_runtime::agent::teardown(&config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_gives_containers_time_to_end() {
    let mut instance = Instance::new().await;
    let dir = instance.dir.path().join("logs");
    for id in ["polite-1", "polite-2"] {
        let mut spec = instance.spec(id, &["sh", "-c", "trap 'echo told to end; exit' TERM; echo ready; sleep 614 & wait"]);
        spec.log = Some(LogTarget { dir: dir.clone(), source: "app".to_owned(), name: id.to_owned() });
        instance.agent.start(spec).await.unwrap();
    }
    let said = |words: &str| {
        let files = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect::<String>().matches(words).count()
    };
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while said("ready") < 2 {
        assert!(std::time::Instant::now() < until, "they never began");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    instance.halt();
    landfall_runtime::agent::teardown(&instance.config).await.unwrap();
    assert_eq!(said("told to end"), 2);
}

/// As below a unit of systemd's.
#[tokio::test(flavor = "multi_thread")]
async fn containers_may_lie_deep_in_the_cgroup_tree() {
    let unit = format!("lf-test-{}.slice/lf.service", std::process::id());
    let parent = format!("{unit}/dynos");
    let mut instance = Instance::with(|config| config.cgroup_parent.clone_from(&parent)).await;
    let found = |path: &str| {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        hierarchies.chain(["/sys/fs/cgroup".into()]).map(|root| root.join(path)).filter(|dir| dir.is_dir()).collect::<Vec<_>>()
    };
    instance.agent.start(instance.spec("deep-1", &["sleep", "615"])).await.unwrap();
    assert!(!found(&format!("{parent}/deep-1")).is_empty() && !found(&format!("{parent}-shims")).is_empty());
    let stats = instance.agent.stats().await.unwrap();
    assert!(stats[0].memory_bytes > 0, "{stats:?}");
    instance.halt();
    landfall_runtime::agent::teardown(&instance.config).await.unwrap();
    assert_eq!([found(&parent), found(&format!("{parent}-shims"))].concat(), Vec::<std::path::PathBuf>::new());
    // What lies above belongs to whoever made the unit: here, to this test.
    for dir in found(&unit) {
        std::fs::remove_dir(&dir).unwrap();
        std::fs::remove_dir(dir.parent().unwrap()).unwrap();
    }
}

/// Rule S14, for whoever asks for no quota of his own: no container takes all there is.
#[tokio::test(flavor = "multi_thread")]
async fn every_container_has_a_quota_of_the_processor() {
    let instance = Instance::with(|config| config.limits.cpu_percent = 70).await;
    instance.agent.start(instance.spec("quota-1", &["sleep", "615"])).await.unwrap();
    let place = std::path::Path::new(&instance.config.cgroup_parent).join("quota-1");
    let of = |hierarchy: &str, file: &str| {
        let text = std::fs::read_to_string(std::path::Path::new("/sys/fs/cgroup").join(hierarchy).join(&place).join(file)).ok()?;
        Some(text.split_whitespace().map(|number| number.parse::<f64>().unwrap()).collect::<Vec<_>>())
    };
    let (quota, period) = match of("", "cpu.max") {
        Some(both) => (both[0], both[1]),
        None => (of("cpu", "cpu.cfs_quota_us").unwrap()[0], of("cpu", "cpu.cfs_period_us").unwrap()[0]),
    };
    assert!((quota / period - 0.7).abs() < 0.001, "{quota} of {period}");
}

fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok()).collect()
}

/// `kill -9` of the shim whose config is this container's.
fn kill_shim(instance: &Instance, id: &str) {
    let config = instance.config.container_run_dir(id).join("config.json");
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
        if line.contains("landfall-shim") && line.contains(config.to_str().unwrap()) {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
            killed += 1;
        }
    }
    assert!(killed > 0, "found no shim of {id}");
}
