//! The programs: from the folder `KUBEBUILDER_ASSETS`, else from a cache, else built from Go modules into it.

use std::{
    env, fmt,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use tempfile::TempDir;

use super::{Result, progress};

/// A version of Kubernetes that the testbed builds from a folder with a `go.mod` of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The minor version of Kubernetes 1.
    minor: u8,
    module: &'static str,
    go_mod: &'static str,
}

/// Every version, from the oldest.
const VERSIONS: [Version; 8] = [
    Version { minor: 30, module: "kubernetes-1.30", go_mod: include_str!("../kubernetes-1.30/go.mod") },
    Version { minor: 31, module: "kubernetes-1.31", go_mod: include_str!("../kubernetes-1.31/go.mod") },
    Version { minor: 32, module: "kubernetes-1.32", go_mod: include_str!("../kubernetes-1.32/go.mod") },
    Version { minor: 33, module: "kubernetes-1.33", go_mod: include_str!("../kubernetes-1.33/go.mod") },
    Version { minor: 34, module: "kubernetes-1.34", go_mod: include_str!("../kubernetes-1.34/go.mod") },
    Version { minor: 35, module: "kubernetes-1.35", go_mod: include_str!("../kubernetes-1.35/go.mod") },
    Version { minor: 36, module: "kubernetes-1.36", go_mod: include_str!("../kubernetes-1.36/go.mod") },
    Version { minor: 37, module: "kubernetes-1.37", go_mod: include_str!("../kubernetes-1.37/go.mod") },
];

impl Version {
    /// The version that the tests were written against.
    pub const USUAL: Self = VERSIONS[6];
    /// The newest version that there is.
    pub const NEWEST: Self = VERSIONS[7];

    /// Returns the version that `SANDGATE_BED_KUBERNETES` names, for example 1.33, or the usual one without it.
    ///
    /// # Errors
    /// Returns an error if the variable has another value: the text lists those that there are.
    pub fn chosen() -> Result<Self> {
        match env::var_os("SANDGATE_BED_KUBERNETES").filter(|wanted| !wanted.is_empty()) {
            None => Ok(Self::USUAL),
            Some(wanted) => Self::named(&wanted.to_string_lossy()),
        }
    }

    fn named(wanted: &str) -> Result<Self> {
        let found = VERSIONS.into_iter().find(|version| version.to_string() == wanted);
        found.ok_or_else(|| {
            let known: Vec<_> = VERSIONS.iter().map(ToString::to_string).collect();
            format!("SANDGATE_BED_KUBERNETES is {wanted}, must be one of {}", known.join(", ")).into()
        })
    }

    /// Returns true for Kubernetes 1.`minor` and for newer versions.
    #[must_use]
    pub fn is_at_least(self, minor: u8) -> bool {
        self.minor >= minor
    }

    fn number(self) -> &'static str {
        required(self.go_mod, "k8s.io/kubernetes")
    }
}

impl fmt::Display for Version {
    /// Writes the minor version, for example 1.36.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

/// Finds the programs of the control plane; builds what is missing.
#[derive(Clone, Copy)]
pub(super) struct Assets(pub(super) Version);

/// The path of a program; the error for a missing one names the remedy.
type Found = Result<PathBuf>;

impl Assets {
    /// Finds etcd: one version serves every Kubernetes.
    pub(super) fn etcd() -> Found {
        let package = "go.etcd.io/etcd/server/v3";
        kubernetes(Version::USUAL, "etcd", package, "etcd").find()
    }

    pub(super) fn apiserver(self) -> Found {
        self.kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")
    }

    pub(super) fn controller_manager(self) -> Found {
        self.kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager")
    }

    pub(super) fn kubectl(self) -> Found {
        self.kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl")
    }

    pub(super) fn scheduler(self) -> Found {
        self.kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler")
    }

    pub(super) fn kubelet(self) -> Found {
        self.kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet")
    }

    pub(super) fn proxy(self) -> Found {
        self.kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy")
    }

    fn kubernetes(self, name: &'static str, package: &'static str) -> Found {
        kubernetes(self.0, name, package, self.0.module).find()
    }
}

fn kubernetes(of: Version, name: &'static str, package: &'static str, module: &'static str) -> Program {
    let version = of.number();
    Program {
        name,
        package,
        module,
        folder: format!("k8s-{version}-etcd-{}", etcd_version()),
        // Else it calls itself v0.0.0-master.
        stamp: format!("k8s.io/component-base/version.gitVersion=v{version}"),
        // The ecosystem's folder has the usual version.
        may_be_given: of == Version::USUAL,
        patch: None,
    }
}

/// Finds kube-router, which enforces network policies on the node.
pub(super) fn kube_router() -> Found {
    let module = "github.com/cloudnativelabs/kube-router/v2";
    let version = required(include_str!("../kube-router/go.mod"), module);
    let package = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router";
    tool("kube-router", package, "kube-router", version, format!("{module}/pkg/version.Version=v{version}"))
        .find()
}

/// Finds `CoreDNS`, the DNS server of the cluster.
pub(super) fn coredns() -> Found {
    let package = "github.com/coredns/coredns";
    let version = required(include_str!("../coredns/go.mod"), package);
    tool("coredns", package, "coredns", version, format!("{package}/coremain.GitCommit=v{version}")).find()
}

/// helm, which knows no version of Kubernetes.
pub(super) fn helm() -> Found {
    let package = "helm.sh/helm/v4/cmd/helm";
    let version = required(include_str!("../helm/go.mod"), "helm.sh/helm/v4");
    let stamp = format!("helm.sh/helm/v4/internal/version.version=v{version}");
    tool("helm", package, "helm", version, stamp).find()
}

/// The helm of the line before, which applies on the client's side.
pub(super) fn helm3() -> Found {
    let package = "helm.sh/helm/v3/cmd/helm";
    let version = required(include_str!("../helm3/go.mod"), "helm.sh/helm/v3");
    let stamp = format!("helm.sh/helm/v3/internal/version.version=v{version}");
    tool("helm", package, "helm3", version, stamp).find()
}

/// The module of cert-manager.
const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager";

/// cert-manager's controllers and its cainjector, in one program.
pub(super) fn cert_manager() -> Found {
    let version = required(include_str!("../cert-manager/go.mod"), CERT_MANAGER);
    let stamp = format!("{CERT_MANAGER}/pkg/util.AppVersion=v{version}");
    tool("cert-manager", ".", "cert-manager", version, stamp).find()
}

/// The folder with the CRDs of cert-manager, out of its module.
///
/// # Errors
/// Returns an error if the module cannot be downloaded.
pub fn cert_manager_crds() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cert-manager");
    let go = |arguments: &[&str]| Command::new("go").arg("-C").arg(&folder).args(arguments).output();
    let downloaded = go(&["mod", "download", CERT_MANAGER])?;
    if !downloaded.status.success() {
        return Err(String::from_utf8_lossy(&downloaded.stderr).into());
    }
    let module = String::from_utf8(go(&["list", "-m", "-f", "{{.Dir}}", CERT_MANAGER])?.stdout)?;
    Ok(Path::new(module.trim()).join("deploy/crds"))
}

/// The program that writes the chart's README.
pub(super) fn helm_docs() -> Found {
    let package = "github.com/norwoodj/helm-docs/cmd/helm-docs";
    let version = required(include_str!("../helm-docs/go.mod"), "github.com/norwoodj/helm-docs");
    tool("helm-docs", package, "helm-docs", version, format!("main.version={version}")).find()
}

fn tool(
    name: &'static str,
    package: &'static str,
    module: &'static str,
    version: &str,
    stamp: String,
) -> Program {
    let folder = format!("{module}-{version}");
    Program { name, package, module, folder, stamp, may_be_given: false, patch: None }
}

/// containerd, its client and its shim for runc, in one folder.
pub(super) fn containerd() -> Found {
    let module = "github.com/containerd/containerd/v2";
    let version = required(include_str!("../containerd/go.mod"), module);
    let stamp = || format!("{module}/version.Version=v{version}");
    let find = |name, package| tool(name, package, "containerd", version, stamp()).find();
    find("ctr", "github.com/containerd/containerd/v2/cmd/ctr")?;
    find("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2")?;
    find("containerd", "github.com/containerd/containerd/v2/cmd/containerd")
}

/// gVisor's runtime and its shim, in one folder.
pub(super) fn gvisor() -> Found {
    let version = required(include_str!("../gvisor/go.mod"), "gvisor.dev/gvisor");
    let stamp = || format!("gvisor.dev/gvisor/runsc/version.version={version}");
    let shim = "gvisor.dev/gvisor/shim";
    let shim = tool("containerd-shim-runsc-v1", shim, "gvisor", version, stamp());
    Program { patch: Some(SHIM_WITHOUT_SYS_RESOURCE), ..shim }.find()?;
    tool("runsc", "gvisor.dev/gvisor/runsc", "gvisor", version, stamp()).find()
}

/// An engine whose controller runs in front of the cluster, or in it, in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Argo Workflows: `workflow-controller`, and `argoexec` beside it.
    ArgoWorkflows,
    /// `KubeRay`: its operator.
    KubeRay,
    /// Kueue: its manager.
    Kueue,
}

impl Engine {
    /// Returns the version that is built.
    #[must_use]
    pub fn version(self) -> &'static str {
        let go_mod = match self {
            Self::ArgoWorkflows => include_str!("../argo-workflows/go.mod"),
            Self::KubeRay => include_str!("../kuberay/go.mod"),
            Self::Kueue => include_str!("../kueue/go.mod"),
        };
        required(go_mod, self.module())
    }

    fn module(self) -> &'static str {
        match self {
            Self::ArgoWorkflows => "github.com/argoproj/argo-workflows/v4",
            Self::KubeRay => "github.com/ray-project/kuberay/ray-operator",
            Self::Kueue => "sigs.k8s.io/kueue",
        }
    }

    /// Returns its folder beside this one.
    fn folder(self) -> &'static str {
        match self {
            Self::ArgoWorkflows => "argo-workflows",
            Self::KubeRay => "kuberay",
            Self::Kueue => "kueue",
        }
    }

    /// Finds its programs and returns the path of the controller.
    pub(super) fn find(self) -> Found {
        let program = |name, package, variable| {
            let stamp = format!("{}{variable}=v{}", self.module(), self.version());
            tool(name, package, self.folder(), self.version(), stamp)
        };
        match self {
            Self::ArgoWorkflows => {
                let program = |name, package| {
                    // From one copy, so that what they share is compiled once.
                    let patch = Some(EXECUTOR_FOR_LINUX);
                    Program { patch, ..program(name, package, ".version") }.find()
                };
                program("argoexec", "github.com/argoproj/argo-workflows/v4/cmd/argoexec")?;
                let controller = "github.com/argoproj/argo-workflows/v4/cmd/workflow-controller";
                program("workflow-controller", controller)
            }
            Self::KubeRay => {
                // A constant in its sources: the stamp changes nothing.
                let variable = "/controllers/ray/utils.KUBERAY_VERSION";
                program("ray-operator", self.module(), variable).find()
            }
            Self::Kueue => program("kueue", "sigs.k8s.io/kueue/cmd/kueue", "/pkg/version.GitVersion").find(),
        }
    }

    /// Returns the folder with its sources and manifests.
    pub(super) fn sources(self) -> Found {
        let of = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder());
        module_folder(&of, self.module())
    }
}

const RAY_REQUIREMENTS: &str = include_str!("../ray/requirements.txt");

/// Returns the version of Ray whose packages [`ray_packages`] finds.
///
/// # Panics
/// Panics if the list of packages does not have Ray.
#[must_use]
pub fn ray_version() -> &'static str {
    let mut lines = RAY_REQUIREMENTS.lines();
    lines.find_map(|line| line.strip_prefix("ray[default]==")).expect("Ray is required")
}

/// Finds the folder with the Python packages of Ray, for Debian's Python; has pip install them first if they are missing.
///
/// # Errors
/// Returns an error if pip does not start or fails.
pub fn ray_packages() -> Found {
    let cache = cache()?.join(format!("ray-{}", ray_version()));
    let packages = cache.join("packages");
    fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if packages.is_dir() {
        return Ok(packages);
    }
    progress(&format!("installing the packages of Ray {}, once", ray_version()));
    let unfinished = tempfile::tempdir_in(&cache)?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("ray/requirements.txt");
    let status = Command::new("/usr/bin/pip3")
        .args([
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ])
        .args(["--only-binary=:all:", "--requirement"])
        .arg(requirements)
        .arg("--target")
        .arg(unfinished.path())
        .status()?;
    if !status.success() {
        return Err(format!("pip3 cannot install the packages of Ray ({status})").into());
    }
    fs::rename(unfinished.keep(), &packages)?;
    fs::set_permissions(&packages, fs::Permissions::from_mode(0o755))?;
    Ok(packages)
}

/// The module is published without the file for Linux, whose functions are those of the file for macOS.
const EXECUTOR_FOR_LINUX: Patch = Patch {
    module: "github.com/argoproj/argo-workflows/v4",
    file: "workflow/executor/osspecific/signal_linux.go",
    change: Change::CopyOf("workflow/executor/osspecific/signal_darwin.go"),
};

/// The shim wants to be the last that the kernel kills for memory, which takes `CAP_SYS_RESOURCE`, and ends where it
/// may not. Here it goes on.
const SHIM_WITHOUT_SYS_RESOURCE: Patch = Patch {
    module: "gvisor.dev/gvisor",
    file: "pkg/shim/v1/service.go",
    change: Change::Line {
        old: "if err := sys.SetOOMScore(cmd.Process.Pid, oomScoreMaxKillable); err != nil {",
        new: "if err := sys.SetOOMScore(cmd.Process.Pid, oomScoreMaxKillable); err != nil && !os.IsPermission(err) {",
    },
};

/// A file of a foreign program that is changed.
struct Patch {
    module: &'static str,
    file: &'static str,
    change: Change,
}

enum Change {
    /// A line of it becomes another.
    Line { old: &'static str, new: &'static str },
    /// It is missing, and becomes a copy of another file.
    CopyOf(&'static str),
}

/// One program and how it is built.
struct Program {
    name: &'static str,
    package: &'static str,
    /// The folder with `go.mod`, beside this file.
    module: &'static str,
    /// The path in the cache: one for each version.
    folder: String,
    /// The variable that holds its version, and the version.
    stamp: String,
    /// True if the program of `KUBEBUILDER_ASSETS` can be used.
    may_be_given: bool,
    /// The changes of its sources before the build.
    patch: Option<Patch>,
}

impl Program {
    fn find(&self) -> Found {
        if let Some(given) = self.given() {
            return Ok(given);
        }
        let cache = cache()?.join(&self.folder);
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

    /// The folder `KUBEBUILDER_ASSETS` usually has no controller manager: missing programs come from here.
    fn given(&self) -> Option<PathBuf> {
        let folder = env::var_os("KUBEBUILDER_ASSETS").filter(|_| self.may_be_given)?;
        Some(Path::new(&folder).join(self.name)).filter(|path| path.is_file())
    }

    /// Builds under another name first: a build that is broken off leaves nothing that looks finished.
    fn build(&self, target: &Path) -> Result<()> {
        let Self { name, package, module, stamp, .. } = self;
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
        progress(&format!("building {name} from {package}, once; minutes on a small machine"));
        let started = Instant::now();
        let unfinished = target.with_extension("unfinished");
        let patched = self.patch.as_ref().map(|patch| patch.apply(&module)).transpose()?;
        let modfile = patched.iter().flat_map(|folder| {
            let go_mod = folder.path().join("go.mod");
            ["-modfile".into(), go_mod.into_os_string()]
        });
        let status = Command::new("go")
            .arg("-C")
            .arg(&module)
            .args(["build", "-trimpath", "-buildvcs=false"])
            .args(["-ldflags", &format!("-s -w -X {stamp}")])
            .args(modfile)
            // What runs in a container or a sandbox finds no C library there.
            .env("CGO_ENABLED", "0")
            .arg("-o")
            .arg(&unfinished)
            .arg(package)
            .status()
            .map_err(|error| self.missing(&format!("go does not start ({error})")))?;
        if !status.success() {
            return Err(self.missing(&format!("go build failed ({status})")).into());
        }
        fs::rename(&unfinished, target)?;
        progress(&format!("built {name} in {} s", started.elapsed().as_secs()));
        Ok(())
    }

    fn missing(&self, problem: &str) -> String {
        let Self { name, .. } = self;
        let or = if self.may_be_given {
            format!(", or set KUBEBUILDER_ASSETS to a folder with {name}")
        } else {
            String::new()
        };
        format!("the test bed has no {name}: {problem}; install Go{or}")
    }
}

impl Patch {
    /// A folder with the changed module, and a `go.mod` like that of `of` that takes it from there.
    fn apply(&self, of: &Path) -> Result<TempDir> {
        let Self { module, file, change } = self;
        let folder = tempfile::tempdir()?;
        let original = module_folder(of, module)?;
        let copy = folder.path().join("module");
        // Modules are stored without the right to write.
        let copied =
            Command::new("cp").args(["-r", "--no-preserve=mode"]).args([&original, &copy]).status()?;
        if !copied.success() {
            return Err(format!("{module} cannot be copied from {}", original.display()).into());
        }
        match change {
            Change::Line { old, new } => {
                let source = fs::read_to_string(copy.join(file))?;
                if !source.contains(old) {
                    return Err(format!("{module} has no {file} with the line to change: {old}").into());
                }
                fs::write(copy.join(file), source.replace(old, new))?;
            }
            Change::CopyOf(other) => {
                fs::copy(copy.join(other), copy.join(file))?;
            }
        }
        let replace = format!("replace {module} => {}", copy.display());
        let go_mod = fs::read_to_string(of.join("go.mod"))?;
        fs::write(folder.path().join("go.mod"), format!("{go_mod}\n{replace}\n"))?;
        fs::copy(of.join("go.sum"), folder.path().join("go.sum"))?;
        Ok(folder)
    }
}

/// Downloads a module that the `go.mod` in `of` requires, and returns the folder with its sources.
fn module_folder(of: &Path, module: &str) -> Found {
    let go = |arguments: &[&str]| Command::new("go").arg("-C").arg(of).args(arguments).output();
    go(&["mod", "download", module])?;
    let listed = go(&["list", "-m", "-f", "{{.Dir}}", module])?;
    let path = String::from_utf8(listed.stdout)?;
    let path = Some(path.trim()).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("go cannot download {module}").into())
}

/// Outside the checkout, so that a fresh clone builds nothing again.
fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("sandgate/bed"))
}

fn etcd_version() -> &'static str {
    required(include_str!("../etcd/go.mod"), "go.etcd.io/etcd/server/v3")
}

/// The version of `module` that a `go.mod` requires.
fn required(go_mod: &'static str, module: &str) -> &'static str {
    let version =
        |line: &'static str| line.trim().strip_prefix(module)?.strip_prefix(" v")?.split(' ').next();
    go_mod.lines().find_map(version).expect("go.mod requires what is built from it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_the_version_of_its_name() {
        for version in VERSIONS {
            let minor = version.number().rsplit_once('.').expect("a patch version").0;
            assert_eq!((minor, version.module), (&*version.to_string(), &*format!("kubernetes-{minor}")));
        }
    }

    #[test]
    fn unknown_version_lists_the_known_ones() {
        assert_eq!(Version::named("1.33").expect("it is known"), VERSIONS[3]);
        let error = Version::named("1.29").expect_err("it is unknown").to_string();
        assert!(error.starts_with("SANDGATE_BED_KUBERNETES is 1.29, must be one of 1.30, "), "{error}");
    }
}
