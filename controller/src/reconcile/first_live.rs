//! The first deploy of an app that is live: it is written down, and its postdeploy script begun (once; see `landfall_deploy`'s plan).

use std::sync::Arc;

use landfall_deploy::{ContainerKey, PostdeployEnd};
use landfall_failpoint::failpoint;
use landfall_model::{DynoName, DynoSize, ReleaseVersion};
use landfall_store::{DesiredApp, Postdeploy};

use super::desired::postdeploy_command;
use super::labels::{Kind, Labels};
use super::memory::{Busy, id_of};
use super::shared::{AppHandle, Shared, not_started};
use super::spec::{Launch, container_spec};
use crate::explain;
use crate::platform::LAUNCHER;
use crate::wait::before_retry;

/// The name of the dyno that runs a release's postdeploy script.
pub(crate) fn dyno_name(version: ReleaseVersion) -> DynoName {
    DynoName::new("postdeploy".parse().expect("a process type"), version.0)
}

/// Records it, then starts the script. In this order: what was begun is never begun again, whatever dies.
pub(super) fn record(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, version: ReleaseVersion) {
    let Some(current) = app.current.as_ref().filter(|current| current.release.version == version) else { return };
    let Some(launch) = Launch::of(current, app.user_block) else { return };
    if !handle.memory().busy.insert(Busy::FirstDeploy) {
        return;
    }
    let script = postdeploy_command(&launch.slug).map(|command| {
        let key = ContainerKey(format!("p-{}", current.release.id.0.simple()));
        let labels = Labels {
            app: handle.app,
            kind: Kind::Postdeploy,
            release: version,
            dyno: dyno_name(version),
            size: DynoSize::default(),
            fingerprint: String::new(),
            generation: 0,
            command,
            attached: false,
        };
        // Before it is written down: who reads that it was begun must find it.
        handle.expect(shared, &key, labels.clone());
        (key, labels)
    });
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.first-deploy.before");
        let recorded = shared.store.first_deploy_record(&shared.system.app(handle.app), version, script.is_some()).await;
        failpoint("server.first-deploy.recorded");
        match (&recorded, &script) {
            (Ok(_), None) => {}
            (Ok(true), Some((key, labels))) => begin(&shared, &handle, &launch, key, labels).await,
            // The loop had looked before that was written down.
            (Ok(false), Some((key, _))) => handle.forget(key),
            (Err(error), _) => {
                tracing::warn!(app.id = %handle.app, error = explain(error), "the first deploy could not be recorded; trying again");
                before_retry(&shared).await;
                if let Some((key, _)) = &script {
                    handle.forget(key);
                }
            }
        }
        handle.memory().busy.remove(&Busy::FirstDeploy);
        handle.wake();
    });
}

async fn begin(shared: &Arc<Shared>, handle: &Arc<AppHandle>, launch: &Launch, key: &ContainerKey, labels: &Labels) {
    let name = labels.dyno.to_string();
    shared.logs.platform(handle.app, &name, &[format!("Starting process with command `{}`", labels.command)]);
    let mut spec = container_spec(id_of(key), launch, labels, shared.logs.dir(handle.app), shared.config.deploy.port);
    spec.args = vec![LAUNCHER.to_owned(), labels.command.clone()];
    match shared.start(spec).await {
        Ok(info) => {
            failpoint("server.postdeploy.started");
            shared.cache.insert(info);
        }
        Err(error) => {
            tracing::error!(app.id = %handle.app, error = explain(&error), "a postdeploy script could not be started");
            if error.fault_code().is_some() {
                shared.logs.platform(handle.app, &name, &[format!("Error {}", not_started("it", &error))]);
            } else {
                // If it runs after all, the agent tells of it when it is back.
                before_retry(shared).await;
            }
            handle.forget(key);
        }
    }
}

/// Records how the script ended.
pub(super) fn finish(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, end: PostdeployEnd) {
    let Some(first) = app.first_deploy.filter(|first| first.postdeploy == Postdeploy::Begun) else { return };
    if !handle.memory().busy.insert(Busy::FirstDeploy) {
        return;
    }
    let end = match end {
        PostdeployEnd::Exited(0) => Postdeploy::Succeeded,
        PostdeployEnd::Exited(status) => Postdeploy::Failed { status },
        PostdeployEnd::Lost => Postdeploy::Lost,
    };
    let (shared, handle, name) = (shared.clone(), handle.clone(), app.name.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.postdeploy.ended");
        match shared.store.postdeploy_finish(&shared.system.app(handle.app), end).await {
            // The loop had looked before that was written down, and it is told.
            Ok(false) => {}
            Ok(true) => {
                failpoint("server.postdeploy.recorded");
                let lines = told(end, first.version, name.as_str(), None);
                shared.logs.platform(handle.app, &dyno_name(first.version).to_string(), &lines);
            }
            Err(error) => {
                tracing::warn!(app.id = %handle.app, error = explain(&error), "a postdeploy script's end was not recorded; trying again");
                before_retry(&shared).await;
            }
        }
        handle.memory().busy.remove(&Busy::FirstDeploy);
        handle.wake();
    });
}

/// How a postdeploy script that did not end well is told, in the log and to the pusher. Nothing for one that did.
pub(crate) fn told(end: Postdeploy, version: ReleaseVersion, app: &str, command: Option<&str>) -> Vec<String> {
    let what = match end {
        Postdeploy::None | Postdeploy::Begun | Postdeploy::Succeeded => return Vec::new(),
        Postdeploy::Failed { status } => format!("The postdeploy script of app.json failed: it ended with status {status}."),
        Postdeploy::Lost => "The postdeploy script of app.json did not run to its end.".to_owned(),
    };
    let command = command.map_or_else(|| "COMMAND".to_owned(), quoted);
    vec![
        what,
        format!(
            "{version} is live and stays so. The script is not run again by itself; run it when you like: landfall run --app {app} -- {command}"
        ),
    ]
}

/// One word for a shell.
pub(crate) fn quoted(command: &str) -> String {
    format!("'{}'", command.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_end_says_what_to_type() {
        let words = told(Postdeploy::Failed { status: 3 }, ReleaseVersion(2), "blog", Some("echo 'hi'"));
        assert!(words[0].contains("status 3") && words[1].ends_with(r"landfall run --app blog -- 'echo '\''hi'\'''"), "{words:?}");
        assert!(told(Postdeploy::Lost, ReleaseVersion(2), "blog", None)[0].contains("did not run to its end"));
        assert_eq!(told(Postdeploy::Succeeded, ReleaseVersion(2), "blog", None), Vec::<String>::new());
    }
}
