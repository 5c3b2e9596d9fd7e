//! Logs: what is in them, what never is, and how much of it.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{
    client::{BOTH_TLS, Http2, Target, get, hostile_pod, plain_pod, post, review},
    process::Server,
};

/// Runs `sandgate log-level` against the server.
fn log_level(server: &Server, arguments: &[&str]) -> Output {
    let admin = server.admin.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
    command.args(["log-level", "--admin", &admin]).args(arguments).output().unwrap()
}

fn status_and_text(output: &Output) -> (Option<i32>, String) {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.code(), String::from_utf8_lossy(text).trim().to_owned())
}

#[tokio::test]
async fn a_denial_is_logged_and_an_admission_at_level_debug_only() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    target.post("/mutate", review("CREATE", &hostile_pod())).await;
    let line: Value = serde_json::from_str(&server.logged("Admission decision")).unwrap();
    assert_eq!(
        (&line["verdict"], &line["user"], &line["level"]),
        (&"denied".into(), &"alice".into(), &"INFO".into())
    );
    assert_eq!(line["rules"], "host-namespaces");
    assert!(!server.logs().contains("admitted"), "{}", server.logs());

    let server = Server::start(&["--log-level", "sandgate=debug"]);
    Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await;
    let line: Value = serde_json::from_str(&server.logged("Admission decision")).unwrap();
    assert_eq!((&line["verdict"], &line["level"]), (&"admitted".into(), &"DEBUG".into()));
}

#[tokio::test]
async fn the_level_changes_while_the_server_runs() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    assert_eq!(status_and_text(&log_level(&server, &[])), (Some(0), "info".into()));
    assert_eq!(status_and_text(&log_level(&server, &["sandgate=debug"])), (Some(0), "sandgate=debug".into()));
    server.logged("Log level changed");
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    server.logged(r#""verdict":"admitted""#);

    assert_eq!(status_and_text(&log_level(&server, &["info"])), (Some(0), "info".into()));
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    target.post("/mutate", review("CREATE", &hostile_pod())).await;
    server.logged(r#""verdict":"denied""#);
    assert_eq!(server.logs().matches(r#""verdict":"admitted""#).count(), 1, "{}", server.logs());
}

#[tokio::test]
async fn a_handshake_can_be_looked_at_while_the_server_runs() {
    let server = Server::start(&[]);
    log_level(&server, &["info,rustls=debug"]);
    Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await;
    let line: Value = serde_json::from_str(&server.logged(r#""target":"rustls"#)).unwrap();
    assert_eq!(line["level"], "DEBUG", "{line}");
}

#[tokio::test]
async fn a_wrong_level_is_an_error_and_changes_nothing() {
    let server = Server::start(&[]);
    for wrong in ["sandgate=loud", " ", "a=b=c"] {
        let (status, reason) = status_and_text(&log_level(&server, &[wrong]));
        assert_eq!(status, Some(2), "{wrong}: {reason}");
        assert!(reason.contains("such as info or sandgate=debug"), "{reason}");
        assert_eq!(reason.lines().count(), 1, "{reason}");
    }
    assert_eq!(get(server.admin, "/loglevel").await.text, "info\n");
}

#[test]
fn where_no_server_answers_the_command_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
    // Port 1 needs a right that is missing here.
    let output = command.args(["log-level", "--admin", "127.0.0.1:1"]).output().unwrap();
    let (status, reason) = status_and_text(&output);
    assert_eq!(status, Some(2));
    assert!(reason.contains("no sandgate answers on 127.0.0.1:1") && reason.contains("--admin"), "{reason}");
}

#[tokio::test]
async fn no_level_shows_the_values_of_environment_variables() {
    let server = Server::start(&["--log-level", "trace"]);
    let target = Target::of(&server);
    let mut pods = [plain_pod(), hostile_pod()];
    for pod in &mut pods {
        pod["spec"]["containers"][0]["env"] = json!([{"name": "TOKEN", "value": "do-not-log-me"}]);
        pod["spec"]["containers"][0]["args"] = json!(["--password=do-not-log-me"]);
    }
    let mut http2 = Http2::over(target.connect_as(BOTH_TLS, &["h2"]).await.unwrap()).await;
    for pod in &pods {
        for operation in ["CREATE", "UPDATE"] {
            target.post("/mutate", review(operation, pod)).await;
            http2.send(post("/validate", review(operation, pod))).await;
        }
    }
    // What cannot be read is quoted in part.
    let broken = review("CREATE", &pods[1]).replace(r#""hostPID":true"#, r#""hostPID":true,"hostPID":1"#);
    target.post("/mutate", broken).await;
    server.audit.wait_for("pod-schema");
    server.logged("TRACE");
    for (what, text) in [("log", server.logs()), ("audit trail", server.audit.all().join("\n"))] {
        let line = text.lines().find(|line| line.contains("do-not-log-me"));
        assert_eq!(line, None, "in the {what}");
    }
}

#[tokio::test]
async fn no_name_forges_a_line() {
    let forged = "a\r\n2026-11-25T00:00:00Z  INFO sandgate: forged\u{1b}[2K\u{9b}1A\u{202e}\u{2066}\u{feff}z";
    for format in ["text", "json"] {
        let server = Server::start(&["--log-format", format, "--log-level", "trace"]);
        let target = Target::of(&server);
        let mut pod = hostile_pod();
        pod["metadata"]["name"] = forged.into();
        let mut request: Value = serde_json::from_str(&review("CREATE", &pod)).unwrap();
        for field in ["uid", "name"] {
            request["request"][field] = forged.into();
        }
        request["request"]["userInfo"] = json!({"username": forged, "groups": [forged]});
        target.post("/mutate", request.to_string()).await;
        // Quoted in the reason of a denial.
        request["kind"] = forged.into();
        target.post("/mutate", request.to_string()).await;
        server.logged("Admission decision");
        server.logged("Request rejected");
        for line in server.logs().lines() {
            let is_plain = |c: char| !c.is_control() && !('\u{200b}'..='\u{200f}').contains(&c);
            assert!(line.chars().all(is_plain), "{format}: {line:?}");
            assert!(!line.contains(['\u{202e}', '\u{2066}', '\u{feff}']), "{format}: {line:?}");
            assert!(!line.starts_with("2026-11-25T00:00:00Z  INFO"), "{format}: {line:?}");
        }
        if format == "json" {
            let line: Value = serde_json::from_str(&server.logged("Admission decision")).unwrap();
            assert_eq!(line["user"], forged, "a program reads the name as it is");
        }
    }
}
