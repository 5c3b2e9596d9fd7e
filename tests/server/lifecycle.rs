//! Starting, ending, and not starting.

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use hyper::StatusCode;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::{
    client::{Http1, Http2, Target, get, plain_pod, post, review, write},
    pki::Ca,
    process::{Server, command, send_signal, until},
};

#[tokio::test]
async fn the_first_signal_lets_the_cluster_notice_before_anything_is_rejected() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&["--shutdown-delay", "2"]);
        let target = Target::of(&server);
        let mut kept = Http1::over(target.connect().await).await;
        assert!(!kept.send(post("/mutate", "no")).await.closes());

        server.signal(signal);
        until("it is not ready", async || get(server.admin, "/readyz").await.status != StatusCode::OK).await;
        let ready = get(server.admin, "/readyz").await;
        assert_eq!((ready.status, ready.text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"));
        assert_eq!(get(server.admin, "/healthz").await.status, StatusCode::OK);

        // Both the kept and a new connection are still served, and asked to go elsewhere.
        let answer = kept.send(post("/mutate", review("CREATE", &plain_pod()))).await;
        assert_eq!((answer.status, answer.closes()), (StatusCode::OK, true), "{answer:?}");
        assert!(kept.is_closed().await);
        let answer = target.post("/mutate", review("CREATE", &plain_pod())).await;
        assert_eq!((answer.status, answer.closes()), (StatusCode::OK, true), "{answer:?}");

        assert_eq!(server.exit().code(), Some(0));
    }
}

#[tokio::test]
async fn http2_is_served_during_the_delay_and_closed_after_it() {
    let mut server = Server::start(&["--shutdown-delay", "1"]);
    let stream = Target::of(&server).connect_as(&[&TLS13], &["h2"]).await.unwrap();
    let mut connection = Http2::over(stream).await;
    server.signal("TERM");
    server.logged("Shutting down");
    assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
    until("the connection goes away", async || !connection.is_open().await).await;
    assert_eq!(server.exit().code(), Some(0));
}

#[tokio::test]
async fn a_request_that_is_being_sent_is_answered_before_the_end() {
    let mut server =
        Server::start(&["--shutdown-delay", "0", "--drain-timeout", "20", "--body-timeout", "20"]);
    let mut idle = Http1::over(Target::of(&server).connect().await).await;
    idle.send(post("/mutate", "no")).await;
    let mut stream = Target::of(&server).connect().await;
    let body = review("CREATE", &plain_pod());
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write(&mut stream, &format!("{head}Content-Length: {}\r\n\r\n", body.len())).await;
    until("the request is being read", async || {
        crate::client::metric(&server, "sandgate_requests_in_flight").await == 1
    })
    .await;

    server.signal("TERM");
    // Idle connections go at once, new ones are not accepted, the open request is awaited.
    assert!(idle.is_closed().await);
    until("nothing new is accepted", async || TcpStream::connect(server.listen).await.is_err()).await;
    assert!(server.is_running());
    write(&mut stream, &body).await;
    let answer = crate::client::read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""allowed":true"#), "{answer}");
    assert_eq!(server.exit().code(), Some(0));
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let mut server =
        Server::start(&["--shutdown-delay", "0", "--drain-timeout", "0.3", "--body-timeout", "600"]);
    let mut stream = Target::of(&server).connect().await;
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write(&mut stream, &format!("{head}Content-Length: 1000\r\n\r\n")).await;
    until("the request is being read", async || {
        crate::client::metric(&server, "sandgate_requests_in_flight").await == 1
    })
    .await;
    server.signal("TERM");
    server.logged("still in flight");
    assert_eq!(server.exit().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&["--shutdown-delay", "600"]);
    server.signal("TERM");
    server.logged("Shutting down");
    server.signal("TERM");
    let status = server.exit();
    assert_eq!(status.code(), Some(1), "{status:?}");
}

#[tokio::test]
async fn it_ends_as_process_1_too() {
    let unshare = || {
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "true"])
            .stderr(Stdio::null())
            .status()
    };
    if !unshare().is_ok_and(|status| status.success()) {
        eprintln!("not run: this user may not make a process namespace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().to_str().unwrap().to_string();
    let serve = command(&["--certs", "dev", "--cert-dir", &certs, "--shutdown-delay", "0.1"]);
    let mut unshared = Command::new("unshare");
    unshared.args(["--pid", "--fork", "--kill-child"]).arg(serve.get_program()).args(serve.get_args());
    let mut server = Server::run(unshared, folder);
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let pid: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let namespaced = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert!(namespaced.ends_with("\t1"), "{namespaced}");

    send_signal(pid, "TERM");
    assert_eq!(server.exit().code(), Some(0));
}

/// Runs to the end of a server that cannot start.
fn rejected(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    let stderr = String::from_utf8(stderr).unwrap();
    let message = stderr.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("\n");
    (status.code().unwrap(), message)
}

#[test]
fn a_taken_port_is_reported_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for [listen, admin] in [[taken.as_str(), "127.0.0.1:0"], ["127.0.0.1:0", &taken]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
        command.args([
            "serve",
            "--listen",
            listen,
            "--admin",
            admin,
            "--certs",
            "dev",
            "--log-level",
            "error",
        ]);
        let Output { status, stderr, .. } = command.output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(&format!("cannot listen on {taken}")), "{stderr}");
    }
}

#[test]
fn a_policy_that_does_not_load_is_reported_with_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let head = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: a}\n";
    std::fs::write(&policy, format!("{head}spec: {{mode: never}}\n---\n{head}spec: {{colour: red}}\n"))
        .unwrap();
    let (code, message) = rejected(&["--policy", policy.to_str().unwrap(), "--certs", "dev"]);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("policy.yaml:4") && message.contains("policy.yaml:9"), "{message}");

    let (code, message) = rejected(&["--policy", "/nowhere/policy.yaml", "--certs", "dev"]);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("/nowhere/policy.yaml") && message.lines().count() <= 2, "{message}");
}

#[test]
fn a_certificate_that_cannot_be_served_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let files = ["--certs", "files", "--cert-dir", path];
    let (code, message) = rejected(&files);
    assert_eq!((code, message.lines().count()), (2, 1), "{message}");
    assert!(message.contains("tls.crt"), "{message}");

    let ca = Ca::new();
    let (one, other) = (ca.leaf(1), ca.leaf(2));
    std::fs::write(folder.path().join("tls.crt"), one.certificate).unwrap();
    std::fs::write(folder.path().join("tls.key"), other.key).unwrap();
    let (code, message) = rejected(&files);
    assert_eq!((code, message.lines().count()), (2, 1), "{message}");
    assert!(message.contains("tls.key") && message.contains("does not fit"), "{message}");

    assert_eq!(rejected(&["--certs", "files"]).0, 2);
}

#[test]
fn without_certs_the_error_names_the_modes() {
    let (code, message) = rejected(&[]);
    assert_eq!((code, message.lines().count()), (2, 1), "{message}");
    for mode in ["--certs managed", "--certs files", "cert-manager", "--certs dev"] {
        assert!(message.contains(mode), "{mode}: {message}");
    }
}

#[tokio::test]
async fn of_two_flags_of_one_name_the_later_one_counts() {
    let server = Server::start(&["--idle-timeout", "1", "--idle-timeout", "2"]);
    assert_eq!(get(server.admin, "/healthz").await.status, StatusCode::OK);
}

#[test]
fn a_folder_that_cannot_be_written_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, message) = rejected(&["--certs", "dev", "--cert-dir", file.join("x").to_str().unwrap()]);
    assert_eq!((code, message.lines().count()), (2, 1), "{message}");
}

#[test]
fn events_without_an_api_server_are_an_error_at_the_start() {
    let output = command(&["--events", "--certs", "dev"]).env_remove("KUBECONFIG").output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("cannot connect to the Kubernetes API server")
            && message.contains("give --kubeconfig PATH"),
        "{message}"
    );
}

#[tokio::test]
async fn any_user_can_run_it_with_nothing_to_write_to() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, certs) = (Ca::new(), folder.path().join("certs"));
    let leaf = ca.leaf(1);
    crate::process::Mount::new(&certs, &leaf.files());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["--certs", "files", "--cert-dir", certs.to_str().unwrap(), "--shutdown-delay", "0"];
    let serve = command(&arguments);
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args([
        "--reuid=65532",
        "--regid=65532",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
    ]);
    // The build folder may be closed to others; what is tested is the program, not where it lies.
    let program = folder.path().join("sandgate");
    std::fs::copy(serve.get_program(), &program).unwrap();
    let possible =
        Command::new("setpriv").args(["--reuid=65532", "--regid=65532", "--clear-groups", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not run: this user may not become another one");
        return;
    }
    unprivileged.arg(&program).args(serve.get_args()).current_dir("/").env_clear();
    let mut server = Server::run(unprivileged, folder);
    let target = Target::with_ca(&server, &ca.pem());
    assert_eq!(target.post("/mutate", review("CREATE", &plain_pod())).await.status, StatusCode::OK);
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn why_it_could_not_start_stands_in_the_termination_message_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    let path = file.to_str().unwrap();
    let (code, message) =
        rejected(&["--certs", "dev", "--policy", "/nowhere/policy.yaml", "--termination-message", path]);
    assert_eq!(code, 2, "{message}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("/nowhere/policy.yaml") && message.contains(&written), "{message}\n{written}");

    // Where it cannot be written, the reason is still printed.
    let nowhere = ["--termination-message", "/nowhere/at/all"];
    let (code, message) =
        rejected(&[&["--certs", "dev", "--policy", "/nowhere/policy.yaml"], &nowhere[..]].concat());
    assert!(code == 2 && message.contains("/nowhere/policy.yaml"), "{message}");
}

/// A kubeconfig for an API server on this port.
fn kubeconfig(folder: &std::path::Path, port: u16) -> String {
    let kubeconfig = serde_json::json!({
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "here"}}],
        "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{port}")}}],
        "users": [{"name": "test", "user": {"token": "token"}}],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path.to_str().unwrap().to_string()
}

#[tokio::test]
async fn without_an_api_server_managed_certificates_wait_for_one() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and not listening to: there is no answer.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = kubeconfig(folder.path(), closed);
    let arguments = ["--certs", "managed", "--server-name", "localhost", "--kubeconfig", &kubeconfig];
    let mut server = Server::start_in(folder, &[&arguments[..], &["--shutdown-delay", "0"]].concat());
    server.logged("the API server does not answer");
    let ready = get(server.admin, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text.contains("no certificate"), "{}", ready.text);
    assert_eq!(get(server.admin, "/healthz").await.status, StatusCode::OK);
    until("it is counted", async || {
        crate::client::metric(&server, "sandgate_certificate_upkeep_failing").await == 1
    })
    .await;
    assert!(TcpStream::connect(server.listen).await.is_ok());
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn managed_certificates_that_cannot_work_are_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "clusters: 7").unwrap();
    let (broken, good) = (broken.to_str().unwrap().to_string(), kubeconfig(folder.path(), 1));
    let managed = |more: &[&str]| rejected(&[&["--certs", "managed"], more].concat());
    for (arguments, wanted) in [
        (&["--server-name", "a", "--kubeconfig", "/nowhere/config"][..], "kubeconfig /nowhere/config: "),
        (&["--server-name", "a", "--kubeconfig", &broken], "broken: "),
        (&["--server-name", "a"], "give --kubeconfig PATH"),
        (&["--server-name", "ä", "--kubeconfig", &good], "cannot make a certificate"),
    ] {
        let (code, message) = managed(arguments);
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(wanted), "{wanted:?} is not in {message}");
    }
    assert!(managed(&["--kubeconfig", &good]).1.contains("--server-name"));
}
