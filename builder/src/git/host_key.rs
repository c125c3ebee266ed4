//! The SSH host key: made once, then always the same, or every pusher would be warned of an attack.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The disk.
    #[error("SSH host key {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read it.
    #[error("SSH host key {} can be read by others; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not a key.
    #[error("SSH host key {} is damaged; restore it, or remove it to have a new one made (pushers will be warned)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: russh::keys::ssh_key::Error,
    },
}

/// Reads the key, or makes it (ed25519, mode 0600) if there is none.
pub fn host_key(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let failed = |source| HostKeyError::Io { path: path.to_owned(), source };
    let damaged = |source| HostKeyError::Damaged { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
                return Err(HostKeyError::Exposed { path: path.to_owned() });
            }
            return PrivateKey::from_openssh(text).map_err(damaged);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(damaged)?;
    let text = key.to_openssh(LineEnding::LF).map_err(damaged)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = host_key(&path).unwrap();
        assert_eq!(first.public_key(), host_key(&path).unwrap().public_key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(host_key(&path), Err(HostKeyError::Exposed { .. })));
        fs::write(&path, "nonsense").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(host_key(&path), Err(HostKeyError::Damaged { .. })));
    }
}
