//! Apps, the names they answer to, and who did what to them.

use jiff::Timestamp;
use landfall_model::{AccountId, AppId, AppName, DomainId, Hostname};

use super::UserRef;

/// An app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its id: never changes, never reused.
    pub id: AppId,
    /// Its name: may change.
    pub name: AppName,
    /// Whose it is.
    pub owner: UserRef,
    /// The base image builds and dynos use (`landfall-13`).
    pub stack: String,
    /// Whether the router answers with the maintenance page.
    pub maintenance: bool,
    /// Which block of 65,536 host ids its containers map to; from 1 (block 0 is the agent's).
    pub user_block: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the current release was made.
    pub released_at: Option<Timestamp>,
}

/// An app to be made.
#[derive(Clone, Debug)]
pub struct NewApp {
    /// The id, when the caller wants to be able to say the same again after a crash; `None` = a fresh one.
    pub id: Option<AppId>,
    /// Its name.
    pub name: AppName,
    /// Its base image.
    pub stack: String,
}

/// Where a domain comes from (Platform API `domain.kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainKind {
    /// `<app>.<platform domain>`: follows the app's name, cannot be removed.
    Heroku,
    /// Added by a person.
    Custom,
}

impl DomainKind {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Heroku => "heroku",
            Self::Custom => "custom",
        }
    }
}

/// A host name an app answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// The app.
    pub app: AppId,
    /// The name, lower case; the first label may be `*`.
    pub hostname: Hostname,
    /// Where it comes from.
    pub kind: DomainKind,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Something worth remembering for whoever asks "who did that?" (trust rule R10).
#[derive(Clone, Debug, Default)]
pub struct AuditEvent {
    /// Who did it; `None` = not known (a failed login) or the platform itself.
    pub actor: Option<AccountId>,
    /// `login`, `secret.read`, `release.rollback`, …
    pub action: String,
    /// To which app.
    pub app: Option<AppId>,
    /// One line for a person. Never a secret.
    pub detail: String,
    /// The client's address.
    pub address: Option<String>,
}

/// An [`AuditEvent`] as stored.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// Order of arrival.
    pub sequence: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub event: AuditEvent,
    /// The actor's address, while they have an account.
    pub actor_email: Option<String>,
    /// The app's name, while there is something of it.
    pub app_name: Option<String>,
}
