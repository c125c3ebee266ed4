//! Who may do what: the one place that turns "somebody names an app" into the right to touch it (trust rule R3).
//!
//! None of these values can be made outside this crate, so a function that takes an [`AppScope`] cannot be called by mistake for an app
//! that was not authorised.

use landfall_model::{AccountId, AppId, AppName, AuthorizationId};

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(crate) account: AccountId,
    pub(crate) email: String,
    pub(crate) admin: bool,
    pub(crate) authorization: Option<AuthorizationId>,
}

impl Principal {
    /// Whose account.
    pub fn account_id(&self) -> AccountId {
        self.account
    }

    /// The address they log in with.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Whether they may make accounts and read the audit log.
    pub fn is_admin(&self) -> bool {
        self.admin
    }

    /// What they may do now, for later.
    pub fn grant(&self, scope: &AppScope) -> Grant {
        Grant { account: self.account, app: scope.app, authorization: self.authorization }
    }

    /// The token they came with; `None` = a password or an SSH key.
    pub fn authorization_id(&self) -> Option<AuthorizationId> {
        self.authorization
    }
}

/// What somebody is to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything.
    Owner,
    /// May do everything but rename, destroy and choose who else may.
    Collaborator,
    /// The platform itself.
    System,
}

/// The right to touch one app, on somebody's behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppScope {
    pub(crate) app: AppId,
    pub(crate) role: Role,
    /// `None` = the platform itself; releases it makes are recorded as the app owner's.
    pub(crate) actor: Option<AccountId>,
}

impl AppScope {
    /// Which app.
    pub fn app_id(&self) -> AppId {
        self.app
    }

    /// In what role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// On whose behalf; `None` = the platform itself.
    pub fn actor(&self) -> Option<AccountId> {
        self.actor
    }
}

/// A right to an app that outlasts the request it was given for, written down so that it can be asked for again
/// ([`crate::Store::grant_holds`]): it ends with the token, the collaboration or the app.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    pub(crate) account: AccountId,
    pub(crate) app: AppId,
    pub(crate) authorization: Option<AuthorizationId>,
}

impl Grant {
    /// Whose.
    pub fn account_id(&self) -> AccountId {
        self.account
    }

    /// To which app.
    pub fn app_id(&self) -> AppId {
        self.app
    }
}

/// The platform itself: for the composition root (reconcile loop, build workers, first boot) and never for a request handler.
#[derive(Clone, Debug)]
pub struct SystemScope {
    pub(crate) _private: (),
}

impl SystemScope {
    /// The right to touch any app, as the platform. The app need not exist; the functions that take the scope will say so.
    pub fn app(&self, app: AppId) -> AppScope {
        AppScope { app, role: Role::System, actor: None }
    }
}

/// How a person names an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppIdentity {
    /// By name.
    Name(AppName),
    /// By id.
    Id(AppId),
}

impl AppIdentity {
    /// Reads a name or an id from a path. Something that can be neither names no app at all, so it is `None` = not found.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 36
            && let Ok(id) = text.parse()
        {
            return Some(Self::Id(id));
        }
        text.parse().ok().map(Self::Name)
    }
}
