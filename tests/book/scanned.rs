//! docs/scan.md: its output is what `sandgate scan` prints of such Pods. An API server that has one answer stands in for a real one,
//! whose Pods the tests of the command scan.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use serde_json::{Value, json};

use crate::pages::terminal;
use testbed::{is_shown, shown};

#[test]
fn the_output_of_the_page_is_that_of_the_command() {
    const COMMAND: &str = "sandgate scan -n workflows";
    let folder = tempfile::tempdir().unwrap();
    let port = serve(json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods()}));
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stand-in",
        "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "stand-in"}}],
        "clusters": [{"name": "stand-in", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "stand-in", "user": {}}],
    });
    fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let printed = terminal(&format!("KUBECONFIG=kubeconfig {COMMAND}"), folder.path());
    assert!(is_shown(&shown("docs/scan.md", COMMAND).unwrap(), &printed), "{printed}");
}

/// A Deployment in the network of its nodes, a `CronJob` that runs as root, a Pod of a person, and one that has ended.
fn pods() -> Vec<Value> {
    let pod = |name: &str, owner: Option<(&str, &str, &str)>, spec: Value| {
        let owners = owner.map(|(version, kind, name)| {
            json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "1", "controller": true}])
        });
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "workflows", "ownerReferences": owners},
            "spec": {
                "nodeName": "node-1",
                "restartPolicy": "Always",
                "containers": [{"name": "main", "image": "registry.example.com/runner:1"}],
            },
            "status": {"phase": "Running"},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        pod
    };
    let mut pods: Vec<Value> = ["a", "b", "c", "d"]
        .map(|end| {
            let owner = Some(("apps/v1", "ReplicaSet", "web-5d4f"));
            let mut pod = pod(&format!("web-5d4f-{end}"), owner, json!({"hostNetwork": true}));
            pod["metadata"]["labels"] = json!({"pod-template-hash": "5d4f"});
            pod
        })
        .into();
    let root = json!({"restartPolicy": "OnFailure", "securityContext": {"runAsUser": 0}});
    pods.push(pod("nightly-29383920-x", Some(("batch/v1", "Job", "nightly-29383920")), root));
    pods.push(pod("debug", None, json!({})));
    let mut ended = pod("ended", None, json!({}));
    ended["status"]["phase"] = json!("Succeeded");
    pods.push(ended);
    pods
}

/// Answers every request with `json`, and returns the port.
fn serve(json: Value) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream, &json))));
    port
}

fn answer(stream: TcpStream, json: &Value) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // The request ends with an empty line.
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = json.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    write!(stream.get_mut(), "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
