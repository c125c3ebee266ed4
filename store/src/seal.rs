//! Sealing secrets for the database, with a key that is not in it (trust rule R4).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::{Result, StoreError};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The key in use. `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Sealer(XChaCha20Poly1305);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Reads the key, or makes one if there is none and `may_create` says that nothing was sealed yet.
    pub(crate) fn open(path: &Path, may_create: bool) -> Result<Self> {
        let fail = |reason: String| StoreError::KeyFile { path: path.display().to_string(), reason };
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => {
                create(path).map_err(|error| fail(error.to_string()))?;
                File::open(path)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(fail("it is missing, and this database holds secrets sealed with it".to_owned()));
            }
            other => other,
        };
        let mut file = file.map_err(|error| fail(error.to_string()))?;
        let mode = file.metadata().map_err(|error| fail(error.to_string()))?.mode();
        if mode & 0o077 != 0 {
            return Err(fail(format!("others can read it (mode {:03o}); make it 600", mode & 0o777)));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
        let key = hex::decode(text.trim()).ok().and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok());
        let key = key.ok_or_else(|| fail("it does not hold 64 hexadecimal digits".to_owned()))?;
        Ok(Self(XChaCha20Poly1305::new(&key.into())))
    }

    /// Seals `plain`; it opens only with the same `context`.
    pub(crate) fn seal(&self, context: &str, plain: &[u8]) -> Result<String> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let mut sealed = nonce.to_vec();
        sealed.extend(self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| StoreError::Unsealable)?);
        Ok(BASE64.encode(sealed))
    }

    /// The inverse of [`Self::seal`].
    pub(crate) fn unseal(&self, context: &str, sealed: &str) -> Result<Vec<u8>> {
        let sealed = BASE64.decode(sealed).map_err(|_| StoreError::Unsealable)?;
        let (nonce, cipher) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(StoreError::Unsealable)?;
        let payload = Payload { msg: cipher, aad: context.as_bytes() };
        self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| StoreError::Unsealable)
    }
}

/// Writes a fresh key so that it either is wholly there, for good, or not at all.
fn create(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let temporary = path.with_extension(format!("new-{}", uuid::Uuid::new_v4().simple()));
    let key: [u8; KEY_BYTES] = rand::random();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(format!("{}\n", hex::encode(key)).as_bytes()).and_then(|()| file.sync_all());
    // A link, not a rename: if another process was first, its key stays.
    let linked = written.and_then(|()| match std::fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    std::fs::remove_file(&temporary)?;
    linked?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_in_its_context_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let one = Sealer::open(&dir.path().join("one.key"), true).unwrap();
        let again = Sealer::open(&dir.path().join("one.key"), false).unwrap();
        let other = Sealer::open(&dir.path().join("other.key"), true).unwrap();
        let sealed = one.seal("app 1", b"secret").unwrap();
        assert_eq!(again.unseal("app 1", &sealed).unwrap(), b"secret");
        assert!(one.unseal("app 2", &sealed).is_err());
        assert!(other.unseal("app 1", &sealed).is_err());
        assert_ne!(sealed, one.seal("app 1", b"secret").unwrap(), "a nonce was used twice");
    }

    #[test]
    fn refuses_a_missing_open_or_damaged_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        assert!(Sealer::open(&path, false).unwrap_err().to_string().contains("missing"));
        Sealer::open(&path, true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Sealer::open(&path, false).unwrap_err().to_string().contains("others can read it (mode 644)"));
        std::fs::write(&path, "short").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Sealer::open(&path, false).unwrap_err().to_string().contains("64 hexadecimal digits"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
