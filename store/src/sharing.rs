//! Collaborators and domains: who else may work on an app, and what names it answers to.

use landfall_model::{AccountId, AppId, CollaboratorId, DomainId, Hostname};
use sqlx::any::AnyRow;

use crate::access::{AppScope, Role};
use crate::db::{self, Tx, unique_or};
use crate::hosts::collides;
use crate::nouns::{Collaborator, Domain, DomainKind, UserRef};
use crate::people::email_parse;
use crate::releases::{self, owner_only};
use crate::{Result, Store, StoreError, row};

fn domain_from_row(row: &AnyRow) -> Result<Domain> {
    Ok(Domain {
        id: row::parsed(row, "id")?,
        app: row::parsed(row, "app_id")?,
        hostname: row::parsed(row, "hostname")?,
        kind: if row::text(row, "kind")? == "heroku" { DomainKind::Heroku } else { DomainKind::Custom },
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

pub(crate) async fn domains(tx: &mut Tx, app: AppId) -> Result<Vec<Domain>> {
    // "heroku" sorts after "custom": the platform's own name comes first.
    let rows = sqlx::query(
        "SELECT id, app_id, hostname, kind, created_at, updated_at FROM domains WHERE app_id = $1 ORDER BY kind DESC, hostname",
    )
    .bind(app.to_string())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(domain_from_row).collect()
}

impl Store {
    /// The owner, then everybody else by address.
    pub async fn collaborator_list(&self, scope: &AppScope) -> Result<Vec<Collaborator>> {
        let mut tx = self.db().snapshot().await?;
        let owner = sqlx::query("SELECT a.id, a.email, p.created_at FROM apps p JOIN accounts a ON a.id = p.owner_id WHERE p.id = $1 AND p.destroyed_at IS NULL")
            .bind(scope.app.to_string())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NotFound { what: "app" })?;
        let mut list = vec![Collaborator {
            id: CollaboratorId(scope.app.0),
            user: UserRef { id: row::parsed(&owner, "id")?, email: row::text(&owner, "email")? },
            role: Role::Owner,
            created_at: row::time(&owner, "created_at")?,
        }];
        let rows = sqlx::query(
            "SELECT c.id, c.account_id, a.email, c.created_at FROM collaborators c JOIN accounts a ON a.id = c.account_id \
             WHERE c.app_id = $1 ORDER BY a.email",
        )
        .bind(scope.app.to_string())
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            list.push(Collaborator {
                id: row::parsed(row, "id")?,
                user: UserRef { id: row::parsed(row, "account_id")?, email: row::text(row, "email")? },
                role: Role::Collaborator,
                created_at: row::time(row, "created_at")?,
            });
        }
        Ok(list)
    }

    async fn collaborator_find(&self, scope: &AppScope, which: &str) -> Result<Collaborator> {
        let found = self.collaborator_list(scope).await?.into_iter().find(|c| c.user.email == which || c.id.to_string() == which);
        found.ok_or(StoreError::NotFound { what: "collaborator" })
    }

    /// Lets an account work on the app. Owner only.
    pub async fn collaborator_add(&self, scope: &AppScope, email: &str) -> Result<Collaborator> {
        owner_only(scope)?;
        let email = email_parse(email)?;
        let mut tx = self.db().write().await?;
        let locked = releases::lock(&mut tx, scope.app).await?;
        let row = sqlx::query("SELECT id FROM accounts WHERE email = $1").bind(email.as_str()).fetch_optional(&mut *tx).await?;
        let account: AccountId = row::parsed(&row.ok_or(StoreError::NotFound { what: "account" })?, "id")?;
        if account == locked.owner() {
            return Err(StoreError::CollaboratorExists { email });
        }
        let inserted = sqlx::query("INSERT INTO collaborators (id, app_id, account_id, created_at) VALUES ($1, $2, $3, $4)")
            .bind(CollaboratorId::new().to_string())
            .bind(scope.app.to_string())
            .bind(account.to_string())
            .bind(row::now())
            .execute(&mut *tx)
            .await;
        unique_or(inserted, || StoreError::CollaboratorExists { email: email.clone() })?;
        self.commit(tx, scope.app).await?;
        self.collaborator_find(scope, &email).await
    }

    /// Ends an account's right to the app, by address or collaborator id. The owner may remove anybody but themselves; a collaborator
    /// only themselves.
    pub async fn collaborator_remove(&self, scope: &AppScope, email_or_id: &str) -> Result<Collaborator> {
        let gone = self.collaborator_find(scope, &email_or_id.to_lowercase()).await?;
        if gone.role == Role::Owner {
            return Err(StoreError::OwnerStays);
        }
        if Some(gone.user.id) != scope.actor {
            owner_only(scope)?;
        }
        let mut tx = self.db().write().await?;
        sqlx::query("DELETE FROM collaborators WHERE id = $1 AND app_id = $2")
            .bind(gone.id.to_string())
            .bind(scope.app.to_string())
            .execute(&mut *tx)
            .await?;
        self.commit(tx, scope.app).await?;
        Ok(gone)
    }

    /// Every name the app answers to, the platform's first.
    pub async fn domain_list(&self, scope: &AppScope) -> Result<Vec<Domain>> {
        let mut tx = self.db().snapshot().await?;
        domains(&mut tx, scope.app).await
    }

    /// One name the app answers to.
    pub async fn domain_get(&self, scope: &AppScope, hostname_or_id: &str) -> Result<Domain> {
        let which = hostname_or_id.to_ascii_lowercase();
        let found =
            self.domain_list(scope).await?.into_iter().find(|domain| domain.hostname.as_str() == which || domain.id.to_string() == which);
        found.ok_or(StoreError::NotFound { what: "domain" })
    }

    /// Adds a name. First come, first served; the platform's own names are reserved.
    pub async fn domain_add(&self, scope: &AppScope, hostname: &Hostname) -> Result<Domain> {
        if let Some(platform) = self.reserved().against(hostname.as_str()) {
            return Err(StoreError::DomainReserved { hostname: hostname.clone(), platform: platform.to_owned() });
        }
        let mut tx = self.db().write().await?;
        // One at a time over all apps: a wildcard and a name under it are no unique key.
        db::counter_next(&mut tx, "domain").await?;
        let locked = releases::lock(&mut tx, scope.app).await?;
        let own = sqlx::query("SELECT id FROM domains WHERE app_id = $1 AND hostname = $2")
            .bind(scope.app.to_string())
            .bind(hostname.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if own.is_some() {
            return Err(StoreError::DomainExists { hostname: hostname.clone() });
        }
        let others =
            sqlx::query("SELECT d.hostname FROM domains d JOIN apps p ON p.id = d.app_id WHERE p.owner_id <> $1 AND d.kind = 'custom'")
                .bind(locked.owner().to_string())
                .fetch_all(&mut *tx)
                .await?;
        for other in &others {
            if collides(hostname.as_str(), &row::text(other, "hostname")?) {
                return Err(StoreError::DomainTaken { hostname: hostname.clone() });
            }
        }
        let inserted =
            sqlx::query("INSERT INTO domains (id, app_id, hostname, kind, created_at, updated_at) VALUES ($1, $2, $3, 'custom', $4, $5)")
                .bind(DomainId::new().to_string())
                .bind(scope.app.to_string())
                .bind(hostname.as_str())
                .bind(row::now())
                .bind(row::now())
                .execute(&mut *tx)
                .await;
        unique_or(inserted, || StoreError::DomainTaken { hostname: hostname.clone() })?;
        self.commit(tx, scope.app).await?;
        self.domain_get(scope, hostname.as_str()).await
    }

    /// Removes a name a person added.
    pub async fn domain_remove(&self, scope: &AppScope, hostname_or_id: &str) -> Result<Domain> {
        let gone = self.domain_get(scope, hostname_or_id).await?;
        if gone.kind == DomainKind::Heroku {
            return Err(StoreError::DomainBuiltIn { hostname: gone.hostname });
        }
        let mut tx = self.db().write().await?;
        sqlx::query("DELETE FROM domains WHERE id = $1 AND app_id = $2")
            .bind(gone.id.to_string())
            .bind(scope.app.to_string())
            .execute(&mut *tx)
            .await?;
        self.commit(tx, scope.app).await?;
        Ok(gone)
    }
}
