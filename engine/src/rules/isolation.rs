//! Isolation of the Pod from its node and from other Pods.

use std::fmt;

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement},
    json::Object,
    path::{LazyPath, SPEC},
    pod::Pod,
    policy::{ExactPath, Spec},
    violations::{Reporter, show},
};

pub(super) static HOST_NAMESPACES: Rule = Rule {
    id: "host-namespaces",
    group: Group::Isolation,
    title: "The Pod shares no namespace with its node.",
    why: "hostNetwork, hostPID and hostIPC give the Pod the network, the processes and the shared memory of its node.",
    references: &[
        "Pod Security Standards, Baseline: Host Namespaces",
        "CIS Kubernetes Benchmark 1.12, 5.2.3: Minimize the admission of containers wishing to share the host process ID namespace",
        "CIS Kubernetes Benchmark 1.12, 5.2.4: Minimize the admission of containers wishing to share the host IPC namespace",
        "CIS Kubernetes Benchmark 1.12, 5.2.5: Minimize the admission of containers wishing to share the host network namespace",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Pod security enforcement",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0038: Host PID/IPC privileges",
        "Kubescape, C-0041: HostNetwork access",
    ],
    setting: "",
    fill: None,
    check: |_, pod, out| {
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            deny_true(pod, field, "", out);
        }
    },
    cel: Some(cel_host_namespaces),
};

fn cel_denied_if_true(field: &str) -> Statement {
    let condition = format!("v.o.?spec.?{field}.orValue(false)");
    Statement::pod(condition, &format!("spec.{field}"), "'true'")
}

fn cel_host_namespaces(_: Keys) -> Vec<Statement> {
    ["hostNetwork", "hostPID", "hostIPC"].map(cel_denied_if_true).to_vec()
}

pub(super) static SHARED_PROCESS_NAMESPACE: Rule = Rule {
    id: "shared-process-namespace",
    group: Group::Isolation,
    title: "Containers do not share one process namespace unless the policy allows it.",
    why: "With shareProcessNamespace each container can read the environment, and the secrets, of all others.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/"],
    setting: "spec.security.shareProcessNamespace",
    fill: None,
    check: check_shared_process_namespace,
    cel: Some(cel_shared_process_namespace),
};

fn check_shared_process_namespace(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    if !spec.security.share_process_namespace {
        let field = "shareProcessNamespace";
        deny_true(pod, field, " (policy key security.shareProcessNamespace)", out);
    }
}

/// Reports a field of `spec` that is neither false nor unset; `key` is the end of the remedy.
fn deny_true(pod: &Pod, field: &str, key: &str, out: &mut Reporter) {
    let found = pod.spec.get(field);
    if found.is_some_and(|value| value.as_bool() != Some(false)) {
        out.report(SPEC.child(field), show(found), "false or unset", format_args!("remove {field}{key}"));
    }
}

fn cel_shared_process_namespace(keys: Keys) -> Vec<Statement> {
    if keys.spec.security.share_process_namespace {
        return Vec::new();
    }
    vec![cel_denied_if_true("shareProcessNamespace")]
}

pub(super) static HOST_PORTS: Rule = Rule {
    id: "host-ports",
    group: Group::Isolation,
    title: "No container uses a port of its node.",
    why: "A host port makes the sandbox reachable at the address of its node.",
    references: &[
        "Pod Security Standards, Baseline: Host Ports",
        "CIS Kubernetes Benchmark 1.12, 5.2.12: Minimize the admission of containers which use HostPorts",
        "NIST SP 800-190, 4.4.2: Unbounded network access from containers",
        "Kubescape, C-0044: Container hostPort",
    ],
    setting: "",
    fill: None,
    check: check_host_ports,
    cel: Some(cel_host_ports),
};

fn check_host_ports(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, port) in container.object.objects("ports") {
            let found = port.get("hostPort");
            if found.is_some_and(|value| value.as_i64() != Some(0)) {
                out.report(
                    container.at("ports").index(index).child("hostPort"),
                    show(found),
                    "unset",
                    "remove hostPort",
                );
            }
        }
    }
}

fn cel_host_ports(_: Keys) -> Vec<Statement> {
    let used = "p.?hostPort.orValue(0) != 0";
    vec![Statement::container(
        format!("c.o.?ports.orValue([]).exists(p, {used})"),
        "ports",
        &format!(
            "'host ports ' + c.o.?ports.orValue([]).filter(p, {used}).map(p, string(p.hostPort)).join(', ')"
        ),
    )]
}

pub(super) static PROBE_HOSTS: Rule = Rule {
    id: "probe-hosts",
    group: Group::Isolation,
    title: "Probes and lifecycle hooks connect to the Pod itself only.",
    why: "The kubelet makes these connections from the node: with a host of its choice a Pod could reach the \
          cloud's metadata service and everything else that the node can reach.",
    references: &[
        "Pod Security Standards, Baseline: Host Probes / Lifecycle Hooks",
        "NIST SP 800-190, 4.4.2: Unbounded network access from containers",
        "Kubescape, C-0052: Instance Metadata API",
    ],
    setting: "",
    fill: None,
    check: check_probe_hosts,
    cel: Some(cel_probe_hosts),
};

fn check_probe_hosts(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (probe, handler) in container.probes() {
            check_handler(container.at(probe), handler, out);
        }
        let lifecycle = container.at("lifecycle");
        for hook in ["postStart", "preStop"] {
            if let Some(handler) = container.object.object("lifecycle").and_then(|hooks| hooks.object(hook)) {
                check_handler(lifecycle.child(hook), handler, out);
            }
        }
    }
}

fn check_handler(path: LazyPath, handler: &Object, out: &mut Reporter) {
    for action in ["httpGet", "tcpSocket"] {
        let host = handler.object(action).and_then(|action| action.get("host"));
        if host.is_some_and(|host| host.as_str() != Some("")) {
            out.report(path.child(action).child("host"), show(host), "unset", "remove host");
        }
    }
}

fn cel_probe_hosts(_: Keys) -> Vec<Statement> {
    let probes = crate::pod::PROBES.map(String::from);
    let hooks = ["lifecycle.?postStart", "lifecycle.?preStop"].map(String::from);
    let hosts = probes.iter().chain(&hooks).flat_map(|handler| {
        ["httpGet", "tcpSocket"].map(|action| format!("c.o.?{handler}.?{action}.?host.orValue('')"))
    });
    let hosts: Vec<String> = hosts.collect();
    let condition = cel::any(hosts.iter().map(|host| format!("{host} != ''")));
    let found = format!("strings.quote([{}].filter(h, h != '').join(', '))", hosts.join(", "));
    vec![Statement::container(condition, "probes and hooks", &found)]
}

pub(super) static DNS_POLICY: Rule = Rule {
    id: "dns-policy",
    group: Group::Isolation,
    title: "The Pod does not use its node's resolver.",
    why: "With dnsPolicy: Default the Pod gets the node's resolv.conf: internal domains and resolvers of the \
          infrastructure.",
    references: &[
        "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy",
    ],
    setting: "",
    fill: None,
    check: check_dns_policy,
    cel: Some(cel_dns_policy),
};

fn check_dns_policy(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let found = pod.spec.get("dnsPolicy");
    let admitted = ["ClusterFirst", "ClusterFirstWithHostNet", "None"];
    if found.is_some_and(|value| !value.as_str().is_some_and(|policy| admitted.contains(&policy))) {
        out.report(SPEC.child("dnsPolicy"), show(found), "ClusterFirst or unset", "remove dnsPolicy");
    }
}

fn cel_dns_policy(_: Keys) -> Vec<Statement> {
    let field = "v.o.?spec.?dnsPolicy";
    let condition =
        format!("!({field}.orValue('None') in ['ClusterFirst', 'ClusterFirstWithHostNet', 'None'])");
    vec![Statement::pod(condition, "spec.dnsPolicy", &cel::shown(field))]
}

pub(super) static TERMINATION_MESSAGE_PATH: Rule = Rule {
    id: "termination-message-path",
    group: Group::Isolation,
    title: "terminationMessagePath is the default or one of the policy's paths.",
    why: "The kubelet mounts a writable file of the node at terminationMessagePath, also on a read-only root. At \
          another path it would cover a file of the image. Paths are compared as written.",
    references: &["https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"],
    setting: "spec.volumes.terminationMessagePaths",
    fill: None,
    check: check_termination_message_path,
    cel: Some(cel_termination_message_path),
};

const TERMINATION_LOG: &str = "/dev/termination-log";

fn check_termination_message_path(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        let found = container.object.get("terminationMessagePath");
        let Some(path) = found else { continue };
        let allowed = &container.spec.volumes.termination_message_paths;
        let is_allowed = |path: &str| {
            matches!(path, "" | TERMINATION_LOG) || allowed.iter().any(|allowed| allowed.as_str() == path)
        };
        if path.as_str().is_some_and(is_allowed) {
            continue;
        }
        let wanted = fmt::from_fn(|f| {
            write!(f, "{TERMINATION_LOG}")?;
            allowed.iter().try_for_each(|allowed| write!(f, " or {}", allowed.as_str()))?;
            f.write_str(" or unset")
        });
        let remedy = "remove terminationMessagePath (policy key volumes.terminationMessagePaths)";
        out.report(container.at("terminationMessagePath"), show(found), wanted, remedy);
    }
}

fn cel_termination_message_path(keys: Keys) -> Vec<Statement> {
    let field = "c.o.?terminationMessagePath";
    let condition = keys.of_container(|spec| {
        let own = spec.volumes.termination_message_paths.iter().map(ExactPath::as_str);
        let allowed = cel::list(["", "/dev/termination-log"].into_iter().chain(own));
        format!("!({field}.orValue('') in {allowed})")
    });
    vec![Statement::container(condition, "terminationMessagePath", &cel::shown(field))]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    #[test]
    fn nothing_is_shared_with_the_node() {
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            rejects(&format!("host-namespaces spec.{field}"), |pod| pod["spec"][field] = json!(true));
            for value in [json!(false), json!(null)] {
                accepts(|pod| pod["spec"][field] = value);
            }
        }
    }

    #[test]
    fn containers_share_processes_only_if_the_policy_allows_it() {
        rejects("shared-process-namespace spec.shareProcessNamespace", |pod| {
            pod["spec"]["shareProcessNamespace"] = json!(true)
        });
        let shared = spec("{security: {shareProcessNamespace: true}}");
        for value in [json!(true), json!(false), json!(null)] {
            accepts_under(&shared, |pod| pod["spec"]["shareProcessNamespace"] = value);
        }
        rejects_under(&shared, "host-namespaces spec.hostPID", |pod| pod["spec"]["hostPID"] = json!(true));
    }

    #[test]
    fn host_ports_are_denied() {
        rejects("host-ports spec.containers[0].ports[1].hostPort", |pod| {
            pod["spec"]["containers"][0]["ports"] =
                json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]);
        });
        accepts(|pod| pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 0}]));
    }

    #[test]
    fn probes_and_hooks_cannot_name_a_host() {
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for action in ["httpGet", "tcpSocket"] {
                rejects(&format!("probe-hosts spec.containers[0].{probe}.{action}.host"), |pod| {
                    pod["spec"]["containers"][0][probe] =
                        json!({action: {"port": 80, "host": "169.254.169.254"}});
                });
            }
            accepts(|pod| pod["spec"]["containers"][0][probe] = json!({"httpGet": {"port": 80, "host": ""}}));
        }
        for hook in ["postStart", "preStop"] {
            rejects(&format!("probe-hosts spec.containers[0].lifecycle.{hook}.httpGet.host"), |pod| {
                pod["spec"]["containers"][0]["lifecycle"] =
                    json!({hook: {"httpGet": {"port": 80, "host": "10.0.0.1"}}});
            });
        }
    }

    #[test]
    fn resolver_of_the_node_is_denied() {
        rejects("dns-policy spec.dnsPolicy", |pod| pod["spec"]["dnsPolicy"] = json!("Default"));
        for policy in ["ClusterFirst", "None"] {
            accepts(|pod| pod["spec"]["dnsPolicy"] = json!(policy));
        }
    }

    const PATH: &str = "termination-message-path spec.containers[0].terminationMessagePath";

    fn set_path(pod: &mut Json, path: impl Into<Json>) {
        pod["spec"]["containers"][0]["terminationMessagePath"] = path.into();
    }

    #[test]
    fn termination_message_stays_in_its_place() {
        for path in ["/etc/passwd", "/workspace/log", "dev/termination-log", "/dev/termination-log/"] {
            rejects(PATH, |pod| set_path(pod, path));
        }
        for path in [json!("/dev/termination-log"), json!(""), json!(null)] {
            accepts(|pod| set_path(pod, path));
        }
    }

    #[test]
    fn termination_message_may_be_at_the_policys_paths_exactly() {
        let spec = spec("{volumes: {terminationMessagePaths: [/tekton/termination]}}");
        accepts_under(&spec, |pod| set_path(pod, "/tekton/termination"));
        accepts_under(&spec, |pod| set_path(pod, "/dev/termination-log"));
        for path in ["/tekton/termination/x", "/tekton", "//tekton/termination", "/tekton/../etc/passwd"] {
            rejects_under(&spec, PATH, |pod| set_path(pod, path));
        }
    }

    #[test]
    fn termination_message_path_of_an_exception_is_for_its_containers_alone() {
        let policy = policy(
            "{containers: [{name: agent, match: {images: [ghcr.io/example/agent]}, \
             spec: {volumes: {terminationMessagePaths: [/agent/log]}}}]}",
        );
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        pod["spec"]["containers"][1]["terminationMessagePath"] = json!("/agent/log");
        assert_eq!(violations_under(policy.base(), &pod), Vec::<String>::new());
        set_path(&mut pod, "/agent/log");
        assert_eq!(violations_under(policy.base(), &pod), [PATH]);
    }

    #[test]
    fn message_names_the_key_that_allows_it() {
        let mut pod = complete_pod();
        set_path(&mut pod, "/agent/log");
        assert_eq!(
            lines_of(&spec("{volumes: {terminationMessagePaths: [/a, /b]}}"), &pod),
            [
                "spec.containers[0].terminationMessagePath is \"/agent/log\", must be /dev/termination-log or /a or /b or unset: \
              remove terminationMessagePath (policy key volumes.terminationMessagePaths) (termination-message-path)"
            ]
        );
    }
}
