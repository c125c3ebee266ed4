//! Passwords: argon2id, off the async threads.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// What an unknown address is checked against, so that it takes as long as a known one.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password("nobody has this password"));

/// Passwords that are checked at once, in this process: each takes 19 MiB and a core for tens of milliseconds.
static CHECKS: Semaphore = Semaphore::const_new(2);

/// Turns a password into a PHC string for [`crate::NewAccount::password_hash`]. Takes tens of milliseconds and 19 MiB: call it from
/// `spawn_blocking`.
pub fn hash_password(password: &str) -> String {
    Argon2::default().hash_password(password.as_bytes()).expect("the default parameters and a random salt are valid").to_string()
}

pub(crate) async fn verify(hash: Option<String>, password: String) -> bool {
    let check = move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let fits = PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        known && fits
    };
    let Ok(_turn) = CHECKS.acquire().await else { return false };
    tokio::task::spawn_blocking(check).await.unwrap_or(false)
}
