//! A push from end to end: build row → build → release → release phase → rollout, told to the pusher line by line.
//!
//! Intent is in the store before anything is done, so a server that dies here leaves a pending build (failed at the next start) or a
//! release that the reconcile loop carries on with.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use landfall_builder::app_json::{AppJson, EnvSource, generate_secret};
use landfall_builder::build::{CacheRecord, Source, Stack};
use landfall_builder::push::{Lines, Push, PushHandler, PushRefused};
use landfall_builder::{BuildOutcome, BuildRequest, Builder};
use landfall_model::{AppId, BuildId, ConfigKey, ConfigVars, Hostname, ProcessType, ReleaseVersion, SecretString};
use landfall_runtime::client::Agent;
use landfall_store::{App, AppIdentity, AppScope, BuildSource, FormationHint, NewBuild, NewSlug, Release, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How the rollout of one release ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutEnd {
    /// It serves (or has nothing to run).
    Live,
    /// Its release phase failed: nothing was switched.
    ReleasePhaseFailed,
    /// Its dynos never became ready: what ran before runs on.
    NotReady {
        /// Why, with advice, for people.
        reason: String,
    },
    /// A newer release took over.
    Superseded(ReleaseVersion),
}

/// The reconcile loop as a push sees it.
pub trait Rollouts: Send + Sync + 'static {
    /// Follows one release until its rollout has ended, telling each step (release phase output, dynos that came up and how that was seen).
    fn follow(&self, app: AppId, version: ReleaseVersion, lines: Lines) -> BoxFuture<'_, RolloutEnd>;

    /// Runs a command once in a one-off dyno of the current release, its output as lines; gives the exit code.
    fn run_once<'a>(&'a self, app: AppId, command: &'a str, lines: Lines) -> BoxFuture<'a, Result<i32, String>>;
}

/// Handles pushes and builds of uploaded source.
pub struct Deployer {
    store: Store,
    agent: Agent,
    builder: Arc<Builder>,
    rollouts: Arc<dyn Rollouts>,
    caches: PathBuf,
    worker: String,
    public_port: u16,
    running: Mutex<HashMap<BuildId, CancellationToken>>,
}

/// What [`Deployer::new`] joins.
pub struct DeployerParts {
    /// Where builds and releases are remembered.
    pub store: Store,
    /// Knows the stacks.
    pub agent: Agent,
    /// Makes images.
    pub builder: Arc<Builder>,
    /// Follows releases.
    pub rollouts: Arc<dyn Rollouts>,
    /// Build caches, one file an app.
    pub caches: PathBuf,
    /// This server's name among build workers.
    pub worker: String,
    /// The port visitors use.
    pub public_port: u16,
}

impl Deployer {
    /// Over these rooms.
    pub fn new(parts: DeployerParts) -> Self {
        let DeployerParts { store, agent, builder, rollouts, caches, worker, public_port } = parts;
        Self { store, agent, builder, rollouts, caches, worker, public_port, running: Mutex::default() }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels a running build; `false` if this server runs no such build.
    pub fn cancel(&self, build: BuildId) -> bool {
        self.running().get(&build).map(CancellationToken::cancel).is_some()
    }

    /// Makes the row of a build; [`Deployer::run`] does the rest.
    pub async fn begin(&self, scope: &AppScope, stack: &str, source: BuildSource) -> Result<BuildId, StoreError> {
        let new = NewBuild { id: None, source, stack: stack.to_owned(), worker: self.worker.clone() };
        self.store.build_create(scope, new).await.map(|build| build.id)
    }

    /// Builds, releases and follows the rollout. Every failure is recorded in the build's row before it is returned.
    pub async fn run(&self, scope: &AppScope, app: &App, build: BuildId, source: Source, lines: Lines, cancel: CancellationToken) -> Result<(), PushRefused> {
        self.running().insert(build, cancel.clone());
        let built = self.build(scope, app, build, source, Arc::clone(&lines), cancel).await;
        self.running().remove(&build);
        let outcome = match built {
            Ok(outcome) => outcome,
            Err((reason, message)) => {
                if let Err(error) = self.store.build_fail(scope, build, &reason).await {
                    tracing::error!(error = &error as &dyn std::error::Error, %build, "could not record a failed build");
                }
                return Err(PushRefused::new(message));
            }
        };
        let first = self.is_first_deploy(scope).await?;
        self.apply_env_wishes(scope, first, outcome.app_json.as_ref(), &lines).await?;
        let (_, release) = self.store.build_finish(scope, build, slug(&outcome)).await.map_err(refused)?;
        self.keep_cache(app.id, &outcome.cache);
        self.follow(scope, app, &release, &lines, first.then_some(outcome.app_json.as_ref()).flatten()).await
    }

    async fn build(&self, scope: &AppScope, app: &App, build: BuildId, source: Source, lines: Lines, cancel: CancellationToken) -> Result<BuildOutcome, (String, String)> {
        let platform = |error: String| (error.clone(), format!("Push rejected, the platform could not run the build: {error}\nPush again; if it fails again the operator finds more with: landfall doctor"));
        let stack = self.stack(&app.stack).await.map_err(platform)?;
        let config = self.store.config_get(scope).await.map_err(|error| platform(error.to_string()))?;
        let request = BuildRequest {
            build,
            app: app.id,
            app_name: app.name.to_string(),
            user_block: app.user_block,
            source,
            stack,
            config,
            cache: self.cache(app.id),
        };
        self.builder.build(request, lines, cancel).await.map_err(|failure| (failure.to_string(), failure.explain().join("\n")))
    }

    async fn stack(&self, name: &str) -> Result<Stack, String> {
        let stacks = self.agent.stacks().await.map_err(|error| error.to_string())?;
        let stack = stacks.into_iter().find(|stack| stack.name == name);
        let stack = stack.ok_or_else(|| format!("this server has no base image {name} yet; make it with: sudo landfall stacks:create"))?;
        let version = name.rsplit('-').next().unwrap_or_default().to_owned();
        Ok(Stack { name: stack.name, build_image: stack.build_image, run_image: stack.run_image, distro_name: "debian".to_owned(), distro_version: version })
    }

    /// Whether nothing of this app was ever built.
    async fn is_first_deploy(&self, scope: &AppScope) -> Result<bool, PushRefused> {
        let desired = self.store.desired(&self.store.system(), scope.app_id()).await.map_err(refused)?;
        Ok(desired.is_none_or(|desired| desired.current.is_none_or(|current| current.slug.is_none())))
    }

    /// app.json's `env`, as Heroku reads it: at the first deploy, for what is not set yet.
    async fn apply_env_wishes(&self, scope: &AppScope, first: bool, app_json: Option<&AppJson>, lines: &Lines) -> Result<(), PushRefused> {
        let Some(app_json) = app_json.filter(|app_json| first && !app_json.env.is_empty()) else { return Ok(()) };
        let present = self.store.config_get(scope).await.map_err(refused)?;
        let changes = wished(app_json, &present);
        if !changes.is_empty() {
            self.store.config_patch(scope, &changes).await.map_err(refused)?;
            let keys = changes.keys().map(ConfigKey::as_str).collect::<Vec<_>>().join(", ");
            lines.line(&format!("-----> Setting config vars from app.json: {keys}"));
        }
        Ok(())
    }

    async fn follow(&self, scope: &AppScope, app: &App, release: &Release, lines: &Lines, postdeploy: Option<&AppJson>) -> Result<(), PushRefused> {
        lines.line("-----> Launching...");
        lines.line(&format!("       Released {}", release.version));
        match self.rollouts.follow(app.id, release.version, Arc::clone(lines)).await {
            RolloutEnd::Live => {
                if let Some(command) = postdeploy.and_then(|app_json| app_json.postdeploy.as_deref()) {
                    self.postdeploy(app, command, lines).await;
                }
                if let Some(url) = self.url(scope).await {
                    lines.line(&format!("       {url} deployed to Landfall"));
                }
                Ok(())
            }
            RolloutEnd::Superseded(by) => {
                lines.line(&format!("       {by} was released meanwhile and takes over"));
                Ok(())
            }
            RolloutEnd::ReleasePhaseFailed => Err(PushRefused::new(format!(
                "Push rejected, the release command of {} failed; what ran before runs on.\nRead its output above or with: landfall releases:output {} -a {}\nMend it, commit and push again.",
                release.version, release.version, app.name
            ))),
            // The build is good and the release exists, so the push stands; but nobody should think that it serves.
            RolloutEnd::NotReady { reason } => {
                for line in reason.lines() {
                    lines.line(&format!(" !     {line}"));
                }
                lines.line(&format!(" !     {} is released but does not serve; what ran before runs on.", release.version));
                lines.line(&format!(" !     Look with: landfall logs -a {}   Go back with: landfall rollback -a {}", app.name, app.name));
                Ok(())
            }
        }
    }

    async fn postdeploy(&self, app: &App, command: &str, lines: &Lines) {
        lines.line(&format!("-----> Running app.json's postdeploy: {command}"));
        match self.rollouts.run_once(app.id, command, Arc::clone(lines)).await {
            Ok(0) => {}
            Ok(code) => lines.line(&format!(" !     postdeploy ended with status {code}; run it again with: landfall run -a {} '{command}'", app.name)),
            Err(why) => lines.line(&format!(" !     postdeploy did not run: {why}")),
        }
    }

    async fn url(&self, scope: &AppScope) -> Option<String> {
        let domains = self.store.domain_list(scope).await.ok()?;
        domains.first().map(|domain| web_url(&domain.hostname, self.public_port))
    }

    fn cache_file(&self, app: AppId) -> PathBuf {
        self.caches.join(format!("{app}.json"))
    }

    fn cache(&self, app: AppId) -> Option<CacheRecord> {
        CacheRecord::from_json(&std::fs::read_to_string(self.cache_file(app)).ok()?)
    }

    /// A cache that cannot be kept costs the next build time and nothing else.
    fn keep_cache(&self, app: AppId, cache: &CacheRecord) {
        let file = self.cache_file(app);
        let temp = file.with_extension("tmp");
        let kept = std::fs::create_dir_all(&self.caches).and_then(|()| std::fs::write(&temp, cache.to_json())).and_then(|()| std::fs::rename(&temp, &file));
        if let Err(error) = kept {
            tracing::warn!(%error, file = %file.display(), "could not keep a build cache");
        }
    }

    /// Diff ids that builds to come want to find in the image store.
    pub fn cached_layers(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.caches).into_iter().flatten().flatten();
        let records = files.filter_map(|file| CacheRecord::from_json(&std::fs::read_to_string(file.path()).ok()?));
        records.flat_map(|record| record.diff_ids().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Forgets a destroyed app's cache.
    pub fn forget(&self, app: AppId) {
        let _ = std::fs::remove_file(self.cache_file(app));
    }
}

/// Where a browser reaches a host name.
pub fn web_url(host: &Hostname, port: u16) -> String {
    if port == 80 { format!("http://{host}/") } else { format!("http://{host}:{port}/") }
}

/// Vars that app.json wishes and the app does not have. What only the owner can give is left to the owner.
fn wished(app_json: &AppJson, present: &ConfigVars) -> BTreeMap<ConfigKey, Option<SecretString>> {
    let absent = app_json.env.iter().filter(|(key, _)| !present.0.contains_key(*key));
    absent
        .filter_map(|(key, wish)| match &wish.source {
            EnvSource::Owner => None,
            EnvSource::Value(value) => Some((key.clone(), Some(value.clone()))),
            EnvSource::Secret => Some((key.clone(), Some(generate_secret()))),
        })
        .collect()
}

fn slug(outcome: &BuildOutcome) -> NewSlug {
    let app_json = outcome.app_json.clone().unwrap_or_default();
    let hint = |(process_type, wish): (&ProcessType, &landfall_builder::app_json::FormationWish)| {
        (process_type.clone(), FormationHint { quantity: wish.quantity, size: wish.size })
    };
    NewSlug {
        image: outcome.image.clone(),
        process_types: outcome.processes.iter().map(|process| (process.process_type.clone(), process.command.clone())).collect(),
        buildpacks: outcome.buildpacks.iter().map(|pack| pack.id.clone()).collect(),
        size_bytes: outcome.size_bytes,
        formation: app_json.formation.iter().map(hint).collect(),
        app_json: serde_json::json!({ "healthchecks": app_json.healthchecks }),
    }
}

fn refused(error: StoreError) -> PushRefused {
    let hint = error.hint().unwrap_or("Nothing was lost; push again in a moment.");
    tracing::warn!(error = &error as &dyn std::error::Error, "a push met a store that refused");
    PushRefused::new(format!("Push rejected: {error}\n{hint}"))
}

impl PushHandler for Deployer {
    fn push(&self, push: Push, lines: Lines, cancel: CancellationToken) -> BoxFuture<'_, Result<(), PushRefused>> {
        async move {
            let principal = self.store.principal_for_account(&self.store.system(), push.account).await.map_err(refused)?;
            let scope = self.store.authorize(&principal, &AppIdentity::Id(push.app)).await.map_err(refused)?;
            let app = self.store.app_get(&scope).await.map_err(refused)?;
            let build = self.begin(&scope, &app.stack, BuildSource { commit: Some(push.commit.clone()), description: None }).await.map_err(refused)?;
            let source = Source::Commit { objects: push.objects, commit: push.commit };
            self.run(&scope, &app, build, source, lines, cancel).await
        }
        .boxed()
    }
}
