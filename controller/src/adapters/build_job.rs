//! From a source to a release that runs: what a push and an uploaded tarball have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landfall_builder::app_json::{AppJson, EnvSource, generate_secret};
use landfall_builder::build::{BuildOutcome, BuildRequest, Source, Stack};
use landfall_builder::push::{Lines, PushRefused};
use landfall_builder::turns::Turns;
use landfall_builder::{BuildFailure, Builder};
use landfall_failpoint::failpoint;
use landfall_model::{AppId, BuildId, BuildStatus, ConfigKey, ReleaseStatus, ReleaseVersion, SecretString};
use landfall_store::{App, AppScope, Build, BuildSource, FormationHint, NewBuild, NewSlug, Release, StoreError};
use tokio_util::sync::CancellationToken;

use super::job_lines::JobLines;
use super::places::{Place, Places};
use super::rollout::{self, Rollout};
use super::{AgentSandbox, cache_file};
use crate::reconcile::{Shared, Supervisor, kept_app_json, postdeploy_command, postdeploy_told, quoted};

/// Who works on builds; at the next start, what this name left pending is interrupted.
const WORKER: &str = "server";
/// Between two looks for builds that are pending although nobody works on them.
const SWEEP: Duration = Duration::from_mins(1);
/// How often, and at what pace, a database that is away is asked to record a build that worked.
const RECORD_TRIES: u32 = 10;
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// Everything that builds.
pub struct Builds {
    supervisor: Supervisor,
    builder: Builder,
    turns: Turns<AppId>,
    places: Places,
}

/// One deploy to be made.
#[derive(Debug)]
pub struct Job {
    /// The right to the app, on the deployer's behalf.
    pub scope: AppScope,
    /// The id of the build.
    pub build: BuildId,
    /// Where the deployer came from, for the audit log.
    pub address: Option<IpAddr>,
    /// What to build.
    pub source: Source,
    /// What people call it.
    pub described: BuildSource,
}

/// app.json's postdeploy script.
struct Postdeploy {
    command: Option<String>,
    /// The release before had another one, or none.
    is_new: bool,
}

impl Builds {
    /// Over the agent's build containers.
    pub fn new(supervisor: Supervisor) -> Self {
        let shared = supervisor.shared();
        let builder = Builder::new(
            shared.config.build_config(),
            Arc::new(AgentSandbox::new(shared.agent.clone(), shared.image_holds.clone(), shared.store.instance())),
        );
        Self { supervisor, builder, turns: Turns::new(1), places: Places::default() }
    }

    /// One at a time for each app: shared with the git receiver's hook.
    pub fn turns(&self) -> &Turns<AppId> {
        &self.turns
    }

    fn shared(&self) -> &Shared {
        self.supervisor.shared()
    }

    fn dir(&self, build: BuildId) -> PathBuf {
        self.shared().config.build_config().builds.join(build.to_string())
    }

    /// Fails the builds an earlier server left behind, and removes their sources.
    pub async fn interrupt_leftovers(&self) -> Result<usize, StoreError> {
        if let Err(error) = self.builder.tidy() {
            tracing::warn!(error = %error, "sources of interrupted builds were not removed");
        }
        self.interrupt("interrupted: the server restarted; push again").await
    }

    async fn interrupt(&self, reason: &str) -> Result<usize, StoreError> {
        let shared = self.shared();
        Ok(shared.store.builds_interrupt(&shared.system, |build| self.places.has(build), reason).await?.len())
    }

    /// Fails, again and again, what is pending although nobody works on it: the end of a build that the database was not there to record.
    pub async fn sweep(self: Arc<Self>) {
        while self.shared().cancel.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
            match self.interrupt("interrupted: its end could not be recorded; push again").await {
                Ok(0) => {}
                Ok(builds) => tracing::warn!(builds, "builds whose end could not be recorded are failed"),
                Err(error) => tracing::debug!(error = crate::explain(&error), "pending builds could not be looked over; trying again"),
            }
        }
    }

    /// A place for a build that has a client waiting. Take it before [`Self::create`].
    pub fn place(&self, app: AppId, build: BuildId, cancel: CancellationToken) -> Place {
        self.places.take(app, build, cancel)
    }

    /// A place in the queue of an app; `None` = too many wait.
    pub fn queue(&self, app: AppId, build: BuildId, cancel: CancellationToken) -> Option<Place> {
        self.places.queue(app, build, cancel)
    }

    /// Cancels a build, if it waits or runs here, and waits for its end.
    pub async fn cancel(&self, build: BuildId) {
        self.places.cancel(build).await;
    }

    /// Writes the build's row, and makes room for its log. From here on it is visible, and ends as succeeded or failed.
    pub async fn create(&self, job: &Job) -> Result<App, StoreError> {
        let app = self.shared().store.app_get(&job.scope).await?;
        let new = NewBuild { id: Some(job.build), source: job.described.clone(), stack: app.stack.clone(), worker: WORKER.to_owned() };
        self.shared().store.build_create(&job.scope, new).await?;
        failpoint("server.build.created");
        if let Err(error) = std::fs::create_dir_all(self.dir(job.build)) {
            tracing::warn!(build.id = %job.build, error = %error, "no room for a build's log");
        }
        Ok(app)
    }

    /// Builds, releases and rolls out, telling `lines`. An error refuses the push: nothing of it runs, and its text says why.
    pub async fn run(&self, job: Job, app: App, lines: Lines, place: Place) -> Result<(), PushRefused> {
        let cancel = place.cancelled().clone();
        let held = self.shared().image_holds.releasing(job.build);
        let built = self.build(&job, &app, &lines, &cancel).await;
        failpoint("server.build.discarded");
        let lines = JobLines::new(lines, &self.dir(job.build).join("log"));
        match built {
            Ok(outcome) => {
                let script = outcome.app_json.as_ref().and_then(|app_json| app_json.postdeploy.clone());
                let script = Postdeploy { is_new: script.is_some() && script != self.current_postdeploy(&job).await, command: script };
                let release = self.release(&job, &app, outcome, &lines).await?;
                // Its end is recorded: from here on it is a release, and those are not cancelled.
                drop(place);
                drop(held);
                self.shared().litter.notify_one();
                self.roll_out(&job, &app, &release, script, &lines, &cancel).await
            }
            Err(failure) => {
                // The platform's own right: the deployer may have lost theirs meanwhile, and the build has ended all the same.
                let scope = self.shared().system.app(app.id);
                if let Err(error) = self.shared().store.build_fail(&scope, job.build, &failure.to_string()).await
                    && !matches!(error, StoreError::BuildFinished { .. })
                {
                    tracing::warn!(build.id = %job.build, error = crate::explain(&error), "a failed build could not be recorded");
                }
                Err(lines.refused(&failure.explain()))
            }
        }
    }

    /// The build and the release that a push of this commit came to before it was cut off: everything was recorded, but git did not hear of it
    /// and its branch did not move. `None` = there is no such push, or something newer took its place.
    pub async fn cut_off(&self, scope: &AppScope, app: &App, commit: &str) -> Result<Option<(Build, Release)>, StoreError> {
        let store = &self.shared().store;
        let Some(newest) = store.build_list(scope, 1).await?.into_iter().next() else { return Ok(None) };
        let is_it = newest.status == BuildStatus::Succeeded
            && newest.source.pushed
            && newest.source.commit.as_deref() == Some(commit)
            && newest.stack == app.stack;
        if !is_it {
            return Ok(None);
        }
        // Its release may have failed, or have been rolled back: then pushing again is a wish to deploy anew.
        let head = store.release_head(scope).await?;
        Ok((newest.slug.is_some() && head.slug == newest.slug).then_some((newest, head)))
    }

    /// Goes on with a push that was [cut off](Self::cut_off), as if it had not been.
    pub async fn go_on(&self, job: Job, app: App, release: Release, lines: Lines, cancel: CancellationToken) -> Result<(), PushRefused> {
        let lines = JobLines::new(lines, &self.dir(job.build).join("log"));
        lines.step("Going on with an earlier push of this commit, which was cut off after its build");
        let script = Postdeploy { command: self.current_postdeploy(&job).await, is_new: false };
        self.roll_out(&job, &app, &release, script, &lines, &cancel).await
    }

    async fn build(&self, job: &Job, app: &App, lines: &Lines, cancel: &CancellationToken) -> Result<BuildOutcome, BuildFailure> {
        let platform = |error: &(dyn std::error::Error + 'static)| BuildFailure::Platform(crate::explain(error));
        // It may have been cancelled while it waited for its turn.
        let row = self.shared().store.build_get(&job.scope, job.build).await.map_err(|error| platform(&error))?;
        if row.status != BuildStatus::Pending || cancel.is_cancelled() {
            return Err(BuildFailure::Cancelled);
        }
        let stacks = self.shared().agent.stacks().await.map_err(|error| platform(&error))?;
        let Some(stack) = stacks.into_iter().find(|stack| stack.name == app.stack) else {
            let name = &app.stack;
            return Err(BuildFailure::Platform(format!(
                "the base image {name} of this app is not on this machine; the operator makes it with: landfall stacks:create"
            )));
        };
        let config = self.shared().store.config_get(&job.scope).await.map_err(|error| platform(&error))?;
        let request = BuildRequest {
            build: job.build,
            app: app.id,
            app_name: app.name.to_string(),
            user_block: app.user_block,
            source: job.source.clone(),
            stack: Stack {
                name: stack.name,
                build_image: stack.build_image,
                run_image: stack.run_image,
                distro_name: stack.distro_name,
                distro_version: stack.distro_version,
            },
            config,
            cache: cache_file::load(&self.shared().config.build_cache_dir(), app.id),
        };
        let built = self.builder.build(request, lines.clone(), cancel.clone()).await;
        if let Err(BuildFailure::Damaged(_)) = &built {
            // Perhaps it was what an earlier build left: the next one must not fail of it again.
            cache_file::forget(&self.shared().config.build_cache_dir(), app.id);
        }
        built
    }

    async fn release(&self, job: &Job, app: &App, outcome: BuildOutcome, lines: &JobLines) -> Result<Release, PushRefused> {
        lines.step("Launching...");
        let release = match self.record(job, &outcome, lines).await {
            Ok(release) => release,
            Err(error) if error.is_transient() => {
                let why = crate::explain(&error);
                let words = [
                    format!("The build worked, but whether its release was recorded is not known: {why}."),
                    format!("See with: landfall releases --app {}", app.name),
                    "If it is not there, nothing changed: push again.".to_owned(),
                ];
                return Err(lines.refused(&words));
            }
            Err(error) => {
                let why = crate::explain(&error);
                let words =
                    [format!("The build worked, but the release could not be recorded: {why}."), "Nothing changed. Push again.".to_owned()];
                return Err(lines.refused(&words));
            }
        };
        failpoint("server.release.recorded");
        if let Err(error) = cache_file::save(&self.shared().config.build_cache_dir(), app.id, &outcome.cache) {
            tracing::warn!(app.id = %app.id, error = %error, "the build cache was not kept; the next build takes longer");
        }
        failpoint("server.build.cache-kept");
        Ok(release)
    }

    /// Records build, release and what app.json wishes, in one transaction. A database that is away is asked again: to say it twice is fine.
    async fn record(&self, job: &Job, outcome: &BuildOutcome, lines: &JobLines) -> Result<Release, StoreError> {
        let store = &self.shared().store;
        let wishes = match &outcome.app_json {
            Some(app_json) => self.wishes(job, app_json, lines).await?,
            None => BTreeMap::new(),
        };
        let address = job.address.map(|address| address.to_string());
        let mut tries = 0;
        let release = loop {
            match store.build_finish_with(&job.scope, job.build, new_slug(outcome), &wishes, address.clone()).await {
                Err(error) if error.is_transient() && tries < RECORD_TRIES => {
                    tries += 1;
                    tokio::time::sleep(RECORD_AGAIN).await;
                }
                other => break other?.1,
            }
        };
        if !wishes.is_empty() {
            lines.detail(&format!("Set {} from app.json", wishes.keys().map(ConfigKey::as_str).collect::<Vec<_>>().join(", ")));
        }
        Ok(release)
    }

    async fn roll_out(
        &self,
        job: &Job,
        app: &App,
        release: &Release,
        script: Postdeploy,
        lines: &JobLines,
        cancel: &CancellationToken,
    ) -> Result<(), PushRefused> {
        let version = release.version;
        let handle = self.supervisor.handle(app.id);
        handle.wake();
        if release.status == ReleaseStatus::Pending {
            match rollout::release_phase(self.shared(), &job.scope, release, lines, cancel).await {
                Ok(ReleaseStatus::Failed) => {
                    return Err(lines.refused(&[
                        format!("Push rejected, the release phase of {version} failed. What ran before runs on."),
                        format!("Its output is kept: landfall releases:output {version} --app {}", app.name),
                    ]));
                }
                Ok(ReleaseStatus::Pending) => {
                    return Err(lines.refused(&[
                        format!("The pusher left during the release phase of {version}, which goes on; the branch was not moved."),
                        format!("See it with: landfall releases:output {version} --app {}", app.name),
                    ]));
                }
                Ok(_) => {}
                Err(error) => return Err(lines.refused(&[crate::explain(&error)])),
            }
        }
        lines.detail(&format!("Released {version}"));
        let url = self.url(app);
        match rollout::dynos(self.shared(), &handle, version, lines, cancel).await {
            Rollout::Live => {
                failpoint("server.release.live");
                lines.detail(&format!("{url} deployed to Landfall"));
                self.postdeploy(job, app, version, script, lines, cancel).await;
            }
            Rollout::Superseded(newer) => lines.detail(&format!("{newer} was released in the meantime and takes over.")),
            Rollout::Left => {}
            Rollout::NotUp(serving) => not_up(app, version, &serving, &url, lines),
        }
        Ok(())
    }

    /// The postdeploy script, if this deploy is the one it runs after. Whatever becomes of it, the release stays.
    async fn postdeploy(
        &self,
        job: &Job,
        app: &App,
        version: ReleaseVersion,
        script: Postdeploy,
        lines: &JobLines,
        cancel: &CancellationToken,
    ) {
        let Some(command) = script.command else { return };
        let first = match self.shared().store.first_deploy(&job.scope).await {
            Ok(first) => first,
            Err(error) => return lines.problem(&format!("Whether the postdeploy script runs is not known: {}", crate::explain(&error))),
        };
        if first.is_some_and(|first| first.version != version) {
            if script.is_new {
                lines.detail("app.json's postdeploy script runs after an app's first deploy, and this was not it.");
                lines.detail(&format!("To run it now: landfall run --app {} -- {}", app.name, quoted(&command)));
            }
            return;
        }
        lines.step(&format!("Running the postdeploy script: {command}"));
        match rollout::postdeploy(self.shared(), &job.scope, lines, cancel).await {
            Ok(Some(first)) => {
                let words = postdeploy_told(first.postdeploy, first.version, app.name.as_str(), Some(&command));
                for line in &words {
                    lines.problem(line);
                }
            }
            Ok(None) => lines.problem(&format!("It has not begun yet. See it with: landfall logs --tail --app {}", app.name)),
            Err(error) => {
                lines.problem(&format!("How it ended is not known: {}. See: landfall logs --app {}", crate::explain(&error), app.name));
            }
        }
    }

    /// The postdeploy script of what runs now.
    async fn current_postdeploy(&self, job: &Job) -> Option<String> {
        let store = &self.shared().store;
        let slug = store.release_get(&job.scope, landfall_store::ReleaseRef::Current).await.ok()?.slug?;
        postdeploy_command(&store.slug_get(&job.scope, slug).await.ok()?)
    }

    fn url(&self, app: &App) -> String {
        let config = &self.shared().config;
        let host = format!("{}.{}", app.name, config.platform_domain).parse();
        host.map_or_else(|_| app.name.to_string(), |host| config.web_url(&host))
    }

    /// app.json's `env`, at the first deploy: values for what is not set yet. The store hears them only if that is still so.
    async fn wishes(&self, job: &Job, app_json: &AppJson, lines: &JobLines) -> Result<BTreeMap<ConfigKey, SecretString>, StoreError> {
        let store = &self.shared().store;
        let mut wishes: BTreeMap<ConfigKey, SecretString> = BTreeMap::new();
        if store.app_get(&job.scope).await?.released_at.is_some() && self.has_code(job).await? {
            return Ok(wishes);
        }
        let config = store.config_get(&job.scope).await?;
        for (key, wish) in app_json.env.iter().filter(|(key, _)| !config.0.contains_key(*key)) {
            match &wish.source {
                EnvSource::Value(value) => drop(wishes.insert(key.clone(), value.clone())),
                EnvSource::Secret => drop(wishes.insert(key.clone(), generate_secret())),
                EnvSource::Owner if wish.required => {
                    lines.problem(&format!("app.json asks for {key}, which is not set. Set it with: landfall config:set {key}=…"));
                }
                EnvSource::Owner => {}
            }
        }
        Ok(wishes)
    }

    async fn has_code(&self, job: &Job) -> Result<bool, StoreError> {
        let current = self.shared().store.release_get(&job.scope, landfall_store::ReleaseRef::Current).await;
        Ok(current.is_ok_and(|release| release.slug.is_some()))
    }
}

fn not_up(app: &App, version: ReleaseVersion, serving: &[ReleaseVersion], url: &str, lines: &JobLines) {
    let name = &app.name;
    lines.problem(&format!("{version} is released, but its dynos do not come up."));
    match serving.iter().rev().find(|old| **old != version) {
        Some(old) => {
            lines.problem(&format!("{old} serves on at {url}; {version} takes over as soon as it comes up."));
            lines.problem(&format!("Go back for good with: landfall rollback {old} --app {name}"));
        }
        None => lines.problem(&format!("Nothing answers at {url} yet.")),
    }
    lines.problem(&format!("See why with: landfall logs --tail --app {name}"));
}

fn new_slug(outcome: &BuildOutcome) -> NewSlug {
    let formation = outcome.app_json.iter().flat_map(|app_json| &app_json.formation);
    NewSlug {
        image: outcome.image.clone(),
        process_types: outcome.processes.iter().map(|process| (process.process_type.clone(), process.command.clone())).collect(),
        buildpacks: outcome.buildpacks.iter().map(|buildpack| buildpack.id.clone()).collect(),
        size_bytes: outcome.size_bytes,
        formation: formation.map(|(kind, wish)| (kind.clone(), FormationHint { quantity: wish.quantity, size: wish.size })).collect(),
        app_json: kept_app_json(&outcome.app_json.clone().unwrap_or_default()),
    }
}
