//! What the kubelet, the node and the network let a container reach.

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe};

use super::{Faults, Placed, Subject, must, word};

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
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
