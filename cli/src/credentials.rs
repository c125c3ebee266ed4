//! Who is logged in where: `~/.config/landfall/credentials.toml`, readable by its owner only.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};

/// The API a fresh installation serves.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:5000";

/// All logins of this person on this machine.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Credentials {
    /// The API used when nothing else names one.
    #[serde(default)]
    pub(crate) default: Option<String>,
    /// By API address.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Login>,
}

/// One login.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Login {
    /// The account.
    pub(crate) email: String,
    /// The API token.
    pub(crate) token: String,
}

/// The account made at a server's first start, as the server left it for whoever may read its data: `<data_dir>/admin.toml`.
#[derive(serde::Deserialize)]
pub(crate) struct FirstAccount {
    /// Its address.
    pub(crate) email: String,
    /// Good until somebody changes it.
    pub(crate) password: String,
    /// Good until somebody logs out with it; empty for a moment of the first start.
    pub(crate) token: String,
}

impl FirstAccount {
    /// Reads the file. `next` is what to type when that fails.
    pub(crate) fn of(data_dir: &Path, next: &str) -> Result<Self> {
        let file = data_dir.join("admin.toml");
        let text = fs::read_to_string(&file).map_err(|error| CliError::io(format!("reading {}", file.display()), error, next))?;
        toml::from_str(&text).map_err(|error| CliError::io(format!("reading {}", file.display()), error, "sudo landfall up --restart"))
    }
}

impl Credentials {
    fn path() -> Result<PathBuf> {
        let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        base.map(|base| base.join("landfall/credentials.toml"))
            .ok_or_else(|| CliError::new("neither HOME nor XDG_CONFIG_HOME is set, so there is no place for your login", "export HOME=…"))
    }

    /// Reads the file; absent means nobody is logged in.
    pub(crate) fn load() -> Result<Self> {
        let path = Self::path()?;
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                CliError::new(format!("{} cannot be read: {error}", path.display()), format!("rm {} && landfall login", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(CliError::io(format!("reading {}", path.display()), error, format!("ls -l {}", path.display()))),
        }
    }

    /// Replaces the file (temp, fsync, rename), mode 0600.
    pub(crate) fn save(&self) -> Result<()> {
        let path = Self::path()?;
        let write = || -> std::io::Result<()> {
            let dir = path.parent().expect("the path has a parent");
            fs::create_dir_all(dir)?;
            let temp = path.with_extension(format!("{}.tmp", std::process::id()));
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
            file.write_all(toml::to_string(self).map_err(std::io::Error::other)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temp, &path)
        };
        write().map_err(|error| CliError::io(format!("writing {}", path.display()), error, "check the folder's permissions and free space"))
    }
}
