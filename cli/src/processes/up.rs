//! `landfall up` and `landfall down`, and the parts of them that systemd runs at boot and shutdown.

use std::fs;
use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use landfall_runtime::doctor::Verdict;

use super::keeper::{self, Keeper};
use super::supervise::user;
use crate::args::ConfigArg;
use crate::client::Client;
use crate::commands::{teach_git, token_by_password};
use crate::config::Config;
use crate::credentials::{Credentials, FirstAccount, Login};
use crate::error::{CliError, Result};

/// A slow machine may take its time; what ends before it answers is told sooner.
const START_LIMIT: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Whether waiting is still of use is asked more seldom: it may take a process of its own to tell.
const ASK_AGAIN: Duration = Duration::from_secs(1);

fn need_root(doing: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CliError::new(format!("{doing} needs root: the agent makes containers and networks"), format!("sudo landfall {doing}")))
}

/// Starts what does not run yet and waits until all of it answers.
pub(crate) fn up(arg: &ConfigArg, own_supervisor: bool) -> Result<()> {
    need_root("up")?;
    let config = Config::load(arg)?;
    bring_up(arg, &config, &Keeper::choose(&config, own_supervisor))
}

fn bring_up(arg: &ConfigArg, config: &Config, keeper: &Keeper) -> Result<()> {
    make_folders(config)?;
    let _alone = one_at_a_time(config)?;
    if !keeper.runs() {
        machine_is_fit(config)?;
        // Whose supervisor was killed serve on, and have the ports.
        keeper::stop_supervised(config)?;
        for (name, address) in
            [("api.listen", config.api.listen), ("ssh.listen", config.ssh.listen), ("router.listen", config.router.listen)]
        {
            port_is_free(name, address)?;
        }
    }
    keeper.start(arg, config)?;
    wait_for("agent", config, keeper, || UnixStream::connect(config.run_dir.join("agent.sock")).is_ok())?;
    // Its port may be open before it is there: whoever started it holds the socket.
    wait_for("router", config, keeper, || {
        UnixStream::connect(config.run_dir.join("router.sock")).is_ok() && answers(config.router.listen)
    })?;
    wait_for("server", config, keeper, || is_healthy(config.api.listen))?;
    log_in_here(config)
}

/// What must be there before any of our processes starts: the folders. Some of them are gone after a reboot.
pub(crate) fn prepare(arg: &ConfigArg) -> Result<()> {
    need_root("prepare")?;
    make_folders(&Config::load(arg)?)
}

/// Two at once would each start what the other has not started yet. Held until it is closed; a folder that is root's alone is the lock.
fn one_at_a_time(config: &Config) -> Result<fs::File> {
    let folder = config.data_dir.join("agent");
    let lock = || fs::File::open(&folder).and_then(|open| open.lock().map(|()| open));
    lock().map_err(|error| CliError::io(format!("locking {}", folder.display()), error, "landfall up"))
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
    let make = |path: &Path, group: u32, mode: u32| -> Result<()> {
        let work = || -> std::io::Result<()> {
            fs::create_dir_all(path)?;
            chown(path, Some(0), Some(group))?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        };
        work().map_err(|error| CliError::io(format!("making {}", path.display()), error, "landfall doctor"))
    };
    // Server and router make what is theirs; what is root's beside it they can neither move nor replace (sticky).
    make(&config.data_dir, user.gid.as_raw(), 0o1771)?;
    make(&config.run_dir, user.gid.as_raw(), 0o1775)?;
    make(&config.data_dir.join("log"), 0, 0o755)?;
    make(&config.data_dir.join("agent"), 0, 0o700)
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
fn wait_for(role: &str, config: &Config, keeper: &Keeper, ready: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    let live = std::io::stderr().is_terminal();
    let restarts = keeper.restarts(role);
    let mut asked = started;
    while !ready() {
        if live {
            eprint!("\r{role}: starting, {:.1} s", started.elapsed().as_secs_f32());
        }
        let ask = asked.elapsed() > ASK_AGAIN;
        if ask {
            asked = Instant::now();
        }
        if ask && keeper.gave_up(role, restarts) || started.elapsed() > START_LIMIT {
            let said = format!("{role} does not answer after {} s; {}", started.elapsed().as_secs(), keeper.last_words(role, config));
            return Err(CliError::new(said.trim_end(), "landfall doctor"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let clear = if live { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{role}: up ({:.1} s)", started.elapsed().as_secs_f32());
    Ok(())
}

/// Whether a login is one the server does not know: of data that was purged, or revoked.
fn is_refused(api: &str, token: &str) -> bool {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(10))).build().into();
    let asked = agent
        .get(format!("{api}/account"))
        .header("Accept", "application/vnd.heroku+json; version=3")
        .header("Authorization", format!("Bearer {token}"))
        .call();
    asked.is_ok_and(|answer| answer.status() == http::StatusCode::UNAUTHORIZED)
}

/// A login of the first account. Its token is the first login's; after a logout only the password is good.
fn first_login(api: &str, first: FirstAccount) -> Result<Login> {
    let token = if is_refused(api, &first.token) {
        token_by_password(&Client::open(Some(api))?, &first.email, &first.password)?
    } else {
        first.token
    };
    Ok(Login { email: first.email, token })
}

/// Logs root in as the administrator made at first boot, unless somebody is logged in already.
fn log_in_here(config: &Config) -> Result<()> {
    let api = format!("http://{}", config.api.listen);
    // Whoever removed the file wants no login from it.
    if !config.data_dir.join("admin.toml").exists() {
        return Ok(());
    }
    let first = FirstAccount::of(&config.data_dir, "landfall login")?;
    let mut credentials = Credentials::load()?;
    if credentials.servers.get(&api).is_none_or(|there| is_refused(&api, &there.token)) {
        credentials.default.get_or_insert_with(|| api.clone());
        credentials.servers.insert(api.clone(), first_login(&api, first)?);
        credentials.save()?;
        teach_git(&api);
    }
    // git is told the public address.
    let public = config.api_url();
    if public != api
        && let Some(login) = credentials.servers.get(&api).cloned()
    {
        credentials.servers.insert(public.clone(), login);
        credentials.save()?;
        teach_git(&public);
    }
    Ok(())
}

/// Starts agent, server and router anew, as after an upgrade; dynos run on.
pub(crate) fn restart(arg: &ConfigArg, own_supervisor: bool) -> Result<()> {
    need_root("restart")?;
    let config = Config::load(arg)?;
    let keeper = Keeper::choose(&config, own_supervisor);
    keeper.restart(arg, &config)?;
    bring_up(arg, &config, &keeper)
}

/// Stops everything and removes what the kernel holds for us; data stays.
pub(crate) fn down(arg: &ConfigArg) -> Result<()> {
    need_root("down")?;
    let config = Config::load(arg)?;
    let ran = keeper::stop(&config)?;
    super::rooms::teardown(&config)?;
    println!("{}", if ran { "Landfall is down; its data is kept" } else { "Landfall was not running" });
    Ok(())
}

/// What stopping the unit of the dynos does: ends them and removes what the kernel holds for us.
pub(crate) fn teardown(arg: &ConfigArg) -> Result<()> {
    need_root("teardown")?;
    super::rooms::teardown(&Config::load(arg)?)
}
