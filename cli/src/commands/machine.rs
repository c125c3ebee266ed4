//! doctor, stacks, admin, config:check: what a person asks of this machine itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use landfall_model::chain;
use landfall_runtime::client::{Agent, StackProgress};
use landfall_runtime::doctor::{Check, Verdict};
use serde_json::json;

use crate::args::{ConfigArg, ConfigValue, JsonArg};
use crate::client::Client;
use crate::config::Config;
use crate::credentials::FirstAccount;
use crate::error::{CliError, Result};
use crate::output;
use crate::processes::agent_config;

pub(crate) fn config_check(arg: &ConfigArg, value: Option<ConfigValue>) -> Result<()> {
    let config = Config::load(arg)?;
    if let Some(value) = value {
        println!("{}", in_force(&config, value));
        return Ok(());
    }
    let file = arg.config.display();
    let found =
        if arg.config.is_file() { format!("{file} is sound") } else { format!("{file} does not exist, so every key has its default") };
    println!("{found}: instance {}, data in {}", config.instance, config.data_dir.display());
    Ok(())
}

fn in_force(config: &Config, value: ConfigValue) -> String {
    match value {
        ConfigValue::Instance => config.instance.clone(),
        ConfigValue::DataDir => config.data_dir.display().to_string(),
        ConfigValue::RunDir => config.run_dir.display().to_string(),
        ConfigValue::PlatformDomain => config.platform_domain.clone(),
        ConfigValue::Api => format!("http://{}", from_here(config.api.listen)),
        ConfigValue::Router => format!("http://{}", from_here(config.router.listen)),
        ConfigValue::Ssh => format!("ssh://git@{}", from_here(config.ssh.listen)),
    }
}

/// Where this machine itself reaches what listens there: everywhere is nowhere to connect to.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The script goes where the shell looks for it; a pipe that closes early is its reader's business.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<()> {
    use std::io::Write as _;
    match std::io::stdout().write_all(&crate::completions::script(shell)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::io("writing the completions", error, "landfall completions bash > /etc/bash_completion.d/landfall"))
        }
        _ => Ok(()),
    }
}

/// The agent of this machine, and a runtime to ask it with.
fn agent(arg: &ConfigArg) -> Result<(Agent, tokio::runtime::Runtime)> {
    let config = Config::load(arg)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| CliError::io("starting", error, "try again"))?;
    Ok((Agent::new(config.run_dir.join("agent.sock")), runtime))
}

fn not_here(error: &landfall_runtime::client::ClientError) -> CliError {
    let next = error.hint().unwrap_or_else(|| "sudo landfall up   (base images are made and listed on the server)".to_owned());
    CliError::new(format!("the agent of this machine: {}", chain(error)), next)
}

/// The agent of this machine knows most of its base images; everywhere else, and for everybody but root, the API names them.
pub(crate) fn stacks(arg: &ConfigArg, client: impl FnOnce() -> Result<Client>, json: JsonArg) -> Result<()> {
    let default = Config::load(arg)?.stack.default;
    let (agent, runtime) = agent(arg)?;
    let Ok(stacks) = runtime.block_on(agent.stacks()) else { return stacks_by_name(&client()?, json) };
    if json.json {
        output::json(&json!(stacks));
        return Ok(());
    }
    if stacks.is_empty() {
        println!("There are no base images yet. Next: sudo landfall stacks:create");
    }
    let row = |stack: &landfall_runtime::wire::image::StackInfo| {
        let mark = if stack.name == default { "default" } else { "" };
        vec![stack.name.clone(), format!("Debian {}", stack.suite), format!("{} MB", stack.size_bytes / 1_000_000), mark.to_owned()]
    };
    print!("{}", output::table(&stacks.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn stacks_by_name(client: &Client, json: JsonArg) -> Result<()> {
    let stacks = client.get("/stacks")?;
    if json.json {
        output::json(&stacks);
        return Ok(());
    }
    let row = |stack: &serde_json::Value| {
        let mark = if stack["default"] == true { "default" } else { "" };
        vec![output::printable(stack["name"].as_str().unwrap_or_default()), mark.to_owned()]
    };
    print!("{}", output::table(&stacks.as_array().into_iter().flatten().map(row).collect::<Vec<_>>()));
    Ok(())
}

pub(crate) fn stack_create(arg: &ConfigArg, suite: &str, name: Option<String>) -> Result<()> {
    let (agent, runtime) = agent(arg)?;
    let name = name.unwrap_or_else(|| stack_name(suite));
    runtime.block_on(async {
        let mut session = agent.stack_create(&name, suite).await.map_err(|error| not_here(&error))?;
        loop {
            match session.next().await.map_err(|error| {
                CliError::new(format!("making {name}: {}", chain(&error)), error.hint().unwrap_or_else(|| "landfall doctor".to_owned()))
            })? {
                StackProgress::Line(line) => println!("{}", output::printable(&line)),
                StackProgress::Ready(stack) => {
                    println!("{} is ready ({} MB)", stack.name, stack.size_bytes / 1_000_000);
                    return Ok(());
                }
            }
        }
    })
}

/// Stacks are named by Debian's version, as Heroku's are by Ubuntu's; suites without one by their name.
fn stack_name(suite: &str) -> String {
    let version = match suite {
        "bullseye" => "11",
        "bookworm" => "12",
        "trixie" => "13",
        "forky" => "14",
        other => other,
    };
    format!("landfall-{version}")
}

/// `ok    kernel: 6.1 …`, and what to do on a line of its own.
fn shown(check: &Check) -> String {
    let verdict = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    };
    let advice = if check.advice.is_empty() { String::new() } else { format!("        {}\n", check.advice) };
    format!("{verdict:<6}  {}: {}\n{advice}", check.name, check.meaning)
}

pub(crate) fn doctor(arg: &ConfigArg, json: JsonArg) -> Result<ExitCode> {
    let config = agent_config(&Config::load(arg)?)?;
    let checks = landfall_runtime::doctor(&config);
    let failed = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if json.json {
        output::json(&json!(checks));
    } else {
        for check in &checks {
            print!("{}", shown(check));
        }
        println!(
            "\n{}",
            if failed == 0 {
                "This machine can run Landfall".to_owned()
            } else {
                format!("{failed} things keep Landfall from running here; the lines with \"fail\" say what to do")
            }
        );
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn admin(arg: &ConfigArg) -> Result<()> {
    let config = Config::load(arg)?;
    let first = FirstAccount::of(&config.data_dir, "sudo landfall admin   (on the server)")?;
    println!("Dashboard  {}/\nE-mail     {}\nPassword   {}", config.api_url(), first.email, first.password);
    Ok(())
}
