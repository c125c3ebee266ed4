//! The first start of a server: one administrator, with a password and a token nobody chose, in a file only root and the server may read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use landfall_store::{NewAccount, NewAuthorization, Store, hash_password};

/// The administrator's address until it is changed.
pub const ADMIN_EMAIL: &str = "admin@localhost";

/// What the file holds; `landfall up` reads it to log root in.
#[derive(serde::Serialize)]
struct AdminFile<'a> {
    email: &'a str,
    password: &'a str,
    token: &'a str,
}

/// Makes the administrator if there is no account yet. Safe to repeat after a crash at any line: the account is made last but one, and a
/// lost file is made anew with a fresh token.
pub async fn ensure_administrator(store: &Store, data_dir: &Path) -> anyhow::Result<()> {
    let system = store.system();
    let file = data_dir.join("admin.toml");
    let accounts = store.account_list(&system).await?;
    if file.exists() && !accounts.is_empty() {
        return Ok(());
    }
    let password = random_words()?;
    let password_hash = hash_password(&password);
    let principal = match accounts.iter().find(|account| account.email == ADMIN_EMAIL) {
        None if accounts.is_empty() => {
            let new = NewAccount { email: ADMIN_EMAIL.to_owned(), name: Some("Administrator".to_owned()), password_hash, admin: true };
            let account = store.account_create_first(&system, new).await?;
            store.principal_for_account(&system, account.id).await?
        }
        // The file was lost, or we were killed before it was written: a fresh password for the same account.
        Some(account) => {
            let principal = store.principal_for_account(&system, account.id).await?;
            store.account_update(&principal, None, Some(password_hash)).await?;
            principal
        }
        None => return Ok(()),
    };
    let new = NewAuthorization { description: "made at the first start of this server".to_owned(), expires_in: None };
    let (_, token) = store.authorization_create(&principal, new).await?;
    let text = toml::to_string(&AdminFile { email: ADMIN_EMAIL, password: &password, token: token.expose() })?;
    write_secret(&file, &text)?;
    tracing::info!(file = %file.display(), "made the first account, {ADMIN_EMAIL}");
    Ok(())
}

/// Five groups of five letters and digits without look-alikes: about 125 bits.
fn random_words() -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 25];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
    let letters: Vec<char> = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    Ok(letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let temp = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(temp, path)
}
