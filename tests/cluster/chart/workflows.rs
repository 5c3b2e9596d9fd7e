//! The namespaces that the chart sets up.

use sandgate_engine::policy::PRESETS;
use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, rendering::policies, scenario};

#[tokio::test]
async fn each_namespace_gets_an_account_without_a_token_policies_and_a_quota() {
    let objects = render_scenario(&scenario("production")).await;
    for namespace in ["workflows", "ci-jobs"] {
        let made = objects.all("Namespace").find(|object| object["metadata"]["name"] == namespace);
        let metadata = &made.expect("it is made")["metadata"];
        assert_eq!(metadata["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        assert_eq!(metadata["annotations"]["helm.sh/resource-policy"], "keep");
        let account = within(&objects, "ServiceAccount", namespace, "workflow-runner");
        assert_eq!(account["automountServiceAccountToken"], false);
        within(&objects, "ResourceQuota", namespace, "sandgate");
        let denied = within(&objects, "NetworkPolicy", namespace, "sandgate-deny-all");
        let everything = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
        assert_eq!(denied["spec"], everything, "a label can be removed, so every Pod is denied");
    }
    assert_eq!(objects.all("Namespace").count(), 2, "only those that were named");
}

#[tokio::test]
async fn the_way_out_is_dns_public_addresses_and_the_callback_service() {
    let objects = render_scenario(&scenario("production")).await;
    let policy = within(&objects, "NetworkPolicy", "workflows", "sandgate-allow-egress");
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({"app": "workflow-runner"}));
    assert_eq!(policy["spec"]["policyTypes"], json!(["Egress"]));
    let [dns, internet, further, callback] = items(&policy["spec"]["egress"]) else {
        panic!("four ways: {policy:#}")
    };
    assert_eq!(further["ports"], json!([{"port": 5432}]), "what the scenario opens besides");
    let both = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
    assert_eq!(dns["ports"], both);
    let resolver = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    });
    assert_eq!(dns["to"], json!([resolver, {"ipBlock": {"cidr": "169.254.20.10/32"}}]));
    assert_eq!(internet["ports"], json!([{"port": 443, "protocol": "TCP"}]));
    for (address, is_public) in [
        ("1.1.1.1", true),
        ("8.8.8.8", true),
        ("169.254.169.254", false),
        ("10.1.2.3", false),
        ("172.31.0.1", false),
        ("192.168.1.1", false),
        ("100.64.0.1", false),
        ("127.0.0.1", false),
        ("224.0.0.1", false),
        ("2606:4700::1111", true),
        ("2a00:1450:4001::1", true),
        ("::1", false),
        ("::ffff:10.1.2.3", false),
        ("64:ff9b::a9fe:a9fe", false),
        ("2002:a9fe:a9fe::1", false),
        ("fd00:ec2::254", false),
        ("fe80::1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(is_open(&internet["to"], address), is_public, "{address}");
    }
    let peer = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "workflow-system"}},
        "podSelector": {"matchLabels": {"app": "coordinator"}},
    }]);
    assert_eq!(callback["to"], peer);
    assert_eq!(callback["ports"], json!([{"port": 4000, "protocol": "TCP"}]));
}

/// As a network policy is read: in a block, and in none of its exceptions.
fn is_open(peers: &Value, address: &str) -> bool {
    let address = address.parse().expect("an address");
    items(peers).iter().map(|peer| &peer["ipBlock"]).any(|block| {
        let within = |cidr: &Value| contains(cidr.as_str().expect("a CIDR"), address);
        within(&block["cidr"]) && !items(&block["except"]).iter().any(within)
    })
}

fn contains(cidr: &str, address: std::net::IpAddr) -> bool {
    use std::net::IpAddr::{V4, V6};

    let (network, length) = cidr.split_once('/').expect("a CIDR has a length");
    let length: u32 = length.parse().expect("a length");
    match (network.parse().expect("an address"), address) {
        (V4(network), V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= length,
        (V6(network), V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= length,
        _ => false,
    }
}

#[tokio::test]
async fn namespaces_that_exist_get_an_account_and_nothing_that_reaches_running_pods() {
    let flags = ["--set", "workflowNamespaces.names={workflows},workflowNamespaces.create=false"];
    let objects = render(&flags).await;
    within(&objects, "ServiceAccount", "workflows", "workflow-runner");
    assert_eq!(objects.all("Namespace").count() + objects.all("ResourceQuota").count(), 0);
    assert!(objects.all("NetworkPolicy").all(|policy| policy["metadata"]["namespace"] != "workflows"));

    let enabled = [
        "--set=workflowNamespaces.networkPolicy.enabled=true",
        "--set=workflowNamespaces.networkPolicy.internet.enabled=false",
    ];
    let objects = render(&[&flags[..], &enabled].concat()).await;
    let policy = within(&objects, "NetworkPolicy", "workflows", "sandgate-allow-egress");
    assert_eq!(items(&policy["spec"]["egress"]).len(), 1, "DNS is left");
}

/// A selector that differs from the labels that the policy fills in would cut every Pod off, DNS included, and a Pod
/// without its service account is never made.
#[tokio::test]
async fn account_and_labels_are_those_of_the_policy_of_the_namespace() {
    let mut by_policy = json!({
        "plain": {},
        "own": {
            "labels": {"required": {"team": "red", "tier": "batch"}},
            "serviceAccount": {"default": "builder", "allowed": ["builder"]},
        },
        "own-over-preset": {"extends": "preset/jobs", "labels": {"required": {"team": "blue"}}},
        "extends-preset": {"extends": "preset-jobs"},
        "extends-own": {"extends": "own", "mode": "enforce"},
    });
    for (preset, _) in PRESETS {
        by_policy[format!("preset-{preset}")] = json!({"extends": format!("preset/{preset}")});
    }
    let names: Vec<_> = by_policy.as_object().expect("policies").keys().cloned().collect();
    for name in &names {
        by_policy[name]["namespaces"] = json!([format!("of-{name}")]);
    }
    let namespaces: Vec<_> = names.iter().map(|name| format!("of-{name}")).collect();
    let values = json!({
        "policies": by_policy,
        "workflowNamespaces": {
            "names": namespaces,
            "networkPolicy": {"enabled": true, "ingress": [{"ports": [{"port": 8080}]}]},
        },
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).expect("it is written");
    let objects = render(&["--values", file.to_str().expect("a path")]).await;

    let policies = policies(&objects);
    for namespace in &namespaces {
        let policy = policies.for_namespace(namespace, None).expect("a policy");
        let required = json!(policy.base().spec.labels.required);
        assert_ne!(required, json!({}), "{namespace}");
        let account = policy.base().spec.service_account.default.as_ref().expect("an account");
        // Kubeflow makes its account itself.
        let account = if account == "pipeline-runner" { "workflow-runner" } else { account };
        within(&objects, "ServiceAccount", namespace, account);
        for name in ["sandgate-allow-egress", "sandgate-allow-ingress"] {
            let selector = &within(&objects, "NetworkPolicy", namespace, name)["spec"]["podSelector"];
            assert_eq!(*selector, json!({"matchLabels": required}), "{namespace}: {name}");
        }
    }

    let chosen = [
        "--set-json=workflowNamespaces.podLabels={\"chosen\":\"here\"}",
        "--set=workflowNamespaces.serviceAccount=other",
    ];
    let objects = render(&[&["--values", file.to_str().expect("a path")], &chosen[..]].concat()).await;
    let policy = within(&objects, "NetworkPolicy", "of-preset-jobs", "sandgate-allow-egress");
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({"chosen": "here"}));
    within(&objects, "ServiceAccount", "of-preset-jobs", "other");
}

/// A quota denies Pods without limits, and in modes warn and audit nothing fills them in.
#[tokio::test]
async fn quota_and_network_policies_are_left_out_unless_the_policy_is_enforced() {
    let enabled = [
        "--set=workflowNamespaces.names={workflows}",
        "--set=workflowNamespaces.networkPolicy.enabled=true",
        "--set=workflowNamespaces.resourceQuota.enabled=true",
    ];
    for (mode, count) in [("audit", 0), ("warn", 0), ("enforce", 3)] {
        let mode = format!("--set=policies.workflow-runner.mode={mode}");
        let objects = render(&[&enabled[..], &[&mode]].concat()).await;
        let reaches = objects.all("NetworkPolicy").chain(objects.all("ResourceQuota"));
        let found = reaches.filter(|object| object["metadata"]["namespace"] == "workflows").count();
        assert_eq!(found, count, "{mode}");
        let asked = ["--set=workflowNamespaces.resourceQuota.modes={enforce,warn,audit}"];
        let objects = render(&[&enabled[..], &[&mode], &asked].concat()).await;
        assert_eq!(objects.all("ResourceQuota").count(), 1, "{mode}, if it is asked for");
    }
}

#[tokio::test]
async fn ingress_is_opened_to_the_peers_that_are_named() {
    let objects = render_scenario(&scenario("production")).await;
    let policy = within(&objects, "NetworkPolicy", "workflows", "sandgate-allow-ingress");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!({"app": "workflow-runner"}));
    assert_eq!(policy["spec"]["ingress"][0]["ports"], json!([{"port": 8888}]));
    let objects = render_scenario(&scenario("openshift")).await;
    let names = objects.all("NetworkPolicy").map(|policy| policy["metadata"]["name"].clone());
    assert!(!names.collect::<Vec<_>>().contains(&json!("sandgate-allow-ingress")), "none unless named");
}

#[track_caller]
fn within<'o>(objects: &'o Objects, kind: &str, namespace: &str, name: &str) -> &'o Value {
    let fits =
        |object: &&Value| object["metadata"]["namespace"] == namespace && object["metadata"]["name"] == name;
    objects.all(kind).find(fits).unwrap_or_else(|| panic!("{namespace} has a {kind} {name}"))
}
