//! Runs every call that must be refused in a throw-away container and says which were not: libcontainer skips names it does not know,
//! so only trying tells.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landfall_runtime_wire::frame::{self, HEADER, Kind};
use landfall_runtime_wire::shim::{Process, RootRecipe, ShimConfig, ShimEvent, ShimRequest};
use landfall_runtime_wire::{ContainerId, Limits, Stdio};

/// Host ids of the throw-away container: the last block below the reserved top of the 32-bit range.
const USER_BASE: u32 = 2_000_000_000;
/// A container that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the throw-away container is made.
pub(crate) struct Places {
    /// The static init.
    pub(crate) init: PathBuf,
    /// An empty directory that everybody can walk to, as containers' run-time directories are.
    pub(crate) run: PathBuf,
    /// An empty directory on the disk that holds containers' roots.
    pub(crate) data: PathBuf,
}

/// Prints the outcome; `Err` = the sandbox is not what it must be.
pub(crate) fn run(places: &Places, cgroup_parent: &str, oci_runtime: Option<&Path>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut config = config(places)?;
    config.cgroup_parent = cgroup_parent.into();
    config.oci_runtime = oci_runtime.map(Path::to_owned);
    for dir in [&config.dir, &places.data.join("lower")] {
        std::fs::create_dir_all(dir).map_err(text)?;
    }
    let file = places.run.join("config.json");
    std::fs::write(&file, serde_json::to_vec(&config).map_err(|error| error.to_string())?).map_err(text)?;
    let me = std::env::current_exe().map_err(text)?;
    let launched = std::process::Command::new(me).arg(&file).output().map_err(text)?;
    if !launched.status.success() {
        return Err(String::from_utf8_lossy(&launched.stderr).trim().to_owned());
    }
    let outcome = converse(&config);
    let _ = ask(&config.socket, &ShimRequest::Stop { grace_ms: 0 }).and_then(|mut socket| read(&mut socket).map(drop));
    let _ = ask(&config.socket, &ShimRequest::Quit).and_then(|mut socket| read(&mut socket).map(drop));
    let (code, said) = outcome.map_err(text)?;
    print!("{said}");
    if code == 0 {
        Ok(())
    } else {
        Err(format!("the sandbox lets through what it must refuse (code {code}); do not run apps with this build\n{said}"))
    }
}

fn config(places: &Places) -> Result<ShimConfig, String> {
    let (run, data) = (|name: &str| places.run.join(name), |name: &str| places.data.join(name));
    let number = std::process::id();
    let probe = vec![crate::spec::INIT.to_owned(), "probe".to_owned()];
    Ok(ShimConfig {
        id: ContainerId::try_from(format!("selftest-{number}")).map_err(|error| error.to_string())?,
        process: Process { args: probe, env: Vec::new(), cwd: PathBuf::from("/"), uid: 1000, gid: 1000, additional_gids: Vec::new() },
        hostname: "selftest".into(),
        limits: Limits {
            memory_bytes: 64 << 20,
            memory_quota_bytes: None,
            cpu_shares: 1024,
            cpu_percent: None,
            pids: 16,
            disk_bytes: None,
            wall_ms: Some(10_000),
        },
        stdio: Stdio::Pipes,
        log: None,
        log_bytes_per_second: None,
        port: None,
        files: Vec::new(),
        root: RootRecipe { lowers: vec![data("lower")], upper: data("upper"), work: data("work"), source: None, volatile: true },
        user_base: USER_BASE,
        cgroup_parent: PathBuf::from("/"),
        shim_cgroup: None,
        dir: run("shim"),
        socket: run("s"),
        exit_file: run("exit"),
        init: places.init.clone(),
        binds: Vec::new(),
        hosts: None,
        resolv_conf: None,
        oci_runtime: None,
    })
}

fn converse(config: &ShimConfig) -> std::io::Result<(i32, String)> {
    let mut attached = ask(&config.socket, &ShimRequest::Attach)?;
    read(&mut ask(&config.socket, &ShimRequest::Start)?)?;
    let mut said = String::new();
    loop {
        match read(&mut attached)? {
            (Kind::Json, body) => {
                if let ShimEvent::Exited { status } = serde_json::from_slice(&body)? {
                    return Ok((status.code, said));
                }
            }
            (_, body) => said.push_str(&String::from_utf8_lossy(&body)),
        }
    }
}

fn ask(socket: &Path, request: &ShimRequest) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&frame::json(request))?;
    Ok(stream)
}

fn read(stream: &mut UnixStream) -> std::io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let (kind, length) = frame::parse_header(header).map_err(std::io::Error::other)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}
