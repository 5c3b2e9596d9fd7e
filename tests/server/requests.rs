//! What is answered to what, over HTTP.

use hyper::{Request, StatusCode, header::CONTENT_TYPE};

use crate::{
    client::{Http1, Target, hostile_pod, metric, plain_pod, post, read_to_end, review, write},
    process::{Server, until},
};

#[tokio::test]
async fn a_plain_pod_is_filled_and_a_hostile_one_rejected_both_with_200() {
    let server = Server::start(&[]);
    let target = Target::of(&server);

    let filled = target.post("/mutate?timeout=10s", review("CREATE", &plain_pod())).await;
    assert_eq!(
        (filled.status, &filled.headers[CONTENT_TYPE]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    let response = &filled.json()["response"];
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");

    let rejected = target.post("/validate?timeout=10s", review("CREATE", &hostile_pod())).await;
    assert_eq!(rejected.status, StatusCode::OK);
    let response = &rejected.json()["response"];
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&false.into(), &403.into()));
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
}

#[tokio::test]
async fn a_rejection_is_logged_in_one_line_without_the_pods_environment() {
    let server = Server::start(&["--log-level", "debug"]);
    Target::of(&server).post("/mutate", review("CREATE", &hostile_pod())).await;
    let line = server.logged(r#""verdict":"denied""#);
    for part in [r#""level":"INFO""#, "host-namespaces", "workflows", "705ab4f5"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!server.logs().contains("do-not-log-me"), "{}", server.logs());
}

#[tokio::test]
async fn what_is_no_review_is_answered_with_400_and_one_line() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let deep = "[".repeat(100) + &"]".repeat(100);
    let long = format!(r#"{{"kind":"AdmissionReview","request":"{}"}}"#, "x".repeat(1 << 20));
    let whole = review("CREATE", &plain_pod());
    let bodies: &[&[u8]] = &[
        b"",
        b"hello",
        b"NaN",
        b"null",
        b"{}",
        b"[]",
        b"\xff\xfe{}",
        b"{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"\xff\"}}",
        br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
        br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2","request":{"uid":"u","operation":"CREATE"}}"#,
        br#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#,
        &whole.as_bytes()[..whole.len() / 2],
        deep.as_bytes(),
        long.as_bytes(),
        // What gzip makes of it, with no Content-Encoding that says so.
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    ];
    for body in bodies {
        for path in ["/mutate", "/validate"] {
            let answer = target.post(path, body.to_vec()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}: {answer:?}");
            assert_eq!(answer.text.trim_end().lines().count(), 1, "{shown}: {answer:?}");
            assert!(answer.text.len() < 1024, "{shown}: {} bytes", answer.text.len());
        }
    }
    assert_eq!(metric(&server, "sandgate_bad_requests_total").await, 2 * bodies.len() as u64);
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_rejected_not_an_error() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for pod in [serde_json::json!("text"), serde_json::json!({"spec": {"containers": {"name": "main"}}})] {
        let answer = target.post("/mutate", review("CREATE", &pod)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json()["response"]["allowed"], false, "{answer:?}");
    }
}

#[tokio::test]
async fn other_paths_methods_and_types_are_rejected_with_their_status_and_a_reason() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let request = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        request = request.header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(review("CREATE", &plain_pod()).into()).unwrap()
    };
    let json = ("content-type", "application/json");
    let cases = [
        (request("POST", "/", &[json]), StatusCode::NOT_FOUND, "/mutate"),
        (request("POST", "/mutate/", &[json]), StatusCode::NOT_FOUND, "/mutate"),
        (request("POST", "/metrics", &[json]), StatusCode::NOT_FOUND, "/mutate"),
        (request("GET", "/mutate", &[json]), StatusCode::METHOD_NOT_ALLOWED, "POST"),
        (request("PUT", "/validate", &[json]), StatusCode::METHOD_NOT_ALLOWED, "POST"),
        (request("POST", "/mutate", &[]), StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/json"),
        (
            request("POST", "/mutate", &[("content-type", "application/yaml")]),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/json",
        ),
        (
            request("POST", "/mutate", &[json, ("content-encoding", "gzip")]),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "uncompressed",
        ),
    ];
    for (request, status, reason) in cases {
        let shown = format!("{request:?}");
        let answer = target.send(request).await;
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        assert!(answer.text.contains(reason), "{shown}: {answer:?}");
        assert_eq!(answer.text.trim_end().lines().count(), 1, "{shown}: {answer:?}");
        assert_eq!(answer.headers.contains_key("allow"), status == StatusCode::METHOD_NOT_ALLOWED, "{shown}");
    }
}

#[tokio::test]
async fn parameters_of_the_content_type_do_not_matter() {
    let server = Server::start(&[]);
    let mut request = post("/mutate", review("CREATE", &plain_pod()));
    request.headers_mut().insert(CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
    assert_eq!(Target::of(&server).send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn ten_megabytes_are_rejected_with_413_and_the_next_connection_is_served() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let answer = target.post("/mutate", vec![b' '; 10 << 20]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text.contains("8388608"), "{answer:?}");
    assert_eq!(metric(&server, r#"sandgate_requests_rejected_total{limit="body-size"}"#).await, 1);
    assert_eq!(target.post("/mutate", review("CREATE", &plain_pod())).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_read_up_to_the_limit() {
    let server = Server::start(&["--max-body-bytes", "100000"]);
    let target = Target::of(&server);
    let body = review("CREATE", &plain_pod());
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

    let mut stream = target.connect().await;
    let (one, two) = body.split_at(body.len() / 2);
    let chunks = format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    write(&mut stream, &chunks).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""allowed":true"#), "{answer}");

    let mut stream = target.connect().await;
    let large = " ".repeat(200_000);
    write(&mut stream, &format!("{head}{:x}\r\n{large}\r\n0\r\n\r\n", large.len())).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_rejected_before_it_sends() {
    let server = Server::start(&["--max-body-bytes", "100000"]);
    let mut stream = Target::of(&server).connect().await;
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n";
    write(&mut stream, head).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn three_megabytes_of_review_are_answered_beside_small_ones() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut pod = plain_pod();
    pod["metadata"]["annotations"] = serde_json::json!({"note": "n".repeat(3 << 20)});
    let large = review("CREATE", &pod);
    let (large, small) =
        tokio::join!(target.post("/mutate", large), target.post("/mutate", review("CREATE", &plain_pod())));
    assert_eq!((large.status, small.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(large.json()["response"]["allowed"], true, "{large:?}");
}

#[tokio::test]
async fn a_hundred_thousand_containers_are_rejected() {
    let server = Server::start(&[]);
    let mut pod = plain_pod();
    let container = serde_json::json!({"name": "c", "securityContext": {"privileged": true}});
    pod["spec"]["containers"] = vec![container; 100_000].into();
    let answer = Target::of(&server).post("/mutate", review("CREATE", &pod)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["response"]["allowed"], false);
    assert!(answer.text.len() < 1 << 20, "{} bytes", answer.text.len());
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start(&[]);
    let mut connection = Http1::over(Target::of(&server).connect().await).await;
    for _ in 0..3 {
        let answer = connection.send(post("/mutate", review("CREATE", &plain_pod()))).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.closes());
        // A rejection whose body was read does not cost the connection either.
        assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(metric(&server, "sandgate_tls_handshakes_total").await, 1);
}

#[tokio::test]
async fn a_namespace_without_a_policy_is_denied_and_warned_of_once() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let elsewhere = review("CREATE", &plain_pod())
        .replace(r#""namespace":"workflows","object""#, r#""namespace":"new","object""#);
    assert!(elsewhere.contains(r#""namespace":"new""#));
    for _ in 0..3 {
        let answer = target.post("/mutate", elsewhere.clone()).await;
        assert_eq!(answer.json()["response"]["allowed"], false, "{answer:?}");
        assert!(answer.text.contains("may not be loaded yet: try again"), "{answer:?}");
    }
    server.logged("no policy covers");
    assert_eq!(server.logs().matches("no policy covers").count(), 1, "{}", server.logs());

    let server = Server::start(&["--without-policy", "allow"]);
    let answer = Target::of(&server).post("/mutate", elsewhere).await;
    assert_eq!(answer.json()["response"]["allowed"], true, "{answer:?}");
}

#[tokio::test]
async fn the_policy_of_the_path_holds_for_namespaces_that_it_selects_by_label() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let policies = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: named}
spec: {namespaces: [workflows], labels: {required: {from: named}}}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: labelled}
spec: {namespaces: [], namespaceSelector: {matchLabels: {sandbox: wanted}}, labels: {required: {from: labelled}}}
";
    std::fs::write(&file, policies).unwrap();
    let server = Server::start(&["--policy", file.to_str().unwrap()]);
    let target = Target::of(&server);
    let in_namespace = |namespace: &str, pod: serde_json::Value| {
        let mut review: serde_json::Value = serde_json::from_str(&review("CREATE", &pod)).unwrap();
        review["request"]["namespace"] = namespace.into();
        review.to_string()
    };
    let plain = || {
        let mut pod = plain_pod();
        pod["metadata"]["namespace"] = serde_json::Value::Null;
        pod
    };
    let policy_of = async |path: &str, namespace: &str| {
        let answer = target.post(path, in_namespace(namespace, plain())).await.json();
        let annotations = &answer["response"]["auditAnnotations"];
        (answer["response"]["allowed"] == true, annotations["policy"].as_str().map(str::to_string))
    };
    let labelled = Some("labelled".to_string());
    assert_eq!(policy_of("/mutate/labelled?timeout=10s", "team-a").await, (true, labelled.clone()));
    // It is not filled there, so it is denied by the same policy.
    assert_eq!(policy_of("/validate/labelled", "team-a").await, (false, labelled));
    // A policy that names the namespace goes before the path, and is no policy for other namespaces.
    assert_eq!(policy_of("/mutate/labelled", "workflows").await, (true, Some("named".into())));
    for path in ["/mutate/named", "/mutate/unknown", "/validate/unknown", "/mutate/a%2Fb", "/mutate"] {
        assert_eq!(policy_of(path, "team-a").await, (false, None), "{path}");
    }
    // Each denial leaves a record.
    let denied =
        || server.audit.all().into_iter().filter(|line| line.contains(r#""verdict":"denied""#)).collect();
    until("all are recorded", async || Vec::<String>::len(&denied()) == 6).await;
    let records: Vec<String> = denied();
    let unknown = records.iter().find(|line| line.contains("unknown"));
    assert!(unknown.is_some_and(|line| line.contains(r#""rule":"namespace-policy""#)), "{records:#?}");
}
