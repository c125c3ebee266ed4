//! Talking to one container's shim.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::shim::{Launched, ShimEvent, ShimRequest};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::config::AgentConfig;
use crate::fault::{Doing as _, Result, fault, fault_hint};
use crate::frames;

/// Most bytes of a shim's reason that are kept.
const REASON: u64 = 16 * 1024;

/// Where a container's shim listens.
pub(super) fn socket(config: &AgentConfig, id: &ContainerId) -> PathBuf {
    config.container_run_dir(id.as_str()).join("s")
}

/// Starts `landfall-shim CONFIG`, which creates the container; see [`created`].
pub(super) fn spawn(config: &AgentConfig, shim_config: &Path) -> Result<Child> {
    command(config, &[shim_config.as_os_str()]).stdout(Stdio::piped()).spawn().map_err(|error| missing(config, &error))
}

/// Waits for what [`spawn`] started: the container is created when this returns, and waits for [`ShimRequest::Start`].
pub(super) async fn created(config: &AgentConfig, mut child: Child) -> Result<Launched> {
    let deadline = config.limits.create_timeout;
    let work = async {
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await.doing("reading the shim's answer")?;
        }
        if let Ok(launched) = serde_json::from_str(&line) {
            let _ended = child.wait().await;
            return Ok(launched);
        }
        let mut reason = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _partial = stderr.take(REASON).read_to_string(&mut reason).await;
        }
        let reason = match (reason.trim(), child.wait().await) {
            ("", Ok(status)) => format!("landfall-shim said nothing and ended ({status})"),
            (reason, _) => reason.to_owned(),
        };
        Err(fault(FaultCode::Internal, format!("creating the container: {reason}")))
    };
    let late = || fault(FaultCode::TimedOut, format!("creating the container took longer than {} s", deadline.as_secs()));
    tokio::time::timeout(deadline, work).await.map_err(|_| late())?
}

/// Runs `landfall-shim cleanup CONFIG`: whatever a dead shim left is gone when this returns.
pub(super) async fn cleanup(config: &AgentConfig, shim_config: &Path) -> Result<()> {
    if !shim_config.exists() {
        return Ok(());
    }
    let run = command(config, &["cleanup".as_ref(), shim_config.as_os_str()]).stdout(Stdio::null()).output();
    let output = tokio::time::timeout(config.limits.create_timeout, run).await;
    let output = output.map_err(|_| fault(FaultCode::TimedOut, "cleaning up after a container took too long"))?;
    let output = output.map_err(|error| missing(config, &error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(fault(FaultCode::Internal, format!("cleaning up after a container: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Tries in a throw-away container every call that must be refused (trust rule S3). What was tried, in a line; or what is wrong.
pub(crate) async fn self_test(config: &AgentConfig) -> Result<String> {
    use crate::disk::{passage_dir, private_dir, remove_tree};
    let (run, data) = (config.run_dir.join("agent/selftest"), config.data_dir.join("selftest"));
    for dir in [&run, &data] {
        remove_tree(dir)?;
    }
    passage_dir(&run)?;
    private_dir(&data)?;
    let init = config.libexec_dir.join("landfall-init");
    let parent = Path::new("/").join(&config.cgroup_parent);
    let mut args = vec!["selftest".as_ref(), init.as_os_str(), run.as_os_str(), data.as_os_str(), parent.as_os_str()];
    args.extend(config.oci_runtime.iter().map(|runtime| runtime.as_os_str()));
    let output = tokio::time::timeout(config.limits.create_timeout * 2, command(config, &args).output()).await;
    let removed = remove_tree(&run).and(remove_tree(&data));
    let output = output.map_err(|_| fault(FaultCode::TimedOut, "the sandbox's self-test took too long"))?;
    let output = output.map_err(|error| missing(config, &error))?;
    removed?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    let said = format!("the sandbox did not pass its self-test, so no container is started: {}", reason.trim());
    Err(fault_hint(FaultCode::Internal, said, "Install shim and init of one version with: make up; look further with: landfall doctor"))
}

fn command(config: &AgentConfig, args: &[&std::ffi::OsStr]) -> Command {
    let mut command = Command::new(config.libexec_dir.join("landfall-shim"));
    command.args(args).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(landfall_failpoint::environment());
    command.current_dir("/").stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn missing(config: &AgentConfig, error: &std::io::Error) -> landfall_runtime_wire::agent::Fault {
    let path = config.libexec_dir.join("landfall-shim");
    fault_hint(FaultCode::Internal, format!("running {}: {error}", path.display()), "Install Landfall's programs with: make up")
}

/// Sends one request; the stream stays for what follows.
pub(super) async fn open(socket: &Path, request: &ShimRequest) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await.doing("connecting to the container's shim")?;
    frames::write_json(&mut stream, request).await.doing("talking to the container's shim")?;
    Ok(stream)
}

/// The next event, or the shim's own complaint as a fault. `None` when the shim is gone.
pub(super) async fn event(stream: &mut UnixStream) -> Result<Option<ShimEvent>> {
    let Some((_, bytes)) = frames::read(stream).await.doing("listening to the container's shim")? else { return Ok(None) };
    match frames::parse(&bytes).doing("listening to the container's shim")? {
        ShimEvent::Failed { message } => Err(fault(FaultCode::Internal, message)),
        event => Ok(Some(event)),
    }
}

/// One request, one answer.
pub(super) async fn ask(socket: &Path, request: ShimRequest, deadline: Duration) -> Result<ShimEvent> {
    let work = async {
        let mut stream = open(socket, &request).await?;
        event(&mut stream).await?.ok_or_else(|| fault(FaultCode::Internal, "the container's shim died"))
    };
    let late = || fault(FaultCode::TimedOut, format!("the container's shim did not answer within {} s", deadline.as_secs()));
    tokio::time::timeout(deadline, work).await.map_err(|_| late())?
}
