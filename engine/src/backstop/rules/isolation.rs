//! Isolation of the Pod from its node and from other Pods.

use crate::{
    cel::{self, Keys, Statement},
    policy::ExactPath,
};

fn denied_if_true(field: &str) -> Statement {
    let condition = format!("v.o.?spec.?{field}.orValue(false)");
    Statement::pod(condition, &format!("spec.{field}"), "'true'")
}

pub(super) fn host_namespaces(_: Keys) -> Vec<Statement> {
    ["hostNetwork", "hostPID", "hostIPC"].map(denied_if_true).to_vec()
}

pub(super) fn shared_process_namespace(keys: Keys) -> Vec<Statement> {
    if keys.spec.security.share_process_namespace {
        return Vec::new();
    }
    vec![denied_if_true("shareProcessNamespace")]
}

pub(super) fn host_ports(_: Keys) -> Vec<Statement> {
    let used = "p.?hostPort.orValue(0) != 0";
    vec![Statement::container(
        format!("c.o.?ports.orValue([]).exists(p, {used})"),
        "ports",
        &format!(
            "'host ports ' + c.o.?ports.orValue([]).filter(p, {used}).map(p, string(p.hostPort)).join(', ')"
        ),
    )]
}

pub(super) fn probe_hosts(_: Keys) -> Vec<Statement> {
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

pub(super) fn dns_policy(_: Keys) -> Vec<Statement> {
    let field = "v.o.?spec.?dnsPolicy";
    let condition =
        format!("!({field}.orValue('None') in ['ClusterFirst', 'ClusterFirstWithHostNet', 'None'])");
    vec![Statement::pod(condition, "spec.dnsPolicy", &cel::shown(field))]
}

pub(super) fn termination_message_path(keys: Keys) -> Vec<Statement> {
    let field = "c.o.?terminationMessagePath";
    let condition = keys.of_container(|spec| {
        let own = spec.volumes.termination_message_paths.iter().map(ExactPath::as_str);
        let allowed = cel::list(["", "/dev/termination-log"].into_iter().chain(own));
        format!("!({field}.orValue('') in {allowed})")
    });
    vec![Statement::container(condition, "terminationMessagePath", &cel::shown(field))]
}
