//! What the templates show, as plain words.

use jiff::Timestamp;
use landfall_store::{App, Domain, Formation, Release};
use serde::Serialize;

use crate::platform::{DynoView, Platform};

#[derive(Serialize)]
pub(super) struct AppCard {
    name: String,
    owner: String,
    url: String,
    maintenance: bool,
    released: Option<When>,
}

impl AppCard {
    pub(super) fn new(app: &App, platform: &dyn Platform, now: Timestamp) -> Self {
        Self {
            name: app.name.to_string(),
            owner: app.owner.email.clone(),
            url: platform.web_url(&platform.app_host(&app.name)),
            maintenance: app.maintenance,
            released: app.released_at.map(|at| When::new(at, now)),
        }
    }
}

/// A time, for eyes and for machines.
#[derive(Serialize)]
pub(super) struct When {
    iso: String,
    ago: String,
}

impl When {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { iso: crate::http::reply::time(at), ago: ago(now.duration_since(at).as_secs()) }
    }
}

fn ago(seconds: i64) -> String {
    let one_of = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
    match seconds {
        ..60 => "just now".to_owned(),
        60..3600 => one_of(seconds / 60, "minute"),
        3600..86_400 => one_of(seconds / 3600, "hour"),
        _ => one_of(seconds / 86_400, "day"),
    }
}

#[derive(Serialize)]
pub(super) struct ReleaseRow {
    version: u32,
    description: String,
    status: &'static str,
    user: String,
    current: bool,
    can_roll_back: bool,
    output: Option<String>,
    at: When,
}

impl ReleaseRow {
    pub(super) fn new(release: &Release, output: Option<String>, now: Timestamp) -> Self {
        Self {
            version: release.version.0,
            description: release.description.clone(),
            status: release.status.as_str(),
            user: release.user.email.clone(),
            current: release.current,
            can_roll_back: !release.current && release.slug.is_some() && release.status == landfall_model::ReleaseStatus::Succeeded,
            output,
            at: When::new(release.created_at, now),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DynoRow {
    name: String,
    state: &'static str,
    size: &'static str,
    command: String,
    version: u32,
    note: Option<String>,
    since: When,
}

impl DynoRow {
    pub(super) fn new(dyno: &DynoView, now: Timestamp) -> Self {
        Self {
            name: dyno.name.to_string(),
            state: dyno.state.as_str(),
            size: dyno.size.name(),
            command: dyno.command.clone(),
            version: dyno.release.1.0,
            note: dyno.note.clone(),
            since: When::new(dyno.updated_at, now),
        }
    }
}

#[derive(Serialize)]
pub(super) struct FormationRow {
    process_type: String,
    quantity: u32,
    size: &'static str,
}

impl FormationRow {
    pub(super) fn new(one: &Formation) -> Self {
        Self { process_type: one.entry.process_type.to_string(), quantity: one.entry.quantity, size: one.entry.size.name() }
    }
}

#[derive(Serialize)]
pub(super) struct DomainRow {
    hostname: String,
    url: String,
    kind: &'static str,
}

impl DomainRow {
    pub(super) fn new(domain: &Domain, platform: &dyn Platform) -> Self {
        Self { hostname: domain.hostname.to_string(), url: platform.web_url(&domain.hostname), kind: domain.kind.as_str() }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_read_well() {
        let words = [-5, 0, 60, 119, 7200, 86_400, 260_000].map(super::ago);
        assert_eq!(words, ["just now", "just now", "1 minute ago", "1 minute ago", "2 hours ago", "1 day ago", "3 days ago"]);
    }
}
