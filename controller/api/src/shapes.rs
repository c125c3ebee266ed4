//! Nouns as Platform API v3 JSON. Every field of the published schema is there; what Landfall has not got is `null` or empty.

use jiff::Timestamp;
use landfall_model::{AppId, AppName, DynoSize};
use landfall_store::{
    Account, App, Authorization, Build, Collaborator, Domain, DomainKind, Formation, Release, Role, Slug, SshKey, UserRef,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::reply::time;
use crate::platform::{DynoStats, DynoView, Platform};

/// An id for things that have no row of their own (a region, a stack, a dyno size): the same on every server and in every answer.
pub(crate) fn name_id(kind: &str, name: &str) -> Uuid {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("landfall:{kind}:{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn user(user: &UserRef) -> Value {
    json!({ "id": user.id, "email": user.email })
}

fn app_ref(id: AppId, name: &AppName) -> Value {
    json!({ "id": id, "name": name })
}

/// `stack` in a larger object.
pub(crate) fn stack_ref(name: &str) -> Value {
    json!({ "id": name_id("stack", name), "name": name })
}

/// `region` in a larger object: one machine is one region.
pub(crate) fn region_ref() -> Value {
    json!({ "id": name_id("region", "local"), "name": "local" })
}

/// `account`.
pub(crate) fn account(account: &Account) -> Value {
    json!({
        "id": account.id, "email": account.email, "name": account.name,
        "allow_tracking": false, "beta": false, "federated": false, "verified": true, "two_factor_authentication": false,
        "identity_provider": null, "last_login": null, "sms_number": null, "suspended_at": null, "delinquent_at": null,
        "country_of_residence": null, "default_organization": null, "default_team": null,
        "created_at": time(account.created_at), "updated_at": time(account.updated_at),
    })
}

/// `oauth-authorization`. The token itself is there only when it was just made.
pub(crate) fn authorization(authorization: &Authorization, token: Option<&str>, now: Timestamp) -> Value {
    let left = authorization.expires_at.map(|at| at.duration_since(now).as_secs().max(0));
    // A stored token is a hash; the Heroku CLI understands this redaction and leaves such entries alone.
    let shown = token.map_or_else(|| format!("{}**********", &authorization.id.to_string()[..8]), str::to_owned);
    json!({
        "id": authorization.id, "description": authorization.description, "scope": ["global"],
        "access_token": { "id": authorization.id, "token": shown, "expires_in": left },
        "client": null, "grant": null, "refresh_token": null, "session": null,
        "user": { "id": authorization.user.id, "email": authorization.user.email, "full_name": null },
        "created_at": time(authorization.created_at), "updated_at": time(authorization.last_used_at.unwrap_or(authorization.created_at)),
    })
}

/// `key`.
pub(crate) fn key(key: &SshKey, email: &str) -> Value {
    json!({
        "id": key.id, "comment": key.comment, "email": email, "fingerprint": key.fingerprint, "public_key": key.public_key,
        "created_at": time(key.created_at), "updated_at": time(key.created_at),
    })
}

/// `app`.
pub(crate) fn app(app: &App, slug_size: Option<u64>, platform: &dyn Platform) -> Value {
    json!({
        "id": app.id, "name": app.name, "owner": user(&app.owner), "maintenance": app.maintenance,
        "stack": stack_ref(&app.stack), "build_stack": stack_ref(&app.stack), "region": region_ref(),
        "generation": { "id": name_id("generation", "cedar"), "name": "cedar" },
        "git_url": platform.git_http_url(&app.name), "ssh_git_url": platform.git_ssh_url(&app.name),
        "web_url": platform.web_url(&platform.app_host(&app.name)),
        "acm": false, "archived_at": null, "buildpack_provided_description": null, "internal_routing": null, "locked": false,
        "create_status": "complete", "process_tier": "production",
        "organization": null, "team": null, "space": null, "repo_size": null, "slug_size": slug_size,
        "created_at": time(app.created_at), "updated_at": time(app.updated_at), "released_at": app.released_at.map(time),
    })
}

/// `collaborator`.
pub(crate) fn collaborator(app: &App, who: &Collaborator) -> Value {
    let role = match who.role {
        Role::Owner | Role::System => "owner",
        Role::Collaborator => "collaborator",
    };
    json!({
        "id": who.id, "app": app_ref(app.id, &app.name), "permissions": [], "role": role,
        "user": { "id": who.user.id, "email": who.user.email, "federated": false },
        "created_at": time(who.created_at), "updated_at": time(who.created_at),
    })
}

/// `release`. `output` is the URL of its release phase's output.
pub(crate) fn release(app: &App, release: &Release, output: Option<String>) -> Value {
    use landfall_model::ReleaseStatus;
    json!({
        "id": release.id, "version": release.version, "status": release.status, "description": release.description,
        "app": app_ref(app.id, &app.name), "user": user(&release.user), "current": release.current,
        "slug": release.slug.map(|id| json!({ "id": id })),
        "artifacts": release.slug.map(|id| vec![json!({ "type": "slug", "id": id })]).unwrap_or_default(),
        "addon_plan_names": [], "output_stream_url": output,
        "eligible_for_rollback": release.slug.is_some() && release.status == ReleaseStatus::Succeeded,
        "created_at": time(release.created_at), "updated_at": time(release.updated_at),
    })
}

/// `formation`.
pub(crate) fn formation(app: &App, one: &Formation) -> Value {
    let size = one.entry.size;
    json!({
        "id": one.id, "app": app_ref(app.id, &app.name), "type": one.entry.process_type, "command": one.entry.command,
        "quantity": one.entry.quantity, "size": size, "dyno_size": dyno_size_ref(size),
        "created_at": time(one.created_at), "updated_at": time(one.updated_at),
    })
}

fn dyno_size_ref(size: DynoSize) -> Value {
    json!({ "id": name_id("dyno-size", size.name()), "name": size.name() })
}

/// `dyno`.
pub(crate) fn dyno(app: &App, dyno: &DynoView, attach_url: Option<String>) -> Value {
    json!({
        "id": dyno.id, "name": dyno.name, "type": dyno.name.process_type, "command": dyno.command, "state": dyno.state, "size": dyno.size,
        "attach_url": attach_url, "app": app_ref(app.id, &app.name), "release": { "id": dyno.release.0, "version": dyno.release.1 },
        "note": dyno.note, "created_at": time(dyno.created_at), "updated_at": time(dyno.updated_at),
    })
}

/// `build`.
pub(crate) fn build(app: &App, build: &Build, output: String) -> Value {
    json!({
        "id": build.id, "number": build.number, "app": app_ref(app.id, &app.name), "status": build.status, "user": user(&build.user),
        "stack": build.stack,
        "buildpacks": build.buildpacks.iter().map(|name| json!({ "name": name, "url": format!("urn:buildpack:{name}") })).collect::<Vec<_>>(),
        "generation": "cedar", "output_stream_url": output, "failure": build.failure,
        "source_blob": { "checksum": null, "url": "", "version": build.source.commit, "version_description": build.source.description },
        "release": build.release.map(|(id, version)| json!({ "id": id, "version": version })), "slug": build.slug.map(|id| json!({ "id": id })),
        "created_at": time(build.created_at), "updated_at": time(build.updated_at),
    })
}

/// `slug`. Its blob is an image in this machine's store and not for download, which the address says.
pub(crate) fn slug(slug: &Slug) -> Value {
    json!({
        "id": slug.id, "checksum": slug.image, "commit": slug.source.commit, "commit_description": slug.source.description,
        "blob": { "method": "get", "url": format!("oci:{}", slug.image) }, "buildpack_provided_description": slug.buildpacks.first(),
        "process_types": slug.process_types, "size": slug.size_bytes, "stack": stack_ref(&slug.stack), "deleted_at": null,
        "created_at": time(slug.created_at), "updated_at": time(slug.created_at),
    })
}

/// `domain`.
pub(crate) fn domain(app: &App, domain: &Domain, cname: Option<String>) -> Value {
    let kind = match domain.kind {
        DomainKind::Heroku => "heroku",
        DomainKind::Custom => "custom",
    };
    json!({
        "id": domain.id, "app": app_ref(app.id, &app.name), "hostname": domain.hostname, "kind": kind, "cname": cname, "status": "none",
        "acm_status": null, "acm_status_reason": null, "sni_endpoint": null,
        "created_at": time(domain.created_at), "updated_at": time(domain.updated_at),
    })
}

/// Landfall's own: what one dyno uses now.
pub(crate) fn stats(stats: &DynoStats) -> Value {
    json!({
        "name": stats.name, "cpu_percent": (stats.cpu_percent * 10.0).round() / 10.0,
        "memory_bytes": stats.memory_bytes, "memory_limit_bytes": stats.memory_limit_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_names_are_uuids_and_stable() {
        assert_eq!(name_id("stack", "debian-13"), name_id("stack", "debian-13"));
        assert_ne!(name_id("stack", "debian-13"), name_id("stack", "debian-12"));
        assert_eq!(name_id("region", "local").get_version_num(), 4);
    }
}
