//! Images: a manifest, a config, and names for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::image::{ImageConfig, ImageInfo, LayerInfo};
use serde_json::{Value, json};

use super::{Store, write_atomic};
use crate::fault::{Doing as _, Result, fault, fault_hint};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image, ready to be run: its digests were checked and its layers are there.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Digest, config, layers.
    pub(crate) info: ImageInfo,
    /// Layer directories, top first.
    pub(crate) lowers: Vec<PathBuf>,
}

impl Store {
    /// Makes an image of layers (base first) and a config. The same content always has the same digest.
    pub(crate) fn image_put(&self, layers: &[LayerInfo], config: &ImageConfig, reference: Option<&str>) -> Result<ImageInfo> {
        for layer in layers {
            self.layer_fs(&layer.diff_id)?;
        }
        let config_bytes = serde_json::to_vec(&config_json(layers, config)).map_err(std::io::Error::from).doing("writing a config")?;
        let config_digest = self.put_blob(&config_bytes)?;
        let descriptors: Vec<_> =
            layers.iter().map(|layer| json!({ "mediaType": LAYER, "digest": layer.diff_id, "size": layer.size_bytes })).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
            "config": { "mediaType": CONFIG, "digest": config_digest, "size": config_bytes.len() },
        });
        let digest = self.put_blob(&serde_json::to_vec(&manifest).map_err(std::io::Error::from).doing("writing a manifest")?)?;
        if let Some(reference) = reference {
            self.reference_set(reference, &digest)?;
        }
        self.image_info(&digest)
    }

    /// Points a name at an image.
    pub(crate) fn reference_set(&self, reference: &str, digest: &str) -> Result<()> {
        let good = !reference.is_empty() && reference.len() <= 255 && !reference.starts_with("sha256:");
        if !good || !reference.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b)) {
            return Err(fault(FaultCode::Invalid, format!("{reference:?} is no name for an image; use name:tag")));
        }
        self.alone(|| {
            let mut references = self.references()?;
            references.insert(reference.to_owned(), digest.to_owned());
            self.references_write(&references)
        })
    }

    pub(super) fn references(&self) -> Result<BTreeMap<String, String>> {
        match std::fs::read(self.root.join("refs.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::from).doing("reading refs.json of the image store"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).doing("reading refs.json of the image store"),
        }
    }

    pub(super) fn references_write(&self, references: &BTreeMap<String, String>) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(references).map_err(std::io::Error::from).doing("writing refs.json")?;
        write_atomic(&self.root.join("refs.json"), &bytes)
    }

    /// The digest a name or digest means.
    pub(crate) fn resolve(&self, image: &str) -> Result<String> {
        if image.starts_with("sha256:") {
            return super::hex_of(image).map(|_| image.to_owned());
        }
        self.references()?.remove(image).ok_or_else(|| {
            fault_hint(FaultCode::NotFound, format!("there is no image {image:?}"), "List the base images with: landfall stacks")
        })
    }

    /// Manifest and config, both checked against their digests.
    pub(super) fn documents(&self, digest: &str) -> Result<(Value, Value)> {
        let parse = |bytes: Vec<u8>| {
            serde_json::from_slice::<Value>(&bytes).map_err(|_| fault(FaultCode::Digest, format!("image {digest} is no OCI image")))
        };
        let manifest = parse(self.blob(digest)?)?;
        let config = parse(self.blob(manifest["config"]["digest"].as_str().unwrap_or_default())?)?;
        Ok((manifest, config))
    }

    /// One image by name or digest.
    pub(crate) fn image_info(&self, image: &str) -> Result<ImageInfo> {
        let digest = self.resolve(image)?;
        let (manifest, config) = self.documents(&digest)?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let layers = layers
            .map(|layer| LayerInfo {
                diff_id: layer["digest"].as_str().unwrap_or_default().to_owned(),
                size_bytes: layer["size"].as_u64().unwrap_or_default(),
            })
            .collect();
        let references = self.references()?.into_iter().filter(|(_, at)| *at == digest).map(|(name, _)| name).collect();
        Ok(ImageInfo { digest, references, layers, config: config_of(&config) })
    }

    /// An image to run.
    pub(crate) fn image(&self, image: &str) -> Result<Image> {
        let info = self.image_info(image)?;
        let lowers = info.layers.iter().rev().map(|layer| self.layer_fs(&layer.diff_id)).collect::<Result<_>>()?;
        Ok(Image { info, lowers })
    }

    /// Every image.
    pub(crate) fn images(&self) -> Result<Vec<ImageInfo>> {
        let blobs = std::fs::read_dir(self.root.join("blobs/sha256")).doing("reading the blobs")?;
        let digests = blobs.flatten().map(|blob| format!("sha256:{}", blob.file_name().to_string_lossy()));
        Ok(digests.filter(|digest| self.is_manifest(digest)).filter_map(|digest| self.image_info(&digest).ok()).collect())
    }

    pub(super) fn is_manifest(&self, digest: &str) -> bool {
        let Ok(bytes) = self.blob(digest) else { return false };
        serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value["mediaType"] == MANIFEST)
    }
}

fn config_json(layers: &[LayerInfo], config: &ImageConfig) -> Value {
    let env: Vec<_> = config.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let ports: serde_json::Map<_, _> = config.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1980-01-01T00:00:01Z",
        "config": {
            "Env": env, "Entrypoint": config.entrypoint, "Cmd": config.cmd, "WorkingDir": config.working_dir, "User": config.user,
            "Labels": config.labels, "ExposedPorts": ports,
        },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
    })
}

fn config_of(document: &Value) -> ImageConfig {
    let config = &document["config"];
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let labels = config["Labels"].as_object().into_iter().flatten();
    ImageConfig {
        env: texts(&config["Env"]).into_iter().filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect(),
        entrypoint: texts(&config["Entrypoint"]),
        cmd: texts(&config["Cmd"]),
        working_dir: text(&config["WorkingDir"]),
        user: text(&config["User"]),
        labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        exposed_ports: config["ExposedPorts"].as_object().into_iter().flatten().map(|(port, _)| port.clone()).collect(),
    }
}
