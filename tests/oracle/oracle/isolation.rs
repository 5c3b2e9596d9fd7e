//! What the kubelet, the node and the network let a container reach.

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe};
use serde_json::json;

use super::{Faults, Placed, Section, Subject, must, word};
use crate::rule_cases::{RuleCase, rule_case};

/// The keys, the property and its cases.
pub(super) const SECTION: Section =
    Section { defaults: "", drawn: "", check, cases: rule_cases, cases_under_policies: CASES_UNDER_POLICIES };

fn check(subject: &Subject, faults: &mut Faults) {
    let spec = subject.spec;
    let host = [spec.host_ipc, spec.host_network, spec.host_pid];
    must(!host.contains(&Some(true)), "host namespace", faults);
    let dns = word(spec.dns_policy.as_ref());
    must(matches!(dns, "" | "ClusterFirst" | "ClusterFirstWithHostNet" | "None"), "DNS policy", faults);
    for placed in subject.containers {
        check_container(placed, faults);
    }
}

fn check_container(placed: &Placed, faults: &mut Faults) {
    let container = &placed.container;
    let mut ports = container.ports.iter().flatten();
    placed.must(ports.all(|port| port.host_port.unwrap_or(0) == 0), "host port", faults);
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    placed.must(!probes.into_iter().flatten().any(reaches_out), "probe host", faults);
    let hooks = container.lifecycle.iter().flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    placed.must(!hooks.flatten().any(hook_reaches_out), "hook host", faults);
    let path = word(container.termination_message_path.as_ref());
    let allowed = &placed.keys.volumes.termination_message_paths;
    let is_allowed = matches!(path, "" | "/dev/termination-log") || allowed.iter().any(|known| known == path);
    placed.must(is_allowed, "termination message path", faults);
    placed.must(container.volume_devices.iter().flatten().next().is_none(), "volume device", faults);
}

fn reaches_out(probe: &Probe) -> bool {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_ref());
    let tcp = probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
    !word(http).is_empty() || !word(tcp).is_empty()
}

fn hook_reaches_out(hook: &LifecycleHandler) -> bool {
    let http = hook.http_get.as_ref().and_then(|get| get.host.as_ref());
    let tcp = hook.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
    !word(http).is_empty() || !word(tcp).is_empty()
}

fn rule_cases() -> Vec<RuleCase> {
    vec![
        rule_case(
            "host-namespaces",
            vec![
                ("spec/hostNetwork", vec![json!(true)]),
                ("spec/hostPID", vec![json!(true)]),
                ("spec/hostIPC", vec![json!(true)]),
            ],
            vec![("spec/hostNetwork", vec![json!(false)]), ("spec/hostPID", vec![json!(null)])],
        ),
        rule_case(
            "host-ports",
            vec![("C/ports", vec![json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 1}])])],
            vec![("C/ports", vec![json!([{"containerPort": 65_535, "hostPort": 0, "hostIP": "0.0.0.0"}])])],
        ),
        rule_case(
            "probe-hosts",
            vec![
                ("C/livenessProbe", vec![json!({"httpGet": {"port": 80, "host": "169.254.169.254"}})]),
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": "127.0.0.1"}})]),
                ("C/startupProbe", vec![json!({"httpGet": {"port": 80, "host": " "}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": "x"}}})]),
                ("C/lifecycle", vec![json!({"postStart": {"tcpSocket": {"port": 80, "host": "::1"}}})]),
            ],
            vec![
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": ""}})]),
                ("C/livenessProbe", vec![json!({"httpGet": {"port": "http", "host": ""}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": null}}})]),
            ],
        ),
        rule_case(
            "dns-policy",
            vec![("spec/dnsPolicy", vec![json!("Default"), json!("clusterFirst")])],
            vec![("spec/dnsPolicy", vec![json!("None"), json!("ClusterFirstWithHostNet"), json!(null)])],
        ),
        rule_case(
            "termination-message-path",
            vec![("C/terminationMessagePath", vec![json!("/etc/passwd"), json!("/dev/termination-log/")])],
            vec![("C/terminationMessagePath", vec![json!("/dev/termination-log"), json!(""), json!(null)])],
        ),
        rule_case(
            "volume-devices",
            vec![("C/volumeDevices", vec![json!([{"name": "workspace", "devicePath": "/dev/x"}])])],
            vec![("C/volumeDevices", vec![json!([]), json!(null)])],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r"
- rule: termination-message-path
  spec: {volumes: {terminationMessagePaths: [/tekton/termination]}}
  violating:
    C/terminationMessagePath: [/tekton, /tekton/termination/x, /tekton//termination]
  boundary:
    C/terminationMessagePath: [/tekton/termination, /dev/termination-log]
";
