//! Reading one file of a stranger's tree on the host: never through a link, never without a limit.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::SourceError;

/// The text of a top-level file, `None` if there is none. A link is not followed: it is an error that says so.
pub fn read_file(dir: &Path, name: &'static str, limit: usize) -> Result<Option<String>, SourceError> {
    let wrong = |message: String| SourceError::File { file: name, message };
    let path = dir.join(name);
    let file = match OpenOptions::new().read(true).custom_flags(libc_nofollow()).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(wrong("it is a link; it must be a plain file".to_owned()));
        }
        Err(source) => return Err(SourceError::Write { path, source }),
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(wrong("it must be a plain file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|source| SourceError::Write { path, source })?;
    if bytes.len() > limit {
        return Err(wrong(format!("it is longer than {} kB", limit / 1024)));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("it is not UTF-8 text".to_owned()))
}

fn libc_nofollow() -> i32 {
    (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_long_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_file(dir.path(), "Procfile", 10).unwrap(), None);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("Procfile")).unwrap();
        assert_eq!(read_file(dir.path(), "Procfile", 10).unwrap_err().to_string(), "Procfile: it is a link; it must be a plain file");
        std::fs::write(dir.path().join("app.json"), "x".repeat(1025)).unwrap();
        assert_eq!(read_file(dir.path(), "app.json", 1024).unwrap_err().to_string(), "app.json: it is longer than 1 kB");
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert!(read_file(dir.path(), "d", 10).is_err());
    }
}
