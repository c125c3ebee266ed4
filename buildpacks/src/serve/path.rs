//! From the path of a request to a file of the site, and to nothing outside it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// Files of the app's top directory that are for the platform, not for visitors, when the top directory is the site.
const PLATFORM_FILES: &[&str] = &["static.json", "Staticfile", "Procfile", "app.json"];

/// A request's path, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clean {
    /// `/a/b` or `/a/b/`; no empty segments.
    pub path: String,
    /// A segment starts with a dot: never served.
    pub hidden: bool,
}

impl Clean {
    /// Decodes `raw`; `None` if it is malformed or climbs with `..`.
    pub(crate) fn new(raw: &str) -> Option<Self> {
        let decoded = decoded(raw)?;
        if !decoded.starts_with('/') || decoded.contains(|c: char| c.is_control() || c == '\\') {
            return None;
        }
        let segments: Vec<&str> = decoded.split('/').filter(|s| !s.is_empty() && *s != ".").collect();
        if segments.contains(&"..") {
            return None;
        }
        let hidden = is_hidden(segments.iter().copied());
        let end = if decoded.ends_with('/') && !segments.is_empty() { "/" } else { "" };
        Some(Self { path: format!("/{}{end}", segments.join("/")), hidden })
    }
}

/// Dotfiles are not for visitors; `/.well-known/` is, by RFC 8615.
fn is_hidden<'a>(segments: impl Iterator<Item = &'a str>) -> bool {
    segments.enumerate().any(|(at, s)| s.starts_with('.') && !(at == 0 && s == ".well-known"))
}

fn decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// `path` as it is written in a `Location` header.
pub(crate) fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// The site's directory.
#[derive(Debug)]
pub(crate) struct Root {
    /// Canonical.
    dir: PathBuf,
    /// It is the top directory of the app.
    is_top: bool,
}

/// What a path of the site is.
#[derive(Debug)]
pub(crate) enum Place {
    /// A regular file, its path canonical.
    File(PathBuf, Metadata),
    /// A directory.
    Directory,
    /// Nothing that is served.
    Nothing,
}

impl Root {
    /// The directory `root` of `app`; `None` if it is not there or outside the app.
    pub(crate) fn new(app: &Path, root: &Path) -> Option<Self> {
        let app = app.canonicalize().ok()?;
        let dir = app.join(root).canonicalize().ok()?;
        (dir.is_dir() && dir.starts_with(&app)).then(|| Self { is_top: dir == app, dir })
    }

    /// What is at `path`, links followed as long as they stay inside.
    pub(crate) fn at(&self, path: &str) -> Place {
        let Ok(canonical) = self.dir.join(path.trim_matches('/')).canonicalize() else { return Place::Nothing };
        let Ok(inside) = canonical.strip_prefix(&self.dir) else { return Place::Nothing };
        let Some(inside) = inside.to_str() else { return Place::Nothing };
        if is_hidden(inside.split('/')) || (self.is_top && PLATFORM_FILES.contains(&inside)) {
            return Place::Nothing;
        }
        match canonical.metadata() {
            Ok(m) if m.is_dir() => Place::Directory,
            Ok(m) if m.is_file() => Place::File(canonical, m),
            _ => Place::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(raw: &str) -> Option<String> {
        Clean::new(raw).map(|c| c.path)
    }

    #[test]
    fn decodes_and_refuses_to_climb() {
        assert_eq!(clean("//a/./b%20c/").as_deref(), Some("/a/b c/"));
        assert_eq!(clean("/").as_deref(), Some("/"));
        assert_eq!(clean("/gr%C3%BC%C3%9Fe").as_deref(), Some("/grüße"));
        for bad in ["/../etc", "/a/%2e%2E/b", "/%2e%2e%2fetc", "/%", "/%4", "/%zz", "/%00", "/%ff", "a", "", "/a%5c..%5cb", "/a%0d%0ab"] {
            assert_eq!(clean(bad), None, "{bad}");
        }
        let hidden = |raw| Clean::new(raw).unwrap().hidden;
        assert!(hidden("/.env") && hidden("/a/.git/config") && hidden("/%2egit/x") && hidden("/a/.well-known/x"));
        assert!(!hidden("/.well-known/security.txt") && !hidden("/a.b/c"));
    }

    #[test]
    fn links_stay_inside() {
        let tree = tempfile::tempdir().unwrap();
        let site = tree.path().join("app/site");
        std::fs::create_dir_all(site.join("sub")).unwrap();
        std::fs::write(tree.path().join("secret"), "s").unwrap();
        std::fs::write(site.join("a.txt"), "a").unwrap();
        std::fs::write(site.join(".env"), "e").unwrap();
        for (target, name) in
            [("../../secret", "out"), ("../..", "up"), ("a.txt", "in"), (".env", "env"), ("../../app/site-2", "beside"), ("loop", "loop")]
        {
            std::os::unix::fs::symlink(target, site.join(name)).unwrap();
        }
        std::fs::create_dir(tree.path().join("app/site-2")).unwrap();
        let root = Root::new(&tree.path().join("app"), Path::new("site")).unwrap();
        assert!(matches!(root.at("/in"), Place::File(..)) && matches!(root.at("/sub/"), Place::Directory));
        for path in ["/out", "/up", "/up/secret", "/env", "/.env", "/beside", "/loop", "/none"] {
            assert!(matches!(root.at(path), Place::Nothing), "{path}");
        }
        assert!(Root::new(&tree.path().join("app"), Path::new("..")).is_none());
        assert!(Root::new(&tree.path().join("app"), Path::new("site/up")).is_none());
    }

    proptest! {
        #[test]
        fn clean_paths_are_their_own_meaning(raw in "/[ -~]{0,40}") {
            if let Some(first) = Clean::new(&raw) {
                prop_assert!(first.path.starts_with('/') && !first.path.starts_with("//"));
                prop_assert!(first.path.split('/').all(|s| s != ".."));
                prop_assert_eq!(Clean::new(&encoded(&first.path)), Some(first));
            }
        }
    }
}
