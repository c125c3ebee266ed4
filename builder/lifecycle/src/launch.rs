//! The launcher: environment of the launch layers, exec.d, then the process itself by `exec`. Runs at every dyno start, so it reads little.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall_buildpacks::shell;

use crate::env::Env;
use crate::metadata::{METADATA_FILE, Metadata};
use crate::report::ReportedProcess;
use crate::{Failure, files};

const CODE: u8 = 82;
/// Sources the layers' profile scripts (before `--`), then the app's as Heroku users expect, enters the working directory and runs the line.
/// It is a constant: what varies comes as arguments, never spliced in.
const PRELUDE: &str = r#"cd -- "$1" || exit 82; shift; while [ "$1" != -- ]; do . "$1"; shift; done; shift
for f in .profile.d/*.sh; do [ -r "$f" ] && . "$f"; done; [ -r .profile ] && . ./.profile
cd -- "$1" || exit 82; shift; exec bash -c "$@""#;
/// Runs `$0` with its arguments, each evaluated by the shell: what buildpack APIs before 0.9 mean by `direct = false` with arguments.
const EVALUATED: &str = r#"c=$(eval "printf %s \"$0\""); for a; do shift; set -- "$@" "$(eval "printf %s \"$a\"")"; done; exec "$c" "$@""#;
/// The lifecycle's own variables, which the app does not see.
const DROPPED: &[&str] = &["CNB_LAYERS_DIR", "CNB_APP_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE"];

/// Becomes the process `name`, or what the arguments say. Returns only if it cannot.
pub(crate) fn run(name: &str, args: &[OsString]) -> Result<(), Failure> {
    let mut env = Env::inherited();
    let dir = |key: &str, default: &str| env.get(key).map_or_else(|| PathBuf::from(default), PathBuf::from);
    let (layers, app) = (dir("CNB_LAYERS_DIR", "/layers"), dir("CNB_APP_DIR", "/app"));
    let chosen = env.get("CNB_PROCESS_TYPE").map(OsStr::to_owned);
    let file = layers.join(METADATA_FILE);
    let text = files::text(&file, CODE)?.unwrap_or_default();
    let metadata =
        Metadata::from_toml(&text).map_err(|e| Failure::new(CODE, format!("cannot read {}: {}", file.display(), e.message())))?;
    let chosen = command(&metadata, name, args, chosen.as_deref())?;

    std::env::set_current_dir(&app).map_err(|e| Failure::new(CODE, format!("cannot enter {}: {e}", app.display())))?;
    own_variables_out(&mut env);
    let kind = chosen.kind.as_deref().unwrap_or_default();
    let by_buildpack = layer_dirs(&metadata, &layers);
    layer_environment(&mut env, &by_buildpack, kind)?;
    let dir = chosen.working_dir.map_or_else(|| app.clone(), |dir| app.join(dir));
    std::env::set_current_dir(&dir)
        .map_err(|e| Failure::new(CODE, format!("cannot enter the working directory {}: {e}", dir.display())))?;
    let argv = if chosen.shell { in_shell(chosen.argv, &app, &dir, &profiles(&by_buildpack, kind)) } else { chosen.argv };
    let mut program = Command::new(found(&argv[0], &env));
    program.arg0(&argv[0]).args(&argv[1..]).env_clear().envs(&env.0);
    let error = program.exec();
    Err(Failure::new(
        CODE,
        format!(
            "cannot start {}: {error}\nIs it installed in the app or its dependencies, and spelt as in the Procfile?",
            argv[0].display()
        ),
    ))
}

/// What is to be run.
struct Chosen {
    /// The process type, if it is one.
    kind: Option<String>,
    argv: Vec<OsString>,
    working_dir: Option<String>,
    /// Whether a shell runs it, which then reads profile scripts.
    shell: bool,
}

impl Chosen {
    fn process(process: &ReportedProcess, args: &[OsString]) -> Self {
        let argv = process_argv(process, args);
        let shell = !process.direct || is_line(&argv);
        Self { kind: Some(process.kind.clone()), argv, working_dir: process.working_dir.clone(), shell }
    }
}

fn command(metadata: &Metadata, name: &str, args: &[OsString], chosen: Option<&OsStr>) -> Result<Chosen, Failure> {
    let of = |kind: &str| metadata.processes.iter().find(|p| p.kind == kind);
    if let Some(process) = of(name) {
        return Ok(Chosen::process(process, args));
    }
    match args {
        [dashes, argv @ ..] if dashes == "--" && !argv.is_empty() => {
            Ok(Chosen { kind: None, argv: argv.to_vec(), working_dir: None, shell: is_line(argv) })
        }
        [_, ..] if args[0] != "--" => {
            let line = args.join(OsStr::new(" "));
            Ok(Chosen { kind: None, argv: vec!["bash".into(), "-c".into(), line], working_dir: None, shell: true })
        }
        _ => {
            let process = match chosen.and_then(OsStr::to_str) {
                Some(kind) => of(kind),
                None => metadata.processes.iter().find(|p| p.default).or_else(|| of("web")),
            };
            let kinds: Vec<_> = metadata.processes.iter().map(|p| p.kind.as_str()).collect();
            let process = process.ok_or_else(|| {
                Failure::new(CODE, format!("no process to start: this release has {kinds:?}. Name one of them, or a command"))
            })?;
            Ok(Chosen::process(process, &[]))
        }
    }
}

/// `bash -c LINE`: a line of a Procfile.
fn is_line(argv: &[OsString]) -> bool {
    matches!(argv, [bash, c, _] if bash == "bash" && c == "-c")
}

fn process_argv(process: &ReportedProcess, args: &[OsString]) -> Vec<OsString> {
    let mut argv: Vec<OsString> = process.command.iter().map(OsString::from).collect();
    if args.is_empty() || !process.direct {
        argv.extend(process.args.iter().map(OsString::from));
    }
    argv.extend(args.iter().cloned());
    argv
}

fn own_variables_out(env: &mut Env) {
    for key in DROPPED {
        env.0.remove(OsStr::new(key));
    }
    if let Some(path) = env.get("PATH").map(OsStr::to_owned) {
        let kept = std::env::split_paths(&path).filter(|p| p != Path::new("/cnb/process") && p != Path::new("/cnb/lifecycle"));
        if let Ok(joined) = std::env::join_paths(kept) {
            env.set("PATH", joined);
        }
    }
}

/// Layers in the image, by buildpack in group order.
fn layer_dirs(metadata: &Metadata, layers: &Path) -> Vec<Vec<PathBuf>> {
    let of = |id: &str| files::sorted(&layers.join(files::escaped(id))).into_iter().filter(|p| p.is_dir()).collect::<Vec<_>>();
    metadata.buildpacks.iter().map(|b| of(&b.id)).collect()
}

fn layer_environment(env: &mut Env, by_buildpack: &[Vec<PathBuf>], kind: &str) -> Result<(), Failure> {
    for dirs in by_buildpack {
        for layer in dirs {
            env.add_layer_dirs(layer, false);
        }
        for layer in dirs {
            env.add_env_dir(&layer.join("env"));
            env.add_env_dir(&layer.join("env.launch"));
            if !kind.is_empty() {
                env.add_env_dir(&layer.join("env.launch").join(kind));
            }
        }
    }
    for layer in by_buildpack.iter().flatten() {
        let dir = layer.join("exec.d");
        let own = if kind.is_empty() { Vec::new() } else { files::sorted(&dir.join(kind)) };
        for program in files::sorted(&dir).into_iter().chain(own).filter(|p| p.is_file()) {
            exec_d(env, &program)?;
        }
    }
    Ok(())
}

/// Runs one exec.d program with a pipe at its file descriptor 3 and takes the variables it writes there.
#[allow(unsafe_code)]
fn exec_d(env: &mut Env, program: &Path) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(CODE, format!("{} failed before the app could start: {why}", program.display()));
    let (mut reader, writer) = std::io::pipe().map_err(|e| failed(e.to_string()))?;
    let fd = writer.as_raw_fd();
    let mut command = Command::new(program);
    command.env_clear().envs(&env.0);
    // SAFETY: dup2 and fcntl are async-signal-safe and touch only this child's descriptors; `writer` is open until the child has started.
    unsafe {
        command.pre_exec(move || {
            let done = if fd == 3 { libc::fcntl(3, libc::F_SETFD, 0) } else { libc::dup2(fd, 3) };
            if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    drop(writer);
    let mut text = String::new();
    let read = reader.read_to_string(&mut text);
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    read.map_err(|e| failed(e.to_string()))?;
    let values: std::collections::BTreeMap<String, String> = toml::from_str(&text).map_err(|e| failed(e.message().to_owned()))?;
    for (key, value) in values {
        env.set(key, value);
    }
    Ok(())
}

/// The layers' profile scripts: `profile.d/*`, then `profile.d/<process type>/*`.
fn profiles(by_buildpack: &[Vec<PathBuf>], kind: &str) -> Vec<PathBuf> {
    let mut scripts = Vec::new();
    for layer in by_buildpack.iter().flatten() {
        let dir = layer.join("profile.d");
        let own = if kind.is_empty() { Vec::new() } else { files::sorted(&dir.join(kind)) };
        scripts.extend(files::sorted(&dir).into_iter().chain(own).filter(|p| p.is_file()));
    }
    scripts
}

/// A shell line gets `exec` if it is one simple command, and the profile scripts if there are any.
fn in_shell(argv: Vec<OsString>, app: &Path, dir: &Path, scripts: &[PathBuf]) -> Vec<OsString> {
    let run: Vec<OsString> = if is_line(&argv) {
        let line = &argv[2];
        vec![line.to_str().map_or_else(|| line.clone(), |l| shell::with_exec(l).into())]
    } else {
        std::iter::once(EVALUATED.into()).chain(argv).collect()
    };
    let bash = ["bash", "-c"].map(OsString::from).into_iter();
    if scripts.is_empty() && !app.join(".profile").is_file() && !app.join(".profile.d").is_dir() {
        return bash.chain(run).collect();
    }
    let sourced = scripts.iter().map(|s| s.as_os_str().to_owned());
    let before = bash.chain([PRELUDE.into(), "bash".into(), app.as_os_str().to_owned()]).chain(sourced);
    before.chain(["--".into(), dir.as_os_str().to_owned()]).chain(run).collect()
}

/// The program in the new PATH.
fn found(program: &OsStr, env: &Env) -> PathBuf {
    if program.as_encoded_bytes().contains(&b'/') {
        return program.into();
    }
    let path = env.get("PATH").unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(path).map(|d| d.join(program)).find(|p| p.is_file()).unwrap_or_else(|| program.into())
}
