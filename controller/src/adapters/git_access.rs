//! Who may reach which repository: the store's answer, in git's words.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use landfall_builder::git::{AccessError, Denied, GitAccess, GitService, Identity, RepoGrant, Unavailable};
use landfall_model::{AppName, SecretString};
use landfall_store::{AppIdentity, Principal, Result, Store, StoreError};

/// The store as the git receiver's door keeper.
#[derive(Debug)]
pub struct StoreGitAccess {
    store: Store,
}

impl StoreGitAccess {
    /// Over one store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl GitAccess for StoreGitAccess {
    fn by_key<'a>(&'a self, fingerprint: &'a str, from: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        Box::pin(async move { identity(self.store.principal_for_key(fingerprint).await, from) })
    }

    fn by_token<'a>(&'a self, token: &'a SecretString, from: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        Box::pin(async move { identity(self.store.authenticate_token(token.expose(), from).await, from) })
    }

    fn repo<'a>(&'a self, who: &'a Identity, app: &'a AppName, _service: GitService) -> BoxFuture<'a, Result<RepoGrant, AccessError>> {
        Box::pin(async move {
            let look = async {
                let principal = self.store.principal_for_account(&self.store.system(), who.account).await?;
                let scope = self.store.authorize(&principal, &AppIdentity::Name(app.clone())).await?;
                self.store.app_get(&scope).await
            };
            match look.await {
                Ok(app) => Ok(RepoGrant { app: app.id, name: app.name }),
                Err(StoreError::NotFound { .. } | StoreError::Forbidden { .. }) => Err(Denied {
                    message: format!("There is no app named {app}, or it is not yours.\nList your apps with: landfall apps\nMake it with:        landfall create {app}"),
                }
                .into()),
                Err(error) => Err(unavailable(&error).into()),
            }
        })
    }
}

fn identity(found: Result<Option<Principal>>, address: Option<IpAddr>) -> Result<Option<Identity>, Unavailable> {
    match found {
        Ok(found) => Ok(found.map(|principal| Identity { account: principal.account_id(), label: principal.email().to_owned(), address })),
        Err(error) => Err(unavailable(&error)),
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    tracing::error!(error = crate::explain(error), "the store could not say who may push");
    Unavailable { message: "Landfall cannot reach its database now. Running apps serve on. Try again in a minute.".to_owned() }
}
