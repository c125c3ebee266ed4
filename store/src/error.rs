//! What can go wrong, in words for the person who asked.

use landfall_model::{AppName, Hostname, ProcessType, ReleaseStatus, ReleaseVersion};

/// The store's result.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store did not do it. `Display` is for people; [`StoreError::code`] is stable for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such thing, or not yours: the two look alike on purpose.
    #[error("couldn't find that {what}")]
    NotFound {
        /// "app", "release", "build", "domain", …
        what: &'static str,
    },
    /// It is there and you may see it, but not do this.
    #[error("only {who} may do that")]
    Forbidden {
        /// "the app's owner", "an administrator".
        who: &'static str,
    },
    /// The owner cannot be taken off their own app.
    #[error("the owner of an app cannot be removed from it")]
    OwnerStays,
    /// The name belongs to another app.
    #[error("name {name} is already taken")]
    AppNameTaken {
        /// The name.
        name: AppName,
    },
    /// An account with this address exists.
    #[error("an account with the address {email} already exists")]
    EmailTaken {
        /// The address.
        email: String,
    },
    /// The first account exists already.
    #[error("this server already has its first account")]
    AlreadySetUp,
    /// Not an e-mail address.
    #[error("\"{given}\" is not an e-mail address")]
    BadEmail {
        /// What was given.
        given: String,
    },
    /// The key belongs to an account already.
    #[error("the key {fingerprint} is already in use")]
    KeyTaken {
        /// The key.
        fingerprint: String,
    },
    /// Not an SSH public key.
    #[error("that is not an SSH public key: {reason}")]
    BadKey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Already a collaborator, or the owner.
    #[error("the account {email} already has access to this app")]
    CollaboratorExists {
        /// Who.
        email: String,
    },
    /// The host name is this app's already.
    #[error("the domain {hostname} is already added to this app")]
    DomainExists {
        /// The name.
        hostname: Hostname,
    },
    /// The host name is another app's.
    #[error("the domain {hostname} is already in use by another app")]
    DomainTaken {
        /// The name.
        hostname: Hostname,
    },
    /// The host name is the platform's own, or would reach over it.
    #[error("{hostname} is reserved: {platform} is this platform's own name")]
    DomainReserved {
        /// The name.
        hostname: Hostname,
        /// The platform's domain, or its API's name.
        platform: String,
    },
    /// The app's own platform name cannot be removed.
    #[error("the domain {hostname} comes with the app and cannot be removed")]
    DomainBuiltIn {
        /// The name.
        hostname: Hostname,
    },
    /// Too much config.
    #[error("config vars would take {bytes} bytes; keys and values together may take {limit}")]
    ConfigTooLarge {
        /// What it would be.
        bytes: usize,
        /// What it may be.
        limit: usize,
    },
    /// The config vars of a release that cannot run any more.
    #[error("the config vars of {} are gone: it can no longer be run", version.map_or_else(|| "that release".to_owned(), |version| version.to_string()))]
    ConfigForgotten {
        /// Whose, as far as it is known.
        version: Option<ReleaseVersion>,
    },
    /// A value no process could receive.
    #[error("the value of {key} holds a NUL character, which no environment variable can")]
    ConfigValueHasNul {
        /// Whose value.
        key: String,
    },
    /// Too many dynos.
    #[error("cannot run {wanted} dynos of {process_type}: it may have 0 to {limit}")]
    QuantityOutOfRange {
        /// The type.
        process_type: ProcessType,
        /// What was asked.
        wanted: i64,
        /// What may be asked.
        limit: u32,
    },
    /// The current release has no such process type.
    #[error("couldn't find the process type {process_type}; this app has {known}")]
    NoSuchProcessType {
        /// The type.
        process_type: ProcessType,
        /// What there is, as words.
        known: String,
    },
    /// The release cannot be rolled back to.
    #[error("cannot roll back to {version}: it {reason}")]
    NotRollbackable {
        /// Which.
        version: ReleaseVersion,
        /// `failed`, `is still running its release phase`, `has nothing to run`, …
        reason: &'static str,
    },
    /// The release phase has ended already, otherwise.
    #[error("release {version} already is {status:?}")]
    ReleaseFinished {
        /// Which.
        version: ReleaseVersion,
        /// What it is.
        status: ReleaseStatus,
    },
    /// The build has ended already.
    #[error("that build already has ended ({status})")]
    BuildFinished {
        /// What it is.
        status: &'static str,
    },
    /// No more apps fit.
    #[error("this machine has no free block of user ids: it holds {limit} apps at most")]
    UserBlocksExhausted {
        /// How many there may be.
        limit: u32,
    },
    /// The app is not marked as destroyed, so it must not be purged.
    #[error("the app was not destroyed, so nothing of it is removed")]
    NotDestroyed,
    /// The database does not answer (restarting, unreachable, overloaded). Worth trying again.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// There is no room for the write.
    #[error("the database's disk is full or read-only")]
    DiskFull(#[source] sqlx::Error),
    /// Another server works on this database.
    #[error("this database is in use by another Landfall server: {by}")]
    InUse {
        /// Who, in words.
        by: String,
    },
    /// The database file is damaged.
    #[error("the database {path} is damaged ({finding}); it was left untouched")]
    Corrupt {
        /// Which.
        path: String,
        /// SQLite's first finding.
        finding: String,
    },
    /// A newer Landfall wrote this database.
    #[error("the database is at schema {found}, this Landfall knows up to {known}")]
    Downgrade {
        /// What it is at.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// A migration was changed after it was applied.
    #[error("migration {version} differs from the one that was applied to this database")]
    MigrationChanged {
        /// Which.
        version: i64,
    },
    /// The key file cannot be used.
    #[error("cannot use the key file {path}: {reason}")]
    KeyFile {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// What is stored was not sealed with our key, or was changed.
    #[error("a stored secret cannot be opened with this server's key")]
    Unsealable,
    /// The URL is neither SQLite's nor PostgreSQL's.
    #[error("\"{given}\" is not a database URL")]
    BadUrl {
        /// What was given, without a password.
        given: String,
    },
    /// A stored value is not what this program writes.
    #[error("the database holds an unexpected value in {column}")]
    Decode {
        /// Where.
        column: &'static str,
    },
    /// Anything else the database said.
    #[error("a database query failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// A stable word for programs: an error id for the API, a field for the log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NoSuchProcessType { .. } => "not_found",
            Self::Forbidden { .. } => "forbidden",
            Self::OwnerStays => "owner_stays",
            Self::AppNameTaken { .. } => "app_name_taken",
            Self::EmailTaken { .. } => "email_taken",
            Self::AlreadySetUp => "already_set_up",
            Self::BadEmail { .. } => "bad_email",
            Self::KeyTaken { .. } => "key_taken",
            Self::BadKey { .. } => "bad_key",
            Self::CollaboratorExists { .. } => "collaborator_exists",
            Self::DomainExists { .. } => "domain_exists",
            Self::DomainTaken { .. } => "domain_taken",
            Self::DomainReserved { .. } => "domain_reserved",
            Self::DomainBuiltIn { .. } => "domain_built_in",
            Self::ConfigTooLarge { .. } => "config_too_large",
            Self::ConfigForgotten { .. } => "release_expired",
            Self::ConfigValueHasNul { .. } => "config_value_has_nul",
            Self::QuantityOutOfRange { .. } => "quantity_out_of_range",
            Self::NotRollbackable { .. } => "not_rollbackable",
            Self::ReleaseFinished { .. } => "release_finished",
            Self::BuildFinished { .. } => "build_finished",
            Self::UserBlocksExhausted { .. } => "user_blocks_exhausted",
            Self::NotDestroyed => "not_destroyed",
            Self::Unavailable(_) => "unavailable",
            Self::DiskFull(_) => "disk_full",
            Self::InUse { .. } => "database_in_use",
            Self::Corrupt { .. } => "database_corrupt",
            Self::Downgrade { .. } => "database_too_new",
            Self::MigrationChanged { .. } => "migration_changed",
            Self::KeyFile { .. } => "key_file",
            Self::Unsealable => "unsealable",
            Self::BadUrl { .. } => "bad_database_url",
            Self::Decode { .. } | Self::Database(_) => "internal",
        }
    }

    /// What to do or type next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { what: "release" } => "see the releases: landfall releases",
            Self::NotFound { what: "build" } => "see the builds: landfall builds",
            Self::NotFound { what: "slug" } => "its id is in: landfall releases:info --json",
            Self::NotFound { what: "domain" } | Self::DomainExists { .. } => "see the domains: landfall domains",
            Self::NotFound { what: "key" } => "see your keys: landfall keys",
            Self::NotFound { what: "account" } => "they need an account on this server first: its administrator makes it",
            Self::NotFound { what: "collaborator" } => "see who works on the app: GET /apps/{app}/collaborators",
            Self::NotFound { what: "authorization" } => "make a new token: landfall login",
            Self::NotFound { .. } => "see your apps: landfall apps",
            Self::Forbidden { who: "an administrator" } => "log in as one: landfall login",
            Self::Forbidden { .. } => "see who that is: landfall apps:info",
            Self::OwnerStays => "to end it all: landfall apps:destroy",
            Self::BadEmail { .. } => "it looks like this: ann@example.com",
            Self::CollaboratorExists { .. } => "see who works on the app: GET /apps/{app}/collaborators",
            Self::ConfigValueHasNul { .. } => "encode the value, in Base64 for example, and set that: landfall config:set KEY=VALUE",
            Self::ReleaseFinished { .. } => "see the releases: landfall releases",
            Self::BuildFinished { .. } => "see the builds: landfall builds",
            Self::UserBlocksExhausted { .. } => "destroy an app that nobody needs: landfall apps:destroy",
            Self::NotDestroyed => "destroy it first: landfall apps:destroy",
            Self::InUse { .. } => {
                "stop that server first (on its machine: landfall down), or give this one a database of its own: store.url in landfall.toml"
            }
            Self::MigrationChanged { .. } => "install the Landfall version that wrote it",
            Self::Decode { .. } | Self::Database(_) => "try again; the operator sees more in the server's log",
            Self::AppNameTaken { .. } => "choose another name: landfall create other-name",
            Self::AlreadySetUp | Self::EmailTaken { .. } => "log in instead: landfall login",
            Self::KeyTaken { .. } => "see your keys: landfall keys",
            Self::BadKey { .. } => "add the .pub file: landfall keys:add ~/.ssh/id_ed25519.pub",
            Self::DomainTaken { .. } => "remove it from the other app first: landfall domains:remove NAME -a OTHER",
            Self::DomainReserved { .. } => "add a domain of your own: landfall domains:add www.example.com",
            Self::DomainBuiltIn { .. } => "rename the app to change it: landfall apps:rename NEW-NAME",
            Self::ConfigTooLarge { .. } => "put large values in a file the app fetches, or unset some: landfall config:unset KEY",
            Self::QuantityOutOfRange { .. } => "ask for a number in between: landfall ps:scale web=2",
            Self::NoSuchProcessType { known, .. } if known.starts_with("none") => "deploy first: git push landfall main",
            Self::NoSuchProcessType { .. } => "add a line for it to the Procfile, commit that, then: git push landfall main",
            Self::ConfigForgotten { .. } => "see which releases can be run: landfall releases",
            Self::NotRollbackable { reason, .. } if reason.contains("expired") => {
                "push its commit again (git push --force landfall COMMIT:main), or choose a newer one: landfall releases"
            }
            Self::NotRollbackable { .. } => "choose another release: landfall releases",
            Self::Unavailable(_) => "try again in a moment; the operator sees why with: landfall doctor",
            Self::DiskFull(_) => "make room on the data volume; nothing was lost and no restart is needed",
            Self::Corrupt { .. } => "restore a backup, or salvage with: sqlite3 FILE .recover",
            Self::Downgrade { .. } => "install the Landfall version that wrote it, or a newer one",
            Self::KeyFile { .. } | Self::Unsealable => "put back the key file that belongs to this database",
            Self::BadUrl { .. } => "use sqlite:/path/to/landfall.db or postgres://user@host/database",
        }
    }

    /// Whether the caller may expect the same call to work later without changing it (HTTP 503).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::DiskFull(_))
    }
}
