//! The promises of the test bed: a crash is reported, and nothing outlives its holder.

use std::{fs, path::Path};

use testbed::{Process, eventually};

#[tokio::test]
async fn a_program_that_ends_is_reported_with_the_end_of_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(folder.path(), "echo it broke; exit 3");
    let ended = eventually("it has ended", async || Ok(process.check().err())).await.expect("it ends");
    let report = ended.to_string();
    assert!(report.contains("script ended (exit status: 3)") && report.ends_with("it broke"), "{report}");
}

#[tokio::test]
async fn a_program_ends_with_the_holder_of_its_leash() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(folder.path(), "echo $$; exec sleep 1000");
    let log = folder.path().join("script.log");
    let id = eventually("it runs", async || Ok(fs::read_to_string(&log)?.trim().parse::<u32>().ok())).await;
    let id = id.expect("it prints its process id");
    drop(process);
    // Where there is no /proc there is nothing to see.
    assert!(!Path::new(&format!("/proc/{id}")).exists(), "{id} is still there");
}

fn start(folder: &Path, script: &str) -> Process {
    Process::start("script", Path::new("/bin/sh"), &["-c".into(), script.into()], folder).expect("sh starts")
}
