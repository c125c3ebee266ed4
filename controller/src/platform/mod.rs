//! The API's port to live things, over the reconcile loops, the agent and the builds.

mod attachments;
mod bridge;
mod dynos;
mod one_off;
mod output;
mod stats;

use std::sync::Arc;

use landfall_api::platform::{
    Answer, AttachInput, Attachment, DynoSelector, DynoStats, DynoView, ExecCommand, OutputStream, Platform, PlatformError, RunSpec,
    Started, TarballBuild,
};
use landfall_builder::build::Source;
use landfall_builder::push::{LineSink, Lines};
use landfall_model::{AppId, AppName, BuildId, BuildStatus, DynoId, Hostname, ReleaseId};
use landfall_runtime_wire::{ExecSpec, TermSize};
use landfall_store::{BuildSource, ReleaseRef, RestartTarget, StoreError};
use tokio::sync::mpsc;

use self::attachments::{Attachments, Target};
use crate::adapters::{Builds, Job, MOST_WAITING};
use crate::reconcile::{Shared, Supervisor};

/// The launcher inside every image: environment of the layers, then the command.
pub(crate) const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// Live things. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    supervisor: Supervisor,
    builds: Arc<Builds>,
    attachments: Attachments,
    readings: Arc<stats::Readings>,
}

impl Live {
    /// Joins the parts.
    pub fn new(supervisor: Supervisor, builds: Arc<Builds>) -> Self {
        Self { supervisor, builds, attachments: Attachments::default(), readings: Arc::default() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.supervisor.shared()
    }

    fn known_agent(&self) -> Result<(), PlatformError> {
        if self.shared().cache.is_live() {
            return Ok(());
        }
        Err(PlatformError::Unavailable(
            "The agent of this machine is away, so dynos cannot be reached. Running apps serve on. Try again in a minute.".into(),
        ))
    }
}

/// What to do about a full disk.
const DISK_FULL: &str = "This machine's disk is full. Running apps are not touched, and nothing needs a restart once there is room. \
                         The operator sees what fills it with: landfall doctor";

/// A failed question to the store.
pub(crate) fn of_store(error: StoreError) -> PlatformError {
    match error {
        StoreError::NotFound { what } => PlatformError::NotFound(format!("Couldn't find that {what}; {}", error.hint())),
        StoreError::DiskFull(_) => PlatformError::DiskFull(DISK_FULL.into()),
        error if error.is_transient() => {
            PlatformError::Unavailable("Landfall cannot reach its database now. Try again in a minute.".into())
        }
        error => PlatformError::Internal(Box::new(error)),
    }
}

/// A failed request to the agent.
pub(crate) fn of_agent(error: landfall_runtime::client::ClientError) -> PlatformError {
    use landfall_runtime_wire::agent::FaultCode;
    match error.fault_code() {
        Some(FaultCode::NotFound) => PlatformError::NotFound("That dyno no longer runs. See what does with: landfall ps".into()),
        Some(FaultCode::DiskFull) => PlatformError::DiskFull(DISK_FULL.into()),
        Some(FaultCode::Busy) => PlatformError::Unavailable("This machine is busy. Try again in a minute.".into()),
        Some(FaultCode::Digest) => PlatformError::Unavailable(
            "This app's image is damaged on this machine's disk, so nothing is started from it (R17). Push again to build it anew.".into(),
        ),
        Some(_) => PlatformError::Internal(Box::new(error)),
        None => PlatformError::Unavailable("The agent of this machine is away. Running apps serve on. Try again in a minute.".into()),
    }
}

/// Lines of a build nobody waits for: they are in the build's log.
struct Nobody;

impl LineSink for Nobody {
    fn line(&self, _text: &str) {}
}

impl Platform for Live {
    fn wake(&self, app: AppId) {
        self.supervisor.handle(app).wake();
    }

    fn dynos(&self, app: AppId) -> Answer<'_, Vec<DynoView>> {
        Box::pin(self.list_dynos(app))
    }

    fn run(&self, app: AppId, spec: RunSpec) -> Answer<'_, Started> {
        // A client that leaves takes its request with it: half a start would leave a dyno that nobody ends.
        let live = self.clone();
        let started = self.shared().tasks.spawn(async move { live.start_one_off(app, spec).await });
        Box::pin(async move { started.await.map_err(|error| PlatformError::Internal(Box::new(error)))? })
    }

    fn exec(&self, app: AppId, dyno: DynoId, command: ExecCommand) -> Answer<'_, String> {
        Box::pin(async move {
            self.known_agent()?;
            let container = self.running_container(app, dyno).await?;
            let mut args = vec![LAUNCHER.to_owned(), "--".to_owned()];
            args.extend(if command.args.is_empty() { vec!["bash".to_owned(), "-l".to_owned()] } else { command.args });
            let terminal = command.tty.then(|| window(command.window));
            let spec = ExecSpec { args, env: command.env.into_iter().collect(), terminal };
            Ok(self.attachments.offer(Target::Exec { container, spec }))
        })
    }

    fn attach(&self, secret: String) -> Answer<'_, Attachment> {
        Box::pin(self.take_attachment(secret))
    }

    fn restart(&self, app: AppId, which: DynoSelector) -> Answer<'_, ()> {
        Box::pin(async move {
            let target = match &which {
                DynoSelector::All => RestartTarget::App,
                DynoSelector::Type(process_type) => RestartTarget::Type(process_type.clone()),
                DynoSelector::One(name) => {
                    let dyno = self.find_dyno(app, name).await?;
                    if dyno.kind != landfall_deploy::ContainerKind::Dyno {
                        return self.stop_dynos(app, which).await;
                    }
                    RestartTarget::Dyno(name.clone())
                }
            };
            self.shared().store.restart(&self.shared().system.app(app), &target).await.map_err(of_store)?;
            self.wake(app);
            Ok(())
        })
    }

    fn stop(&self, app: AppId, which: DynoSelector) -> Answer<'_, ()> {
        Box::pin(self.stop_dynos(app, which))
    }

    fn build_cancel(&self, app: AppId, build: BuildId) -> Answer<'_, ()> {
        Box::pin(async move {
            let scope = self.shared().system.app(app);
            let found = self.shared().store.build_get(&scope, build).await.map_err(of_store)?;
            if found.status != BuildStatus::Pending {
                return Err(PlatformError::Conflict("That build has ended already. Take its release back with: landfall rollback".into()));
            }
            self.builds.cancel(build).await;
            match self.shared().store.build_cancel(&scope, build).await {
                // The job itself may have been first to say so.
                Ok(_) => Ok(()),
                Err(error) => match self.shared().store.build_get(&scope, build).await {
                    Ok(build) if build.status == BuildStatus::Failed => Ok(()),
                    _ => Err(of_store(error)),
                },
            }
        })
    }

    fn build_from_tarball(&self, app: AppId, build: TarballBuild) -> Answer<'_, BuildId> {
        Box::pin(async move {
            let store = &self.shared().store;
            let principal = store.principal_for_account(&self.shared().system, build.user).await.map_err(of_store)?;
            let scope = store.authorize(&principal, &landfall_store::AppIdentity::Id(app)).await.map_err(of_store)?;
            let id = BuildId::new();
            let place = self.builds.queue(app, id, self.shared().cancel.child_token()).ok_or_else(|| {
                PlatformError::Conflict(format!(
                    "{MOST_WAITING} builds of this app wait already. See them with: landfall builds, and cancel one with: landfall builds:cancel"
                ))
            })?;
            let job = Job {
                scope,
                build: id,
                address: build.address,
                described: BuildSource { commit: build.version.clone(), ..BuildSource::default() },
                source: Source::Tarball { path: build.file.clone(), version: build.version },
            };
            let row = self.builds.create(&job).await.map_err(of_store)?;
            let (builds, file) = (self.builds.clone(), build.file);
            self.shared().tasks.spawn(async move {
                let cancel = place.cancelled().clone();
                // A build that is cancelled while it waits leaves the line; whoever cancelled it writes that down.
                if let Some(_turn) = cancel.run_until_cancelled(builds.turns().take(app, format!("build {id}"), |_| ())).await {
                    let lines: Lines = Arc::new(Nobody);
                    if let Err(refused) = builds.run(job, row, lines, place).await {
                        tracing::info!(build.id = %id, reason = %refused, "a build failed");
                    }
                }
                let _ = tokio::fs::remove_file(file).await;
            });
            Ok(id)
        })
    }

    fn build_output(&self, app: AppId, build: BuildId) -> Answer<'_, OutputStream> {
        Box::pin(async move {
            self.shared().store.build_get(&self.shared().system.app(app), build).await.map_err(of_store)?;
            let log = self.shared().config.build_config().builds.join(build.to_string()).join("log");
            Ok(output::build(self.shared().clone(), app, build, log))
        })
    }

    fn release_output(&self, app: AppId, release: ReleaseId) -> Answer<'_, Option<OutputStream>> {
        Box::pin(async move {
            let scope = self.shared().system.app(app);
            let found = self.shared().store.release_get(&scope, ReleaseRef::Id(release)).await.map_err(of_store)?;
            Ok(found.output.map(|_| output::release(self.shared().clone(), app, release, found.status)))
        })
    }

    fn stats(&self, app: AppId) -> Answer<'_, Vec<DynoStats>> {
        Box::pin(self.read_stats(app))
    }

    fn stacks(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            let default = self.shared().config.default_stack.clone();
            let stacks = self.shared().agent.stacks().await.map_err(of_agent)?;
            let mut names: Vec<String> = stacks.into_iter().map(|stack| stack.name).filter(|name| *name != default).collect();
            names.insert(0, default);
            Ok(names)
        })
    }

    fn git_http_url(&self, app: &AppName) -> String {
        format!("{}/{app}.git", self.shared().config.public_url())
    }

    fn git_ssh_url(&self, app: &AppName) -> String {
        let config = &self.shared().config;
        let port = config.ssh_listen.map_or(2222, |listen| listen.port());
        format!("ssh://git@{}:{port}/{app}.git", config.public_host())
    }

    fn app_host(&self, app: &AppName) -> Hostname {
        let domain = &self.shared().config.platform_domain;
        format!("{app}.{domain}").parse().expect("the platform's domain is checked when the server starts")
    }

    fn web_url(&self, host: &Hostname) -> String {
        self.shared().config.web_url(host)
    }
}

/// Columns and rows, as the agent takes them.
pub(crate) fn window(size: Option<(u16, u16)>) -> TermSize {
    let (cols, rows) = size.unwrap_or((80, 24));
    TermSize { rows, cols }
}

/// The client's half of an attachment and ours.
pub(crate) fn pair() -> (Attachment, mpsc::Receiver<AttachInput>, mpsc::Sender<landfall_api::platform::AttachOutput>) {
    let (input, from_client) = mpsc::channel(64);
    let (to_client, output) = mpsc::channel(64);
    (Attachment { input, output }, from_client, to_client)
}
