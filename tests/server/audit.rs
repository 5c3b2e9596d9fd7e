//! Audit records on standard output.

use std::process::Stdio;

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
    assert_eq!(lines.len(), 2, "{lines:#?}");
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
    until("all is written", async || server.audit.all().len() == 50).await;
}

#[tokio::test]
async fn a_reader_that_stalls_or_leaves_stops_no_admission() {
    // Nobody reads this pipe, so it fills up.
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
    server.logged("audit");
}
