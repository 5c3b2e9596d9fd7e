//! The files of manifest-based admission, which `sandgate backstop render --static` writes.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::Value;

use super::yaml;
use crate::{
    certs::ca::read_bundle,
    cli::{CliError, Status, input, print},
};
use sandgate_engine::{
    backstop::{MANIFESTS_MINOR, ManifestFolders, admission_configuration, manifests, webhook_manifests},
    policy::PolicySet,
};

#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    /// Write static files for manifest-based admission into this folder instead (Kubernetes 1.36, feature gate
    /// ManifestBasedAdmissionControlConfig)
    #[arg(long = "static", value_name = "FOLDER")]
    static_folder: Option<PathBuf>,
    /// Path of the folder on the control-plane nodes [default: that of --static]
    #[arg(long, value_name = "PATH", requires = "static_folder")]
    static_path: Option<PathBuf>,
    #[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
    /// Address of a replica on each control-plane node, such as https://127.0.0.1:9443: writes the webhooks as static files too
    #[arg(long, value_name = "URL", requires = "static_folder", requires = "webhook_ca")]
    webhook_url: Option<String>,
    /// CA that signed the certificate of the replica, in PEM
    #[arg(long, value_name = "FILE", requires = "webhook_url")]
    webhook_ca: Option<PathBuf>,
}

/// The files and folders, as they are named in the folder of `--static`.
const CONFIGURATION: &str = "admission.yaml";
const POLICIES: &str = "policies";
const FILLS: &str = "mutating-policies";
const MUTATING: &str = "mutating-webhooks";
const VALIDATING: &str = "validating-webhooks";
const MANIFEST: &str = "sandgate.yaml";

impl ManifestArgs {
    pub(super) fn is_wanted(&self) -> bool {
        self.static_folder.is_some()
    }

    /// Writes all files, and prints the path of each.
    pub(super) fn write(
        &self,
        policies: &PolicySet,
        objects: &[Value],
        kubernetes_minor: Option<u32>,
    ) -> Result<Status, CliError> {
        let Some(folder) = &self.static_folder else { return Ok(Status::Fine) };
        if let Some(minor) = kubernetes_minor.filter(|minor| *minor < MANIFESTS_MINOR) {
            return Err(CliError::new(format_args!(
                "--static: Kubernetes 1.{minor} has no manifest-based admission: use 1.{MANIFESTS_MINOR} or newer, or \
                 leave --static out"
            )));
        }
        let path = match &self.static_path {
            Some(path) => path.clone(),
            None => std::path::absolute(folder).map_err(|error| unwritten(folder, &error))?,
        };
        if !path.is_absolute() {
            return Err(CliError::new(format_args!(
                "--static-path {}: the API server takes absolute paths only",
                path.display()
            )));
        }
        let at = |name: &str| path.join(name).display().to_string();
        let (mutating, validating): (Vec<Value>, Vec<Value>) =
            manifests(objects).into_iter().partition(is_mutating);
        let mut files = vec![(format!("{POLICIES}/{MANIFEST}"), yaml(&validating)?)];
        let folder_of_fills = (!mutating.is_empty()).then(|| at(FILLS));
        if folder_of_fills.is_some() {
            files.push((format!("{FILLS}/{MANIFEST}"), yaml(&mutating)?));
        }
        let webhooks = self.webhooks(policies)?;
        for (name, object) in [MUTATING, VALIDATING].into_iter().zip(webhooks.iter().flatten()) {
            files.push((format!("{name}/{MANIFEST}"), yaml(std::slice::from_ref(object))?));
        }
        let folders = ManifestFolders {
            policies: at(POLICIES),
            fills: folder_of_fills,
            webhooks: webhooks.map(|_| [at(MUTATING), at(VALIDATING)]),
        };
        files.push((CONFIGURATION.into(), yaml(&[admission_configuration(&folders)])?));
        let mut written = String::new();
        for (name, text) in files {
            let file = folder.join(name);
            replace(&file, &text).map_err(|error| unwritten(&file, &error))?;
            let _ = writeln!(written, "{}", file.display());
        }
        print(&written)?;
        Ok(Status::Fine)
    }

    fn webhooks(&self, policies: &PolicySet) -> Result<Option<[Value; 2]>, CliError> {
        let (Some(url), Some(ca)) = (&self.webhook_url, &self.webhook_ca) else { return Ok(None) };
        if !url.starts_with("https://") {
            return Err(CliError::new(format_args!(
                "--webhook-url {url}: must begin with https://, such as https://127.0.0.1:9443"
            )));
        }
        let pem = fs::read(ca).map_err(|error| {
            CliError::new(format_args!("--webhook-ca {}: {}", ca.display(), input::reason(&error)))
        })?;
        if read_bundle(&pem).is_empty() {
            return Err(CliError::new(format_args!(
                "--webhook-ca {}: must be a certificate in PEM: an API server does not start with anything else",
                ca.display()
            )));
        }
        Ok(Some(webhook_manifests(policies, url.trim_end_matches('/'), &STANDARD.encode(pem))))
    }
}

fn is_mutating(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| kind.starts_with("MutatingAdmissionPolicy"))
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::new(format_args!("cannot write {}: {}", path.display(), input::reason(error)))
}

/// Replaces a file as a whole: the API server reads it as soon as it changes.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // The API server reads no file of this ending.
    let new = file.with_extension("yaml.new");
    fs::write(&new, text)?;
    fs::rename(new, file)
}
