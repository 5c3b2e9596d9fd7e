//! The reach of a Pod with the chart's `NetworkPolicies`, which kube-router enforces here: in gVisor, in runc, and
//! without the policies.
//!
//! The policies of a new Pod are in force a moment after the Pod has its address. So a script first waits until the API
//! server is out of reach, as `docs/node.md` advises, and then tries everything once.

use serde_json::{Value, json};

use crate::{
    pods::{has_ended, pod, until},
    shared::{Bed, NAMESPACE, cluster},
};
use testbed::{Cluster, eventually, harness::Test};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(sandboxed_pod_reaches_dns_alone),
        Test::new_async(runc_pod_with_policies_reaches_dns_alone),
        Test::new_async(pod_without_policies_reaches_everything),
        Test::new_async(ingress_to_sandboxed_pod_is_denied),
        Test::new_async(gap_before_the_policies_closes),
    ]
}

/// A command that succeeds if the API server, by its Service, accepts a connection.
const API_SERVER: &str = "nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT -e true 2>/dev/null";

/// Waits until the `NetworkPolicies` of this Pod are in force.
const WAIT: &str =
    "while nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT -e true 2>/dev/null; do sleep 0.1; done";

/// Prints what is reached: the API server at its own address and its Service, the kubelet, another Pod and DNS.
const TRY: &str = r"
    reaches() { if eval $2; then echo $1 open; else echo $1 closed; fi; }
    connects() { nc -w 2 $1 $2 -e true 2>/dev/null; }
    reaches service 'connects $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT'
    reaches api-server 'connects $NODE $API_PORT'
    reaches kubelet 'connects $NODE 10250'
    reaches dns-metrics 'connects $DNS_POD 8080'
    reaches dns 'nslookup kubernetes.default.svc.cluster.local >/dev/null 2>&1'
";

/// The output of a Pod with the policies.
const DNS_ALONE: &str = "service closed\napi-server closed\nkubelet closed\ndns-metrics closed\ndns open\n";

async fn sandboxed_pod_reaches_dns_alone() {
    let bed = cluster().await;
    let script = format!("{WAIT}\n{TRY}");
    let pod = trying(&bed, "reach", &script).await;
    bed.create(&pod).await;

    assert_eq!(bed.ended("reach").await["status"]["phase"], "Succeeded");

    assert_eq!(bed.logs("reach", "main").await, DNS_ALONE);
    bed.remove("reach").await;
}

async fn runc_pod_with_policies_reaches_dns_alone() {
    let bed = cluster().await;
    let namespace = unguarded(&bed, "policed").await;
    let policies = "/apis/networking.k8s.io/v1/namespaces";
    let chart = bed.rest.get(&format!("{policies}/{NAMESPACE}/networkpolicies")).await.unwrap();
    let chart = chart["items"].as_array().unwrap();
    assert!(!chart.is_empty(), "the chart has policies");
    for policy in chart {
        let copy = json!({"metadata": {"name": policy["metadata"]["name"]}, "spec": policy["spec"]});
        bed.rest.post(&format!("{policies}/{namespace}/networkpolicies"), &copy).await.unwrap();
    }

    assert_eq!(tried(&bed, &namespace, &format!("{WAIT}\n{TRY}")).await, DNS_ALONE);
}

/// Otherwise "closed" would prove nothing.
async fn pod_without_policies_reaches_everything() {
    let bed = cluster().await;
    let namespace = unguarded(&bed, "unpoliced").await;

    let reached = tried(&bed, &namespace, TRY).await;

    assert_eq!(reached, DNS_ALONE.replace("closed", "open"));
}

async fn ingress_to_sandboxed_pod_is_denied() {
    let bed = cluster().await;
    let serve = format!(
        "{WAIT}\nmkdir /tmp/www; echo hello >/tmp/www/index.html; httpd -p 8000 -h /tmp/www; sleep 1000"
    );
    let mut server = pod("served", &serve);
    let probe = json!({"exec": {"command": ["nc", "-w", "1", "127.0.0.1", "8000", "-e", "true"]}, "periodSeconds": 1});
    server["spec"]["containers"][0]["readinessProbe"] = probe;
    bed.create(&server).await;
    let server = bed.ready("served").await;
    let address = server["status"]["podIP"].as_str().unwrap();
    let namespace = unguarded(&bed, "outside").await;

    let script =
        format!("if nc -w 2 {address} 8000 -e true 2>/dev/null; then echo open; else echo closed; fi");

    assert_eq!(tried(&bed, &namespace, &script).await, "closed\n");
    bed.remove("served").await;
}

/// Measures the gap, for docs/node.md; how long it is decides nothing.
async fn gap_before_the_policies_closes() {
    const PODS: u8 = 5;
    // A denied connection takes up to a second: five in a row are enough.
    let script = format!(
        "begun=$(cut -d' ' -f1 /proc/uptime); last=none; denied=0
        while [ $denied -lt 5 ]; do
            if {API_SERVER}; then last=$(cut -d' ' -f1 /proc/uptime); denied=0; else denied=$((denied + 1)); fi
        done
        echo $begun $last"
    );
    let bed = cluster().await;
    for number in 0..PODS {
        let name = format!("gap-{number}");
        bed.create(&pod(&name, &script)).await;
        assert_eq!(bed.ended(&name).await["status"]["phase"], "Succeeded");
        println!("{name}: {}", gap(&bed.logs(&name, "main").await));
        bed.remove(&name).await;
    }
}

/// Describes the lines of the script: for how long after its start the API server was in reach.
fn gap(output: &str) -> String {
    let mut words = output.split_whitespace();
    let begun: f64 = words.next().and_then(|word| word.parse().ok()).unwrap();
    let last: Option<f64> = words.next().and_then(|word| word.parse().ok());
    last.map_or("never in reach".into(), |last| format!("in reach for {:.2} s", last - begun))
}

/// A Pod that runs a script with the addresses that it tries.
async fn trying<G>(bed: &Bed<G>, name: &str, script: &str) -> Value {
    let dns = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns";
    let address = eventually("the DNS has an address", async || {
        let pods = bed.rest.get(dns).await?;
        Ok(pods["items"][0]["status"]["podIP"].as_str().map(str::to_owned))
    });
    let endpoints = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let port = bed.rest.get(endpoints).await.unwrap()["ports"][0]["port"].to_string();
    let node = json!({"fieldRef": {"fieldPath": "status.hostIP"}});
    let mut pod = pod(name, script);
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "NODE", "valueFrom": node},
        {"name": "API_PORT", "value": port},
        {"name": "DNS_POD", "value": address.await.unwrap()},
    ]);
    pod
}

/// Makes a namespace that sandgate does not guard.
async fn unguarded<G>(bed: &Bed<G>, name: &str) -> String {
    bed.cluster.bed.namespace(&bed.rest, &json!({"name": name})).await.unwrap()
}

/// Runs the script under runc, in a Pod with the labels that the chart's policies select, and returns what it prints.
async fn tried<G>(bed: &Bed<G>, namespace: &str, script: &str) -> String {
    let mut pod = trying(bed, "reach", script).await;
    pod["metadata"]["labels"] = json!({"app": "workflow-runner"});
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["tolerations"] = json!([Cluster::toleration()]);
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    bed.rest.post(&pods, &pod).await.unwrap();
    let ended = until(&bed.rest, &format!("{pods}/reach"), "has ended", has_ended).await.unwrap();
    assert_eq!(bed.runtimes(&ended), ["io.containerd.runc.v2"; 2]);
    let output = bed.cluster.bed.kubectl(&["logs", "reach", "--namespace", namespace]).await.expect_success();
    bed.rest.delete(&format!("{pods}/reach?gracePeriodSeconds=0")).await.unwrap();
    output
}
