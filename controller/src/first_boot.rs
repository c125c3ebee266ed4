//! Once in a server's life: its secrets and its first account.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use landfall_store::{NewAccount, NewAuthorization, Store, StoreError, hash_password};

use crate::config::ServerConfig;

/// How the first account logs in; only the server's user can read it.
const ADMIN_FILE: &str = "admin.toml";

/// What [`ADMIN_FILE`] holds.
#[derive(serde::Serialize, serde::Deserialize)]
struct Admin {
    email: String,
    password: String,
    token: String,
}

/// Makes the first account if there is none, and leaves its password and an API token in `<data_dir>/admin.toml` (mode 0600).
///
/// The file is written before the account, and read again after a crash in between: whatever it says is what works.
pub(crate) async fn admin_account(store: &Store, config: &ServerConfig) -> anyhow::Result<()> {
    let system = store.system();
    if !store.account_list(&system).await.context("reading the accounts")?.is_empty() && has_token(config) {
        return Ok(());
    }
    let path = config.data_dir.join(ADMIN_FILE);
    let kept = std::fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<Admin>(&text).ok());
    let mut admin = match kept {
        Some(admin) => admin,
        None if store.account_list(&system).await.context("reading the accounts")?.is_empty() => {
            Admin { email: config.admin_email.clone(), password: random_words(), token: String::new() }
        }
        // Somebody removed the file on purpose: it held a password.
        None => return Ok(()),
    };
    write_admin(&path, &admin)?;
    let password = admin.password.clone();
    let password_hash = tokio::task::spawn_blocking(move || hash_password(&password)).await.context("hashing the first password")?;
    let new = NewAccount { email: admin.email.clone(), name: Some("Administrator".to_owned()), password_hash, admin: true };
    match store.account_create_first(&system, new).await {
        Ok(_) | Err(StoreError::AlreadySetUp) => {}
        Err(error) => return Err(error).context("making the first account"),
    }
    let Some(principal) = store.authenticate_password(&admin.email, &admin.password).await.context("checking the first account")? else {
        return Ok(());
    };
    let new = NewAuthorization { description: "first administrator".to_owned(), expires_in: None };
    let (_, token) = store.authorization_create(&principal, new).await.context("making the first token")?;
    token.expose().clone_into(&mut admin.token);
    write_admin(&path, &admin)?;
    tracing::info!(file = %path.display(), account.email = admin.email, "made the first account; show its password with: landfall admin");
    Ok(())
}

fn write_admin(path: &Path, admin: &Admin) -> anyhow::Result<()> {
    let text = toml::to_string(admin).context("writing the first account's file")?;
    write_private(path, text.as_bytes())
}

/// Whether the file is complete, or gone on purpose.
fn has_token(config: &ServerConfig) -> bool {
    let text = std::fs::read_to_string(config.data_dir.join(ADMIN_FILE));
    text.map_or(true, |text| toml::from_str::<Admin>(&text).is_ok_and(|admin| !admin.token.is_empty()))
}

fn random_words() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..20].to_owned()
}

/// Whole or not at all, only for us to read: temporary file, fsync, rename, fsync of the directory.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A key of 32 bytes in a file of its own (mode 0600), made at the first start. What cannot be such a key (a disk that was full when it was
/// written) is replaced: only links to logs and outputs stop working.
pub(crate) fn secret_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    match std::fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => return Ok(key),
            Err(_) => {
                tracing::warn!(path = %path.display(), "this is not a key; a new one is made, and links that were given out stop working");
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    let mut key = [0_u8; 32];
    key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    write_private(path, &key)?;
    Ok(key)
}

/// Which database the files under the data directory belong to.
const INSTANCE_FILE: &str = "instance";

/// Makes sure that database and data directory belong together. Repositories, logs and images of apps that the database does not know are
/// removed: with a database that is only the wrong one, that would be all of them.
pub(crate) fn belong_together(data_dir: &Path, database: uuid::Uuid) -> anyhow::Result<()> {
    let path = data_dir.join(INSTANCE_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim() == database.to_string() => Ok(()),
        Ok(text) if text.trim().parse::<uuid::Uuid>().is_ok() => anyhow::bail!(
            "{} holds the data of another database ({}; this one is {database}), so nothing was started and nothing was removed.\n\
             If the database was lost, restore it. If store.url is wrong, put it right in landfall.toml.\n\
             To begin anew, without the apps that are there: rm {}",
            data_dir.display(),
            text.trim(),
            path.display()
        ),
        // Torn or empty: as good as none.
        Ok(_) => write_private(&path, format!("{database}\n").as_bytes()),
        Err(error) if error.kind() == ErrorKind::NotFound => write_private(&path, format!("{database}\n").as_bytes()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Uploads that builds of an earlier server had taken: those builds are over.
pub(crate) fn forget_uploads(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == landfall_api::UPLOAD_IN_USE)
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), error = %error, "an upload that nobody builds any more could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ticket.key");
        let first = secret_key(&path).unwrap();
        assert_ne!(first, [0; 32]);
        assert_eq!(secret_key(&path).unwrap(), first);
        for torn in ["", "short"] {
            std::fs::write(&path, torn).unwrap();
            let second = secret_key(&path).unwrap();
            assert_ne!(second, first);
            assert_eq!(secret_key(&path).unwrap(), second);
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!((mode & 0o777, std::fs::read_dir(dir.path()).unwrap().count()), (0o600, 1));
    }

    #[test]
    fn data_of_another_database_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = [1, 2].map(uuid::Uuid::from_u128);
        belong_together(dir.path(), first).unwrap();
        belong_together(dir.path(), first).unwrap();
        let refused = belong_together(dir.path(), second).unwrap_err().to_string();
        assert!(refused.contains("another database") && refused.contains("rm "), "{refused}");
        std::fs::write(dir.path().join(INSTANCE_FILE), "").unwrap();
        belong_together(dir.path(), second).unwrap();
        assert!(belong_together(dir.path(), first).is_err());
    }
}
