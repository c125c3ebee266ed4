//! The platform's own lines in apps' logs: `heroku[web.1]: …` and `app[api]: …`, in `landfall.log` of each app.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter, clean_text};
use landfall_model::AppId;

/// Makes a directory that others log to. Shims are root; the set-group-id bit gives their files (mode 0640) the server's group.
pub(crate) fn log_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o2750))
}

/// Writers of all apps; one file each, opened when first needed.
#[derive(Debug)]
pub struct AppLogs {
    root: PathBuf,
    open: Mutex<HashMap<AppId, SegmentWriter>>,
}

impl AppLogs {
    /// Logs under `root/<app id>/`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), open: Mutex::default() }
    }

    /// An app's log directory.
    pub fn dir(&self, app: AppId) -> PathBuf {
        self.root.join(app.to_string())
    }

    /// Makes an app's log directory, if it is not there, so that the server can read what others write there; see [`log_dir`].
    pub fn prepare(&self, app: AppId) {
        let dir = self.dir(app);
        if !dir.is_dir()
            && let Err(error) = log_dir(&dir)
        {
            tracing::warn!(app.id = %app, path = %dir.display(), error = %error, "the app's log directory could not be made");
        }
    }

    /// Appends lines of the platform about a dyno. A log that cannot be written (disk full) loses them and says so in ours.
    pub fn platform<Text: AsRef<str>>(&self, app: AppId, name: &str, lines: &[Text]) {
        self.append(app, "heroku", name, lines);
    }

    /// Appends what somebody did through the API.
    pub fn api(&self, app: AppId, line: &str) {
        self.append(app, "app", "api", &[line]);
    }

    /// Appends lines under any identity.
    pub fn append<Text: AsRef<str>>(&self, app: AppId, source: &str, name: &str, lines: &[Text]) {
        if let Err(error) = self.try_append(app, source, name, lines) {
            tracing::warn!(app.id = %app, error = &*error, "lines of the app's log were lost");
        }
    }

    fn try_append<Text: AsRef<str>>(
        &self,
        app: AppId,
        source: &str,
        name: &str,
        lines: &[Text],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let identity = LogIdentity::new(source, name)?;
        self.prepare(app);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match open.entry(app) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(SegmentWriter::open(&self.dir(app), "landfall", identity.clone())?)
            }
        };
        let now = Timestamp::now();
        for line in lines {
            // Each is one line, whatever words of others it quotes: a line feed in them must not begin a line of ours.
            writer.append_as(now, &identity, clean_text(line.as_ref().as_bytes()).as_bytes())?;
        }
        writer.flush()?;
        Ok(())
    }

    /// Closes and removes an app's log.
    pub fn remove(&self, app: AppId) -> std::io::Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
        match std::fs::remove_dir_all(self.dir(app)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
