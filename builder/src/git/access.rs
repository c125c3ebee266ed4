//! Who may reach which repository: asked of the controller, which alone decides.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use landfall_model::{AccountId, AppId, AppName, SecretString};

/// Someone who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose key or token it is.
    pub account: AccountId,
    /// For messages and logs: an e-mail address.
    pub label: String,
    /// Where they came from, as far as we see.
    pub address: Option<IpAddr>,
}

/// Which way objects shall flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitService {
    /// `git push`.
    ReceivePack,
    /// `git fetch` and `git clone`.
    UploadPack,
}

impl GitService {
    /// The program's name, as git spells it on every wire.
    pub fn program(self) -> &'static str {
        match self {
            Self::ReceivePack => "git-receive-pack",
            Self::UploadPack => "git-upload-pack",
        }
    }

    /// The inverse of [`Self::program`].
    pub fn parse(program: &str) -> Option<Self> {
        [Self::ReceivePack, Self::UploadPack].into_iter().find(|service| service.program() == program)
    }
}

/// The right to one repository, given for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoGrant {
    /// The app; its repository is `<repositories>/<app id>.git` and is made on demand.
    pub app: AppId,
    /// Its present name.
    pub name: AppName,
}

/// A refusal in words for people: what, why, what to type next. "Not yours" reads the same as "not there" (trust rule R3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// The words.
    pub message: String,
}

/// The question could not be answered now (database away). Not a refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// The words.
    pub message: String,
}

/// Why no repository was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Ask again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Implemented by the controller over the store.
pub trait GitAccess: Send + Sync + 'static {
    /// Whose SSH key this is. `fingerprint` has OpenSSH's form, `SHA256:<base64>`. `None` = nobody's.
    fn by_key<'a>(&'a self, fingerprint: &'a str, from: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>>;

    /// Whose API token this is. `None` = nobody's, or no longer valid.
    fn by_token<'a>(&'a self, token: &'a SecretString, from: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>>;

    /// May this account do this with this app's repository?
    fn repo<'a>(&'a self, who: &'a Identity, app: &'a AppName, service: GitService) -> BoxFuture<'a, Result<RepoGrant, AccessError>>;
}
