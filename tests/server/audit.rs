//! Audit records on standard output and in files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hyper::StatusCode;

use crate::{
    client::{Target, hostile_pod, metric, plain_pod, review},
    process::{Server, command, until},
};

#[tokio::test]
async fn each_verdict_is_one_json_line() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    target.post("/mutate", review("CREATE", &hostile_pod())).await;
    let denied = server.audit.wait_for(r#""verdict":"denied""#);
    let lines = server.audit.all();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains(r#""notice":"started""#), "{lines:#?}");
    let record: serde_json::Value = serde_json::from_str(&denied).unwrap();
    assert_eq!((&record["endpoint"], &record["user"]), (&"mutate".into(), &"alice".into()));
    assert!(record["time"].as_str().unwrap().ends_with('Z'), "{record}");
    assert!(!denied.contains("do-not-log-me"), "{denied}");
    assert_eq!(metric(&server, r#"sandgate_audit_records_total{result="ok"}"#).await, 2);
}

#[tokio::test]
async fn the_audit_trail_can_be_off() {
    let mut server = Server::start(&["--audit", "off", "--shutdown-delay", "0"]);
    Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await;
    server.signal("TERM");
    server.exit();
    assert_eq!(server.audit.all(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_lost_at_the_end() {
    let mut server = Server::start(&["--shutdown-delay", "0"]);
    let target = Target::of(&server);
    for _ in 0..50 {
        target.post("/mutate", review("CREATE", &plain_pod())).await;
    }
    server.signal("TERM");
    assert!(server.exit().success());
    until("all is written", async || server.audit.all().len() == 51).await;
}

#[tokio::test]
async fn a_reader_that_stalls_or_leaves_stops_no_admission() {
    // This pipe is not read, so it fills up.
    let folder = tempfile::tempdir().unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let certs = folder.path().to_str().unwrap().to_string();
    let mut command = command(&["--certs", "dev", "--cert-dir", &certs, "--shutdown-delay", "0"]);
    command.stdout(writer);
    let mut server = Server::run(command, folder);
    let target = Target::of(&server);
    let mut connection = crate::client::Http1::over(target.connect().await).await;
    for _ in 0..300 {
        let answer = connection.send(crate::client::post("/mutate", review("CREATE", &plain_pod()))).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    // The end does not wait for the reader either.
    server.signal("TERM");
    assert!(server.exit().success());
}

#[tokio::test]
async fn readers_of_both_streams_that_stall_stop_no_answer_and_no_probe() {
    const DENIALS: usize = 4000;
    let folder = tempfile::tempdir().unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let certs = folder.path().to_str().unwrap().to_string();
    let mut command = command(&["--certs", "dev", "--cert-dir", &certs, "--shutdown-delay", "0"]);
    command.stdout(writer);
    let (mut server, _log) = Server::run_with_stalled_log(command, folder);
    let mut connection = crate::client::Http1::over(Target::of(&server).connect().await).await;
    for _ in 0..DENIALS {
        let answer = connection.send(crate::client::post("/mutate", review("CREATE", &hostile_pod()))).await;
        assert_eq!(answer.json()["response"]["allowed"], false);
    }
    assert_eq!(crate::client::get(server.admin, "/healthz").await.text, "ok\n");
    assert!(metric(&server, "sandgate_log_lines_dropped_total").await > 0);
    server.signal("TERM");
    assert!(server.exit().success());
}

#[tokio::test]
async fn a_pod_of_megabytes_makes_a_line_of_bounded_length_in_trail_and_log() {
    let server = Server::start(&["--cluster-name", "east", "--instance", "gate-1"]);
    let target = Target::of(&server);
    let mut pod = hostile_pod();
    let long = "\u{7f}".repeat(500_000);
    pod["metadata"]["name"] = long.clone().into();
    pod["metadata"]["annotations"] = serde_json::json!({format!("dev.gvisor.{long}"): "x"});
    target.post("/mutate", review("CREATE", &pod)).await;
    let line = server.audit.wait_for(r#""verdict":"denied""#);
    assert!(line.len() < sandgate_engine::review::MAX_LINE_BYTES, "{}", line.len());
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(record["name"].as_str().unwrap().contains("(500000 bytes, SHA-256 "), "{}", record["name"]);
    assert_eq!((&record["cluster"], &record["instance"]), (&"east".into(), &"gate-1".into()));
    let logged = server.logged("Admission decision");
    assert!(logged.len() < 20_000, "{}", logged.len());
}

#[tokio::test]
async fn a_namespace_without_a_policy_leaves_a_record_and_one_warning() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for _ in 0..3 {
        let elsewhere = review("CREATE", &hostile_pod())
            .replace(r#""namespace":"workflows""#, r#""namespace":"elsewhere""#);
        target.post("/mutate", elsewhere).await;
    }
    let line = server.audit.wait_for(r#""verdict":"denied""#);
    assert!(line.contains(r#""namespace":"elsewhere""#) && line.contains(r#""user":"alice""#), "{line}");
    server.logged("a namespace that no policy covers");
    until("all are logged", async || server.logs().matches("Admission decision").count() == 3).await;
    assert_eq!(server.logs().matches("a namespace that no policy covers").count(), 1, "{}", server.logs());
}

#[tokio::test]
async fn records_that_cannot_be_written_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().to_str().unwrap().to_string();
    let mut command = command(&["--certs", "dev", "--cert-dir", &certs]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(Stdio::from(writer));
    let server = Server::run(command, folder);
    for _ in 0..3 {
        let answer = Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    until("the loss is counted", async || {
        metric(&server, r#"sandgate_audit_records_total{result="failed"}"#).await == 3
    })
    .await;
    server.logged("Audit sink failed");
}

const FILE: &str = "audit.jsonl";

/// A server that writes its records to `audit.jsonl` in a folder that outlives it.
fn start_with_file(folder: &Path, arguments: &[&str]) -> Server {
    let file = folder.join(FILE).display().to_string();
    let own = ["--audit", "file", "--audit-file", &file, "--shutdown-delay", "0"];
    Server::start(&[&own, arguments].concat())
}

/// The full files and the one that is written to, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(FILE)).collect();
    // The one without a number is the newest.
    names.sort_by_key(|name| (name == FILE, name.clone()));
    names.iter().map(|name| folder.join(name)).collect()
}

fn records(folder: &Path) -> Vec<serde_json::Value> {
    let texts = files(folder).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let lines = texts.flat_map(|text| text.lines().map(Into::into).collect::<Vec<String>>());
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

fn verdicts(folder: &Path) -> usize {
    records(folder).iter().filter(|record| record.get("verdict").is_some()).count()
}

/// What `sandgate audit verify` says of all files, and its exit status.
fn verify(folder: &Path) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
    let output = command.args(["audit", "verify"]).args(files(folder)).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

async fn post_many(server: &Server, number: usize) {
    let mut connection = crate::client::Http1::over(Target::of(server).connect().await).await;
    for _ in 0..number {
        let answer = connection.send(crate::client::post("/mutate", review("CREATE", &plain_pod()))).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

fn stop(mut server: Server) {
    server.signal("TERM");
    assert!(server.exit().success(), "{}", server.logs());
}

#[tokio::test]
async fn a_file_holds_every_record_after_sigterm_and_its_chain_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    for fsync in ["never", "rotate", "always"] {
        let server = start_with_file(folder.path(), &["--audit-fsync", fsync]);
        assert_eq!(server.audit.all(), Vec::<String>::new());
        post_many(&server, 50).await;
        stop(server);
    }
    assert_eq!(verdicts(folder.path()), 150);
    let (status, text) = verify(folder.path());
    // One line of each start.
    assert!(
        status == 0 && text.starts_with("ok: 153 lines\n") && text.contains(": numbers 1 to 153\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_full_file_is_rotated_the_oldest_go_and_a_restart_continues_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let rotated = ["--audit-max-bytes", "8192", "--audit-keep", "3"];
    let server = start_with_file(folder.path(), &rotated);
    for sent in 1..=40 {
        post_many(&server, 1).await;
        // What is written at once is not split.
        until("it is written", async || {
            metric(&server, r#"sandgate_audit_records_total{result="ok"}"#).await == sent
        })
        .await;
    }
    stop(server);
    // Not even the newest file need be there.
    let newest = folder.path().join(FILE);
    fs::rename(&newest, folder.path().join(format!("{FILE}.9999999999999999"))).unwrap();
    let server = start_with_file(folder.path(), &rotated);
    post_many(&server, 1).await;
    stop(server);
    let files = files(folder.path());
    assert_eq!(files.len(), 5, "three full ones, the renamed one and the newest: {files:?}");
    let sizes: Vec<_> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 8192), "{sizes:?}");
    let (status, text) = verify(folder.path());
    assert!(status == 0 && text.contains(" to 43\n"), "{text}");
    fs::remove_file(&files[1]).unwrap();
    let (status, text) = verify(folder.path());
    assert!(status == 1 && text.contains(" are missing before this line"), "{text}");
}

#[tokio::test]
async fn an_old_file_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_file(folder.path(), &["--audit-max-age", "1"]);
    until("the file is old", async || {
        post_many(&server, 1).await;
        files(folder.path()).len() == 2
    })
    .await;
    stop(server);
    assert_eq!(verify(folder.path()).0, 0);
}

#[tokio::test]
async fn a_torn_line_is_kept_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_file(folder.path(), &[]);
    post_many(&server, 2).await;
    stop(server);
    let path = folder.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let torn = r#"{"time":"2026-11-24T12:00:00Z","verd"#;
    fs::write(&path, format!("{text}{torn}")).unwrap();
    let server = start_with_file(folder.path(), &[]);
    post_many(&server, 1).await;
    stop(server);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&format!("{text}{torn}\n")));
    let (status, text) = verify(folder.path());
    let named = format!("{}:4: was cut off when its process ended; the next line reports it", path.display());
    assert!(status == 1 && text.contains(&named) && text.contains("1 problem: 6 lines"), "{text}");
}

#[tokio::test]
async fn a_killed_process_leaves_a_chain_that_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start_with_file(folder.path(), &[]);
    post_many(&server, 30).await;
    until("the writer has caught up", async || {
        metric(&server, r#"sandgate_audit_records_total{result="ok"}"#).await == 30
    })
    .await;
    post_many(&server, 30).await;
    server.signal("KILL");
    server.exit();
    let written = verdicts(folder.path());
    assert!((30..=60).contains(&written), "only what was in the buffer may be lost: {written} of 60");
    let server = start_with_file(folder.path(), &[]);
    post_many(&server, 1).await;
    stop(server);
    let (status, text) = verify(folder.path());
    assert!(status == 0 || text.contains("was cut off when its process ended"), "{text}");
    assert_eq!(verdicts(folder.path()), written + 1);
}

#[tokio::test]
async fn a_missing_folder_stops_no_admission_and_nothing_is_lost_once_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("volume");
    let server = start_with_file(&missing, &[]);
    post_many(&server, 20).await;
    until("it is known", async || metric(&server, "sandgate_audit_failing").await == 1).await;
    assert!(server.logged("Audit sink failed").contains("No such file or directory"));
    fs::create_dir(&missing).unwrap();
    until("it is over", async || metric(&server, "sandgate_audit_failing").await == 0).await;
    until("all is written", async || verdicts(&missing) == 20).await;
    // The same while it runs.
    fs::rename(&missing, folder.path().join("moved")).unwrap();
    post_many(&server, 20).await;
    until("it is known", async || metric(&server, "sandgate_audit_failing").await == 1).await;
    fs::create_dir(&missing).unwrap();
    until("all is written", async || verdicts(&missing) == 20).await;
    fs::rename(folder.path().join("moved").join(FILE), missing.join(format!("{FILE}.0000000000000001")))
        .unwrap();
    stop(server);
    let (status, text) = verify(&missing);
    assert!(
        status == 0 && text.starts_with("ok: 41 lines\n") && text.contains(": numbers 1 to 41\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_second_process_does_not_mix_its_records_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = start_with_file(folder.path(), &[]);
    let second = start_with_file(folder.path(), &[]);
    post_many(&second, 1).await;
    assert!(second.logged("Audit sink failed").contains("another process writes to it"));
    post_many(&first, 1).await;
    stop(first);
    until("the second one takes over", async || verdicts(folder.path()) == 2).await;
    stop(second);
    assert_eq!(verify(folder.path()).0, 0);
}

/// On a file system of its own, in a user namespace of its own.
#[cfg_attr(not(target_os = "linux"), ignore = "needs namespaces of Linux")]
#[tokio::test]
async fn a_full_disk_stops_no_admission_and_what_was_dropped_is_recorded() {
    const SETUP: &str = "mount -t tmpfs -o size=16m none \"$1\" && shift && exec \"$@\"";
    let unshare = |folder: &Path, program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", SETUP, "sh"]).arg(folder).arg(program);
        command
    };
    let (folder, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mounted = unshare(disk.path(), "true").status().expect("unshare starts");
    assert!(
        mounted.success(),
        "this test mounts a file system in a user namespace: run it as root or permit those"
    );
    let file = disk.path().join(FILE).display().to_string();
    let certs = folder.path().to_str().unwrap().to_string();
    let arguments = ["--certs", "dev", "--cert-dir", &certs, "--audit", "file", "--audit-file", &file];
    let serve = command(&[&arguments[..], &["--shutdown-delay", "0"]].concat());
    let mut inside = unshare(disk.path(), serve.get_program().to_str().unwrap());
    inside.args(serve.get_args()).stdout(Stdio::null());
    let server = Server::run(inside, folder);
    // The disk as the server sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}", server.pid(), disk.path().display()));
    fs::write(disk.join("ballast"), vec![0; (16 << 20) - (128 << 10)]).unwrap();
    until("the disk is full", async || {
        post_many(&server, 50).await;
        metric(&server, "sandgate_audit_failing").await == 1
    })
    .await;
    until("the buffer is full", async || {
        post_many(&server, 200).await;
        metric(&server, r#"sandgate_audit_records_total{result="failed"}"#).await > 0
    })
    .await;
    let lost = metric(&server, r#"sandgate_audit_records_total{result="failed"}"#).await;
    server.logged("No space left on device");
    assert!(lost > 0);
    assert_eq!(verify(&disk).0, 0, "nothing is half written");
    fs::remove_file(disk.join("ballast")).unwrap();
    until("it is over", async || metric(&server, "sandgate_audit_failing").await == 0).await;
    let dropped =
        |record: &serde_json::Value| (record["notice"] == "dropped").then(|| record["records"].as_u64());
    until("what was dropped is recorded", async || {
        let recorded: u64 = records(&disk).iter().filter_map(dropped).flatten().sum();
        recorded == metric(&server, r#"sandgate_audit_records_total{result="failed"}"#).await
    })
    .await;
    let (status, text) = verify(&disk);
    assert!(
        status == 0 && text.contains(&format!("with notices of {lost} records that could not be")),
        "{text}"
    );
    assert_eq!(verdicts(&disk) as u64, metric(&server, r#"sandgate_audit_records_total{result="ok"}"#).await);
}

/// A Pod whose record takes tens of kilobytes.
fn talkative_pod() -> serde_json::Value {
    let mut pod = plain_pod();
    let container = |number| {
        let image = format!("registry.example.com/{}:{number}", "x".repeat(450));
        serde_json::json!({"name": format!("c{number}"), "image": image})
    };
    pod["spec"]["containers"] = (0..40).map(container).collect();
    pod
}

#[tokio::test]
async fn an_answer_can_be_made_to_wait_for_its_record() {
    const SENT: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("volume");
    let server = start_with_file(&missing, &["--audit-on-overflow", "block"]);
    let mut connection = crate::client::Http1::over(Target::of(&server).connect().await).await;
    let sending = tokio::spawn(async move {
        for _ in 0..SENT {
            let pod = review("CREATE", &talkative_pod());
            assert_eq!(connection.send(crate::client::post("/mutate", pod)).await.status, StatusCode::OK);
        }
    });
    let answered = r#"sandgate_admission_duration_seconds_count{endpoint="mutate"}"#;
    let mut before = 0;
    until("no answer comes any more", async || {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = metric(&server, answered).await;
        now > 0 && std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(!sending.is_finished(), "an answer waits");
    assert_eq!(metric(&server, r#"sandgate_audit_records_total{result="failed"}"#).await, 0);
    fs::create_dir(&missing).unwrap();
    sending.await.unwrap();
    stop(server);
    assert_eq!(verdicts(&missing), SENT);
}
