//! Typed ids. All are UUIDs on the wire, as Heroku's are; the type keeps an app's id from being used as a build's.

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A fresh id, ordered by the time it was made (UUID version 7).
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

typed_id! {
    /// A person (or robot) who can log in.
    AccountId,
    /// An app. Never reused; the name may change, the id does not.
    AppId,
    /// An API token or session.
    AuthorizationId,
    /// One build of one pushed commit.
    BuildId,
    /// One account's right to one app.
    CollaboratorId,
    /// A host name an app answers to.
    DomainId,
    /// One run of one process. A restarted `web.1` is a new id.
    DynoId,
    /// One process type of one app.
    FormationId,
    /// An SSH public key of an account.
    KeyId,
    /// One numbered release.
    ReleaseId,
    /// The runnable result of a build (Heroku's slug; here an OCI image).
    SlugId,
}
