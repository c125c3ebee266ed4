//! The command line, in Heroku's words. Each command's help ends with an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The Heroku you own: push code, get a running app.
#[derive(Parser)]
#[command(
    name = "landfall",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Start here:\n  landfall create blog && git push landfall main\n\nOn the server, as root:\n  landfall up"
)]
pub(crate) struct Cli {
    /// The server's API address.
    #[arg(long, global = true, env = "LANDFALL_API", value_name = "URL")]
    pub(crate) api: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which app: `-a NAME`, else `LANDFALL_APP`, else the git remote `landfall` of this folder.
#[derive(Args, Clone)]
pub(crate) struct AppArg {
    /// The app. Default: the one this folder's git remote `landfall` points to.
    #[arg(short, long, env = "LANDFALL_APP", value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// The git remote to take the app from.
    #[arg(short, long, default_value = "landfall", value_name = "REMOTE")]
    pub(crate) remote: String,
}

impl AppArg {
    /// With the name that was given without an option, if one was.
    pub(crate) fn or_named(self, name: Option<String>) -> Self {
        Self { app: name.or(self.app), ..self }
    }
}

/// Print JSON instead of columns.
#[derive(Args, Clone, Copy)]
pub(crate) struct JsonArg {
    /// Print JSON, in the Platform API's shapes.
    #[arg(long)]
    pub(crate) json: bool,
}

/// An app and an output form.
#[derive(Args)]
pub(crate) struct AppListing {
    #[command(flatten)]
    pub(crate) app: AppArg,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

/// An app and the release to act on.
#[derive(Args)]
pub(crate) struct ReleaseArg {
    /// The release, `v3` or `3`. Default: the newest.
    pub(crate) release: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArg,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Log in; the token is kept for this person on this machine.
    #[command(after_help = "Example:\n  landfall login --api http://paas.example.com:5000")]
    Login {
        /// The account. Asked for when absent.
        #[arg(short, long)]
        email: Option<String>,
        /// Read an API token from standard input instead of asking for a password.
        #[arg(long)]
        token: bool,
    },
    /// Forget the login and revoke its token.
    #[command(after_help = "Example:\n  landfall logout")]
    Logout,
    /// Show who is logged in.
    #[command(after_help = "Example:\n  landfall whoami")]
    Whoami,

    /// List your apps.
    #[command(alias = "apps:list", after_help = "Example:\n  landfall apps --json")]
    Apps {
        #[command(flatten)]
        json: JsonArg,
    },
    /// Create an app, and the git remote `landfall` in this folder.
    #[command(alias = "apps:create", after_help = "Example:\n  landfall create blog")]
    Create {
        /// Its name: 3 to 30 of a-z, 0-9 and -. Made up when absent.
        name: Option<String>,
        /// The base image it is built and run on, one of `landfall stacks`. Default: the server's.
        #[arg(long)]
        stack: Option<String>,
        /// The git remote to add.
        #[arg(short, long, default_value = "landfall")]
        remote: String,
        /// Add no git remote.
        #[arg(long)]
        no_remote: bool,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Show one app.
    #[command(name = "apps:info", alias = "info", after_help = "Example:\n  landfall apps:info blog")]
    AppsInfo {
        /// The app, as with -a.
        name: Option<String>,
        #[command(flatten)]
        listing: AppListing,
    },
    /// Rename an app.
    #[command(name = "apps:rename", alias = "rename", after_help = "Example:\n  landfall apps:rename weblog -a blog")]
    AppsRename {
        /// The new name.
        name: String,
        #[command(flatten)]
        app: AppArg,
    },
    /// Destroy an app and all it has.
    #[command(name = "apps:destroy", alias = "destroy", after_help = "Example:\n  landfall apps:destroy blog --confirm blog")]
    AppsDestroy {
        /// The app, as with -a.
        name: Option<String>,
        #[command(flatten)]
        app: AppArg,
        /// The app's name, to be sure. Asked for when absent.
        #[arg(short, long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// Open an app in the browser (prints its address where there is none).
    #[command(alias = "apps:open", after_help = "Example:\n  landfall open /about -a blog")]
    Open {
        /// A path in the app.
        #[arg(default_value = "/")]
        path: String,
        #[command(flatten)]
        app: AppArg,
    },
    /// Add the git remote of an app to this folder.
    #[command(name = "git:remote", after_help = "Example:\n  landfall git:remote -a blog")]
    GitRemote {
        #[command(flatten)]
        app: AppArg,
    },
    /// Answer git's question for credentials.
    #[command(name = "git:credentials", hide = true)]
    GitCredentials {
        /// get, store or erase.
        operation: String,
    },

    /// List config vars.
    #[command(after_help = "Example:\n  landfall config -a blog --shell")]
    Config {
        #[command(flatten)]
        listing: AppListing,
        /// Print in a form a shell can read.
        #[arg(short, long)]
        shell: bool,
    },
    /// Print one config var.
    #[command(name = "config:get", after_help = "Example:\n  landfall config:get GREETING -a blog")]
    ConfigGet {
        /// Its name.
        key: String,
        #[command(flatten)]
        app: AppArg,
    },
    /// Set config vars; makes a release.
    #[command(name = "config:set", after_help = "Example:\n  landfall config:set GREETING=hi TOKEN=\"$(cat token)\" -a blog")]
    ConfigSet {
        /// KEY=VALUE, one or more.
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
        #[command(flatten)]
        app: AppArg,
    },
    /// Unset config vars; makes a release.
    #[command(name = "config:unset", after_help = "Example:\n  landfall config:unset GREETING -a blog")]
    ConfigUnset {
        /// Their names.
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        app: AppArg,
    },
    /// Edit all config vars in your editor; makes one release.
    #[command(name = "config:edit", after_help = "Example:\n  EDITOR=nano landfall config:edit -a blog")]
    ConfigEdit {
        #[command(flatten)]
        app: AppArg,
    },

    /// List releases, newest first.
    #[command(after_help = "Example:\n  landfall releases -n 5 -a blog")]
    Releases {
        #[command(flatten)]
        listing: AppListing,
        /// How many.
        #[arg(short, long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
        num: u32,
    },
    /// Show one release.
    #[command(name = "releases:info", after_help = "Example:\n  landfall releases:info v3 -a blog")]
    ReleasesInfo(ReleaseArg),
    /// Show what the release phase printed.
    #[command(name = "releases:output", after_help = "Example:\n  landfall releases:output v3 -a blog")]
    ReleasesOutput(ReleaseArg),
    /// Run an older release again, its config included; makes a release.
    #[command(alias = "releases:rollback", after_help = "Example:\n  landfall rollback v2 -a blog")]
    Rollback {
        /// The release to repeat. Default: the one before the current.
        release: Option<String>,
        #[command(flatten)]
        app: AppArg,
    },

    /// List dynos.
    #[command(after_help = "Example:\n  landfall ps -a blog")]
    Ps(AppListing),
    /// Show or change how many dynos run.
    #[command(
        name = "ps:scale",
        alias = "scale",
        after_help = "Example:\n  landfall ps:scale web=3 worker=1:standard-2x -a blog\n  landfall ps:scale web+1 -a blog"
    )]
    PsScale {
        /// TYPE=QUANTITY[:SIZE] or TYPE+N / TYPE-N. Shows the formation when absent.
        changes: Vec<String>,
        #[command(flatten)]
        listing: AppListing,
    },
    /// Restart all dynos, one type's, or one, without dropping a request.
    #[command(name = "ps:restart", aliases = ["restart", "dyno:restart"], after_help = "Example:\n  landfall ps:restart web.1 -a blog")]
    PsRestart {
        /// `web.1` or `web`. All when absent.
        dyno: Option<String>,
        #[command(flatten)]
        app: AppArg,
    },
    /// Stop a dyno or a type's dynos; what the formation asks for starts anew.
    #[command(name = "ps:stop", aliases = ["stop", "dyno:stop"], after_help = "Example:\n  landfall ps:stop run.4821 -a blog")]
    PsStop {
        /// `web.1` or `web`.
        dyno: String,
        #[command(flatten)]
        app: AppArg,
    },
    /// Show or change dyno sizes.
    #[command(name = "ps:type", aliases = ["dyno:type", "ps:resize"], after_help = "Example:\n  landfall ps:type web=standard-2x -a blog")]
    PsType {
        /// TYPE=SIZE, or one SIZE for all types. Shows the formation when absent.
        changes: Vec<String>,
        #[command(flatten)]
        listing: AppListing,
    },
    /// Open a shell, or run a command, in a running dyno.
    #[command(
        name = "ps:exec",
        trailing_var_arg = true,
        after_help = "Example:\n  landfall ps:exec -a blog web.1\n  landfall ps:exec -a blog --dyno web.1 -- env"
    )]
    PsExec {
        #[command(flatten)]
        app: AppArg,
        /// The dyno.
        #[arg(short, long, default_value = "web.1")]
        dyno: String,
        /// The command, after the dyno's name if that is the first word. Default: a shell.
        command: Vec<String>,
    },
    /// Run a one-off dyno, attached to this terminal.
    #[command(
        trailing_var_arg = true,
        after_help = "Example:\n  landfall run -a blog 'python -c \"print(1)\"'\n  echo 'select 1' | landfall run -a blog -- psql"
    )]
    Run {
        #[command(flatten)]
        app: AppArg,
        /// Its size.
        #[arg(short, long)]
        size: Option<String>,
        /// Extra environment, KEY=VALUE; may be repeated.
        #[arg(short, long = "env", value_name = "KEY=VALUE")]
        env: Vec<String>,
        /// Never use a terminal.
        #[arg(long)]
        no_tty: bool,
        /// The command, as the shell in the dyno reads it.
        #[arg(required = true)]
        command: Vec<String>,
    },
    /// Run a one-off dyno in the background.
    #[command(name = "run:detached", trailing_var_arg = true, after_help = "Example:\n  landfall run:detached -a blog python import.py")]
    RunDetached {
        #[command(flatten)]
        app: AppArg,
        /// Its size.
        #[arg(short, long)]
        size: Option<String>,
        /// Extra environment, KEY=VALUE; may be repeated.
        #[arg(short, long = "env", value_name = "KEY=VALUE")]
        env: Vec<String>,
        /// The command.
        #[arg(required = true)]
        command: Vec<String>,
    },
    /// Show an app's log.
    #[command(after_help = "Example:\n  landfall logs --tail --dyno web.1 -a blog")]
    Logs {
        #[command(flatten)]
        app: AppArg,
        /// Go on with new lines.
        #[arg(short, long)]
        tail: bool,
        /// How many lines, 1500 at most.
        #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1500))]
        num: u32,
        /// Only this dyno or process type.
        #[arg(short, long, visible_alias = "process-type")]
        dyno: Option<String>,
        /// Only the app's own lines (app) or the platform's (landfall).
        #[arg(short, long, value_parser = ["app", "landfall", "heroku"])]
        source: Option<String>,
    },

    /// List domains.
    #[command(after_help = "Example:\n  landfall domains -a blog")]
    Domains(AppListing),
    /// Add a domain.
    #[command(name = "domains:add", after_help = "Example:\n  landfall domains:add www.example.com -a blog")]
    DomainsAdd {
        /// The host name.
        hostname: String,
        #[command(flatten)]
        app: AppArg,
    },
    /// Remove a domain.
    #[command(name = "domains:remove", after_help = "Example:\n  landfall domains:remove www.example.com -a blog")]
    DomainsRemove {
        /// The host name.
        hostname: String,
        #[command(flatten)]
        app: AppArg,
    },

    /// List SSH keys.
    #[command(after_help = "Example:\n  landfall keys --json")]
    Keys {
        #[command(flatten)]
        json: JsonArg,
    },
    /// Add an SSH key.
    #[command(name = "keys:add", after_help = "Example:\n  landfall keys:add ~/.ssh/id_ed25519.pub")]
    KeysAdd {
        /// The public key's file. Default: the first of ~/.ssh/id_ed25519.pub, id_ecdsa.pub, id_rsa.pub.
        file: Option<PathBuf>,
    },
    /// Remove an SSH key.
    #[command(name = "keys:remove", after_help = "Example:\n  landfall keys:remove you@laptop")]
    KeysRemove {
        /// Its comment, fingerprint or id.
        key: String,
    },

    /// Show who did what on this server, newest first (administrators only).
    #[command(after_help = "Example:\n  landfall audit -n 20")]
    Audit {
        /// How many entries.
        #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        num: u32,
        #[command(flatten)]
        json: JsonArg,
    },

    /// List builds, newest first.
    #[command(after_help = "Example:\n  landfall builds -a blog")]
    Builds(AppListing),
    /// Show one build and its output.
    #[command(name = "builds:info", alias = "builds:output", after_help = "Example:\n  landfall builds:info -a blog")]
    BuildsInfo {
        /// Its id. Default: the newest.
        build: Option<String>,
        #[command(flatten)]
        listing: AppListing,
    },
    /// Cancel a running build.
    #[command(name = "builds:cancel", after_help = "Example:\n  landfall builds:cancel -a blog")]
    BuildsCancel {
        /// Its id. Default: the newest.
        build: Option<String>,
        #[command(flatten)]
        app: AppArg,
    },

    /// Show whether maintenance mode is on.
    #[command(after_help = "Example:\n  landfall maintenance -a blog")]
    Maintenance {
        #[command(flatten)]
        app: AppArg,
    },
    /// Show visitors a maintenance page instead of the app.
    #[command(name = "maintenance:on", after_help = "Example:\n  landfall maintenance:on -a blog")]
    MaintenanceOn {
        #[command(flatten)]
        app: AppArg,
    },
    /// Show visitors the app again.
    #[command(name = "maintenance:off", after_help = "Example:\n  landfall maintenance:off -a blog")]
    MaintenanceOff {
        #[command(flatten)]
        app: AppArg,
    },

    /// List the base images.
    #[command(after_help = "Example:\n  landfall stacks")]
    Stacks {
        #[command(flatten)]
        json: JsonArg,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Make a base image from Debian packages (on the server, as root).
    #[command(name = "stacks:create", after_help = "Example:\n  landfall stacks:create bookworm")]
    StacksCreate {
        /// The Debian suite.
        #[arg(default_value = "trixie")]
        suite: String,
        /// The stack's name. Default: landfall-<Debian's version>.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        config: ConfigArg,
    },

    /// Say what this machine can and cannot do for Landfall.
    #[command(after_help = "Example:\n  sudo landfall doctor")]
    Doctor {
        #[command(flatten)]
        json: JsonArg,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Start agent, server and router on this machine, and wait until they answer.
    #[command(after_help = "Example:\n  sudo landfall up\n  sudo landfall up --restart   (after an upgrade)")]
    Up {
        /// Start them anew if they run already; dynos run on.
        #[arg(long)]
        restart: bool,
        /// Do not let systemd start them: they will not come back after a reboot.
        #[arg(long, env = "LANDFALL_OWN_SUPERVISOR", value_parser = clap::builder::FalseyValueParser::new())]
        own_supervisor: bool,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Stop everything on this machine; data stays.
    #[command(after_help = "Example:\n  sudo landfall down")]
    Down {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Show the dashboard's address and the first account (on the server, as root).
    #[command(after_help = "Example:\n  sudo landfall admin")]
    Admin {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Check the configuration file.
    #[command(
        name = "config:check",
        after_help = "Example:\n  landfall config:check --config /etc/landfall/landfall.toml\n  landfall config:check --value data_dir"
    )]
    ConfigCheck {
        #[command(flatten)]
        config: ConfigArg,
        /// Print one value that is in force instead, with nothing around it.
        #[arg(long)]
        value: Option<ConfigValue>,
    },
    /// Print shell completions.
    #[command(after_help = "Example:\n  landfall completions bash > /etc/bash_completion.d/landfall")]
    Completions {
        /// bash, zsh or fish.
        shell: clap_complete::Shell,
    },

    /// The control plane (unprivileged).
    #[command(hide = true, after_help = "Example:\n  landfall server --config /etc/landfall/landfall.toml")]
    Server(ConfigArg),
    /// The container agent (root).
    #[command(hide = true, after_help = "Example:\n  landfall agent --config /etc/landfall/landfall.toml")]
    Agent(ConfigArg),
    /// The HTTP router (unprivileged).
    #[command(hide = true, after_help = "Example:\n  landfall router --config /etc/landfall/landfall.toml")]
    Router(ConfigArg),
    /// What must be there before agent, server and router start.
    #[command(hide = true)]
    Prepare(ConfigArg),
    /// End the dynos and remove what the kernel holds for them.
    #[command(hide = true)]
    Teardown(ConfigArg),
    /// Parent of agent, server and router where there is no systemd.
    #[command(hide = true)]
    Supervise(ConfigArg),
}

/// Where the server's configuration is.
#[derive(Args, Clone)]
pub(crate) struct ConfigArg {
    /// The server's configuration file.
    #[arg(long, env = "LANDFALL_CONFIG", default_value = "/etc/landfall/landfall.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Set one key over the file and the environment, as in `--set router.listen=127.0.0.1:9090`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What scripts ask of the configuration.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ConfigValue {
    /// The name in the kernel and of the units.
    Instance,
    DataDir,
    RunDir,
    PlatformDomain,
    /// Where the API listens, as a URL for this machine.
    Api,
    /// Where the router listens, as a URL for this machine.
    Router,
    /// Where git over SSH listens, as a URL for this machine.
    Ssh,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    /// Every command people type: the last words of the tree, with their full names.
    fn leaves(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
        let below: Vec<&Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        if below.is_empty() {
            found.push((name.to_owned(), command.clone()));
        }
        for command in below {
            leaves(command, &format!("{name} {}", command.get_name()), found);
        }
    }

    fn all() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        leaves(&super::Cli::command(), "landfall", &mut found);
        assert!(found.len() > 40, "{} commands", found.len());
        found
    }

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_has_an_example() {
        for (name, command) in all() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = help.strip_prefix("Example:\n").unwrap_or_else(|| panic!("{name} has no example"));
            assert!(example.lines().any(|line| line.contains(&name)), "the example of {name} does not show it:\n{example}");
            assert!(command.get_about().is_some(), "{name} does not say what it does");
        }
    }

    #[test]
    fn every_example_is_a_command_line() {
        for (name, command) in all() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| line.contains("landfall ")) {
                // From the program's name to whatever a shell would take for something else.
                let typed = &line[line.rfind("landfall ").unwrap_or(0)..];
                let typed =
                    typed.split(" && ").next().unwrap_or(typed).split(" > ").next().unwrap_or(typed).split("   (").next().unwrap_or(typed);
                let words = words(typed.trim());
                let parsed = super::Cli::command().try_get_matches_from(&words);
                assert!(
                    parsed.is_ok(),
                    "the example of {name} is refused: {typed}\n{}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
            }
        }
    }

    /// As a shell splits it: enough of one for our own examples.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            let word = words.last_mut().expect("there is one");
            match (letter, quote) {
                ('\\', Some('"') | None) => word.extend(letters.next()),
                ('\'' | '"', None) => quote = Some(letter),
                (letter, Some(open)) if letter == open => quote = None,
                (' ', None) => words.push(String::new()),
                (letter, _) => word.push(letter),
            }
        }
        words
    }

    #[test]
    fn every_listing_has_a_form_for_programs() {
        for (name, command) in all() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            if about.starts_with("List ") || name.ends_with(":info") {
                assert!(command.get_arguments().any(|argument| argument.get_id() == "json"), "{name} has no --json");
            }
        }
    }
}
