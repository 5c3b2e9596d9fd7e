//! What people run in a Job: Python, git, npm and Go, as user 1000 with the home folder, the caches and the owners of
//! folders that the preset's fills give them.
//!
//! The image has the programs of this machine: those of Debian's packages, npm, and Go.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use testbed::{
    Cluster,
    harness::{Test, missing_program},
};
use tokio::sync::OnceCell;

use super::{jobs, logs_of, pods_of};
use crate::{
    pods::{has_ended, until},
    shared::{Bed, cluster},
};

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    let missing = missing_program("/usr/bin/python3", "python3")
        .or_else(|| missing_program("/usr/bin/git", "git"))
        .or_else(|| missing_program("npm", "npm"));
    let tests = vec![
        Test::new_async(python_writes_its_caches_and_starts_processes),
        Test::new_async(git_commits_and_clones_below_workspace),
        Test::new_async(npm_installs_and_runs_a_package),
        Test::new_async(go_builds_a_program_that_runs),
    ];
    tests.into_iter().map(|test| test.requires(missing.clone())).collect()
}

const IMAGE: &str = "localhost/tools:bed";

/// Puts the image on the node once.
async fn with_tools() -> Bed<impl Sized> {
    static IMPORTED: OnceCell<()> = OnceCell::const_new();
    let bed = cluster().await;
    IMPORTED.get_or_init(async || import(bed.cluster)).await;
    bed
}

fn import(cluster: &Cluster) {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    };
    let go = output("go", &["env", "GOROOT"]);
    let npm = output("npm", &["root", "--global"]).join("npm");
    let node = output("node", &["-p", "process.execPath"]);
    // Of Go what a program without imports is built from.
    let of_go = [
        "VERSION",
        "go.env",
        "pkg/include",
        "pkg/tool",
        "src/go.mod",
        "src/internal",
        "src/math/bits",
        "src/runtime",
        "src/unsafe",
    ];
    let of_go = of_go.map(|path| go.join(path));
    let python_and_git =
        ["/usr/lib/python3.11", "/usr/lib/git-core", "/usr/share/git-core"].map(PathBuf::from);
    let folders: Vec<&Path> =
        python_and_git.iter().chain(&of_go).chain([&npm]).map(PathBuf::as_path).collect();
    let programs = [Path::new("/usr/bin/python3.11"), Path::new("/usr/bin/git"), &node, &go.join("bin/go")];
    let variables = format!("ENV GOROOT={} NPM={}", go.display(), npm.join("bin/npm-cli.js").display());
    cluster.import_tree(IMAGE, &folders, &programs, &variables).unwrap();
}

/// Runs a script in a Job of its own, and returns what it prints; the Job must succeed.
async fn output_of<G>(bed: &Bed<G>, name: &str, script: &str) -> String {
    let resources = json!({"requests": {"cpu": "100m", "memory": "256Mi"}});
    let container =
        json!({"name": "main", "image": IMAGE, "command": ["sh", "-ec", script], "resources": resources});
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    let job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
    bed.rest.post(&format!("/apis/batch/v1/namespaces/{}/jobs", jobs::NAMESPACE), &job).await.unwrap();
    let path = format!("/api/v1/namespaces/{}/pods?labelSelector=job-name%3D{name}", jobs::NAMESPACE);
    // Compilers take their time on a busy machine.
    for _ in 0..4 {
        let is_over = |list: &Value| has_ended(&list["items"][0]);
        if until(&bed.rest, &path, "has ended", is_over).await.is_ok() {
            break;
        }
    }
    let pods = pods_of(&bed.rest, jobs::NAMESPACE, &format!("job-name={name}")).await;
    let output = logs_of(bed, &pods[0], "main").await;
    assert_eq!(pods[0]["status"]["phase"], "Succeeded", "{output}");
    output
}

async fn python_writes_its_caches_and_starts_processes() {
    let bed = with_tools().await;
    let script = r#"
        cd /workspace
        mkdir package; echo 'def answer(): return 42' >package/__init__.py
        python3.11 - <<'END'
import pathlib, sqlite3, subprocess, sys, tempfile, threading
import package
print("home", pathlib.Path.home(), "temporary", tempfile.gettempdir())
print("answer", package.answer(), [path.name for path in pathlib.Path("package/__pycache__").iterdir()])
database = sqlite3.connect(pathlib.Path.home() / "state.db")
database.execute("create table t (x)")
thread = threading.Thread(target=lambda: print("thread"))
thread.start(); thread.join()
print(subprocess.run([sys.executable, "-c", "print('process')"], capture_output=True, text=True).stdout, end="")
try:
    pathlib.Path("/usr/lib/python3.11/site.py").write_text("")
except OSError as error:
    print(error.strerror)
END"#;

    let output = output_of(&bed, "python", script).await;

    let expected = "home /tmp temporary /tmp\nanswer 42 ['__init__.cpython-311.pyc']\nthread\nprocess\n";
    assert!(output.starts_with(expected), "{output}");
    assert!(output.contains("Read-only file system") || output.contains("Permission denied"), "{output}");
}

async fn git_commits_and_clones_below_workspace() {
    let bed = with_tools().await;
    let script = "
        git config --global user.email runner@example.com; git config --global user.name runner
        ls $HOME/.gitconfig
        git init --quiet /workspace/repository; cd /workspace/repository
        echo hello >file; git add file; git commit --quiet --message first
        git clone --quiet /workspace/repository /tmp/clone; cat /tmp/clone/file
        stat -c '%u:%g' /workspace /workspace/repository
        git init --quiet /workspace; git -C /workspace status 2>&1 | head -n 1 || true";

    let output = output_of(&bed, "git", script).await;

    // The volume itself belongs to root and the group of the Pod.
    let expected = "/tmp/.gitconfig\nhello\n0:1000\n1000:1000\n";
    assert!(output.starts_with(expected), "{output}");
    assert!(output.contains("dubious ownership in repository at '/workspace'"), "{output}");
}

async fn npm_installs_and_runs_a_package() {
    let bed = with_tools().await;
    let script = r#"
        npm() { node "$NPM" "$@"; }
        mkdir /workspace/library /workspace/app
        cd /workspace/library; echo '{"name": "library", "version": "1.0.0"}' >package.json
        echo 'module.exports = () => "from the library"' >index.js
        cd ../app; npm init --yes >/dev/null
        npm install --offline --no-audit --no-fund --no-update-notifier --install-links ../library >/dev/null
        npm pkg set scripts.start='node -e "console.log(require(\"library\")())"' >/dev/null
        npm run --silent start
        ls -d $HOME/.npm"#;

    let output = output_of(&bed, "npm", script).await;

    assert_eq!(output, "from the library\n/tmp/.npm\n");
}

async fn go_builds_a_program_that_runs() {
    let bed = with_tools().await;
    let script = r#"
        export GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod CGO_ENABLED=0
        mkdir /workspace/program; cd /workspace/program
        go mod init example.com/program 2>/dev/null
        printf 'package main\nfunc main() { println("built and run") }\n' >main.go
        go build -o /tmp/program . && /tmp/program 2>&1
        go env GOCACHE GOPATH"#;

    let output = output_of(&bed, "go", script).await;

    assert_eq!(output, "built and run\n/tmp/.cache/go-build\n/tmp/go\n");
}
