//! Who may push where: the git receiver's question, answered by the store.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use landfall_builder::git::{AccessError, Denied, GitAccess, GitService, Identity, RepoGrant, Unavailable};
use landfall_model::{AppName, SecretString};
use landfall_store::{AppIdentity, Principal, Store, StoreError};

/// [`GitAccess`] over the store.
pub struct StoreAccess {
    store: Store,
}

impl StoreAccess {
    /// Over this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    tracing::warn!(error = error as &dyn std::error::Error, "the store did not answer the git receiver");
    Unavailable { message: "Landfall's database does not answer just now. Nothing was lost; push again in a moment.".to_owned() }
}

fn identity(principal: Option<Principal>) -> Option<Identity> {
    principal.map(|principal| Identity { account: principal.account_id(), label: principal.email().to_owned() })
}

impl GitAccess for StoreAccess {
    fn by_key<'a>(&'a self, fingerprint: &'a str) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        async move { self.store.principal_for_key(fingerprint).await.map(identity).map_err(|error| unavailable(&error)) }.boxed()
    }

    fn by_token<'a>(&'a self, token: &'a SecretString) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        async move { self.store.authenticate_token(token.expose()).await.map(identity).map_err(|error| unavailable(&error)) }.boxed()
    }

    fn repo<'a>(&'a self, who: &'a Identity, app: &'a AppName, _service: GitService) -> BoxFuture<'a, Result<RepoGrant, AccessError>> {
        async move {
            let absent = || Denied { message: format!("Couldn't find an app named \"{app}\" that you may use. List yours with: landfall apps") };
            let principal = match self.store.principal_for_account(&self.store.system(), who.account).await {
                Ok(principal) => principal,
                Err(error) if error.code() == "not_found" => return Err(absent().into()),
                Err(error) => return Err(unavailable(&error).into()),
            };
            match self.store.authorize(&principal, &AppIdentity::Name(app.clone())).await {
                Ok(scope) => Ok(RepoGrant { app: scope.app_id(), name: app.clone() }),
                Err(error) if error.code() == "not_found" => Err(absent().into()),
                Err(error) => Err(unavailable(&error).into()),
            }
        }
        .boxed()
    }
}
