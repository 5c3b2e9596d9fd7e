//! Who may reach sandgate's own Pods, and what they may reach.

use serde_json::{Value, json};

use super::{Objects, items, render};

fn spec(objects: &Objects) -> &Value {
    &objects.one("NetworkPolicy")["spec"]
}

/// What may reach a port, by its name; `None` if nothing may, null if everything may.
fn sources(objects: &Objects, port: &str) -> Option<Value> {
    let rules = items(&spec(objects)["ingress"]);
    rules.iter().find(|rule| rule["ports"] == json!([{"port": port}])).map(|rule| rule["from"].clone())
}

#[tokio::test]
async fn by_default_the_webhook_port_alone_is_open_and_the_way_out_leads_to_the_api_server() {
    let objects = render(&[]).await;
    assert_eq!(spec(&objects)["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(sources(&objects, "https"), Some(Value::Null));
    assert_eq!(sources(&objects, "admin"), None, "the kubelet of the Pod's own node needs no rule");
    assert_eq!(spec(&objects)["egress"], json!([{"ports": [{"port": 443}, {"port": 6443}]}]));
}

#[tokio::test]
async fn peers_that_are_named_are_the_only_ones() {
    let flags = [
        "--set=networkPolicy.webhookFrom[0].ipBlock.cidr=192.0.2.10/32",
        "--set=networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
        "--set=networkPolicy.nodeCIDRs={198.51.100.0/24}",
        "--set=networkPolicy.apiServerCIDRs={192.0.2.10/32},networkPolicy.apiServerPorts={6443}",
        "--set=networkPolicy.extraIngress[0].ports[0].port=9999",
        "--set=networkPolicy.extraEgress[0].ports[0].port=4318",
    ];
    let objects = render(&flags).await;
    assert_eq!(sources(&objects, "https"), Some(json!([{"ipBlock": {"cidr": "192.0.2.10/32"}}])));
    let metrics = json!([
        {"podSelector": {"matchLabels": {"app": "prometheus"}}},
        {"ipBlock": {"cidr": "198.51.100.0/24"}},
    ]);
    assert_eq!(sources(&objects, "admin"), Some(metrics));
    assert_eq!(items(&spec(&objects)["ingress"])[2]["ports"], json!([{"port": 9999}]));
    let egress = json!([
        {"ports": [{"port": 6443}], "to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}]},
        {"ports": [{"port": 4318}]},
    ]);
    assert_eq!(spec(&objects)["egress"], egress);
}

#[tokio::test]
async fn without_calls_of_the_api_server_nothing_may_be_reached() {
    let objects = render(&["--set", "certificates.mode=cert-manager,server.events=false"]).await;
    assert!(spec(&objects).get("egress").is_none(), "the type Egress without a rule denies all");
    let off = render(&["--set", "networkPolicy.enabled=false"]).await;
    assert_eq!(off.all("NetworkPolicy").count(), 0);
}
