//! Over which replicas an API server spreads its reviews.
//!
//! From Kubernetes 1.37 on it chooses an endpoint of the Service for each review (`WebhookRoundTripLoadBalancing`, with
//! `--enable-aggregator-routing`); before, it keeps to the connections that it has. The endpoints here are of an address for documentation that leads to
//! loopback, since no endpoint may have a loopback address.

use serde_json::json;

use super::aftermath;
use crate::installed::{CHART, Installed};
use testbed::{
    ControlPlane, Iptables, NodePod, Rest, Version, eventually,
    load::{Creates, Load},
    plain_http,
};

/// Of TEST-NET-2.
const ADDRESS: &str = "198.51.100.1";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of make ha: it needs Kubernetes 1.37, and root for iptables"]
async fn a_newer_api_server_spreads_reviews_over_all_replicas() {
    let _redirect = Iptables::redirect_to_loopback(ADDRESS).expect("a redirect to loopback");
    for gate in [false, true] {
        let flag = format!("--feature-gates=WebhookRoundTripLoadBalancing={gate}");
        let bed = ControlPlane::start_as(Version::NEWEST, vec![flag]).await.expect("a control plane");
        let release = Installed::before(&bed, "sandgate").await.expect("what there is before an install");
        release.install(CHART, &["--set=webhook.url=,replicas=3,server.audit=off"]).await.expect_success();
        release.until_ready(3).await;
        let pods = release.ready();
        for pod in &pods {
            publish(&release.rest, pod).await;
        }
        release.until_armed().await;

        let before = reviews(&pods).await;
        let load = Load::start(&release.rest, &release.guarded, Creates::Tried);
        tokio::time::sleep(aftermath()).await;
        let seen = load.stop().await;
        let after = reviews(&pods).await;
        let shares: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        println!("round robin of webhook connections: {gate}; reviews of each replica: {shares:?}; {seen}");
        assert_eq!((seen.open, seen.failed.len()), (0, 0), "{:?}", seen.kinds_of_failure());
        let all: u64 = shares.iter().sum();
        assert!(all > 100, "{shares:?}");
        if gate {
            assert!(shares.iter().all(|share| share * 10 > all), "a tenth and more of {all}: {shares:?}");
        }
    }
}

/// Makes the pod an endpoint of the release's Service; each has a port of its own.
async fn publish(rest: &Rest, pod: &NodePod) {
    let slice = json!({
        "metadata": {"name": pod.name, "labels": {"kubernetes.io/service-name": "sandgate"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "protocol": "TCP", "port": pod.ports[&10250]}],
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": true}}],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/sandgate/endpointslices";
    rest.post(path, &slice).await.expect("an endpoint");
}

/// How many reviews each replica has answered.
async fn reviews(pods: &[NodePod]) -> Vec<u64> {
    let mut counts = Vec::new();
    for pod in pods {
        let metrics =
            eventually("metrics", async || Ok(plain_http::get(pod.ports[&8080], "/metrics").await.ok()));
        let metrics = metrics.await.expect("the replica answers");
        let lines = metrics.lines().filter(|line| line.starts_with("sandgate_admission_reviews_total{"));
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.push(numbers.sum());
    }
    counts
}
