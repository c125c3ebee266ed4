//! Accounts, tokens, SSH keys: who somebody is, and the one function that says what they may touch.

use std::net::IpAddr;

use jiff::Timestamp;
use landfall_model::{AccountId, AuthorizationId, KeyId, SecretString, network_of};
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;

use crate::access::{AppIdentity, AppScope, Grant, Principal, Role, SystemScope};
use crate::db::{self, Tx, unique_or};
use crate::nouns::{Account, AuditEvent, Authorization, NewAccount, NewAuthorization, SshKey, UserRef};
use crate::password;
use crate::ssh_key::PublicKey;
use crate::{Result, Store, StoreError, notes, row};

/// A token's use is noted at most this often, so that requests do not become writes.
const USE_NOTED_EVERY_MICROS: i64 = 60_000_000;
const TOKEN_BYTES: usize = 32;

fn account_from_row(row: &AnyRow) -> Result<Account> {
    Ok(Account {
        id: row::parsed(row, "id")?,
        email: row::text(row, "email")?,
        name: row::text_opt(row, "name")?,
        admin: row::flag(row, "admin")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

fn authorization_from_row(row: &AnyRow) -> Result<Authorization> {
    Ok(Authorization {
        id: row::parsed(row, "id")?,
        user: UserRef { id: row::parsed(row, "account_id")?, email: row::text(row, "email")? },
        description: row::text(row, "description")?,
        expires_at: row::time_opt(row, "expires_at")?,
        created_at: row::time(row, "created_at")?,
        last_used_at: row::time_opt(row, "last_used_at")?,
    })
}

fn key_from_row(row: &AnyRow) -> Result<SshKey> {
    Ok(SshKey {
        id: row::parsed(row, "id")?,
        fingerprint: row::text(row, "fingerprint")?,
        public_key: row::text(row, "public_key")?,
        comment: row::text(row, "comment")?,
        created_at: row::time(row, "created_at")?,
    })
}

fn principal_from_row(row: &AnyRow, authorization: Option<AuthorizationId>) -> Result<Principal> {
    Ok(Principal {
        account: row::parsed(row, "account_id")?,
        email: row::text(row, "email")?,
        admin: row::flag(row, "admin")?,
        authorization,
    })
}

fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Lower case, and refused if it cannot be an address.
pub(crate) fn email_parse(given: &str) -> Result<String> {
    let email = given.trim().to_lowercase();
    let plausible = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if plausible && email.len() <= 254 && !email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Ok(email);
    }
    Err(StoreError::BadEmail { given: given.chars().take(60).flat_map(char::escape_default).collect() })
}

async fn account(tx: &mut Tx, id: AccountId) -> Result<Account> {
    let row = sqlx::query("SELECT id, email, name, admin, created_at, updated_at FROM accounts WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NotFound { what: "account" })?;
    account_from_row(&row)
}

async fn account_insert(tx: &mut Tx, new: NewAccount) -> Result<Account> {
    let (id, email) = (AccountId::new(), email_parse(&new.email)?);
    let inserted = sqlx::query(
        "INSERT INTO accounts (id, email, name, password_hash, admin, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(email.as_str())
    .bind(new.name)
    .bind(new.password_hash)
    .bind(i64::from(new.admin))
    .bind(row::now())
    .bind(row::now())
    .execute(&mut **tx)
    .await;
    unique_or(inserted, || StoreError::EmailTaken { email })?;
    account(tx, id).await
}

impl Store {
    /// Whose token this is. Unknown, expired and deleted tokens are all `None`. The first use from a network is noted in the audit log.
    pub async fn authenticate_token(&self, token: &str, from: Option<IpAddr>) -> Result<Option<Principal>> {
        let (now, from) = (row::now(), from.map(|from| network_of(from).to_string()));
        let row = sqlx::query(
            "SELECT t.id, t.account_id, t.last_used_at, a.email, a.admin, s.address FROM authorizations t \
             JOIN accounts a ON a.id = t.account_id \
             LEFT JOIN authorization_addresses s ON s.authorization_id = t.id AND s.address = $1 \
             WHERE t.token_hash = $2 AND (t.expires_at IS NULL OR t.expires_at > $3)",
        )
        .bind(from.clone().unwrap_or_default())
        .bind(token_hash(token))
        .bind(now)
        .fetch_optional(self.db().reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id: AuthorizationId = row::parsed(&row, "id")?;
        if let Some(from) = from.filter(|from| row::text_opt(&row, "address").ok().flatten().as_ref() != Some(from))
            && let Err(error) = self.authorization_seen(id, row::parsed(&row, "account_id")?, from).await
        {
            tracing::warn!(error = %error, authorization.id = %id, "first use of a token from a new address was not noted");
        }
        if row::int_opt(&row, "last_used_at")?.is_none_or(|used| now - used >= USE_NOTED_EVERY_MICROS) {
            // A note, not a condition: a full disk must not lock anybody out.
            if let Err(error) = self.authorization_used(id, now).await {
                tracing::warn!(error = %error, authorization.id = %id, "use of a token was not noted");
            }
        }
        principal_from_row(&row, Some(id)).map(Some)
    }

    async fn authorization_seen(&self, id: AuthorizationId, account: AccountId, address: String) -> Result<()> {
        let mut tx = self.db().write().await?;
        let known = sqlx::query(
            "INSERT INTO authorization_addresses (authorization_id, address, first_used_at) VALUES ($1, $2, $3) \
             ON CONFLICT (authorization_id, address) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(address.as_str())
        .bind(row::now())
        .execute(&mut *tx)
        .await?;
        if known.rows_affected() == 0 {
            return Ok(());
        }
        let row = sqlx::query("SELECT description FROM authorizations WHERE id = $1").bind(id.to_string()).fetch_one(&mut *tx).await?;
        let event = AuditEvent {
            actor: Some(account),
            action: "token.new_address".to_owned(),
            app: None,
            detail: row::text(&row, "description")?,
            address: Some(address),
        };
        notes::append(&mut tx, &event).await?;
        Ok(tx.commit().await?)
    }

    async fn authorization_used(&self, id: AuthorizationId, now: i64) -> Result<()> {
        let mut tx = self.db().write().await?;
        sqlx::query("UPDATE authorizations SET last_used_at = $2 WHERE id = $1").bind(id.to_string()).bind(now).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Whose address and password these are. Takes as long for an unknown address as for a wrong password.
    pub async fn authenticate_password(&self, email: &str, password: &str) -> Result<Option<Principal>> {
        let row = sqlx::query("SELECT id AS account_id, email, admin, password_hash FROM accounts WHERE email = $1")
            .bind(email.trim().to_lowercase())
            .fetch_optional(self.db().reader())
            .await?;
        let hash = row.as_ref().map(|row| row::text(row, "password_hash")).transpose()?;
        if !password::verify(hash, password.to_owned()).await {
            return Ok(None);
        }
        row.as_ref().map(|row| principal_from_row(row, None)).transpose()
    }

    /// Whose SSH key this is, by its `SHA256:…` fingerprint.
    pub async fn principal_for_key(&self, fingerprint: &str) -> Result<Option<Principal>> {
        let row = sqlx::query(
            "SELECT k.account_id, a.email, a.admin FROM ssh_keys k JOIN accounts a ON a.id = k.account_id WHERE k.fingerprint = $1",
        )
        .bind(fingerprint)
        .fetch_optional(self.db().reader())
        .await?;
        row.as_ref().map(|row| principal_from_row(row, None)).transpose()
    }

    /// Acts as an account without its password: for the first login on the machine itself.
    pub async fn principal_for_account(&self, _system: &SystemScope, id: AccountId) -> Result<Principal> {
        let mut tx = self.db().snapshot().await?;
        let account = account(&mut tx, id).await?;
        Ok(Principal { account: account.id, email: account.email, admin: account.admin, authorization: None })
    }

    /// The right of a person to an app. "Not yours" and "not there" are the same answer.
    pub async fn authorize(&self, principal: &Principal, app: &AppIdentity) -> Result<AppScope> {
        const BY_NAME: &str = "SELECT p.id, p.owner_id, c.id AS collaborator_id FROM apps p \
            LEFT JOIN collaborators c ON c.app_id = p.id AND c.account_id = $2 WHERE p.name = $1 AND p.destroyed_at IS NULL";
        const BY_ID: &str = "SELECT p.id, p.owner_id, c.id AS collaborator_id FROM apps p \
            LEFT JOIN collaborators c ON c.app_id = p.id AND c.account_id = $2 WHERE p.id = $1 AND p.destroyed_at IS NULL";
        let query = match app {
            AppIdentity::Name(name) => sqlx::query(BY_NAME).bind(name.to_string()),
            AppIdentity::Id(id) => sqlx::query(BY_ID).bind(id.to_string()),
        };
        let absent = StoreError::NotFound { what: "app" };
        let Some(row) = query.bind(principal.account.to_string()).fetch_optional(self.db().reader()).await? else {
            return Err(absent);
        };
        let role = if row::parsed::<AccountId>(&row, "owner_id")? == principal.account {
            Role::Owner
        } else if row::text_opt(&row, "collaborator_id")?.is_some() {
            Role::Collaborator
        } else {
            return Err(absent);
        };
        Ok(AppScope { app: row::parsed(&row, "id")?, role, actor: Some(principal.account) })
    }

    /// Whether a right that was given earlier still is one.
    pub async fn grant_holds(&self, grant: &Grant) -> Result<bool> {
        let row = sqlx::query(
            "SELECT p.id FROM apps p LEFT JOIN collaborators c ON c.app_id = p.id AND c.account_id = $1 \
             WHERE p.id = $2 AND p.destroyed_at IS NULL AND (p.owner_id = $3 OR c.id IS NOT NULL)",
        )
        .bind(grant.account.to_string())
        .bind(grant.app.to_string())
        .bind(grant.account.to_string())
        .fetch_optional(self.db().reader())
        .await?;
        let (Some(_), Some(authorization)) = (&row, grant.authorization) else { return Ok(row.is_some()) };
        let row =
            sqlx::query("SELECT id FROM authorizations WHERE id = $1 AND account_id = $2 AND (expires_at IS NULL OR expires_at > $3)")
                .bind(authorization.to_string())
                .bind(grant.account.to_string())
                .bind(row::now())
                .fetch_optional(self.db().reader())
                .await?;
        Ok(row.is_some())
    }

    /// Makes the first account, an administrator. Fails with `already_set_up` once there is any.
    pub async fn account_create_first(&self, _system: &SystemScope, new: NewAccount) -> Result<Account> {
        let mut tx = self.db().write().await?;
        db::counter_next(&mut tx, "setup").await?;
        if sqlx::query("SELECT id FROM accounts LIMIT 1").fetch_optional(&mut *tx).await?.is_some() {
            return Err(StoreError::AlreadySetUp);
        }
        let account = account_insert(&mut tx, NewAccount { admin: true, ..new }).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Makes an account. Administrators only.
    pub async fn account_create(&self, admin: &Principal, new: NewAccount) -> Result<Account> {
        admin_only(admin)?;
        let mut tx = self.db().write().await?;
        let account = account_insert(&mut tx, new).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Somebody's own account.
    pub async fn account_get(&self, principal: &Principal) -> Result<Account> {
        let mut tx = self.db().snapshot().await?;
        account(&mut tx, principal.account).await
    }

    /// Every account, by address.
    pub async fn account_list(&self, _system: &SystemScope) -> Result<Vec<Account>> {
        let rows = sqlx::query("SELECT id, email, name, admin, created_at, updated_at FROM accounts ORDER BY email")
            .fetch_all(self.db().reader())
            .await?;
        rows.iter().map(account_from_row).collect()
    }

    /// Changes somebody's own name or password; `None` = leave.
    pub async fn account_update(&self, principal: &Principal, name: Option<String>, password_hash: Option<String>) -> Result<Account> {
        let mut tx = self.db().write().await?;
        sqlx::query(
            "UPDATE accounts SET name = COALESCE($2, name), password_hash = COALESCE($3, password_hash), updated_at = $4 WHERE id = $1",
        )
        .bind(principal.account.to_string())
        .bind(name)
        .bind(password_hash)
        .bind(row::now())
        .execute(&mut *tx)
        .await?;
        let account = account(&mut tx, principal.account).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Makes a token. It is in the answer and nowhere else: the database has its SHA-256.
    pub async fn authorization_create(&self, principal: &Principal, new: NewAuthorization) -> Result<(Authorization, SecretString)> {
        let token = format!("lf-{}", hex::encode(rand::random::<[u8; TOKEN_BYTES]>()));
        let (id, now) = (AuthorizationId::new(), row::now());
        let lasts = new.expires_in.map(|lasts| i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX));
        // Later than any calendar is as good as never.
        let expires_at = lasts.and_then(|lasts| now.checked_add(lasts)).filter(|at| Timestamp::from_microsecond(*at).is_ok());
        let mut tx = self.db().write().await?;
        sqlx::query(
            "INSERT INTO authorizations (id, account_id, description, token_hash, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.to_string())
        .bind(principal.account.to_string())
        .bind(new.description)
        .bind(token_hash(&token))
        .bind(expires_at)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((self.authorization_get(principal, id).await?, SecretString::new(token)))
    }

    /// Somebody's own tokens that still work, newest first.
    pub async fn authorization_list(&self, principal: &Principal) -> Result<Vec<Authorization>> {
        let rows = sqlx::query(
            "SELECT t.id, t.account_id, a.email, t.description, t.expires_at, t.created_at, t.last_used_at FROM authorizations t \
             JOIN accounts a ON a.id = t.account_id WHERE t.account_id = $1 AND (t.expires_at IS NULL OR t.expires_at > $2) \
             ORDER BY t.created_at DESC, t.id",
        )
        .bind(principal.account.to_string())
        .bind(row::now())
        .fetch_all(self.db().reader())
        .await?;
        rows.iter().map(authorization_from_row).collect()
    }

    /// One of somebody's own tokens.
    pub async fn authorization_get(&self, principal: &Principal, id: AuthorizationId) -> Result<Authorization> {
        let row = sqlx::query(
            "SELECT t.id, t.account_id, a.email, t.description, t.expires_at, t.created_at, t.last_used_at FROM authorizations t \
             JOIN accounts a ON a.id = t.account_id WHERE t.account_id = $1 AND t.id = $2",
        )
        .bind(principal.account.to_string())
        .bind(id.to_string())
        .fetch_optional(self.db().reader())
        .await?
        .ok_or(StoreError::NotFound { what: "authorization" })?;
        authorization_from_row(&row)
    }

    /// Makes a token worthless.
    pub async fn authorization_delete(&self, principal: &Principal, id: AuthorizationId) -> Result<Authorization> {
        let gone = self.authorization_get(principal, id).await?;
        let mut tx = self.db().write().await?;
        sqlx::query("DELETE FROM authorizations WHERE id = $1 AND account_id = $2")
            .bind(id.to_string())
            .bind(principal.account.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// Adds an SSH public key, given as the line in its `.pub` file.
    pub async fn key_create(&self, principal: &Principal, public_key: &str) -> Result<SshKey> {
        let key = PublicKey::parse(public_key)?;
        let id = KeyId::new();
        let mut tx = self.db().write().await?;
        let inserted = sqlx::query(
            "INSERT INTO ssh_keys (id, account_id, fingerprint, public_key, comment, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.to_string())
        .bind(principal.account.to_string())
        .bind(key.fingerprint.as_str())
        .bind(key.line)
        .bind(key.comment)
        .bind(row::now())
        .execute(&mut *tx)
        .await;
        unique_or(inserted, || StoreError::KeyTaken { fingerprint: key.fingerprint.clone() })?;
        tx.commit().await?;
        self.key_get(principal, &id.to_string()).await
    }

    /// Somebody's own keys, oldest first.
    pub async fn key_list(&self, principal: &Principal) -> Result<Vec<SshKey>> {
        let rows = sqlx::query(
            "SELECT id, fingerprint, public_key, comment, created_at FROM ssh_keys WHERE account_id = $1 ORDER BY created_at, id",
        )
        .bind(principal.account.to_string())
        .fetch_all(self.db().reader())
        .await?;
        rows.iter().map(key_from_row).collect()
    }

    async fn key_get(&self, principal: &Principal, which: &str) -> Result<SshKey> {
        let keys = self.key_list(principal).await?;
        let key = keys.into_iter().find(|key| key.id.to_string() == which || key.fingerprint == which || key.comment == which);
        key.ok_or(StoreError::NotFound { what: "key" })
    }

    /// Removes one of somebody's own keys, named by id, fingerprint or comment.
    pub async fn key_delete(&self, principal: &Principal, which: &str) -> Result<SshKey> {
        let gone = self.key_get(principal, which).await?;
        let mut tx = self.db().write().await?;
        sqlx::query("DELETE FROM ssh_keys WHERE id = $1").bind(gone.id.to_string()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

pub(crate) fn admin_only(principal: &Principal) -> Result<()> {
    if principal.admin { Ok(()) } else { Err(StoreError::Forbidden { who: "an administrator" }) }
}
