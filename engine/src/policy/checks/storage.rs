//! Checks of volumes, environment, resources and images.

use super::{
    super::{
        paths::touches_system_path,
        spec::Spec,
        storage::{FilledVolume, Resources, Volumes},
        values::{Amounts, Resource},
    },
    Problems, check_exact_names, is_dns_label, is_dns_subdomain, is_label_key,
};

/// Variables that make a program run what a path of theirs names.
const CODE_VARIABLES: [&str; 12] = [
    "PATH",
    "BASH_ENV",
    "ENV",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PERL5LIB",
    "RUBYLIB",
    "NODE_PATH",
    "CLASSPATH",
    "GOROOT",
    "GIT_EXEC_PATH",
    "GCONV_PATH",
];

pub(super) fn check(spec: &Spec, findings: &mut Problems) {
    check_volumes(&spec.volumes, findings);
    check_env(spec, findings);
    check_resources(spec, &spec.resources, findings);
    if spec.images.allowed.is_empty() {
        findings.add(
            "images.allowed",
            "is empty, so every Pod would be denied: name the images, or \"*\" for any",
        );
    }
}

fn check_volumes(volumes: &Volumes, findings: &mut Problems) {
    for (index, FilledVolume { name, mount_path, size_limit, shared: _ }) in volumes.filled.iter().enumerate()
    {
        let path = format!("volumes.filled[{index}]");
        if !is_dns_label(name) || name.len() + "sandgate-".len() > 63 {
            findings.add(
                format!("{path}.name"),
                format!("{name:?} can be the name of no volume of at most 54 characters"),
            );
        }
        let earlier = &volumes.filled[..index];
        if earlier.iter().any(|other| other.name == *name) {
            findings.add(format!("{path}.name"), format!("{name:?} is the name of an earlier volume"));
        }
        let (own, below) = (mount_path.as_str(), super::super::paths::starts_with);
        if let Some(other) = earlier
            .iter()
            .find(|other| below(own, other.mount_path.as_str()) || below(other.mount_path.as_str(), own))
        {
            let problem = format!(
                "{own:?} lies on, above or below {:?} of an earlier volume",
                other.mount_path.as_str()
            );
            findings.add(format!("{path}.mountPath"), problem);
        }
        if size_limit.value > volumes.empty_dir.max_size.value {
            let problem =
                format!("{size_limit} is above volumes.emptyDir.maxSize {}", volumes.empty_dir.max_size);
            findings.add(format!("{path}.sizeLimit"), problem);
        }
    }
    for (index, driver) in volumes.csi.iter().enumerate() {
        if !is_dns_subdomain(&driver.driver) {
            let problem = format!("{:?} must be the name of a driver, exact and without '*'", driver.driver);
            findings.add(format!("volumes.csi[{index}].driver"), problem);
        }
        if volumes.csi[..index].iter().any(|other| other.driver == driver.driver) {
            findings.add(
                format!("volumes.csi[{index}].driver"),
                "is repeated: put all attributes into one entry",
            );
        }
        for (key, values) in &driver.attributes {
            if values.is_empty() {
                let problem =
                    format!("{key:?} has no value that is allowed: name the values, or remove the attribute");
                findings.add(format!("volumes.csi[{index}].attributes"), problem);
            }
        }
    }
}

fn check_env(spec: &Spec, findings: &mut Problems) {
    for (name, value) in &spec.env {
        let path = format!("env.{name}");
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            findings.add("env", format!("{name:?} is no name of an environment variable"));
            continue;
        }
        if value.contains("$(") {
            let problem = "contains \"$(\", which the kubelet expands from variables of the Pod: write the value itself";
            findings.add(&path, problem);
        }
        if name == "HOME"
            && let Some(volume) = shared_volume(&spec.volumes, value)
        {
            let problem = format!(
                "lies on the volume {:?}, which the containers of a Pod share: one of them could leave settings there that \
                 another obeys. Use a volume with shared: false, such as /tmp",
                volume.name
            );
            findings.add(&path, problem);
        }
        let runs_code =
            CODE_VARIABLES.contains(&name.as_str()) || name.starts_with("LD_") || name.ends_with("_OPTIONS");
        let writable = |part: &&str| is_writable(spec, part);
        if runs_code && let Some(part) = value.split([':', '=', ' ', ',']).find(writable) {
            let problem = format!(
                "makes programs run what lies below {part:?}, where containers can write: use another path"
            );
            findings.add(&path, problem);
        }
    }
}

fn shared_volume<'v>(volumes: &'v Volumes, path: &str) -> Option<&'v FilledVolume> {
    let below = |volume: &&FilledVolume| super::super::paths::starts_with(path, volume.mount_path.as_str());
    volumes.filled.iter().filter(|volume| volume.shared).find(below)
}

/// Returns true if a container could write to `path`: a volume or, with a writable root, the image's own files.
fn is_writable(spec: &Spec, path: &str) -> bool {
    path.starts_with('/')
        && (spec.may_mount_writable(path, true)
            || (!spec.security.read_only_root_filesystem && !touches_system_path(path)))
}

fn check_resources(spec: &Spec, resources: &Resources, findings: &mut Problems) {
    let higher = |low: &Amounts, high: &Amounts| -> Vec<Resource> {
        Resource::ALL
            .into_iter()
            .filter(|&resource| low.of(resource).value > high.of(resource).value)
            .collect()
    };
    let (container, pod) = (&resources.container, &resources.pod);
    for resource in higher(&container.requests, &container.limits) {
        let (name, request, limit) =
            (resource.as_str(), container.requests.of(resource), container.limits.of(resource));
        let problem = format!("{request} is above the limit {limit} of resources.container.limits.{name}");
        findings.add(format!("resources.container.requests.{name}"), problem);
    }
    for resource in higher(&container.limits, &pod.limits) {
        let (name, limit, budget) =
            (resource.as_str(), container.limits.of(resource), pod.limits.of(resource));
        let problem = format!("{limit} is above the whole Pod's {budget} of resources.pod.limits.{name}");
        findings.add(format!("resources.container.limits.{name}"), problem);
    }
    for (name, request, limit) in
        [("cpu", &pod.requests.cpu, &pod.limits.cpu), ("memory", &pod.requests.memory, &pod.limits.memory)]
    {
        if request.value > limit.value {
            let problem = format!("{request} is above the limit {limit} of resources.pod.limits.{name}");
            findings.add(format!("resources.pod.requests.{name}"), problem);
        }
    }
    for (name, extended) in &resources.extended {
        let path = format!("resources.extended.{name}");
        let domain = name.split_once('/').map_or("", |(domain, _)| domain);
        if domain.is_empty() || !is_label_key(name) || domain.ends_with("kubernetes.io") {
            let problem =
                format!("{name:?} must be the name of an extended resource, exact, such as nvidia.com/gpu");
            findings.add("resources.extended", problem);
        }
        if extended.max == 0 {
            findings.add(format!("{path}.max"), "must be at least 1: remove the entry to allow none");
        }
        if extended.runtime_classes.is_empty() {
            findings.add(
                format!("{path}.runtimeClasses"),
                "is empty, so no Pod may ask for it: name the classes",
            );
        }
        check_exact_names(&format!("{path}.runtimeClasses"), &extended.runtime_classes, findings);
        for class in
            extended.runtime_classes.iter().filter(|class| !spec.runtime_class.allowed.contains(class))
        {
            let problem = format!("{class:?} is not in runtimeClass.allowed: no Pod can have it");
            findings.add(format!("{path}.runtimeClasses"), problem);
        }
    }
}
