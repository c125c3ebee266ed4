//! Secrets that stand for a process somebody may join, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use landfall_api::platform::{ATTACH_WAIT, Attachment, PlatformError};
use landfall_runtime_wire::{ContainerId, ExecSpec};

use super::{Live, bridge, of_agent, pair};

/// What a secret stands for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The standard streams of a one-off dyno.
    OneOff {
        /// Whose.
        app: landfall_model::AppId,
        /// Its container.
        container: ContainerId,
    },
    /// A process to be started in a running dyno.
    Exec {
        /// The dyno's container.
        container: ContainerId,
        /// What to run.
        spec: ExecSpec,
    },
}

impl std::fmt::Debug for Attachments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachments").finish_non_exhaustive()
    }
}

/// Offers nobody took yet.
#[derive(Clone, Default)]
pub(crate) struct Attachments {
    offers: Arc<Mutex<HashMap<String, (Instant, Target)>>>,
}

impl Attachments {
    /// Offers a process; returns the secret. It is good for [`ATTACH_WAIT`].
    pub(crate) fn offer(&self, target: Target) -> String {
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut offers = self.lock();
        // One-off dynos have somebody who withdraws their offer; a command in a running dyno has not started yet.
        offers.retain(|_, (since, target)| since.elapsed() < ATTACH_WAIT || matches!(target, Target::OneOff { .. }));
        offers.insert(secret.clone(), (Instant::now(), target));
        secret
    }

    /// Takes an offer; it is gone then.
    pub(crate) fn take(&self, secret: &str) -> Option<Target> {
        self.lock().remove(secret).filter(|(since, _)| since.elapsed() < ATTACH_WAIT).map(|(_, target)| target)
    }

    /// Withdraws an offer; false = somebody took it.
    pub(crate) fn expire(&self, secret: &str) -> bool {
        self.lock().remove(secret).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Target)>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    pub(super) async fn take_attachment(&self, secret: String) -> Result<Attachment, PlatformError> {
        let gone = || PlatformError::NotFound("That session is over or was joined already. Start another one.".into());
        let target = self.attachments.take(&secret).ok_or_else(gone)?;
        let (attachment, from_client, to_client) = pair();
        let shared = self.shared().clone();
        match target {
            Target::OneOff { app, container } => {
                let attached = shared.agent.attach(&container).await.map_err(of_agent)?;
                let handle = self.supervisor.handle(app);
                shared.tasks.clone().spawn(async move {
                    let ended = bridge::run(attached, from_client, to_client, &shared.cancel).await;
                    bridge::let_go(&shared, &handle, &container, ended).await;
                });
            }
            Target::Exec { container, spec } => {
                let attached = shared.agent.exec(&container, spec).await.map_err(of_agent)?;
                shared.tasks.clone().spawn(async move {
                    bridge::run(attached, from_client, to_client, &shared.cancel).await;
                });
            }
        }
        Ok(attachment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_works_once() {
        let attachments = Attachments::default();
        let container = ContainerId::try_from("d-1".to_owned()).unwrap();
        let target = Target::OneOff { app: landfall_model::AppId::new(), container };
        let secret = attachments.offer(target.clone());
        assert_ne!(secret, attachments.offer(target));
        assert!(attachments.take("guess").is_none());
        assert!(attachments.take(&secret).is_some());
        assert!(attachments.take(&secret).is_none());
    }
}
