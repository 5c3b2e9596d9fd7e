//! Images without a registry: files are packed by buildah, and imported by containerd's client.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::super::{Output, Result, command};

/// The image of the process that holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:bed";

/// A shell and its tools.
pub(crate) const BUSYBOX: &str = "busybox:bed";

/// The path of Debian's static program.
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

/// Puts images on a node.
pub(super) struct Images {
    pub(super) ctr: Vec<String>,
}

impl Images {
    /// Those that every test needs.
    pub(super) fn import_usual(&self) -> Result<()> {
        let busybox = [(Path::new(BUSYBOX_PROGRAM), "/bin/busybox")];
        self.import(PAUSE, &busybox, &["/bin/busybox", "sleep", "2147483647"])?;
        self.import(BUSYBOX, &busybox, &[])
    }

    /// Packs a program with the libraries that it is linked to.
    pub(super) fn import_program(&self, name: &str, program: &Path) -> Result<()> {
        let libraries = libraries(program)?;
        let in_image = libraries.iter().map(|path| (path.as_path(), path.to_str().unwrap_or_default()));
        let files: Vec<_> = [(program, "/program")].into_iter().chain(in_image).collect();
        self.import(name, &files, &["/program"])
    }

    /// Packs files, each under its path in the image. With a busybox come links of all its names.
    pub(super) fn import(&self, name: &str, files: &[(&Path, &str)], entrypoint: &[&str]) -> Result<()> {
        self.import_with(name, files, entrypoint, "")
    }

    /// The same, with these instructions of a Dockerfile.
    pub(super) fn import_with(
        &self,
        name: &str,
        files: &[(&Path, &str)],
        entrypoint: &[&str],
        instructions: &str,
    ) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        copy_files(&scratch.path().join("root"), files)?;
        let entrypoint = serde_json::to_string(entrypoint)?;
        self.pack(name, scratch.path(), &format!("ENV PATH=/bin\nENTRYPOINT {entrypoint}\n{instructions}"))
    }

    /// Packs folders and programs of this machine under the same paths, with the libraries that the programs are linked
    /// to, those of shared objects in the folders, a shell, and these instructions of a Dockerfile. `PATH` has the folders of the programs.
    pub(super) fn import_tree(
        &self,
        name: &str,
        folders: &[&Path],
        programs: &[&Path],
        instructions: &str,
    ) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let root = scratch.path().join("root");
        copy_files(&root, &[(Path::new(BUSYBOX_PROGRAM), "/bin/busybox")])?;
        let shared = command::run(Command::new("find").args(folders).args(["-name", "*.so"]), "")?.stdout;
        let linked = programs.iter().copied().chain(shared.lines().map(Path::new));
        let libraries: Result<Vec<_>> = linked.map(libraries).collect();
        let libraries: BTreeSet<PathBuf> = libraries?.concat().into_iter().collect();
        copy_paths("--archive", folders.iter().chain(programs).copied(), &root)?;
        copy_paths("--dereference", libraries.iter().map(PathBuf::as_path), &root)?;
        let mut path: Vec<_> = programs.iter().filter_map(|program| program.parent()).collect();
        path.extend([Path::new("/bin")]);
        let path: Vec<_> = path.iter().map(|folder| folder.display().to_string()).collect();
        self.pack(name, scratch.path(), &format!("ENV PATH={}\n{instructions}", path.join(":")))
    }

    /// Packs the folder `root` of `scratch` with the usual folders.
    fn pack(&self, name: &str, scratch: &Path, instructions: &str) -> Result<()> {
        let root = scratch.join("root");
        for folder in ["tmp", "workspace", "etc"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::write(scratch.join("Dockerfile"), format!("FROM scratch\nCOPY root/ /\n{instructions}\n"))?;
        let archive = scratch.join("image.tar");
        buildah(scratch, &["bud", "--quiet", "--isolation=chroot", "--tag", name, "."])?;
        buildah(
            scratch,
            &["push", "--quiet", name, &format!("docker-archive:{}:{name}", archive.display())],
        )?;
        self.import_archive(&archive)
    }

    /// Imports what another program has packed.
    pub(super) fn import_archive(&self, archive: &Path) -> Result<()> {
        let archive = archive.canonicalize().map_err(|error| format!("{}: {error}", archive.display()))?;
        let mut ctr = command::of(&self.ctr);
        ctr.args(["images", "import", "--local"]).arg(&archive);
        let Output { success, stderr, .. } = command::run(&mut ctr, "")?;
        if success { Ok(()) } else { Err(format!("{} is no image: {stderr}", archive.display()).into()) }
    }
}

/// Copies files into `root`, each to its path. With a busybox come links of all its names.
fn copy_files(root: &Path, files: &[(&Path, &str)]) -> Result<()> {
    for (from, to) in files {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        if from.ends_with("busybox") {
            link_names(&to)?;
        }
    }
    Ok(())
}

/// Copies files and folders to the same paths below `root`. cp 9.1 fails for absolute ones, so these are relative to `/`.
fn copy_paths<'p>(how: &str, paths: impl Iterator<Item = &'p Path>, root: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args([how, "--parents"]).args(paths.map(|path| path.strip_prefix("/").unwrap_or(path)));
    let copied = command::run(copy.arg(root).current_dir("/"), "")?;
    if copied.success { Ok(()) } else { Err(format!("cp: {}", copied.stderr).into()) }
}

fn buildah(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut buildah = Command::new("buildah");
    buildah.args(["--storage-driver", "vfs", "--root"]).arg(folder.join("storage"));
    buildah.arg("--runroot").arg(folder.join("run")).args(arguments).current_dir(folder);
    let output = command::run(&mut buildah, "")?;
    if output.success { Ok(()) } else { Err(format!("buildah: {}", output.stderr).into()) }
}

/// A name for each of its tools beside it.
fn link_names(busybox: &Path) -> Result<()> {
    let names = command::run(Command::new(BUSYBOX_PROGRAM).arg("--list"), "")?.stdout;
    for name in names.lines().filter(|name| *name != "busybox") {
        symlink("busybox", busybox.with_file_name(name))?;
    }
    Ok(())
}

/// Returns the libraries that the dynamic linker loads for a program, and the linker; nothing for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = command::run(Command::new("ldd").arg(program), "")?;
    let paths = listed.stdout.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}
