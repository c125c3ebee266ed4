//! `landfall run`: one dyno of the current release, for one command.

use std::collections::BTreeSet;

use landfall_api::platform::{ATTACH_WAIT, DynoView, PlatformError, RunSpec, Started};
use landfall_deploy::{ContainerKey, StopReason};
use landfall_model::{AppId, DynoId, DynoName, DynoState, ProcessType};
use landfall_runtime_wire::Stdio;
use landfall_store::DesiredApp;

use super::attachments::Target;
use super::dynos::dyno_id;
use super::{LAUNCHER, Live, of_agent, of_store, window};
use crate::reconcile::{Kind, Labels, Launch, container_spec, dyno_container};

impl Live {
    pub(super) async fn start_one_off(&self, app: AppId, spec: RunSpec) -> Result<Started, PlatformError> {
        self.known_agent()?;
        let shared = self.shared().clone();
        let nothing = || {
            PlatformError::Invalid(
                "Nothing was deployed to this app yet, so there is nothing to run. Deploy with: git push landfall main".into(),
            )
        };
        let desired = shared.store.desired(&shared.system, app).await.map_err(of_store)?.filter(|app| app.destroyed_at.is_none());
        let desired: DesiredApp =
            desired.ok_or_else(|| PlatformError::NotFound("Couldn't find that app. See your apps with: landfall apps".into()))?;
        let current = desired.current.as_ref().ok_or_else(nothing)?;
        let mut launch = Launch::of(current, desired.user_block).ok_or_else(nothing)?;
        for (key, value) in &spec.env {
            if let Ok(key) = key.parse() {
                launch.config.0.insert(key, landfall_model::SecretString::new(value.clone()));
            }
        }
        let dyno = self.free_name(app, spec.process_type.clone());
        let labels = Labels {
            app,
            kind: Kind::OneOff,
            release: launch.version,
            dyno: dyno.clone(),
            size: spec.size.unwrap_or_default(),
            fingerprint: String::new(),
            generation: 0,
            command: spec.command.clone(),
            attached: spec.attach,
        };
        let container = dyno_container("d", DynoId::new());
        let key = ContainerKey(container.to_string());
        let mut wanted = container_spec(container.clone(), &launch, &labels, shared.logs.dir(app), shared.config.deploy.port);
        wanted.args = vec![LAUNCHER.to_owned(), spec.command.clone()];
        if spec.attach {
            wanted.log = None;
            wanted.stdio = if spec.tty { Stdio::Terminal { size: window(spec.window) } } else { Stdio::Pipes };
        }

        let handle = self.supervisor.handle(app);
        let most = shared.config.one_off;
        if !handle.expect_one_off(&shared, &key, labels, spec.attach, most) {
            let said = format!("This app runs {most} one-off dynos, and no more run at once. See them with: landfall ps, end one with: ");
            return Err(PlatformError::Limit(said + "landfall ps:stop run.1234"));
        }
        let line = format!("Starting process with command `{}` by user {}", spec.command, spec.user_email);
        shared.logs.platform(app, &dyno.to_string(), &[line]);
        match shared.start(wanted).await {
            Ok(info) => shared.cache.insert(info),
            Err(error) => {
                handle.forget(&key);
                return Err(of_agent(error));
            }
        }
        handle.wake();
        let attachment = spec.attach.then(|| {
            let secret = self.attachments.offer(Target::OneOff { app, container: container.clone() });
            self.expire(app, key, secret.clone());
            secret
        });
        let now = jiff::Timestamp::now();
        let view = DynoView {
            id: dyno_id(&container),
            name: dyno,
            state: DynoState::Starting,
            command: spec.command,
            size: spec.size.unwrap_or_default(),
            release: (current.release.id, current.release.version),
            created_at: now,
            updated_at: now,
            note: None,
        };
        Ok(Started { dyno: view, attachment })
    }

    /// A number nobody has now: four digits, as Heroku's.
    fn free_name(&self, app: AppId, process_type: Option<ProcessType>) -> DynoName {
        let process_type = process_type.unwrap_or_else(|| "run".parse().expect("a process type"));
        let labels: Vec<Labels> = self.shared().cache.of(app).iter().filter_map(Labels::read).collect();
        let taken: BTreeSet<u32> = labels.iter().filter(|l| l.dyno.process_type == process_type).map(|l| l.dyno.index).collect();
        let first = 1000 + (uuid::Uuid::new_v4().as_u128() % 9000) as u32;
        let index = (0..9000).map(|step| 1000 + (first - 1000 + step) % 9000).find(|index| !taken.contains(index)).unwrap_or(first);
        DynoName::new(process_type, index)
    }

    /// A dyno whose client never came is told to end.
    fn expire(&self, app: AppId, key: ContainerKey, secret: String) {
        let (shared, handle, attachments) = (self.shared().clone(), self.supervisor.handle(app), self.attachments.clone());
        shared.tasks.clone().spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(ATTACH_WAIT) => {}
                () = shared.cancel.cancelled() => return,
            }
            if attachments.expire(&secret) {
                handle.stop(&shared, &key, StopReason::Requested, shared.config.deploy.stop_grace).await;
                handle.unhold(&key);
                handle.wake();
            }
        });
    }
}
