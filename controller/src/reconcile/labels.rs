//! The marks the server puts on containers, so that it finds them again without remembering them.

use std::collections::BTreeMap;

use landfall_model::{AppId, DynoName, DynoSize, ReleaseVersion};
use landfall_runtime_wire::{ContainerId, ContainerInfo};

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of the formation.
    Dyno,
    /// `landfall run`.
    OneOff,
    /// A release phase.
    Release,
    /// The postdeploy script of the first release that was live.
    Postdeploy,
    /// A build: its session owns it.
    Build,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Dyno, Self::OneOff, Self::Release, Self::Postdeploy, Self::Build];

    fn as_str(self) -> &'static str {
        match self {
            Self::Dyno => "dyno",
            Self::OneOff => "one-off",
            Self::Release => "release",
            Self::Postdeploy => "postdeploy",
            Self::Build => "build",
        }
    }
}

/// All marks of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) app: AppId,
    pub(crate) kind: Kind,
    pub(crate) release: ReleaseVersion,
    pub(crate) dyno: DynoName,
    pub(crate) size: DynoSize,
    pub(crate) fingerprint: String,
    pub(crate) generation: u64,
    /// As people see it.
    pub(crate) command: String,
    /// Somebody was to attach to it through this server.
    pub(crate) attached: bool,
}

impl Labels {
    /// As the agent keeps them.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        [
            ("app", self.app.to_string()),
            ("kind", self.kind.as_str().to_owned()),
            ("release", self.release.0.to_string()),
            ("type", self.dyno.process_type.to_string()),
            ("index", self.dyno.index.to_string()),
            ("size", self.size.name().to_owned()),
            ("fingerprint", self.fingerprint.clone()),
            ("generation", self.generation.to_string()),
            ("command", self.command.clone()),
            ("attached", self.attached.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// The inverse of [`Self::to_map`]. `None` = not one of ours.
    pub(crate) fn read(info: &ContainerInfo) -> Option<Self> {
        let label = |key: &str| info.labels.get(key).map(String::as_str);
        let kind = Kind::ALL.into_iter().find(|kind| label("kind") == Some(kind.as_str()))?;
        Some(Self {
            app: label("app")?.parse().ok()?,
            kind,
            release: ReleaseVersion(label("release")?.parse().ok()?),
            dyno: DynoName::new(label("type")?.parse().ok()?, label("index")?.parse().ok()?),
            size: label("size")?.parse().ok()?,
            fingerprint: label("fingerprint")?.to_owned(),
            generation: label("generation")?.parse().ok()?,
            command: label("command").unwrap_or_default().to_owned(),
            attached: label("attached") == Some("true"),
        })
    }
}

/// Whose container it is: the database that its app is in. Containers of before this mark have none.
pub(crate) const INSTANCE: &str = "instance";

/// The app a container is marked with, whatever else is wrong with its marks.
pub(crate) fn app_of(info: &ContainerInfo) -> Option<AppId> {
    info.labels.get("app")?.parse().ok()
}

/// Makes a container id of text that is known to be one.
pub(crate) fn container_id(text: String) -> ContainerId {
    ContainerId::try_from(text).expect("made of lower-case letters, digits and dashes")
}

/// A build's container.
pub(crate) fn build_container(build: landfall_model::BuildId) -> ContainerId {
    container_id(format!("b-{}", build.0.simple()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_runtime_wire::ContainerState;

    #[test]
    fn labels_round_trip() {
        let labels = Labels {
            app: AppId::new(),
            kind: Kind::OneOff,
            release: ReleaseVersion(7),
            dyno: "run.4821".parse().unwrap(),
            size: DynoSize::Standard2X,
            fingerprint: "x".into(),
            generation: 3,
            command: "python -c 'print(1)'".into(),
            attached: true,
        };
        let info = ContainerInfo {
            id: container_id("d-1".into()),
            labels: labels.to_map(),
            state: ContainerState::Ready,
            ip: None,
            other_listeners: vec![],
            started_at_ms: 0,
            changed_at_ms: 0,
            started_uptime_ms: 0,
            changed_uptime_ms: 0,
        };
        assert_eq!(Labels::read(&info), Some(labels));
        assert_eq!(Labels::read(&ContainerInfo { labels: BTreeMap::new(), ..info }), None);
    }
}
