//! Config maps and secrets as files, swapped as a kubelet swaps them: a link to a folder of the moment.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Cluster;
use crate::Result;

/// A volume of a pod, and where its files are.
pub(super) struct Mount {
    /// The path at which the container expects it.
    pub(super) path: String,
    pub(super) folder: PathBuf,
    /// The path of the object in the API; `None` for a folder of the pod's own.
    source: Option<String>,
    /// The folder's generation and content.
    seen: (u64, BTreeMap<String, Vec<u8>>),
}

impl Mount {
    /// The mounts of a container.
    pub(super) fn all(cluster: &Cluster, pod: &Value, container: &Value, folder: &Path) -> Result<Vec<Self>> {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts.map(|mount| Self::of(cluster, pod, mount, folder)).filter_map(Result::transpose).collect()
    }

    fn of(cluster: &Cluster, pod: &Value, mount: &Value, folder: &Path) -> Result<Option<Self>> {
        let name = mount["name"].as_str().ok_or("a mount has a name")?;
        let volume = pod["spec"]["volumes"].as_array().into_iter().flatten().find(|v| v["name"] == name);
        let volume = volume.ok_or_else(|| format!("no volume {name}"))?;
        let source = match (volume["configMap"]["name"].as_str(), volume["secret"]["secretName"].as_str()) {
            (Some(name), _) => Some(cluster.path(&format!("/configmaps/{name}"))),
            (_, Some(name)) => Some(cluster.path(&format!("/secrets/{name}"))),
            _ if volume["emptyDir"].is_object() => None,
            // The token, which comes in a kubeconfig.
            _ if volume["projected"].is_object() => return Ok(None),
            _ => return Err(format!("this node has no volumes such as {name}").into()),
        };
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let path = mount["mountPath"].as_str().ok_or("a mount has a path")?.to_owned();
        Ok(Some(Self { path, folder, source, seen: (0, BTreeMap::new()) }))
    }

    /// Brings the files up to date.
    ///
    /// # Errors
    /// Returns an error if the object is not there: a pod does not start without it.
    pub(super) async fn refresh(&mut self, cluster: &Cluster) -> Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let files = files(&cluster.rest.get(source).await?)?;
        let (generation, seen) = &mut self.seen;
        if *generation == 0 || files != *seen {
            *generation += 1;
            swap(&self.folder, *generation, &files)?;
            *seen = files;
        }
        Ok(())
    }
}

/// `data` of a config map, or of a Secret, where it is in base64.
fn files(object: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let is_secret = object["kind"] == "Secret";
    let data = object["data"].as_object().into_iter().flatten();
    data.map(|(name, text)| {
        let text = text.as_str().unwrap_or_default();
        let bytes = if is_secret { STANDARD.decode(text)? } else { text.as_bytes().to_vec() };
        Ok((name.clone(), bytes))
    })
    .collect()
}

/// `..data` points to the folder of the newest generation, and each file's name into `..data`.
fn swap(folder: &Path, generation: u64, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let newest = format!("..{generation}");
    fs::create_dir_all(folder.join(&newest))?;
    for (name, bytes) in files {
        fs::write(folder.join(&newest).join(name), bytes)?;
    }
    let unfinished = folder.join("..data_tmp");
    symlink(&newest, &unfinished)?;
    fs::rename(&unfinished, folder.join("..data"))?;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !files.contains_key(&name) {
            fs::remove_file(folder.join(name))?;
        }
    }
    for name in files.keys().filter(|name| !folder.join(name).is_symlink()) {
        symlink(Path::new("..data").join(name), folder.join(name))?;
    }
    Ok(())
}
