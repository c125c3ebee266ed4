//! Releases: appended, numbered without a gap, never changed.

use landfall_model::{AccountId, AppId, BuildId, ConfigVars, ReleaseId, ReleaseStatus, ReleaseVersion, SlugId};
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::access::{AppScope, Role};
use crate::db::Tx;
use crate::formation;
use crate::nouns::{ListOrder, Release, ReleaseOutcome, ReleaseRange, ReleaseRef, UserRef};
use crate::{Result, Store, StoreError, row};

const MOST_LISTED: u32 = 1000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.app_id, r.version, r.status, r.description, r.user_id, a.email, r.slug_id, r.build_id, r.config_id, ",
            "r.output_id, r.created_at, r.updated_at, (SELECT MAX(c.version) FROM releases c WHERE c.app_id = r.app_id AND ",
            "c.status = 'succeeded') AS current_version FROM releases r JOIN accounts a ON a.id = r.user_id ",
            $rest
        )
    };
}

pub(crate) fn from_row(row: &AnyRow) -> Result<Release> {
    let version = row::small(row, "version")?;
    let status = row::text(row, "status")?;
    Ok(Release {
        id: row::parsed(row, "id")?,
        app: row::parsed(row, "app_id")?,
        version: ReleaseVersion(version),
        status: ReleaseStatus::parse(&status).ok_or(StoreError::Decode { column: "status" })?,
        description: row::text(row, "description")?,
        user: UserRef { id: row::parsed(row, "user_id")?, email: row::text(row, "email")? },
        slug: row::parsed_opt(row, "slug_id")?,
        build: row::parsed_opt(row, "build_id")?,
        current: row::int_opt(row, "current_version")? == Some(i64::from(version)),
        output: row::parsed_opt(row, "output_id")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

/// An app whose row this transaction holds: nobody else makes a release of it until the transaction ends.
pub(crate) struct Locked {
    pub(crate) app: AppId,
    owner: AccountId,
    last_version: u32,
}

impl Locked {
    /// Whose app it is: the platform's own deeds are recorded as theirs.
    pub(crate) fn owner(&self) -> AccountId {
        self.owner
    }
}

pub(crate) async fn lock(tx: &mut Tx, app: AppId) -> Result<Locked> {
    let row = sqlx::query("UPDATE apps SET updated_at = $2 WHERE id = $1 AND destroyed_at IS NULL RETURNING owner_id, last_version")
        .bind(app.to_string())
        .bind(row::now())
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NotFound { what: "app" })?;
    Ok(Locked { app, owner: row::parsed(&row, "owner_id")?, last_version: row::small(&row, "last_version")? })
}

/// As [`lock`], for what is no change of the app.
pub(crate) async fn hold(tx: &mut Tx, app: AppId) -> Result<()> {
    sqlx::query("UPDATE apps SET updated_at = updated_at WHERE id = $1").bind(app.to_string()).execute(&mut **tx).await?;
    Ok(())
}

/// A release to be made.
pub(crate) struct NewRelease {
    pub(crate) description: String,
    pub(crate) user: Option<AccountId>,
    pub(crate) slug: Option<SlugId>,
    pub(crate) build: Option<BuildId>,
    pub(crate) config: Uuid,
}

/// Takes the next number. Pending if its slug has a release phase; otherwise it is current at once and the formation follows.
pub(crate) async fn append(tx: &mut Tx, locked: &mut Locked, new: NewRelease) -> Result<Release> {
    let phase = match new.slug {
        Some(slug) => has_release_phase(tx, slug).await?,
        None => false,
    };
    let status = if phase { ReleaseStatus::Pending } else { ReleaseStatus::Succeeded };
    let (id, now, version) = (ReleaseId::new(), row::now(), locked.last_version + 1);
    sqlx::query("UPDATE apps SET last_version = $2 WHERE id = $1")
        .bind(locked.app.to_string())
        .bind(i64::from(version))
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO releases (id, app_id, version, status, description, user_id, slug_id, build_id, config_id, output_id, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(id.to_string())
    .bind(locked.app.to_string())
    .bind(i64::from(version))
    .bind(status.as_str())
    .bind(new.description)
    .bind(new.user.unwrap_or(locked.owner).to_string())
    .bind(new.slug.map(|slug| slug.to_string()))
    .bind(new.build.map(|build| build.to_string()))
    .bind(new.config.to_string())
    .bind(phase.then(|| Uuid::new_v4().to_string()))
    .bind(now)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    locked.last_version = version;
    if status == ReleaseStatus::Succeeded
        && let Some(slug) = new.slug
    {
        formation::follow(tx, locked.app, id, slug).await?;
    }
    find(tx, locked.app, ReleaseRef::Id(id)).await.map(|(release, _)| release)
}

async fn has_release_phase(tx: &mut Tx, slug: SlugId) -> Result<bool> {
    let row = sqlx::query("SELECT has_release_phase FROM slugs WHERE id = $1").bind(slug.to_string()).fetch_one(&mut **tx).await?;
    row::flag(&row, "has_release_phase")
}

/// A release and the id of its config.
pub(crate) async fn find(tx: &mut Tx, app: AppId, release: ReleaseRef) -> Result<(Release, Uuid)> {
    let query = match release {
        ReleaseRef::Version(version) => {
            sqlx::query(select!("WHERE r.app_id = $1 AND r.version = $2")).bind(app.to_string()).bind(i64::from(version.0))
        }
        ReleaseRef::Id(id) => sqlx::query(select!("WHERE r.app_id = $1 AND r.id = $2")).bind(app.to_string()).bind(id.to_string()),
        ReleaseRef::Current => {
            sqlx::query(select!("WHERE r.app_id = $1 AND r.status = 'succeeded' ORDER BY r.version DESC LIMIT 1")).bind(app.to_string())
        }
    };
    let row = query.fetch_optional(&mut **tx).await?.ok_or(StoreError::NotFound { what: "release" })?;
    Ok((from_row(&row)?, row::parsed(&row, "config_id")?))
}

/// The newest release that did not fail: what the next one builds on. It may still be pending; a change made meanwhile must not undo it.
pub(crate) async fn head(tx: &mut Tx, app: AppId) -> Result<(Release, Uuid)> {
    let row = sqlx::query(select!("WHERE r.app_id = $1 AND r.status IN ('pending', 'succeeded') ORDER BY r.version DESC LIMIT 1"))
        .bind(app.to_string())
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NotFound { what: "release" })?;
    Ok((from_row(&row)?, row::parsed(&row, "config_id")?))
}

/// Releases waiting for their release phase, lowest version first, with their configs' ids.
pub(crate) async fn pending(tx: &mut Tx, app: AppId) -> Result<Vec<(Release, Uuid)>> {
    let rows = sqlx::query(select!("WHERE r.app_id = $1 AND r.status = 'pending' ORDER BY r.version"))
        .bind(app.to_string())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(|row| Ok((from_row(row)?, row::parsed(row, "config_id")?))).collect()
}

impl Store {
    /// Releases within a range.
    pub async fn release_list(&self, scope: &AppScope, range: ReleaseRange) -> Result<Vec<Release>> {
        let query = match range.order {
            ListOrder::Ascending => {
                sqlx::query(select!("WHERE r.app_id = $1 AND r.version BETWEEN $2 AND $3 ORDER BY r.version ASC LIMIT $4"))
            }
            ListOrder::Descending => {
                sqlx::query(select!("WHERE r.app_id = $1 AND r.version BETWEEN $2 AND $3 ORDER BY r.version DESC LIMIT $4"))
            }
        };
        let rows = query
            .bind(scope.app.to_string())
            .bind(i64::from(range.from))
            .bind(i64::from(range.to))
            .bind(i64::from(range.max.clamp(1, MOST_LISTED)))
            .fetch_all(self.db().reader())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// One release.
    pub async fn release_get(&self, scope: &AppScope, release: ReleaseRef) -> Result<Release> {
        let mut tx = self.db().snapshot().await?;
        Ok(find(&mut tx, scope.app, release).await?.0)
    }

    /// The newest release that did not fail. It may still be in its release phase.
    pub async fn release_head(&self, scope: &AppScope) -> Result<Release> {
        let mut tx = self.db().snapshot().await?;
        Ok(head(&mut tx, scope.app).await?.0)
    }

    /// The config vars one release runs with.
    pub async fn release_config(&self, scope: &AppScope, release: ReleaseRef) -> Result<ConfigVars> {
        let mut tx = self.db().snapshot().await?;
        let (release, config) = find(&mut tx, scope.app, release).await?;
        let vars = self.config_open(&mut tx, scope.app, config).await;
        match vars {
            Err(StoreError::ConfigForgotten { .. }) => Err(StoreError::ConfigForgotten { version: Some(release.version) }),
            vars => vars,
        }
    }

    /// Records how a release phase ended. Saying the same twice is fine. On success the formation follows, if the release is now current.
    pub async fn release_finish(&self, scope: &AppScope, id: ReleaseId, outcome: ReleaseOutcome) -> Result<Release> {
        let next = match outcome {
            ReleaseOutcome::Succeeded => ReleaseStatus::Succeeded,
            ReleaseOutcome::Failed => ReleaseStatus::Failed,
        };
        let mut tx = self.db().write().await?;
        lock(&mut tx, scope.app).await?;
        let (release, _) = find(&mut tx, scope.app, ReleaseRef::Id(id)).await?;
        if release.status == next {
            return Ok(release);
        }
        if !release.status.can_become(next) {
            return Err(StoreError::ReleaseFinished { version: release.version, status: release.status });
        }
        sqlx::query("UPDATE releases SET status = $2, updated_at = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(next.as_str())
            .bind(row::now())
            .execute(&mut *tx)
            .await?;
        let (release, _) = find(&mut tx, scope.app, ReleaseRef::Id(id)).await?;
        if release.current
            && let Some(slug) = release.slug
        {
            formation::follow(&mut tx, scope.app, id, slug).await?;
        }
        self.commit(tx, scope.app).await?;
        Ok(release)
    }

    /// Makes a new release from an old one's build and config.
    pub async fn release_rollback(&self, scope: &AppScope, to: ReleaseRef) -> Result<Release> {
        let mut tx = self.db().write().await?;
        let mut locked = lock(&mut tx, scope.app).await?;
        let (old, config) = find(&mut tx, scope.app, to).await?;
        let refuse = |reason| Err(StoreError::NotRollbackable { version: old.version, reason });
        match old.status {
            ReleaseStatus::Failed => return refuse("failed"),
            ReleaseStatus::Pending => return refuse("is still running its release phase"),
            ReleaseStatus::Expired => return refuse("has expired, and its image is gone"),
            ReleaseStatus::Succeeded if old.slug.is_none() => return refuse("has nothing to run: no build came before it"),
            ReleaseStatus::Succeeded => {}
        }
        let new =
            NewRelease { description: format!("Rollback to {}", old.version), user: scope.actor, slug: old.slug, build: old.build, config };
        let release = append(&mut tx, &mut locked, new).await?;
        self.commit(tx, scope.app).await?;
        Ok(release)
    }
}

/// Fails unless the scope is the owner's or the platform's.
pub(crate) fn owner_only(scope: &AppScope) -> Result<()> {
    match scope.role {
        Role::Owner | Role::System => Ok(()),
        Role::Collaborator => Err(StoreError::Forbidden { who: "the app's owner" }),
    }
}
