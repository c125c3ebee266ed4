//! One isolated agent per test, taken down whatever happens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use landfall_runtime::client::Agent;
use landfall_runtime::wire::{ContainerId, ContainerInfo, ContainerSpec, ContainerState, Limits, LogTarget, Stdio, UserBlock};
use landfall_runtime::{AgentConfig, Subnet};
use tokio_util::sync::CancellationToken;

static NEXT: AtomicU8 = AtomicU8::new(0);

/// An agent, its files and its names in the kernel.
pub(crate) struct Instance {
    pub(crate) config: AgentConfig,
    pub(crate) agent: Agent,
    pub(crate) dir: tempfile::TempDir,
    running: Option<(CancellationToken, std::thread::JoinHandle<()>)>,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("lfrt").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let index = (std::process::id() % 32_768) * 16 + u32::from(number % 16);
        let first = std::net::Ipv4Addr::from(u32::from(std::net::Ipv4Addr::new(10, 128, 0, 0)) + index * 16);
        let subnet: Subnet = format!("{first}/28").parse().unwrap();
        let name = format!("t{:x}{number}", std::process::id() % 65_536);
        let mut config = AgentConfig { libexec_dir: libexec(), ..AgentConfig::isolated(&name, dir.path(), subnet) };
        change(&mut config);
        let agent = Agent::new(config.socket());
        let mut instance = Self { config, agent, dir, running: None };
        instance.boot().await;
        instance.agent.image_import("busybox:1", busybox(instance.dir.path())).await.unwrap();
        instance
    }

    /// Runs the agent on a runtime of its own, so that it can be dropped as if killed.
    pub(crate) async fn boot(&mut self) {
        let shutdown = CancellationToken::new();
        let (config, token) = (self.config.clone(), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(landfall_runtime::agent::run(config, token)).unwrap();
        });
        self.running = Some((shutdown, thread));
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while self.agent.ping().await.is_err() {
            assert!(std::time::Instant::now() < until, "the agent did not come up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn halt(&mut self) {
        if let Some((shutdown, thread)) = self.running.take() {
            shutdown.cancel();
            let _panicked = thread.join();
        }
    }

    pub(crate) fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId::try_from(id.to_owned()).unwrap(),
            labels: [("app".to_owned(), "a1".to_owned())].into(),
            image: "busybox:1".to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("GREETING".to_owned(), "hi".to_owned())],
            cwd: None,
            hostname: id.to_owned(),
            user_block: UserBlock(1),
            limits: limits(),
            port: None,
            log: None,
            stdio: Stdio::Log,
            files: Vec::new(),
        }
    }

    /// A container that logs.
    pub(crate) fn logging(&self, id: &str, script: &str) -> ContainerSpec {
        let log = LogTarget { dir: self.dir.path().join("logs").join(id), source: "app".to_owned(), name: "web.1".to_owned() };
        ContainerSpec { log: Some(log), ..self.spec(id, &["sh", "-c", script]) }
    }

    /// All that such a container's log says.
    pub(crate) fn log(&self, id: &str) -> String {
        let files = std::fs::read_dir(self.dir.path().join("logs").join(id)).into_iter().flatten().flatten();
        files.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()).collect()
    }

    /// Waits for a state by the agent's events.
    pub(crate) async fn reach(&self, id: &str, good: impl Fn(&ContainerState) -> bool) -> ContainerInfo {
        let work = async {
            let mut watch = self.agent.watch().await.unwrap();
            loop {
                let containers = match watch.next().await.unwrap().unwrap() {
                    landfall_runtime::wire::ContainerEvent::Snapshot { containers } => containers,
                    landfall_runtime::wire::ContainerEvent::Changed { container } => vec![container],
                    landfall_runtime::wire::ContainerEvent::Removed { .. } => continue,
                };
                if let Some(found) = containers.into_iter().find(|info| info.id.as_str() == id && good(&info.state)) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.expect("the state came in time")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.halt();
        let config = self.config.clone();
        let teardown = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(landfall_runtime::agent::teardown(&config))
        });
        let result = teardown.join();
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        memory_quota_bytes: None,
        cpu_shares: 256,
        cpu_percent: None,
        pids: 64,
        disk_bytes: None,
        wall_ms: None,
    }
}

pub(crate) fn exited(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Exited(_))
}

/// Shim and init, built once for all tests.
fn libexec() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let target = "x86_64-unknown-linux-gnu";
            let flags = format!("target.{target}.rustflags=[\"-C\",\"target-feature=+crt-static\"]");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
            cargo.args(["build", "--quiet", "--target", target, "--config", &flags, "-p", "landfall-shim", "-p", "landfall-init"]);
            assert!(cargo.status().unwrap().success(), "shim and init must build");
            let target_dir = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
            target_dir.join(target).join("debug")
        })
        .clone()
}

/// A root file system of busybox alone.
fn busybox(dir: &Path) -> PathBuf {
    let root = dir.join("rootfs");
    for part in ["bin", "etc", "proc", "sys", "dev", "tmp", "app", "root"] {
        std::fs::create_dir_all(root.join(part)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("apt-get install busybox-static");
    for tool in [
        "sh", "cat", "echo", "sleep", "nc", "wget", "nslookup", "id", "ls", "mkdir", "touch", "dd", "rm", "ip", "kill", "test", "true",
        "stty", "httpd", "trap", "ln", "truncate",
    ] {
        let _there = std::os::unix::fs::symlink("busybox", root.join("bin").join(tool));
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::chown(root.join("app"), Some(1000), Some(1000)).unwrap();
    root
}

/// Output and exit code of a command run in a container.
pub(crate) async fn exec(instance: &Instance, id: &str, args: &[&str]) -> (String, i32) {
    let spec =
        landfall_runtime::wire::ExecSpec { args: args.iter().map(|arg| (*arg).to_owned()).collect(), env: Vec::new(), terminal: None };
    let attached = instance.agent.exec(&ContainerId::try_from(id.to_owned()).unwrap(), spec).await.unwrap();
    drain(attached).await
}

pub(crate) async fn drain(mut attached: landfall_runtime::client::Attached) -> (String, i32) {
    use landfall_runtime::client::Output;
    let mut text = Vec::new();
    let work = async {
        loop {
            match attached.output.next().await.unwrap() {
                Output::Stdout(bytes) | Output::Stderr(bytes) => text.extend_from_slice(&bytes),
                Output::Exited(status) => return status.code,
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(30), work).await.expect("it ended in time");
    (String::from_utf8_lossy(&text).into_owned(), code)
}
