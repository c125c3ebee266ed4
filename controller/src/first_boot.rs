//! Once in a server's life: its secrets and its first account.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
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
    write_private(&path, &admin)?;
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
    write_private(&path, &admin)?;
    tracing::info!(file = %path.display(), account.email = admin.email, "made the first account; show its password with: landfall admin");
    Ok(())
}

/// Whether the file is complete, or gone on purpose.
fn has_token(config: &ServerConfig) -> bool {
    let text = std::fs::read_to_string(config.data_dir.join(ADMIN_FILE));
    text.map_or(true, |text| toml::from_str::<Admin>(&text).is_ok_and(|admin| !admin.token.is_empty()))
}

fn random_words() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..20].to_owned()
}

fn write_private(path: &Path, admin: &Admin) -> anyhow::Result<()> {
    let text = toml::to_string(admin).context("writing the first account's file")?;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A key of 32 bytes in a file of its own (mode 0600), made at the first start.
pub(crate) fn secret_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let mut key = [0_u8; 32];
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
            key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
            file.write_all(&key).and_then(|()| file.sync_all()).with_context(|| format!("writing {}", path.display()))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut key));
            read.with_context(|| {
                format!("reading {}; remove the file and a new one is made (links to running builds stop working)", path.display())
            })?;
        }
        Err(error) => return Err(error).with_context(|| format!("making {}", path.display())),
    }
    Ok(key)
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
        std::fs::write(&path, "short").unwrap();
        assert!(secret_key(&path).unwrap_err().to_string().contains("remove the file"));
    }
}
