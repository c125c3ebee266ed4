//! From a release and a dyno's name to the container the agent shall start.

use std::path::PathBuf;

use landfall_model::{ConfigVars, DynoSize, ProcessType, ReleaseVersion};
use landfall_runtime_wire::{ContainerId, ContainerSpec, Limits, LogTarget, Stdio, UserBlock};
use landfall_store::{DesiredRelease, Slug};

use super::labels::{Kind, Labels};

/// One release that can be launched.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) version: ReleaseVersion,
    pub(crate) slug: Slug,
    pub(crate) config: ConfigVars,
    pub(crate) user_block: u32,
}

impl Launch {
    /// Of a release the store gave; `None` = it has no code.
    pub(crate) fn of(release: &DesiredRelease, user_block: u32) -> Option<Self> {
        let slug = release.slug.clone()?;
        Some(Self { version: release.release.version, slug, config: release.config.clone(), user_block })
    }

    /// The command of a process type, as people see it.
    pub(crate) fn command(&self, process_type: &ProcessType) -> String {
        self.slug.process_types.get(process_type).cloned().unwrap_or_default()
    }
}

/// At this many times its size a dyno is killed (R15); above its size its log says so (R14). As Heroku does it.
const FAR_OVER_QUOTA: u64 = 2;

/// What a dyno of this size may use.
pub(crate) fn size_limits(size: DynoSize) -> Limits {
    Limits {
        memory_bytes: size.memory_bytes() * FAR_OVER_QUOTA,
        memory_quota_bytes: Some(size.memory_bytes()),
        cpu_shares: size.cpu_shares(),
        cpu_percent: None,
        pids: size.pids(),
        disk_bytes: None,
        wall_ms: None,
    }
}

/// A container that runs a process type of the release, logging to `log_dir`. Web dynos get `port` as `PORT` and are ready once they listen on it.
pub(crate) fn container_spec(id: ContainerId, launch: &Launch, labels: &Labels, log_dir: PathBuf, port: u16) -> ContainerSpec {
    let dyno = labels.dyno.to_string();
    let mut env: Vec<(String, String)> = launch.config.iter_exposed().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    env.push(("DYNO".to_owned(), dyno.clone()));
    env.push(("PORT".to_owned(), port.to_string()));
    ContainerSpec {
        hostname: hostname(&id),
        id,
        labels: labels.to_map(),
        image: launch.slug.image.clone(),
        args: vec![format!("/cnb/process/{}", labels.dyno.process_type)],
        env,
        cwd: None,
        user_block: UserBlock(launch.user_block),
        limits: size_limits(labels.size),
        port: (labels.kind == Kind::Dyno && labels.dyno.process_type.is_web()).then_some(port),
        log: Some(LogTarget { dir: log_dir, source: "app".to_owned(), name: dyno }),
        stdio: Stdio::Log,
        files: Vec::new(),
    }
}

/// The end of the id: the random part of it.
pub(crate) fn hostname(id: &ContainerId) -> String {
    let text = id.as_str();
    text[text.len().saturating_sub(12)..].trim_matches('-').to_owned()
}
