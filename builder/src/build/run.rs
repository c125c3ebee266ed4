//! Running one build from request to outcome. Whatever happens, nothing of it is left running and no source tree stays behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use landfall_failpoint::failpoint;
use landfall_lifecycle::report::{REPORT_FILE, Report};
use landfall_model::BuildId;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span};

use super::failure::BuildFailure;
use super::inputs::{self, Inputs};
use super::log::BuildLog;
use super::request::{BuildOutcome, BuildRequest, Source, UsedBuildpack};
use super::{outcome, plan};
use crate::config::BuildConfig;
use crate::push::{Lines, PushRefused};
use crate::sandbox::{Sandbox, SandboxEnd, SandboxEvent, SandboxSpec};
use crate::source::{SourceError, Tree, checkout};
use crate::turns::Turns;

/// The sandbox ends a build itself at its wall time; this long after it we no longer believe that it will.
const OVERTIME: Duration = Duration::from_mins(1);
/// The end of a cancelled or failed build.
const DISCARD: Duration = Duration::from_secs(30);

/// Runs builds, a few at a time.
pub struct Builder {
    config: BuildConfig,
    sandbox: Arc<dyn Sandbox>,
    slots: Turns<()>,
}

impl Builder {
    /// A builder over a sandbox.
    pub fn new(config: BuildConfig, sandbox: Arc<dyn Sandbox>) -> Self {
        let slots = Turns::new(config.concurrency);
        Self { config, sandbox, slots }
    }

    /// Removes source trees that a crash left. Call it once, before the first build.
    pub fn tidy(&self) -> io::Result<()> {
        let builds = match fs::read_dir(&self.config.builds) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            builds => builds?,
        };
        for build in builds {
            remove_tree(&build?.path().join("source"))?;
        }
        Ok(())
    }

    fn dir(&self, build: BuildId) -> PathBuf {
        self.config.builds.join(build.to_string())
    }

    /// Builds. Lines go to `lines` and to the log file as they come; the words of a failure ([`BuildFailure::explain`]) go to the log file only,
    /// the caller shows them. When `cancel` fires the container is killed and the result is [`BuildFailure::Cancelled`].
    pub async fn build(&self, request: BuildRequest, lines: Lines, cancel: CancellationToken) -> Result<BuildOutcome, BuildFailure> {
        let span = info_span!("build", build.id = %request.build, app.name = %request.app_name);
        async {
            let dir = self.dir(request.build);
            let log = fs::create_dir_all(&dir).and_then(|()| BuildLog::create(&dir.join("log"), lines, self.config.log_bytes));
            let log = log.map_err(|source| SourceError::Write { path: dir.clone(), source }).map_err(host_error)?;
            let mut scratch = Scratch { sandbox: Some(self.sandbox.clone()), build: request.build, source: dir.join("source") };
            let started = std::time::Instant::now();
            let result = match cancel.run_until_cancelled(self.steps(&request, &scratch.source, &log)).await {
                Some(result) => result,
                None => Err(BuildFailure::Cancelled),
            };
            scratch.end().await;
            if let Err(failure) = &result {
                log.flush();
                log_only(&dir.join("log"), failure);
            }
            log.flush();
            info!(
                duration_ms = started.elapsed().as_millis() as u64,
                outcome = result.as_ref().map_or_else(BuildFailure::code, |_| "succeeded"),
                "build ended"
            );
            result
        }
        .instrument(span)
        .await
    }

    async fn steps(&self, request: &BuildRequest, source: &Path, log: &BuildLog) -> Result<BuildOutcome, BuildFailure> {
        let _slot = self
            .slots
            .take((), "", |holders| log.step(&format!("Waiting for {} other build(s) on this machine to end", holders.len())))
            .await;
        log.step(&format!("Building on the {} stack", title(&request.stack.name)));
        let tree = self.fetch(&request.source, source).await?;
        failpoint("server.build.checked-out");
        for warning in &tree.warnings {
            log.problem(&format!("Warning: {warning}"));
        }
        let Inputs { procfile, app_json } = inputs::read(source, &request.stack.name, log)?;
        let spec = plan::spec(&self.config, request, source.to_owned());
        let end = self.run(spec, log).await?;
        failpoint("server.build.ended");
        outcome::judge(end, &self.config)?;
        let report = self.report(request.build).await?;
        let processes = outcome::processes(&report, procfile.as_ref(), log);
        let export = plan::export(request, &report).map_err(|error| BuildFailure::Platform(error.to_string()))?;
        log.step("Exporting the image");
        let exported = self.sandbox.commit(request.build, export).await?;
        failpoint("server.image.committed");
        let reused = exported.layers.iter().filter(|layer| layer.unchanged).count();
        let app = outcome::size(exported.app_bytes);
        log.detail(&format!(
            "Done: app {app}, {} layers ({reused} unchanged), image {}",
            exported.layers.len(),
            outcome::size(exported.size_bytes)
        ));
        Ok(BuildOutcome {
            image: exported.digest.clone(),
            stack: request.stack.name.clone(),
            processes,
            buildpacks: report.group.iter().map(|b| UsedBuildpack { id: b.id.clone(), version: b.version.clone() }).collect(),
            size_bytes: exported.size_bytes,
            cache: plan::record(request, &report, &exported),
            app_json,
            version: request.source.version().map(str::to_owned),
        })
    }

    async fn fetch(&self, source: &Source, dest: &Path) -> Result<Tree, BuildFailure> {
        let (source, dest, limits) = (source.clone(), dest.to_owned(), self.config.source);
        let work = move || {
            remove_tree(&dest).map_err(|source| SourceError::Write { path: dest.clone(), source })?;
            match source {
                Source::Commit { objects, commit } => checkout(&objects, &commit, &dest, limits),
                Source::Tarball { path, .. } => crate::tarball::extract(&path, &dest, limits),
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(host_error),
            Err(error) => Err(BuildFailure::Platform(format!("Reading the source failed: {error}"))),
        }
    }

    async fn run(&self, spec: SandboxSpec, log: &BuildLog) -> Result<SandboxEnd, BuildFailure> {
        let follow = async {
            let mut events = self.sandbox.start(spec).await?;
            failpoint("server.build.running");
            while let Some(event) = events.next().await {
                match event {
                    SandboxEvent::Output(bytes) => log.output(&bytes),
                    SandboxEvent::Ended(end) => return Ok(end),
                }
            }
            Err(BuildFailure::Platform("The agent was lost during the build.".to_owned()))
        };
        let ended = tokio::time::timeout(self.config.wall + OVERTIME, follow).await;
        log.flush();
        ended.unwrap_or_else(|_| Err(BuildFailure::OutOfTime { minutes: self.config.wall.as_secs().div_ceil(60) }))
    }

    async fn report(&self, build: BuildId) -> Result<Report, BuildFailure> {
        let path = format!("/layers/{REPORT_FILE}");
        let bytes = self.sandbox.file(build, &path).await?.ok_or_else(|| BuildFailure::Platform("The build left no report.".to_owned()))?;
        Report::from_json(&bytes).map_err(|error| BuildFailure::Platform(format!("The build's report cannot be read: {error}")))
    }
}

/// What a build leaves if nobody takes it away.
struct Scratch {
    sandbox: Option<Arc<dyn Sandbox>>,
    build: BuildId,
    source: PathBuf,
}

impl Scratch {
    async fn end(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            discard(sandbox, self.build, self.source.clone()).await;
        }
    }
}

impl Drop for Scratch {
    /// Only if the build's future was dropped half-way.
    fn drop(&mut self) {
        if let (Some(sandbox), Ok(runtime)) = (self.sandbox.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(discard(sandbox, self.build, self.source.clone()));
        }
    }
}

async fn discard(sandbox: Arc<dyn Sandbox>, build: BuildId, source: PathBuf) {
    match tokio::time::timeout(DISCARD, sandbox.discard(build)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, build.id = %build, "a build's root could not be discarded"),
        Err(_) => error!(build.id = %build, "discarding a build's root takes too long"),
    }
    match tokio::task::spawn_blocking(move || remove_tree(&source)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, build.id = %build, "a source tree could not be removed"),
        Err(error) => error!(%error, build.id = %build, "a source tree could not be removed"),
    }
}

/// Never follows links.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn host_error(error: SourceError) -> BuildFailure {
    if error.is_disk_full() { BuildFailure::HostDiskFull } else { error.into() }
}

fn log_only(path: &Path, failure: &BuildFailure) {
    let mut words = String::new();
    for line in PushRefused::new(failure.explain().join("\n")).message.lines() {
        words.push_str(" !     ");
        words.push_str(line);
        words.push('\n');
    }
    let written = fs::OpenOptions::new().append(true).open(path).and_then(|mut file| io::Write::write_all(&mut file, words.as_bytes()));
    if let Err(error) = written {
        error!(%error, "a failure could not be written to its build log");
    }
}

/// `landfall-13` → `Landfall-13`
fn title(stack: &str) -> String {
    let mut letters = stack.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
