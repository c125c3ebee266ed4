//! `landfall up` and `landfall down`.

use std::fs::{self, OpenOptions};
use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landfall_runtime::doctor::Verdict;

use super::leftovers::Note;
use super::supervise::{ROLES, STOP_GRACE, user};
use crate::args::ConfigArg;
use crate::config::Config;
use crate::credentials::{Credentials, Login};
use crate::error::{CliError, Result};

const START_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn need_root(doing: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CliError::new(format!("{doing} needs root: the agent makes containers and networks"), format!("sudo landfall {doing}")))
}

/// Starts what does not run yet and waits until all of it answers.
pub(crate) fn up(arg: &ConfigArg) -> Result<()> {
    need_root("up")?;
    let config = Config::load(arg)?;
    make_folders(&config)?;
    let note = Note::of(&config.run_dir, "supervisor");
    if note.running().is_none() {
        machine_is_fit(&config)?;
        for (name, address) in
            [("api.listen", config.api.listen), ("ssh.listen", config.ssh.listen), ("router.listen", config.router.listen)]
        {
            port_is_free(name, address)?;
        }
        let child = start_supervisor(arg, &config).map_err(|error| CliError::io("starting the supervisor", error, "landfall doctor"))?;
        note.write(child).map_err(|error| CliError::io("noting the supervisor", error, "landfall doctor"))?;
    }
    wait_for("agent", &config, &note, || UnixStream::connect(config.run_dir.join("agent.sock")).is_ok())?;
    wait_for("router", &config, &note, || answers(config.router.listen))?;
    wait_for("server", &config, &note, || is_healthy(config.api.listen))?;
    log_in_here(&config)
}

/// Says all that is missing at once, before anything is started. A full disk is no reason: apps that are there can still be served.
fn machine_is_fit(config: &Config) -> Result<()> {
    let checks = landfall_runtime::doctor(&super::agent_config(config)?);
    let missing: Vec<_> = checks.into_iter().filter(|check| check.verdict == Verdict::Fail && check.name != "disk").collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let said: Vec<_> = missing.iter().map(|check| format!("{}: {}", check.name, check.meaning)).collect();
    Err(CliError::new(format!("this machine cannot run Landfall yet\n{}", said.join("\n")), first.advice.clone()))
}

fn make_folders(config: &Config) -> Result<()> {
    let user = user(config)?;
    let make = |path: &Path, owned: bool, mode: u32| -> Result<()> {
        let work = || -> std::io::Result<()> {
            fs::create_dir_all(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            if owned {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
            Ok(())
        };
        work().map_err(|error| CliError::io(format!("making {}", path.display()), error, "landfall doctor"))
    };
    make(&config.data_dir, true, 0o711)?;
    make(&config.run_dir, true, 0o755)?;
    make(&config.data_dir.join("log"), false, 0o755)?;
    make(&config.data_dir.join("agent"), false, 0o700)
}

fn port_is_free(key: &str, address: SocketAddr) -> Result<()> {
    std::net::TcpListener::bind(address).map(drop).map_err(|error| {
        CliError::io(
            format!("port {} ({key}) cannot be used", address.port()),
            error,
            format!("ss -ltnp 'sport = :{}' to see who has it, or set another {key} in landfall.toml", address.port()),
        )
    })
}

fn start_supervisor(arg: &ConfigArg, config: &Config) -> std::io::Result<u32> {
    let log = OpenOptions::new().create(true).append(true).open(config.data_dir.join("log/supervisor.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("supervise").arg("--config").arg(&arg.config);
    for pair in &arg.set {
        command.arg("--set").arg(pair);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/").process_group(0);
    Ok(command.spawn()?.id())
}

/// A listener on every address is reached over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&reachable(address), Duration::from_millis(200)).is_ok()
}

/// The server binds its port first and serves when all is open: only an answer says that it is up.
fn is_healthy(address: SocketAddr) -> bool {
    let url = format!("http://{}/health", reachable(address));
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
    agent.get(&url).call().is_ok()
}

/// Shows a running line with elapsed time on a terminal, one line elsewhere.
fn wait_for(role: &str, config: &Config, supervisor: &Note, ready: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    let live = std::io::stderr().is_terminal();
    while !ready() {
        if live {
            eprint!("\r{role}: starting, {:.1} s", started.elapsed().as_secs_f32());
        }
        let gone = supervisor.running().is_none();
        if gone || started.elapsed() > START_LIMIT {
            let log = config.data_dir.join("log").join(if gone { "supervisor.log".into() } else { format!("{role}.log") });
            let tail = fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = tail.lines().rev().take(5).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            return Err(CliError::new(
                format!(
                    "{role} does not answer after {} s; the end of {}:\n{}",
                    started.elapsed().as_secs(),
                    log.display(),
                    tail.join("\n")
                ),
                "landfall doctor",
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let clear = if live { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{role}: up ({:.1} s)", started.elapsed().as_secs_f32());
    Ok(())
}

/// Logs root in as the administrator made at first boot, unless somebody is logged in already.
fn log_in_here(config: &Config) -> Result<()> {
    let api = format!("http://{}", config.api.listen);
    let file = config.data_dir.join("admin.toml");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
    let login: Login =
        toml::from_str(&text).map_err(|error| CliError::io(format!("reading {}", file.display()), error, "landfall login"))?;
    let mut credentials = Credentials::load()?;
    if !credentials.servers.contains_key(&api) {
        credentials.default.get_or_insert_with(|| api.clone());
        credentials.servers.insert(api.clone(), login);
        credentials.save()?;
        crate::commands::teach_git(&api);
    }
    Ok(())
}

/// Stops our own processes, in order. Dynos and their shims are not ours to stop here.
fn stop_processes(config: &Config) -> Result<bool> {
    let stop = |name: &str| {
        Note::of(&config.run_dir, name)
            .stop(STOP_GRACE * 3)
            .map_err(|error| CliError::io(format!("stopping {name}"), error, "landfall down"))
    };
    let mut ran = stop("supervisor")?;
    for role in ROLES.iter().rev() {
        ran |= stop(role.name)?;
    }
    Ok(ran)
}

/// Stops agent, server and router and starts them again, as after an upgrade.
pub(crate) fn restart(arg: &ConfigArg) -> Result<()> {
    need_root("restart")?;
    stop_processes(&Config::load(arg)?)?;
    up(arg)
}

/// Stops everything and removes what the kernel holds for us; data stays.
pub(crate) fn down(arg: &ConfigArg) -> Result<()> {
    need_root("down")?;
    let config = Config::load(arg)?;
    let ran = stop_processes(&config)?;
    super::rooms::teardown(&config)?;
    println!("{}", if ran { "Landfall is down; its data is kept" } else { "Landfall was not running" });
    Ok(())
}
