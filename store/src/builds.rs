//! Builds and slugs.

use std::collections::BTreeMap;

use landfall_model::{AppId, BuildId, BuildStatus, ConfigKey, ProcessType, ReleaseVersion, SecretString, SlugId};
use sqlx::any::AnyRow;

use crate::access::{AppScope, SystemScope};
use crate::db::Tx;
use crate::nouns::{AuditEvent, Build, BuildSource, NewBuild, NewSlug, Release, Slug, UserRef};
use crate::releases::{self, NewRelease};
use crate::{Result, Store, StoreError, notes, row};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.number, b.app_id, b.status, b.user_id, a.email, b.source, b.stack, b.slug_id, s.buildpacks, b.failure, b.created_at, ",
            "b.updated_at, (SELECT r.id FROM releases r WHERE r.build_id = b.id ORDER BY r.version LIMIT 1) AS release_id, ",
            "(SELECT MIN(r.version) FROM releases r WHERE r.build_id = b.id) AS release_version ",
            "FROM builds b JOIN accounts a ON a.id = b.user_id LEFT JOIN slugs s ON s.id = b.slug_id ",
            $rest
        )
    };
}

fn from_row(row: &AnyRow) -> Result<Build> {
    let status = BuildStatus::parse(&row::text(row, "status")?).ok_or(StoreError::Decode { column: "status" })?;
    let release = match (row::parsed_opt(row, "release_id")?, row::int_opt(row, "release_version")?) {
        (Some(id), Some(version)) => {
            Some((id, ReleaseVersion(version.try_into().map_err(|_| StoreError::Decode { column: "release_version" })?)))
        }
        _ => None,
    };
    let buildpacks = if row::text_opt(row, "buildpacks")?.is_some() { row::json(row, "buildpacks")? } else { Vec::new() };
    Ok(Build {
        id: row::parsed(row, "id")?,
        number: row::small(row, "number")?,
        app: row::parsed(row, "app_id")?,
        status,
        user: UserRef { id: row::parsed(row, "user_id")?, email: row::text(row, "email")? },
        source: row::json(row, "source")?,
        stack: row::text(row, "stack")?,
        slug: row::parsed_opt(row, "slug_id")?,
        buildpacks,
        release,
        failure: row::text_opt(row, "failure")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

async fn find(tx: &mut Tx, app: AppId, id: BuildId) -> Result<Build> {
    let row = sqlx::query(select!("WHERE b.app_id = $1 AND b.id = $2"))
        .bind(app.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NotFound { what: "build" })?;
    from_row(&row)
}

pub(crate) async fn slug(tx: &mut Tx, app: AppId, id: SlugId) -> Result<Slug> {
    let row = sqlx::query(
        "SELECT id, app_id, image, process_types, buildpacks, source, stack, size_bytes, formation, app_json, created_at FROM slugs \
         WHERE app_id = $1 AND id = $2",
    )
    .bind(app.to_string())
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(StoreError::NotFound { what: "slug" })?;
    Ok(Slug {
        id,
        app,
        image: row::text(&row, "image")?,
        process_types: row::json(&row, "process_types")?,
        buildpacks: row::json(&row, "buildpacks")?,
        source: row::json(&row, "source")?,
        stack: row::text(&row, "stack")?,
        size_bytes: row::int(&row, "size_bytes")?.cast_unsigned(),
        formation: row::json(&row, "formation")?,
        app_json: row::json(&row, "app_json")?,
        created_at: row::time(&row, "created_at")?,
    })
}

async fn slug_insert(tx: &mut Tx, build: &Build, new: &NewSlug) -> Result<SlugId> {
    let id = SlugId::new();
    sqlx::query(
        "INSERT INTO slugs (id, app_id, image, process_types, has_release_phase, buildpacks, source, stack, size_bytes, formation, \
         app_json, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(id.to_string())
    .bind(build.app.to_string())
    .bind(new.image.as_str())
    .bind(row::to_json(&new.process_types, "process_types")?)
    .bind(i64::from(new.process_types.contains_key(&ProcessType::release())))
    .bind(row::to_json(&new.buildpacks, "buildpacks")?)
    .bind(row::to_json(&build.source, "source")?)
    .bind(build.stack.as_str())
    .bind(new.size_bytes.cast_signed())
    .bind(row::to_json(&new.formation, "formation")?)
    .bind(row::to_json(&new.app_json, "app_json")?)
    .bind(row::now())
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

async fn end(tx: &mut Tx, id: BuildId, status: BuildStatus, slug: Option<SlugId>, failure: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE builds SET status = $2, slug_id = $3, failure = $4, updated_at = $5 WHERE id = $1")
        .bind(id.to_string())
        .bind(status.as_str())
        .bind(slug.map(|slug| slug.to_string()))
        .bind(failure.map(str::to_owned))
        .bind(row::now())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether the app ever had code that ran.
async fn has_code(tx: &mut Tx, app: AppId) -> Result<bool> {
    let row = sqlx::query("SELECT id FROM releases WHERE app_id = $1 AND slug_id IS NOT NULL AND status <> 'failed' LIMIT 1")
        .bind(app.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

/// `Deploy 1a2b3c4d`, as Heroku's release list says it.
fn describe(source: &BuildSource) -> String {
    match &source.commit {
        Some(commit) => format!("Deploy {}", commit.chars().take(8).collect::<String>()),
        None => "Deploy".to_owned(),
    }
}

impl Store {
    /// Records a build as pending. With an id that exists already for this app, that build is returned as it is.
    pub async fn build_create(&self, scope: &AppScope, new: NewBuild) -> Result<Build> {
        let mut tx = self.db().write().await?;
        let locked = releases::lock(&mut tx, scope.app).await?;
        let id = new.id.unwrap_or_default();
        match find(&mut tx, scope.app, id).await {
            Err(StoreError::NotFound { .. }) => {}
            present => return present,
        }
        sqlx::query(
            "INSERT INTO builds (id, app_id, status, user_id, source, stack, worker, created_at, updated_at, number) \
             VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, (SELECT COALESCE(MAX(number), 0) + 1 FROM builds WHERE app_id = $9))",
        )
        .bind(id.to_string())
        .bind(scope.app.to_string())
        .bind(scope.actor.unwrap_or(locked.owner()).to_string())
        .bind(row::to_json(&new.source, "source")?)
        .bind(new.stack)
        .bind(new.worker)
        .bind(row::now())
        .bind(row::now())
        .bind(scope.app.to_string())
        .execute(&mut *tx)
        .await?;
        let build = find(&mut tx, scope.app, id).await?;
        self.commit(tx, scope.app).await?;
        Ok(build)
    }

    /// One build.
    pub async fn build_get(&self, scope: &AppScope, id: BuildId) -> Result<Build> {
        let mut tx = self.db().snapshot().await?;
        find(&mut tx, scope.app, id).await
    }

    /// The newest builds, newest first.
    pub async fn build_list(&self, scope: &AppScope, max: u32) -> Result<Vec<Build>> {
        let rows = sqlx::query(select!("WHERE b.app_id = $1 ORDER BY b.number DESC, b.created_at DESC, b.id DESC LIMIT $2"))
            .bind(scope.app.to_string())
            .bind(i64::from(max))
            .fetch_all(self.db().reader())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Records success, the slug, and the release that comes of it, in one transaction: there is never a build that nobody released.
    /// So is the deploy's entry in the audit log, with the `address` it came from. Saying it twice returns the first release again.
    pub async fn build_finish(&self, scope: &AppScope, id: BuildId, slug: NewSlug, address: Option<String>) -> Result<(Build, Release)> {
        self.build_finish_with(scope, id, slug, &BTreeMap::new(), address).await
    }

    /// As [`Self::build_finish`]. `wishes` are config vars an app's first code would like to have: what of them is not set yet is set by a
    /// release of its own, in the same transaction. Later code's wishes are not heard.
    pub async fn build_finish_with(
        &self,
        scope: &AppScope,
        id: BuildId,
        slug: NewSlug,
        wishes: &BTreeMap<ConfigKey, SecretString>,
        address: Option<String>,
    ) -> Result<(Build, Release)> {
        let mut tx = self.db().write().await?;
        let mut locked = releases::lock(&mut tx, scope.app).await?;
        let build = find(&mut tx, scope.app, id).await?;
        match (build.status, build.release) {
            (BuildStatus::Pending, _) => {}
            (BuildStatus::Succeeded, Some((release, _))) => {
                let (release, _) = releases::find(&mut tx, scope.app, crate::ReleaseRef::Id(release)).await?;
                return Ok((build, release));
            }
            (status, _) => return Err(StoreError::BuildFinished { status: status.as_str() }),
        }
        if !wishes.is_empty() && !has_code(&mut tx, scope.app).await? {
            self.config_wish(&mut tx, &mut locked, scope, wishes).await?;
        }
        let slug = slug_insert(&mut tx, &build, &slug).await?;
        end(&mut tx, id, BuildStatus::Succeeded, Some(slug), None).await?;
        let (_, config) = releases::head(&mut tx, scope.app).await?;
        let new = NewRelease { description: describe(&build.source), user: Some(build.user.id), slug: Some(slug), build: Some(id), config };
        let release = releases::append(&mut tx, &mut locked, new).await?;
        let event = AuditEvent {
            actor: scope.actor,
            action: "deploy".to_owned(),
            app: Some(scope.app),
            detail: format!("{}: {}", release.version, release.description),
            address,
        };
        notes::append(&mut tx, &event).await?;
        let build = find(&mut tx, scope.app, id).await?;
        self.commit(tx, scope.app).await?;
        Ok((build, release))
    }

    /// Records failure, with the reason a person will read.
    pub async fn build_fail(&self, scope: &AppScope, id: BuildId, reason: &str) -> Result<Build> {
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        let build = find(&mut tx, scope.app, id).await?;
        if build.status != BuildStatus::Pending {
            return Err(StoreError::BuildFinished { status: build.status.as_str() });
        }
        end(&mut tx, id, BuildStatus::Failed, None, Some(reason)).await?;
        let build = find(&mut tx, scope.app, id).await?;
        self.commit(tx, scope.app).await?;
        Ok(build)
    }

    /// Records that a person cancelled it. Stopping the work is the caller's.
    pub async fn build_cancel(&self, scope: &AppScope, id: BuildId) -> Result<Build> {
        self.build_fail(scope, id, "cancelled").await
    }

    /// Fails the pending builds that nobody works on. `runs` is asked after they were listed. Returns which.
    pub async fn builds_interrupt(
        &self,
        _system: &SystemScope,
        runs: impl Fn(BuildId) -> bool,
        reason: &str,
    ) -> Result<Vec<(AppId, BuildId)>> {
        let rows = sqlx::query("SELECT id, app_id FROM builds WHERE status = 'pending'").fetch_all(self.db().reader()).await?;
        let mut interrupted = Vec::new();
        for row in &rows {
            let (app, id) = (row::parsed(row, "app_id")?, row::parsed(row, "id")?);
            if runs(id) {
                continue;
            }
            match self.build_fail(&self.system().app(app), id, reason).await {
                Ok(_) => interrupted.push((app, id)),
                // It ended, or its app did, since we looked.
                Err(StoreError::BuildFinished { .. } | StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(interrupted)
    }

    /// One slug.
    pub async fn slug_get(&self, scope: &AppScope, id: SlugId) -> Result<Slug> {
        let mut tx = self.db().snapshot().await?;
        slug(&mut tx, scope.app, id).await
    }

    /// Digests of every image that a release may still run.
    pub async fn images_in_use(&self, _system: &SystemScope) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT DISTINCT s.image FROM slugs s JOIN releases r ON r.slug_id = s.id \
             WHERE r.status IN ('pending', 'succeeded') ORDER BY s.image",
        )
        .fetch_all(self.db().reader())
        .await?;
        rows.iter().map(|row| row::text(row, "image")).collect()
    }
}
