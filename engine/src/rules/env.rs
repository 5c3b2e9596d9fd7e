//! The environment variables that the policy gives to containers.

use super::{Group, Rule};
use crate::{
    json::{Object, Value},
    pod::each_container_mut,
    policy::Profile,
};

pub(super) static ENV: Rule = Rule {
    id: "env",
    group: Group::Secrets,
    title: "Containers have the policy's environment variables unless they set them.",
    why: "A program that runs as another user than its image expects often finds its home folder read-only; a policy \
          can set HOME and the like. A variable is filled where a container does not set it. A container with \
          envFrom is left alone, because a filled variable would win over one that comes from there. Nothing is \
          denied.",
    references: &[
        "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/",
    ],
    setting: "spec.env",
    fill: Some(fill_env),
    check: |_, _, _| {},
};

fn fill_env<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let mut filled = 0;
    each_container_mut(pod, profile, |_, container, spec| {
        if container.list("envFrom").next().is_some() {
            return;
        }
        for (name, value) in &spec.env {
            if sets(container, name) {
                continue;
            }
            let Some(variables) = container.list_mut("env") else { return };
            variables.push(Object::from([("name", name.as_str()), ("value", value.as_str())]));
            filled += 1;
        }
    });
    filled
}

fn sets(container: &Object, name: &str) -> bool {
    container.objects("env").any(|(_, variable)| variable.str("name") == Some(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    const POLICY: &str = "{env: {HOME: /tmp, TMPDIR: /tmp}}";

    fn container(pod: &Json) -> &Json {
        &pod["spec"]["containers"][0]
    }

    /// The environment of the complete Pod's container after the fill.
    fn env_after(change: impl FnOnce(&mut Json)) -> Json {
        let mut pod = complete_pod();
        change(&mut pod["spec"]["containers"][0]);
        let filled = filled_by(&spec(POLICY), &pod);
        assert_eq!(filled_by(&spec(POLICY), &filled), filled, "filling twice is filling once");
        assert_eq!(violations_of(&spec(POLICY), &pod), Vec::<String>::new(), "nothing is denied before");
        assert_eq!(violations_of(&spec(POLICY), &filled), Vec::<String>::new(), "nothing is denied after");
        container(&filled)["env"].clone()
    }

    #[test]
    fn variable_that_is_unset_is_filled() {
        let both = json!([{"name": "HOME", "value": "/tmp"}, {"name": "TMPDIR", "value": "/tmp"}]);
        assert_eq!(env_after(|_| {}), both);
        assert_eq!(env_after(|container| container["env"] = json!(null)), both);
        assert_eq!(env_after(|container| container["envFrom"] = json!(null)), both);
    }

    #[test]
    fn variable_that_is_set_stays() {
        for own in [
            json!({"name": "HOME", "value": "/data"}),
            json!({"name": "HOME"}),
            json!({"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        ] {
            let env = env_after(|container| container["env"] = json!([own]));
            assert_eq!(env, json!([own, {"name": "TMPDIR", "value": "/tmp"}]));
        }
    }

    #[test]
    fn container_with_env_from_is_left_alone() {
        let env = env_after(|container| {
            container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
            container["env"] = json!([{"name": "A", "value": "b"}]);
        });
        assert_eq!(env, json!([{"name": "A", "value": "b"}]));
    }

    #[test]
    fn exception_has_variables_of_its_own() {
        let policy = policy(
            "{env: {HOME: /tmp}, containers: [{name: agent, match: {images: [ghcr.io/example/agent]}, \
             spec: {env: {AGENT_HOME: /workspace}}}]}",
        );
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        let filled = filled_under(policy.base(), &pod);
        for (place, name, value) in [
            ("/spec/initContainers/0", "HOME", "/tmp"),
            ("/spec/containers/0", "HOME", "/tmp"),
            ("/spec/containers/1", "AGENT_HOME", "/workspace"),
        ] {
            let env = filled.pointer(place).unwrap()["env"].clone();
            assert_eq!(env, json!([{"name": name, "value": value}]), "{place}");
        }
    }

    #[test]
    fn ephemeral_container_is_not_filled() {
        let mut pod = complete_pod();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "busybox"}]);
        let filled = filled_by(&spec(POLICY), &pod);
        assert_eq!(filled["spec"]["ephemeralContainers"], pod["spec"]["ephemeralContainers"]);
    }

    #[test]
    fn env_of_a_wrong_type_is_left_to_the_schema() {
        let mut pod = complete_pod();
        pod["spec"]["containers"][0]["env"] = json!("HOME=/data");
        assert_eq!(filled_by(&spec(POLICY), &pod), pod);
    }
}
