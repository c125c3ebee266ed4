//! An image as an OCI image layout in a tar: the door to registries. Layers are made again, byte for byte what their digests say.

use std::io::{BufWriter, Seek as _, Write as _};
use std::path::Path;

use landfall_runtime_wire::agent::FaultCode;
use serde_json::json;

use super::{Store, hex_of, tree};
use crate::fault::{Doing as _, Result, fault};

impl Store {
    /// Writes the layout to `to`.
    pub(crate) fn export(&self, image: &str, to: &Path) -> Result<()> {
        let doing = || format!("exporting to {}", to.display());
        let info = self.image_info(image)?;
        let (manifest, _) = self.documents(&info.digest)?;
        let file = std::fs::File::create(to).doing(doing())?;
        let mut tar = tar::Builder::new(BufWriter::new(file));
        let manifest_bytes = self.blob(&info.digest)?;
        let config = manifest["config"]["digest"].as_str().unwrap_or_default();
        let mut descriptor = json!({ "mediaType": manifest["mediaType"], "digest": info.digest, "size": manifest_bytes.len() });
        if let Some(name) = info.references.first() {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor] });
        add(&mut tar, "oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes()).doing(doing())?;
        add(&mut tar, "index.json", index.to_string().as_bytes()).doing(doing())?;
        add(&mut tar, &blob_name(&info.digest)?, &manifest_bytes).doing(doing())?;
        add(&mut tar, &blob_name(config)?, &self.blob(config)?).doing(doing())?;
        let mut done = std::collections::HashSet::new();
        for layer in info.layers.iter().filter(|layer| done.insert(&layer.diff_id)) {
            let mut temp = tempfile::tempfile_in(self.root.join("tmp")).doing(doing())?;
            let fs = self.layer_fs(&layer.diff_id)?;
            if tree::diff_id(&fs).doing(doing())?.0 != layer.diff_id {
                return Err(fault(FaultCode::Digest, format!("layer {} is damaged on disk", layer.diff_id)));
            }
            tree::write_tar(&fs, &mut temp).doing(doing())?;
            temp.rewind().doing(doing())?;
            let mut header = plain(layer.size_bytes);
            tar.append_data(&mut header, blob_name(&layer.diff_id)?, temp).doing(doing())?;
        }
        tar.into_inner().and_then(|mut out| out.flush()).doing(doing())
    }
}

fn blob_name(digest: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", hex_of(digest)?))
}

fn plain(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    header
}

fn add(tar: &mut tar::Builder<impl std::io::Write>, name: &str, content: &[u8]) -> std::io::Result<()> {
    tar.append_data(&mut plain(content.len() as u64), name, content)
}
