//! A throw-away container on the real kernel: busybox for a root, the real shim and init, everything removed at the end of the test.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use landfall_runtime_wire::frame::{self, HEADER, Kind};
use landfall_runtime_wire::shim::{Launched, Process, RootRecipe, ShimConfig, ShimEvent, ShimRequest, ShimStatus};
use landfall_runtime_wire::{ContainerId, ExitStatus, Limits, Stdio};

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_landfall-shim");
const PATIENCE: Duration = Duration::from_secs(20);

/// The static init, built once by the same cargo.
pub(crate) fn init() -> &'static Path {
    static INIT: OnceLock<PathBuf> = OnceLock::new();
    INIT.get_or_init(|| {
        let target = "x86_64-unknown-linux-gnu";
        let flags = format!("target.{target}.rustflags=[\"-C\",\"target-feature=+crt-static\"]");
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "-p", "landfall-init", "--target", target, "--config", &flags])
            .status()
            .unwrap();
        assert!(built.success(), "landfall-init does not build");
        // SHIM is <target dir>/debug/landfall-shim, with or without a target triple between.
        let mut dir = Path::new(SHIM).parent().unwrap().parent().unwrap();
        if dir.ends_with(target) {
            dir = dir.parent().unwrap();
        }
        dir.join(target).join("debug/landfall-init")
    })
}

pub(crate) struct Container {
    pub(crate) config: ShimConfig,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) launched: Option<Launched>,
}

/// Numbers that differ between tests of one run and between runs.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 100 + NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Container {
    pub(crate) fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("layer/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is needed: apt-get install busybox-static");
        for name in [
            "sh", "cat", "sleep", "id", "nc", "stty", "tty", "touch", "dd", "grep", "ls", "true", "kill", "readlink", "yes", "head",
            "sort", "seq",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        for name in ["shim", "container"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let config = ShimConfig {
            id: ContainerId::try_from(format!("test-{}", number())).unwrap(),
            process: Process {
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: vec![("PATH".into(), "/bin".into()), ("GREETING".into(), "hé\nllo".into())],
                cwd: "/".into(),
                uid: 1000,
                gid: 1000,
                additional_gids: vec![],
            },
            hostname: "web-1".into(),
            limits: Limits {
                memory_bytes: 128 << 20,
                memory_quota_bytes: None,
                cpu_shares: 1024,
                cpu_percent: None,
                pids: 64,
                disk_bytes: None,
                wall_ms: None,
            },
            stdio: Stdio::Pipes,
            log: None,
            log_bytes_per_second: None,
            port: None,
            files: vec![],
            root: RootRecipe {
                lowers: vec![at("layer")],
                upper: at("container/upper"),
                work: at("container/work"),
                source: None,
                volatile: true,
            },
            user_base: 1_000_000 + 65_536 * (number() % 1000),
            cgroup_parent: format!("/landfall-shim-tests-{}", number()).into(),
            shim_cgroup: None,
            dir: at("shim"),
            socket: at("socket"),
            exit_file: at("exit"),
            init: init().to_owned(),
            binds: vec![],
            hosts: Some("127.0.0.1 localhost\n".into()),
            resolv_conf: None,
            oci_runtime: None,
        };
        Self { config, dir, launched: None }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        let path = self.dir.path().join("config.json");
        std::fs::write(&path, serde_json::to_vec(&self.config).unwrap()).unwrap();
        path
    }

    /// Creates it; the shim's words if it cannot.
    pub(crate) fn create(&mut self) -> Result<Launched, String> {
        let output = Command::new(SHIM).arg(self.config_file()).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        self.launched = Some(serde_json::from_slice(&output.stdout).unwrap());
        Ok(self.launched.unwrap())
    }

    /// Creates, attaches, starts; everything it said and how it ended.
    pub(crate) fn run(&mut self) -> (String, ExitStatus) {
        self.create().unwrap();
        let mut attached = self.ask(&ShimRequest::Attach);
        assert_eq!(self.answer(&ShimRequest::Start), ShimEvent::Done);
        attached.finish()
    }

    pub(crate) fn start(&mut self) {
        self.create().unwrap();
        assert_eq!(self.answer(&ShimRequest::Start), ShimEvent::Done);
    }

    pub(crate) fn ask(&self, request: &ShimRequest) -> Link {
        let mut link = Link(UnixStream::connect(&self.config.socket).unwrap());
        link.0.set_read_timeout(Some(PATIENCE)).unwrap();
        link.0.write_all(&frame::json(request)).unwrap();
        link
    }

    pub(crate) fn answer(&self, request: &ShimRequest) -> ShimEvent {
        self.ask(request).event()
    }

    pub(crate) fn status(&self) -> ShimStatus {
        match self.answer(&ShimRequest::Status) {
            ShimEvent::Status { status } => status,
            other => panic!("{other:?}"),
        }
    }

    /// Every cgroup directory of its name.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        trees()
            .map(|tree| tree.join(self.config.cgroup_parent.strip_prefix("/").unwrap()).join(self.config.id.as_str()))
            .filter(|path| path.is_dir())
            .collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(launched) = self.launched {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(launched.shim_pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new(SHIM).arg("cleanup").arg(self.config_file()).output();
        for tree in trees() {
            let _ = std::fs::remove_dir(tree.join(self.config.cgroup_parent.strip_prefix("/").unwrap()));
        }
    }
}

/// Where cgroup hierarchies may be mounted.
fn trees() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()])
}

/// One connection to a shim.
pub(crate) struct Link(pub(crate) UnixStream);

impl Link {
    pub(crate) fn frame(&mut self) -> (Kind, Vec<u8>) {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header).unwrap();
        let (kind, length) = frame::parse_header(header).unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (kind, body)
    }

    pub(crate) fn event(&mut self) -> ShimEvent {
        let (kind, body) = self.frame();
        assert_eq!(kind, Kind::Json);
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) fn send(&mut self, kind: Kind, bytes: &[u8]) {
        self.0.write_all(&frame::header(kind, bytes.len())).unwrap();
        self.0.write_all(bytes).unwrap();
    }

    /// Reads output until it holds `text`.
    pub(crate) fn expect(&mut self, text: &str) {
        let mut said = String::new();
        while !said.contains(text) {
            match self.frame() {
                (Kind::Json, body) => assert!(body.windows(8).any(|part| part == b"attached"), "ended before {text:?}: {said}"),
                (_, body) => said.push_str(&String::from_utf8_lossy(&body)),
            }
        }
    }

    /// Reads to the exit.
    pub(crate) fn finish(&mut self) -> (String, ExitStatus) {
        let mut said = String::new();
        loop {
            match self.frame() {
                (Kind::Json, body) => match serde_json::from_slice(&body).unwrap() {
                    ShimEvent::Attached => {}
                    ShimEvent::Exited { status } => return (said, status),
                    other => panic!("{other:?}"),
                },
                (_, body) => said.push_str(&String::from_utf8_lossy(&body)),
            }
        }
    }
}

/// Waits until `done`, at most 20 s.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// A process that runs (a zombie does not).
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}
