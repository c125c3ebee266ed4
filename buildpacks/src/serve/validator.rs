//! What tells one version of a file from another: ETag and Last-Modified.
//!
//! Files of an image have one fixed time, the same in every release; so the ETag is of the content, and such a file counts as changed when
//! this server started, which is never before its release.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use sha2::{Digest, Sha256};

/// Latest fixed time of files in images: 1980-01-02, a day after the usual ones.
const FIXED: i64 = 315_619_200;
/// Most remembered ETags; with more files, they are computed again.
const REMEMBERED: usize = 16_384;

/// Device, inode, bytes, change time: the same for as long as the content is.
type Version = (u64, u64, u64, i64, i64);

/// ETags of the files that were asked for.
#[derive(Debug)]
pub(crate) struct Validators {
    started: i64,
    known: Mutex<HashMap<PathBuf, (Version, String)>>,
}

impl Validators {
    pub(crate) fn new() -> Self {
        Self { started: now(), known: Mutex::default() }
    }

    /// The strong ETag, quoted.
    pub(crate) fn etag(&self, path: &Path, meta: &Metadata) -> std::io::Result<String> {
        let version = (meta.dev(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec());
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, etag)) = lock().get(path)
            && *known == version
        {
            return Ok(etag.clone());
        }
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest(path)?[..16]));
        let mut known = lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(path.to_owned(), (version, etag.clone()));
        Ok(etag)
    }

    /// When the file changed, in seconds since 1970.
    pub(crate) fn modified(&self, meta: &Metadata) -> i64 {
        if meta.mtime() <= FIXED { self.started } else { meta.mtime().min(now()) }
    }
}

fn digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&chunk[..n]),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

/// A date as HTTP writes it.
pub(crate) fn http_date(seconds: i64) -> Option<String> {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::from_second(seconds).ok()?).ok()
}

/// Seconds of a date HTTP wrote.
pub(crate) fn read_date(text: &str) -> Option<i64> {
    DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second)
}

/// Whether an `If-None-Match` list has this ETag; weak marks do not matter there.
pub(crate) fn lists(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|e| e == "*" || e.strip_prefix("W/").unwrap_or(e) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        let text = http_date(784_111_777).unwrap();
        assert_eq!(text, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read_date(&text), Some(784_111_777));
        assert_eq!(read_date("yesterday"), None);
    }

    #[test]
    fn the_etag_follows_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let validators = Validators::new();
        let of = |text: &str| {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            let meta = path.metadata().unwrap();
            assert_eq!(validators.modified(&meta), validators.started);
            validators.etag(&path, &meta).unwrap()
        };
        let (a, b) = (of("one"), of("two"));
        assert_ne!(a, b);
        assert_eq!(a, of("one"));
        assert!(lists(&format!("\"x\", W/{a}"), &a) && lists("*", &a) && !lists(&b, &a));
    }
}
