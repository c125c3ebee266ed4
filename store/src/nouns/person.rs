//! People, and what proves who they are.

use jiff::Timestamp;
use landfall_model::{AccountId, AuthorizationId, CollaboratorId, KeyId};

use crate::access::Role;

/// A person as other records name them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserRef {
    /// Who.
    pub id: AccountId,
    /// The address they log in with.
    pub email: String,
}

/// A person who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The address they log in with, lower case.
    pub email: String,
    /// A name to greet them by.
    pub name: Option<String>,
    /// Whether they may make accounts and read the audit log. Gives no right to other people's apps.
    pub admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// The address they log in with; compared without case.
    pub email: String,
    /// A name to greet them by.
    pub name: Option<String>,
    /// A PHC string, from [`crate::hash_password`].
    pub password_hash: String,
    /// Whether they may make accounts.
    pub admin: bool,
}

/// An API token, without the token: that is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Its id.
    pub id: AuthorizationId,
    /// Whose it is.
    pub user: UserRef,
    /// What it is for, in its owner's words.
    pub description: String,
    /// From when on it is refused; `None` = never.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute; `None` = not yet.
    pub last_used_at: Option<Timestamp>,
}

/// An API token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewAuthorization {
    /// What it is for.
    pub description: String,
    /// How long it lasts; `None` = until deleted.
    pub expires_in: Option<std::time::Duration>,
}

/// An SSH public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    /// Its id.
    pub id: KeyId,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ssh-ed25519 AAAA… comment`.
    pub public_key: String,
    /// The comment at the key's end; may be empty.
    pub comment: String,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Somebody who may work on an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collaborator {
    /// Its id. The owner's is made from the app's.
    pub id: CollaboratorId,
    /// Who.
    pub user: UserRef,
    /// Owner or collaborator.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
}
