//! One whole Landfall: its own folders, bridge, ports, firewall table, cgroups and database.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::http;
use crate::run::{Run, eventually};
use crate::stack;
use crate::volume::Volume;

/// What an instance may differ in.
#[derive(Default)]
pub struct Options {
    /// `--set` pairs beside the harness's own.
    pub set: Vec<(String, String)>,
    /// Start without base images (only the harness itself wants this).
    pub without_stack: bool,
    /// Environment of its processes beside the harness's own.
    pub env: Vec<(String, String)>,
    /// Keep the data on a file system of its own, of so many MiB.
    pub disk_mib: Option<u64>,
}

/// A running Landfall; stopped and removed when dropped.
pub struct Instance {
    dir: PathBuf,
    program: PathBuf,
    config: PathBuf,
    /// Where visitors' requests go.
    pub router: SocketAddr,
    /// Platform API, git over HTTP, dashboard.
    pub api: SocketAddr,
    /// Git over SSH.
    pub ssh: SocketAddr,
    /// Its name in the kernel.
    pub name: String,
    volume: Option<Volume>,
}

/// Where `packaging/test.sh` put the programs.
pub fn root() -> Result<PathBuf> {
    let root = std::env::var_os("LANDFALL_TEST_ROOT").context("LANDFALL_TEST_ROOT is not set; run these tests with: make test")?;
    Ok(PathBuf::from(root))
}

impl Instance {
    /// Starts one and waits until all of it answers.
    pub fn start(options: &Options) -> Result<Self> {
        let root = root()?;
        let (name, dir) = free_name()?;
        let [router, api, ssh] = free_ports()?;
        let (config, program) = (dir.join("landfall.toml"), root.join("bin/landfall"));
        let mut instance = Self { config, program, dir, router, api, ssh, name, volume: None };
        instance.write_config(&root, options)?;
        if let Some(mib) = options.disk_mib {
            instance.volume = Some(Volume::mount(&instance.dir.join("disk.img"), &instance.data_dir(), mib)?);
        }
        if !options.without_stack {
            stack::link_into(&instance.data_dir())?;
        }
        let up = instance.landfall(&["up"]).with(|command| {
            command.envs(options.env.iter().cloned()).env(landfall_failpoint::DIRECTORY, instance.failpoints());
        });
        if let Err(error) = up.ok() {
            let logs = ["supervisor", "agent", "router", "server"].map(|role| format!("--- {role}\n{}", instance.process_log(role)));
            return Err(error.context(logs.join("\n")));
        }
        Ok(instance)
    }

    fn write_config(&self, root: &Path, options: &Options) -> Result<()> {
        let number = u32::from_str_radix(&self.name[1..], 16)?;
        // Test networks are slices of 10.128.0.0/9, far from the default instance's 10.206.0.0/16 … unless chance says otherwise: skip it.
        let (high, low) = (128 + (number >> 8) % 72, number & 0xff);
        let mut text = format!(
            "instance = \"{name}\"\ndata_dir = \"{dir}/data\"\nrun_dir = \"{dir}/run\"\nlibexec_dir = \"{root}/lib/landfall\"\nuser = \"nobody\"\n\
             [api]\nlisten = \"{api}\"\n[ssh]\nlisten = \"{ssh}\"\n[router]\nlisten = \"{router}\"\n[network]\nsubnet = \"10.{high}.{low}.0/24\"\n",
            name = self.name,
            dir = self.dir.display(),
            root = root.display(),
            api = self.api,
            ssh = self.ssh,
            router = self.router,
        );
        if let Some(bundle) = std::env::var_os("SSL_CERT_FILE") {
            text.push_str(&format!("[build]\nca_bundle = \"{}\"\n", Path::new(&bundle).display()));
        }
        fs::write(&self.config, text)?;
        let set: String = options.set.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(self.dir.join("set"), set)?;
        fs::create_dir_all(self.dir.join("home"))?;
        // Whoever dies of one takes it away: also the unprivileged.
        fs::create_dir_all(self.failpoints())?;
        fs::set_permissions(self.failpoints(), fs::Permissions::from_mode(0o777))?;
        Ok(())
    }

    /// The `landfall` program under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its socket folder.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// What one of its processes wrote.
    pub fn process_log(&self, role: &str) -> String {
        fs::read_to_string(self.data_dir().join(format!("log/{role}.log"))).unwrap_or_else(|error| error.to_string())
    }

    /// The logins of its user.
    pub fn credentials(&self) -> PathBuf {
        self.dir.join("home/.config/landfall/credentials.toml")
    }

    /// The environment of its user: own home, own login, own git settings.
    pub fn environment(&self, command: &mut Command) {
        let path = format!("{}:{}", self.program.parent().unwrap_or(&self.dir).display(), std::env::var("PATH").unwrap_or_default());
        command.env("HOME", self.dir.join("home")).env("PATH", path).env("LANDFALL_CONFIG", &self.config).env("GIT_TERMINAL_PROMPT", "0");
        // Nothing of a test's may come back when the machine is started next.
        command.env("LANDFALL_OWN_SUPERVISOR", "1");
        for (key, value) in [("NAME", "A User"), ("EMAIL", "user@example.com")] {
            command.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        for name in ["XDG_CONFIG_HOME", "LANDFALL_API", "LANDFALL_API_KEY", "LANDFALL_APP", "GIT_DIR", "GIT_CONFIG_GLOBAL"] {
            command.env_remove(name);
        }
        for line in fs::read_to_string(self.dir.join("set")).unwrap_or_default().lines() {
            if let Some((key, value)) = line.split_once('=') {
                command.env(format!("LANDFALL_{}", key.to_uppercase().replace('.', "_")), value);
            }
        }
    }

    /// `landfall …` as its user.
    pub fn landfall(&self, args: &[&str]) -> Run {
        Run::new(&self.program, args).with(|command| {
            self.environment(command);
        })
    }

    /// The API token of its user.
    pub fn token(&self) -> Result<String> {
        let login = fs::read_to_string(self.credentials())?;
        let token = login.lines().find_map(|line| line.strip_prefix("token = ")).context("a token")?;
        Ok(token.trim_matches('"').to_owned())
    }

    /// A request to the Platform API with the user's own token.
    pub fn api_request(&self, method: &str, path: &str, body: &str) -> Result<http::Answer> {
        let token = self.token()?;
        let headers = [
            ("Accept", "application/vnd.heroku+json; version=3"),
            ("Content-Type", "application/json"),
            ("Authorization", &format!("Bearer {token}")),
        ];
        http::request(self.api, method, "127.0.0.1", path, &headers, body.as_bytes())
    }

    /// The file system its data is on, where it has one of its own.
    pub fn volume(&self) -> Result<&Volume> {
        self.volume.as_ref().context("the instance was started without disk_mib")
    }

    /// Processes in its containers whose command line holds a word.
    pub fn inside(&self, word: &str) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = process.file_name().to_string_lossy().parse() else { continue };
            let read = |file: &str| fs::read_to_string(process.path().join(file)).unwrap_or_default();
            if read("cmdline").contains(word) && read("cgroup").contains(&format!("/{}/", self.name)) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// The pid of one of its processes.
    pub fn pid(&self, role: &str) -> Result<i32> {
        let note = fs::read_to_string(self.run_dir().join(format!("{role}.pid"))).with_context(|| format!("no note of {role}"))?;
        Ok(note.split(' ').next().unwrap_or_default().parse()?)
    }

    /// SIGKILL to one of its processes; returns once another has taken its place.
    pub fn kill(&self, role: &str) -> Result<()> {
        let old = self.pid(role)?;
        let pid = rustix::process::Pid::from_raw(old).context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        eventually(Duration::from_secs(20), || if self.pid(role)? == old { bail!("{role} is still {old}") } else { Ok(()) })
    }

    fn failpoints(&self) -> PathBuf {
        self.dir.join("failpoints")
    }

    /// The process that passes this failpoint for the `pass`th time from now on dies there, and `others` with it.
    pub fn arm(&self, failpoint: &str, pass: u32, others: &[i32]) -> Result<()> {
        let _ = fs::remove_file(self.failpoints().join(format!("{failpoint}{}", landfall_failpoint::HIT)));
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        // Whole or not at all: somebody may be passing.
        let new = self.dir.join("armed");
        fs::write(&new, format!("{pass} {}", others.join(" ")))?;
        Ok(fs::rename(new, self.failpoints().join(failpoint))?)
    }

    /// Whether a process died at this failpoint since it was armed.
    pub fn died_at(&self, failpoint: &str) -> bool {
        self.failpoints().join(format!("{failpoint}{}", landfall_failpoint::HIT)).exists()
    }

    /// Forgets every failpoint that is armed.
    pub fn disarm(&self) -> Result<()> {
        for armed in fs::read_dir(self.failpoints())?.flatten() {
            let _ = fs::remove_file(armed.path());
        }
        Ok(())
    }

    /// Waits until the API answers.
    pub fn api_answers(&self) -> Result<()> {
        eventually(Duration::from_secs(20), || {
            let answer = http::get(self.api, "127.0.0.1", "/health")?;
            if answer.status == 200 { Ok(()) } else { bail!("{answer:?}") }
        })
    }

    /// What the instance holds on this machine now: processes (by command line, helpers' numbers left out), mounts, cgroups, network devices,
    /// containers' folders, sources of builds, git's quarantines. What comes with a piece of work must go with it.
    pub fn holdings(&self) -> Result<BTreeSet<String>> {
        let mut holdings = BTreeSet::new();
        for trace in self.traces()? {
            let (kind, rest) = trace.split_once(' ').unwrap_or((&trace, ""));
            match kind {
                // `process 4711: command …`: the same command of another process is the same thing.
                "process" => drop(holdings.insert(format!("process {}", rest.split_once(": ").map_or(rest, |(_, command)| command)))),
                "cgroup" => holdings.extend(folders(Path::new(rest), 3).into_iter().map(|path| format!("cgroup {path}"))),
                // `link 7: t1234-9@if2: <…> …`: names only.
                "link" => drop(holdings.insert(format!("link {}", rest.split(": ").nth(1).unwrap_or(rest)))),
                _ => drop(holdings.insert(trace.clone())),
            }
        }
        for parent in ["data/agent/containers", "run/agent/containers"] {
            holdings.extend(folders(&self.dir.join(parent), 1).into_iter().map(|path| format!("folder {path}")));
        }
        let sources = folders(&self.dir.join("data/builds"), 2).into_iter().filter(|path| path.ends_with("/source"));
        let quarantines = folders(&self.dir.join("data/git"), 3).into_iter().filter(|path| path.contains("tmp_objdir-"));
        holdings.extend(sources.chain(quarantines).map(|path| format!("folder {path}")));
        Ok(holdings)
    }

    /// Everything in the kernel and among processes that carries this instance's name, and its sockets.
    pub fn traces(&self) -> Result<Vec<String>> {
        let mut traces = Vec::new();
        let mine = self.dir.to_string_lossy().into_owned();
        for process in fs::read_dir("/proc")?.flatten() {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&mine) && process.file_name().to_string_lossy() != std::process::id().to_string() {
                traces.push(format!("process {}: {command}", process.file_name().to_string_lossy()));
            }
        }
        traces.extend(
            fs::read_to_string("/proc/self/mounts")?.lines().filter(|line| line.contains(&mine)).map(|line| format!("mount {line}")),
        );
        let links = Run::new("ip", &["-o", "link"]).ok()?.stdout;
        traces.extend(links.lines().filter(|line| line.contains(&format!(" {}", self.name))).map(|line| format!("link {line}")));
        let tables = Run::new("nft", &["list", "tables"]).ok()?.stdout;
        traces.extend(tables.lines().filter(|line| line.ends_with(&format!(" {}", self.name))).map(|line| format!("nft {line}")));
        for file in fs::read_dir(self.run_dir()).into_iter().flatten().flatten() {
            if file.file_type()?.is_socket() {
                traces.push(format!("socket {}", file.path().display()));
            }
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
            let path = hierarchy.path().join(&self.name);
            if path.exists() {
                traces.push(format!("cgroup {}", path.display()));
            }
        }
        Ok(traces)
    }
}

/// Directories below one, so many levels deep.
fn folders(dir: &Path, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.push(entry.path().to_string_lossy().into_owned());
        if depth > 1 {
            found.extend(folders(&entry.path(), depth - 1));
        }
    }
    found
}

impl Drop for Instance {
    fn drop(&mut self) {
        let down = self.landfall(&["down"]).done();
        let asked_for = std::env::var_os("LANDFALL_TEST_KEEP").is_some();
        if asked_for {
            std::mem::forget(self.volume.take());
        }
        // Before its folder: a mount must not stay, whatever else does, unless a person wants to look into it.
        drop(self.volume.take());
        if std::thread::panicking() || asked_for || !down.is_ok_and(|done| done.code == 0) {
            eprintln!("kept for a look: {}", self.dir.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A name no other instance has: made by making its folder. Folders are short, because socket paths are limited.
fn free_name() -> Result<(String, PathBuf)> {
    for _ in 0..100 {
        let random = fs::read("/proc/sys/kernel/random/uuid")?;
        let name = format!("t{}", String::from_utf8_lossy(&random[..4]));
        let dir = std::env::temp_dir().join(format!("landfall-{name}"));
        if fs::create_dir(&dir).is_ok() {
            return Ok((name, dir));
        }
    }
    bail!("no free name in a hundred tries")
}

fn free_ports() -> Result<[SocketAddr; 3]> {
    let bound = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = Vec::new();
    for listener in bound {
        ports.push(listener?.local_addr()?);
    }
    Ok([ports[0], ports[1], ports[2]])
}
