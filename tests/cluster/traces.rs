//! Traces that begin at the API server.

use serde_json::json;

use crate::examples::plain_pod;
use testbed::{ApiServer, Collector, Sandgate, Version, attribute, eventually, shared};

/// An API server of its own: tracing every request would slow down all the others' tests.
#[tokio::test]
#[cfg_attr(before_kubernetes = "1.34", ignore = "needs Kubernetes 1.34: TracingConfiguration v1")]
async fn a_create_that_the_api_server_traces_is_a_trace_that_goes_through_both_webhooks() {
    let bed = shared().await;
    let version = Version::chosen().expect("a version");
    let apiserver = ApiServer::start_tracing(version).await.expect("an API server");
    let rest = apiserver.rest().await.expect("a client");
    for name in ["default", "workflow-runner"] {
        let account = json!({"metadata": {"name": name}});
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        rest.post(accounts, &account).await.expect("a service account");
    }
    let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc"});
    rest.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.expect("a RuntimeClass");
    let collector = Collector::start().await;
    let spec = json!({"namespaces": ["default"]});
    let flags = ["--otlp-endpoint", &collector.url];
    let sandgate = Sandgate::start_flagged(bed, &spec, &flags).await.expect("sandgate starts");
    sandgate.register(&rest).await.expect("it is registered");

    // Nothing is sampled here, so whatever arrives was sampled there.
    let pods = "/api/v1/namespaces/default/pods?dryRun=All";
    let spans = eventually("both webhooks have a span of one trace", async || {
        let stored = rest.post(pods, &plain_pod("main")).await;
        let spans = collector.spans();
        let of_mutate = spans.iter().find(|span| span["name"] == "POST /mutate");
        let of_validate = spans.iter().find(|span| {
            span["name"] == "POST /validate"
                && of_mutate.is_some_and(|mutate| mutate["traceId"] == span["traceId"])
        });
        Ok(stored.ok().and(of_mutate.cloned().zip(of_validate.cloned())))
    });
    let (mutate, validate) = spans.await.expect("spans");
    assert_ne!(mutate["spanId"], validate["spanId"]);
    for span in [&mutate, &validate] {
        assert_eq!(attribute(span, "sandgate.verdict").as_deref(), Some("admitted"), "{span:#}");
        assert!(span["parentSpanId"].is_string(), "{span:#}");
    }
}
