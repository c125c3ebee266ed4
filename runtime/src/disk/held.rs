//! Files without a name that processes still hold: no walk over a tree finds them, but their blocks are taken.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Usage;

/// Overlay's number in `statfs(2)`: a container's own root, and not its tmpfs or an anonymous file in memory.
const OVERLAY: i64 = 0x794c_7630;

/// What deleted files take that these processes have open or mapped. A file on its way through a socket is not seen.
pub(crate) fn held_open(pids: &[i32]) -> Usage {
    let mut seen = HashSet::new();
    let mut held = Usage::default();
    for pid in pids {
        for kind in ["fd", "map_files"] {
            for entry in std::fs::read_dir(format!("/proc/{pid}/{kind}")).into_iter().flatten().flatten() {
                let Some(meta) = unnamed(&entry.path()) else { continue };
                if seen.insert((meta.dev(), meta.ino())) {
                    held.bytes = held.bytes.saturating_add(meta.blocks().saturating_mul(512));
                    held.length = held.length.saturating_add(meta.len());
                    held.files += 1;
                }
            }
        }
    }
    held
}

fn unnamed(link: &Path) -> Option<std::fs::Metadata> {
    let meta = std::fs::metadata(link).ok().filter(|meta| meta.is_file() && meta.nlink() == 0)?;
    (rustix::fs::statfs(link).ok()?.f_type == OVERLAY).then_some(meta)
}
