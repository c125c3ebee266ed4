//! From what was asked to what the shim is told.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::image::ImageConfig;
use landfall_runtime_wire::shim::{Bind, Process};

use super::Core;
use crate::fault::{Doing as _, Result, fault};
use crate::store::Image;

/// The certificates every common library reads first.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// Largest file of certificates, in bytes.
const MOST_CERTIFICATES: u64 = 16 << 20;
/// Largest passwd file of an image that is read.
const PASSWD: u64 = 256 * 1024;

/// The container's process.
pub(super) fn process(image: &Image, args: Vec<String>, env: Vec<(String, String)>, cwd: Option<PathBuf>) -> Result<Process> {
    let config = &image.info.config;
    let args = if args.is_empty() { [config.entrypoint.clone(), config.cmd.clone()].concat() } else { args };
    if args.is_empty() {
        return Err(fault(FaultCode::Invalid, "neither the request nor the image names a command"));
    }
    if args.iter().any(|arg| arg.contains('\0'))
        || env.iter().any(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
    {
        return Err(fault(FaultCode::Invalid, "an argument or environment value holds a NUL byte, or a name holds ="));
    }
    let mut merged = config.env.clone();
    merged.retain(|(key, _)| !env.iter().any(|(other, _)| other == key));
    merged.extend(env);
    if !merged.iter().any(|(key, _)| key == "PATH") {
        merged.push(("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()));
    }
    let (uid, gid) = user(image, config)?;
    let cwd = cwd.unwrap_or_else(|| config.working_dir.as_deref().unwrap_or("/").into());
    Ok(Process { args, env: merged, cwd, uid, gid, additional_gids: Vec::new() })
}

/// `uid`, `uid:gid`, `name` or `name:group`; nothing is 1000:1000, never root.
fn user(image: &Image, config: &ImageConfig) -> Result<(u32, u32)> {
    let Some(text) = &config.user else { return Ok((1000, 1000)) };
    let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let unknown = || fault(FaultCode::Invalid, format!("the image's user {text:?} is not known in it"));
    let (uid, own_gid) = match user.parse() {
        Ok(uid) => (uid, uid),
        Err(_) => lookup(image, "etc/passwd", user)
            .and_then(|line| Some((line.first()?.parse().ok()?, line.get(1)?.parse().ok()?)))
            .ok_or_else(unknown)?,
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => lookup(image, "etc/group", group).and_then(|line| line.first()?.parse().ok()).ok_or_else(unknown)?,
        },
    };
    if uid > 65_534 || gid > 65_534 { Err(unknown()) } else { Ok((uid, gid)) }
}

/// The fields after `name:password:` of a line of passwd or group.
fn lookup(image: &Image, file: &str, name: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(crate::disk::read(image_file(image, file)?, PASSWD).ok()?).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    Some(line.split(':').skip(2).map(str::to_owned).collect())
}

/// A regular file of an image, from its topmost layer that has it; links are not followed.
fn image_file(image: &Image, file: &str) -> Option<std::fs::File> {
    image.lowers.iter().find_map(|lower| crate::disk::open_inside(lower, file.as_ref()).ok().flatten())
}

/// The operator's certificates on top of the image's own, as a read-only bind. Made once for each pair of files: a start reads neither.
pub(super) fn certificates(core: &Core, image: &Image) -> Result<Vec<Bind>> {
    use sha2::Digest as _;
    let Some(bundle) = &core.config.ca_bundle else { return Ok(Vec::new()) };
    let Some(own) = image_file(image, CERTIFICATES) else { return Ok(Vec::new()) };
    let doing = || format!("reading ca_bundle {}", bundle.display());
    let more = std::fs::File::open(bundle).doing(doing())?;
    let mut pair = sha2::Sha256::new();
    for file in [&own, &more] {
        let meta = file.metadata().doing("looking at certificates")?;
        for number in [meta.dev(), meta.ino(), meta.size(), meta.ctime().cast_unsigned(), meta.ctime_nsec().cast_unsigned()] {
            pair.update(number.to_le_bytes());
        }
    }
    let file = core.config.run_dir.join("agent/ca").join(format!("{}.crt", &hex::encode(pair.finalize())[..32]));
    if !file.exists() {
        let Ok(mut all) = crate::disk::read(own, MOST_CERTIFICATES) else { return Ok(Vec::new()) };
        all.push(b'\n');
        all.extend(crate::disk::read(more, MOST_CERTIFICATES).doing(doing())?);
        crate::store::write_atomic(&file, &all)?;
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).doing("preparing certificates")?;
    }
    Ok(vec![Bind { source: file, target: PathBuf::from("/").join(CERTIFICATES) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_runtime_wire::image::ImageInfo;

    /// Files of users of just the limit are read; one byte more, and nobody in them is known.
    #[test]
    fn passwd_and_group_of_an_image_have_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let fill = |file: &str, line: &str, size: u64| {
            let comment = "#".repeat(usize::try_from(size).unwrap() - line.len());
            std::fs::write(dir.path().join("etc").join(file), format!("{line}{comment}")).unwrap();
        };
        let config = ImageConfig { user: Some("app:staff".to_owned()), ..ImageConfig::default() };
        let info = ImageInfo { digest: String::new(), references: Vec::new(), layers: Vec::new(), config: config.clone() };
        let image = Image { info, lowers: vec![dir.path().to_path_buf()] };
        for (passwd, group, known) in [(PASSWD, PASSWD, true), (PASSWD + 1, PASSWD, false), (PASSWD, PASSWD + 1, false)] {
            fill("passwd", "app:x:1001:1002::/app:/bin/sh\n", passwd);
            fill("group", "staff:x:1003:\n", group);
            let found = user(&image, &config);
            assert_eq!(found.as_ref().ok(), known.then_some(&(1001, 1003)), "{passwd} {group}");
            assert!(known || found.is_err_and(|refused| refused.code == FaultCode::Invalid));
        }
    }
}
