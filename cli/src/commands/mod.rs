//! One module a group of commands. Each function is one command: calls the API, prints, done.

mod apps;
mod audit;
mod auth;
mod builds;
mod config;
mod domains;
mod keys;
mod logs;
mod machine;
mod ps;
mod releases;
mod run;

pub(crate) use auth::{teach_git, token_by_password};

use std::process::ExitCode;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::error::Result;
use crate::processes;

/// Runs the command. Whatever is refused, there is something to type next.
pub(crate) fn run(cli: Cli, typed: &str) -> Result<ExitCode> {
    perform(cli).map_err(|error| error.or_next(|| format!("landfall {typed} --help")))
}

fn perform(cli: Cli) -> Result<ExitCode> {
    let api = cli.api.clone();
    let client = || Client::open(api.as_deref());
    match cli.command {
        Command::Login { email, token } => auth::login(client()?, email, token)?,
        Command::Logout => auth::logout(&client()?)?,
        Command::Whoami => auth::whoami(&client()?)?,
        Command::GitCredentials { operation } => auth::git_credentials(&operation)?,

        Command::Apps { json } => apps::list(&client()?, json)?,
        Command::Create { name, stack, remote, no_remote, json } => apps::create(&client()?, name, stack, &remote, no_remote, json)?,
        Command::AppsInfo { name, listing } => apps::info(&client()?, &listing.app.or_named(name), listing.json)?,
        Command::AppsRename { name, app } => apps::rename(&client()?, &app, &name)?,
        Command::AppsDestroy { name, app, confirm } => apps::destroy(&client()?, &app.or_named(name), confirm)?,
        Command::Open { path, app } => apps::open(&client()?, &app, &path)?,
        Command::GitRemote { app } => apps::git_remote(&client()?, &app)?,
        Command::Maintenance { app } => apps::maintenance(&client()?, &app)?,
        Command::MaintenanceOn { app } => apps::maintenance_set(&client()?, &app, true)?,
        Command::MaintenanceOff { app } => apps::maintenance_set(&client()?, &app, false)?,

        Command::Config { listing, shell } => config::list(&client()?, &listing, shell)?,
        Command::ConfigGet { key, app } => config::get(&client()?, &app, &key)?,
        Command::ConfigSet { pairs, app } => config::set(&client()?, &app, &pairs)?,
        Command::ConfigUnset { keys, app } => config::unset(&client()?, &app, &keys)?,
        Command::ConfigEdit { app } => config::edit(&client()?, &app)?,

        Command::Releases { listing, num } => releases::list(&client()?, &listing, num)?,
        Command::ReleasesInfo(release) => releases::info(&client()?, &release)?,
        Command::ReleasesOutput(release) => releases::output(&client()?, &release)?,
        Command::Rollback { release, app } => releases::rollback(&client()?, &app, release.as_deref())?,

        Command::Ps(listing) => ps::list(&client()?, &listing)?,
        Command::PsScale { changes, listing } => ps::scale(&client()?, &listing, &changes)?,
        Command::PsRestart { dyno, app } => ps::restart(&client()?, &app, dyno.as_deref())?,
        Command::PsStop { dyno, app } => ps::stop(&client()?, &app, &dyno)?,
        Command::PsType { changes, listing } => ps::resize(&client()?, &listing, &changes)?,
        Command::PsExec { app, dyno, command } => return run::exec(&client()?, &app, &dyno, &command),
        Command::Run { app, size, env, no_tty, command } => return run::attached(&client()?, &app, size, &env, no_tty, &command),
        Command::RunDetached { app, size, env, command } => run::detached(&client()?, &app, size, &env, &command)?,
        Command::Logs { app, tail, num, dyno, source } => logs::show(&client()?, &app, tail, num, dyno, source)?,

        Command::Domains(listing) => domains::list(&client()?, &listing)?,
        Command::DomainsAdd { hostname, app } => domains::add(&client()?, &app, &hostname)?,
        Command::DomainsRemove { hostname, app } => domains::remove(&client()?, &app, &hostname)?,
        Command::Keys { json } => keys::list(&client()?, json)?,
        Command::KeysAdd { file } => keys::add(&client()?, file)?,
        Command::KeysRemove { key } => keys::remove(&client()?, &key)?,
        Command::Audit { num, json } => audit::list(&client()?, json, num)?,
        Command::Builds(listing) => builds::list(&client()?, &listing)?,
        Command::BuildsInfo { build, listing } => builds::info(&client()?, &listing, build)?,
        Command::BuildsCancel { build, app } => builds::cancel(&client()?, &app, build)?,

        Command::Stacks { json, config } => machine::stacks(&config, client, json)?,
        Command::StacksCreate { suite, name, config } => machine::stack_create(&config, &suite, name)?,
        Command::Doctor { json, config } => return machine::doctor(&config, json),
        Command::Up { restart: true, own_supervisor, config } => processes::restart(&config, own_supervisor)?,
        Command::Up { restart: false, own_supervisor, config } => processes::up(&config, own_supervisor)?,
        Command::Down { config } => processes::down(&config)?,
        Command::Admin { config } => machine::admin(&config)?,
        Command::ConfigCheck { config, value } => machine::config_check(&config, value)?,
        Command::Completions { shell } => machine::completions(shell)?,
        Command::Server(config) => return processes::server(&config),
        Command::Agent(config) => return processes::agent(&config),
        Command::Router(config) => return processes::router(&config),
        Command::Prepare(config) => processes::prepare(&config)?,
        Command::Teardown(config) => processes::teardown(&config)?,
        Command::Supervise(config) => return processes::supervise(&config),
    }
    Ok(ExitCode::SUCCESS)
}
