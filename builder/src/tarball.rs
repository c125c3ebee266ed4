//! A `.tar.gz` of a stranger becomes a directory (trust rule S12). One parser: what is checked is what is written.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::source::{SlugIgnore, SourceError, SourceLimits, Tree, TreeWriter};

/// Longest extension header (long name, pax record) that is held in memory.
const MAX_EXTENSION: u64 = 64 * 1024;

/// Names for the next entry, from extension headers.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Extracts to `dest` (which must not exist), without what `.slugignore` names. If all of the archive is in one directory, as in archives that
/// code hosts make, that directory is the source. Blocking: call it off the async threads.
pub fn extract(archive: &Path, dest: &Path, limits: SourceLimits) -> Result<Tree, SourceError> {
    let file = File::open(archive).map_err(SourceError::Archive)?;
    let reader = MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, file));
    // Headers and padding count too: each entry costs at least 512 bytes.
    let all = limits.bytes.saturating_add(limits.entries.saturating_mul(1536));
    let mut tree = extract_tar(reader.take(all), dest, limits)?;
    if tree.entries == 0 {
        return Err(SourceError::Empty);
    }
    lift_single_dir(dest)?;
    SlugIgnore::apply(dest, &mut tree)?;
    Ok(tree)
}

fn extract_tar(reader: impl Read, dest: &Path, limits: SourceLimits) -> Result<Tree, SourceError> {
    let mut archive = Archive::new(reader);
    let mut writer = TreeWriter::create(dest, limits)?;
    let mut extension = Extension::default();
    for entry in archive.entries().map_err(SourceError::Archive)?.raw(true) {
        let mut entry = entry.map_err(SourceError::Archive)?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => extension.path = Some(text(&mut entry)?),
            EntryType::GNULongLink => extension.link = Some(text(&mut entry)?),
            EntryType::XHeader => pax(&short(&mut entry)?, &mut extension)?,
            EntryType::XGlobalHeader => drop(short(&mut entry)?),
            _ => write_entry(&mut entry, kind, std::mem::take(&mut extension), &mut writer)?,
        }
    }
    writer.finish()
}

fn write_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    kind: EntryType,
    extension: Extension,
    writer: &mut TreeWriter,
) -> Result<(), SourceError> {
    let path = extension.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
    if matches!(path.as_slice(), b"." | b"./") {
        return Ok(());
    }
    let link = || extension.link.clone().or_else(|| entry.header().link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    let mode = entry.header().mode().unwrap_or(0o644);
    if mode & 0o6000 != 0 && kind != EntryType::Directory {
        return Err(SourceError::entry(&path, "is a program that changes its user (setuid or setgid)"));
    }
    match kind {
        EntryType::Directory => writer.dir(&path),
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            writer.reserve(size)?;
            writer.file(&path, size, mode & 0o100 != 0, entry)
        }
        EntryType::Symlink => writer.link(&path, &link()),
        EntryType::Link => writer.hard_link(&path, &link()),
        EntryType::Block | EntryType::Char => Err(SourceError::entry(&path, "is a device")),
        EntryType::Fifo => Err(SourceError::entry(&path, "is a named pipe")),
        EntryType::GNUSparse => Err(SourceError::entry(&path, "is a sparse file; make the archive without --sparse")),
        _ => Err(SourceError::entry(&path, "is of a kind that source archives do not have")),
    }
}

fn short(entry: &mut impl Read) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes).map_err(SourceError::Archive)?;
    if bytes.len() as u64 > MAX_EXTENSION { Err(bad("an extension header is too long")) } else { Ok(bytes) }
}

fn text(entry: &mut impl Read) -> Result<Vec<u8>, SourceError> {
    let mut bytes = short(entry)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// Records of the form `<length> <key>=<value>\n`. Only names matter to us; a size that overrules the header's is refused, since two readers of
/// such an archive could see two archives.
fn pax(mut records: &[u8], extension: &mut Extension) -> Result<(), SourceError> {
    while !records.is_empty() {
        let broken = || bad("a pax header is damaged");
        let space = records.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length: usize = std::str::from_utf8(&records[..space]).ok().and_then(|digits| digits.parse().ok()).ok_or_else(broken)?;
        if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
            return Err(broken());
        }
        let record = &records[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        let value = record[equals + 1..].to_vec();
        match &record[..equals] {
            b"path" => extension.path = Some(value),
            b"linkpath" => extension.link = Some(value),
            b"size" => return Err(bad("a pax header overrules the size of an entry")),
            key if key.starts_with(b"GNU.sparse") => return Err(bad("it holds sparse files; make it without --sparse")),
            _ => {}
        }
        records = &records[length..];
    }
    Ok(())
}

fn bad(message: &str) -> SourceError {
    SourceError::Archive(io::Error::new(io::ErrorKind::InvalidData, message.to_owned()))
}

/// `x/…` alone becomes `…`.
fn lift_single_dir(dest: &Path) -> Result<(), SourceError> {
    let failed = |source| SourceError::Write { path: dest.to_owned(), source };
    let mut names = fs::read_dir(dest).map_err(failed)?;
    let (Some(only), None) = (names.next().transpose().map_err(failed)?, names.next()) else { return Ok(()) };
    if !only.file_type().map_err(failed)?.is_dir() {
        return Ok(());
    }
    let mut name = dest.file_name().unwrap_or_default().as_bytes().to_vec();
    name.extend_from_slice(b".lift");
    let aside = dest.with_file_name(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name));
    fs::rename(only.path(), &aside).and_then(|()| fs::remove_dir(dest)).and_then(|()| fs::rename(&aside, dest)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tar::{Builder, Header};

    struct Entry<'a> {
        path: &'a [u8],
        kind: EntryType,
        mode: u32,
        link: &'a str,
        data: &'a [u8],
    }

    const FILE: Entry<'static> = Entry { path: b"f", kind: EntryType::Regular, mode: 0o644, link: "", data: b"hi" };

    fn pack(dir: &Path, entries: &[Entry<'_>]) -> PathBuf {
        let path = dir.join("source.tgz");
        let gz = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let mut builder = Builder::new(gz);
        for entry in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(entry.kind);
            header.set_mode(entry.mode);
            header.set_size(entry.data.len() as u64);
            // Written raw: the crate's own setters refuse what an attacker would write.
            header.as_old_mut().name[..entry.path.len()].copy_from_slice(entry.path);
            header.as_old_mut().linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
            header.set_cksum();
            builder.append(&header, entry.data).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    fn refused(entries: &[Entry<'_>]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let archive = pack(dir.path(), entries);
        match extract(&archive, &dir.path().join("out"), SourceLimits { bytes: 1000, entries: 20, depth: 4 }) {
            Err(error) => error.explain()[1].clone(),
            Ok(tree) => panic!("taken: {tree:?}"),
        }
    }

    #[test]
    fn attacks_are_refused_in_words() {
        let link = |path, link| Entry { path, kind: EntryType::Symlink, link, data: b"", ..FILE };
        let kind = |kind| Entry { kind, data: b"", ..FILE };
        let table = [
            refused(&[Entry { path: b"../x", ..FILE }]),
            refused(&[Entry { path: b"/etc/x", ..FILE }]),
            refused(&[Entry { path: b"a/../../x", ..FILE }]),
            refused(&[Entry { path: b".git/config", ..FILE }]),
            refused(&[Entry { path: b"a/b/c/d/e", ..FILE }]),
            refused(&[kind(EntryType::Char)]),
            refused(&[kind(EntryType::Block)]),
            refused(&[kind(EntryType::Fifo)]),
            refused(&[Entry { mode: 0o4755, ..FILE }]),
            refused(&[link(b"dev", "/dev")]),
            refused(&[link(b"up", "../../etc")]),
            refused(&[link(b"d", "e"), Entry { path: b"d/x", ..FILE }]),
            refused(&[Entry { kind: EntryType::Link, link: "/etc/passwd", data: b"", ..FILE }]),
            refused(&[FILE, FILE]),
            refused(&[Entry { data: &[7; 1001], ..FILE }]),
            refused(&[Entry { kind: EntryType::XHeader, data: b"12 size=999\n", ..FILE }, FILE]),
            refused(&[Entry { kind: EntryType::XHeader, data: b"999 path=x\n", ..FILE }, FILE]),
            refused(&[]),
        ];
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn one_top_directory_is_lifted_and_modes_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let archive = pack(
            dir.path(),
            &[
                Entry { path: b"app-1/", kind: EntryType::Directory, mode: 0o755, data: b"", ..FILE },
                Entry { path: b"app-1/bin/run", mode: 0o755, ..FILE },
                Entry { path: b"app-1/copy", kind: EntryType::Link, link: "app-1/bin/run", data: b"", ..FILE },
                Entry { path: b"app-1/here", kind: EntryType::Symlink, link: "bin/run", data: b"", ..FILE },
                Entry { path: b"app-1/.slugignore", data: b"*.psd\n", ..FILE },
                Entry { path: b"app-1/a.psd", ..FILE },
            ],
        );
        let out = dir.path().join("out");
        extract(&archive, &out, SourceLimits::default()).unwrap();
        assert_eq!(fs::read(out.join("here")).unwrap(), b"hi");
        assert_eq!(fs::metadata(out.join("copy")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!out.join("a.psd").exists());
        assert!(!dir.path().join("out.lift").exists());
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"<html>").unwrap();
        let error = extract(&path, &dir.path().join("out"), SourceLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the source archive cannot be read");
    }
}
