//! `sandgate certs`, without a cluster; `tests/cluster/certificates` has one.

use std::net::TcpListener;

use serde_json::json;

use crate::{Folder, sandgate};

#[test]
fn where_nothing_can_be_read_it_says_why() {
    let run = sandgate(&["certs", "show", "--kubeconfig", "/nowhere/config"]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.starts_with("error: kubeconfig /nowhere/config: "), "{}", run.stderr);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = json!({
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": format!("https://{closed}")}}],
        "users": [{"name": "test", "user": {"token": "token"}}],
    });
    let folder = Folder::with(&[("config", &kubeconfig.to_string())]);
    let run = folder.run(&["certs", "show", "--kubeconfig", "config"]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.starts_with("error: the API server does not answer (Connection refused"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_context_that_is_not_there_is_an_error() {
    let kubeconfig = json!({"contexts": [], "clusters": [], "users": []}).to_string();
    let folder = Folder::with(&[("config", &kubeconfig)]);
    for command in [&["certs", "show"][..], &["probe", "-n", "ci"]] {
        let run = folder.run(&[command, &["--kubeconfig", "config", "--context", "elsewhere"]].concat());
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{command:?}");
        assert!(run.stderr.contains("elsewhere"), "{}", run.stderr);
        let run = folder.run(&[command, &["--context", "elsewhere"]].concat());
        assert!(run.stderr.contains("there is none, and --context names one"), "{}", run.stderr);
    }
}
