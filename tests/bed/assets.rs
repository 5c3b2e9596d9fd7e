//! Where the programs come from: the folder `KUBEBUILDER_ASSETS`, else a cache, else a build from Go modules into it.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use super::{Result, say};

/// The programs of the control plane.
pub(super) struct Assets {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) controller_manager: PathBuf,
    pub(super) kubectl: PathBuf,
}

impl Assets {
    /// Finds the programs, builds what is missing.
    ///
    /// # Errors
    /// When one is not there and cannot be built; the text says what to do.
    pub(super) fn find() -> Result<Self> {
        Ok(Self {
            etcd: ETCD.find()?,
            apiserver: APISERVER.find()?,
            controller_manager: CONTROLLER_MANAGER.find()?,
            kubectl: KUBECTL.find()?,
        })
    }
}

/// One program and how it is built.
struct Program {
    name: &'static str,
    package: &'static str,
    /// The folder with `go.mod`, beside this file.
    module: &'static str,
}

const ETCD: Program = Program { name: "etcd", package: "go.etcd.io/etcd/server/v3", module: "etcd" };
const APISERVER: Program = kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
const CONTROLLER_MANAGER: Program =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
const KUBECTL: Program = kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl");

const fn kubernetes(name: &'static str, package: &'static str) -> Program {
    Program { name, package, module: "kubernetes" }
}

impl Program {
    fn find(&self) -> Result<PathBuf> {
        // The ecosystem's folder seldom has a controller manager: what it lacks comes from here.
        let given = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(self.name));
        if let Some(given) = given.filter(|path| path.is_file()) {
            return Ok(given);
        }
        let cache = cache()?;
        let cached = cache.join(self.name);
        if cached.is_file() {
            return Ok(cached);
        }
        fs::create_dir_all(&cache)?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock()?;
        // Another test binary may have built it meanwhile.
        if !cached.is_file() {
            self.build(&cached)?;
        }
        Ok(cached)
    }

    /// Builds under another name first: a build that is broken off leaves nothing that looks finished.
    fn build(&self, target: &Path) -> Result<()> {
        let Self { name, package, module } = self;
        let version = kubernetes_version();
        say(&format!("building {name} from {package}, once; minutes on a small machine"));
        let started = Instant::now();
        let unfinished = target.with_extension("unfinished");
        let status = Command::new("go")
            .arg("-C")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed").join(module))
            .args(["build", "-trimpath", "-buildvcs=false"])
            // Else it calls itself v0.0.0-master.
            .args(["-ldflags", &format!("-s -w -X k8s.io/component-base/version.gitVersion=v{version}")])
            .arg("-o")
            .arg(&unfinished)
            .arg(package)
            .status()
            .map_err(|error| self.missing(&format!("go does not start ({error})")))?;
        if !status.success() {
            return Err(self.missing(&format!("go build failed ({status})")).into());
        }
        fs::rename(&unfinished, target)?;
        say(&format!("built {name} in {} s", started.elapsed().as_secs()));
        Ok(())
    }

    fn missing(&self, problem: &str) -> String {
        let Self { name, .. } = self;
        format!(
            "the test bed has no {name}: {problem}; install Go, or set KUBEBUILDER_ASSETS to a folder with {name}"
        )
    }
}

/// Outside the checkout, so that a fresh clone builds nothing again.
fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let versions = format!("k8s-{}-etcd-{}", kubernetes_version(), etcd_version());
    Ok(base.join("sandgate/bed").join(versions))
}

fn kubernetes_version() -> &'static str {
    required(include_str!("kubernetes/go.mod"), "k8s.io/kubernetes")
}

fn etcd_version() -> &'static str {
    required(include_str!("etcd/go.mod"), "go.etcd.io/etcd/server/v3")
}

/// The version of `module` that a `go.mod` requires.
fn required(go_mod: &'static str, module: &str) -> &'static str {
    let version =
        |line: &'static str| line.trim().strip_prefix(module)?.strip_prefix(" v")?.split(' ').next();
    go_mod.lines().find_map(version).expect("go.mod requires what is built from it")
}
