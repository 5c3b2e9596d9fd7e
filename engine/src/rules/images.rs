//! The origin of images.

use std::fmt;

use super::{Group, Rule, helpers::VOLUMES};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::Value,
    path::LazyPath,
    pod::{Pod, image::ImageReference},
    policy::{ImagePatterns, Images, Spec},
    violations::{Reporter, show},
};

pub(super) static IMAGES: Rule = Rule {
    id: "images",
    group: Group::Images,
    title: "Images come from allowed repositories, pinned if the policy demands it.",
    why: "Any image is allowed unless the policy lists some. References are compared as container runtimes read them: \
          nginx is docker.io/library/nginx, and registry.example.com/team does not allow \
          registry.example.com/team-of-others. The image of a volume is code of the sandbox like that of a container.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Building secure container images",
        "NIST SP 800-190, 4.1.5: Use of untrusted images",
        "Kubescape, C-0078: Images from allowed registry",
        "Kubescape, C-0304: Agent Sandbox image provenance",
        "Kubescape, C-0306: Images not pinned to digest",
        "Kubescape, C-0312: agent-runtime-image-digests",
        "Kubescape, C-0313: agent-runtime-image-registries",
        "https://kubernetes.io/docs/concepts/containers/images/",
        "https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/",
    ],
    setting: "spec.images",
    fill: None,
    check: check_images,
    cel: Some(cel_images),
};

/// Exceptions do not count here: they are themselves chosen by the image.
fn check_images(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    if spec.images.allowed.allow_anything() && !spec.images.require_digest {
        return;
    }
    for container in &pod.containers {
        check_image(container.at("image"), container.object.get("image"), &spec.images, out);
    }
    for (index, volume) in pod.spec.objects("volumes") {
        if let Some(image) = volume.object("image") {
            let volume = VOLUMES.index(index);
            let source = volume.child("image");
            check_image(source.child("reference"), image.get("reference"), &spec.images, out);
        }
    }
}

fn check_image(path: LazyPath, found: Option<&Value>, settings: &Images, out: &mut Reporter) {
    let Images { allowed, require_digest } = settings;
    let image = found.and_then(Value::as_str).and_then(ImageReference::parse);
    if !allowed.allow_anything() && !image.is_some_and(|image| allowed.allow(&image)) {
        let remedy = "use an image from an allowed place (policy key images.allowed)";
        out.report(path, show(found), Places(allowed), remedy);
    }
    if *require_digest && !image.is_some_and(|image| image.digest.is_some_and(is_digest)) {
        let remedy = "add @sha256:… to the image (policy key images.requireDigest)";
        out.report(path, show(found), "pinned by a digest", remedy);
    }
}

/// The allowed repositories, joined when they are written.
struct Places<'p>(&'p ImagePatterns);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("from")?;
        for (index, pattern) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " or" };
            write!(f, "{separator} {}", pattern.as_str())?;
        }
        Ok(())
    }
}

/// Returns true for a digest as container runtimes take it: a known algorithm and its number of hexadecimal digits.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == digits && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn cel_images(keys: Keys) -> Vec<Statement> {
    let settings = &keys.spec.images;
    let denied = |value: &str| {
        let digest = if settings.require_digest { patterns::has_digest(value) } else { "true".into() };
        cel::not(&cel::all([patterns::images(&settings.allowed, value), digest]))
    };
    let (of_container, of_volume) = ("c.o.?image.orValue('')", "d.image.?reference.orValue('')");
    if denied(of_container) == "false" {
        return Vec::new();
    }
    vec![
        Statement::container(denied(of_container), "image", &format!("strings.quote({of_container})")),
        Statement::volume(
            cel::all(["d.?image.hasValue()".into(), denied(of_volume)]),
            ".image.reference",
            &format!("strings.quote({of_volume})"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::{ImagePatterns, Spec};

    const IMAGE: &str = "images spec.containers[0].image";

    fn set_image(pod: &mut Json, image: &str) {
        pod["spec"]["containers"][0]["image"] = json!(image);
    }

    #[test]
    fn images_come_from_allowed_places() {
        let spec = spec(
            "{images: {allowed: [registry.example.com/team, registry.example.com/team/**, mirror.example.com/*, busybox]}}",
        );
        for image in [
            "registry.example.com/team/a:1",
            "registry.example.com/team/a/b",
            "registry.example.com/team:1",
            "mirror.example.com/x",
            "busybox:1.36",
            "docker.io/library/busybox",
        ] {
            accepts_under(&spec, |pod| set_image(pod, image));
        }
        for image in [
            "registry.example.com/team-of-others/a",
            "registry.example.com:8443/team/a",
            "evil.example.com/registry.example.com/team",
            "mirror.example.com/x/y",
            "busybox/evil",
            "busybox:5000/evil/x",
            " busybox",
            "registry.example.com/team/../x",
            "registry.example.com/team/a@evil.example.com/x",
            "a",
            "",
        ] {
            rejects_under(&spec, IMAGE, |pod| set_image(pod, image));
        }
    }

    #[test]
    fn any_image_is_allowed_by_default_and_none_by_an_empty_list() {
        let mut none = Spec::default();
        none.images.allowed = ImagePatterns::default();
        for image in ["evil.example.com/x", "Not A Reference"] {
            accepts(|pod| set_image(pod, image));
            rejects_under(&none, IMAGE, |pod| set_image(pod, image));
        }
    }

    #[test]
    fn a_digest_pins_the_image() {
        let spec = spec("{images: {requireDigest: true}}");
        let digest = "a1".repeat(32);
        for image in [format!("r/a:1@sha256:{digest}"), format!("r/a@sha512:{digest}{digest}")] {
            accepts_under(&spec, |pod| set_image(pod, &image));
        }
        for image in [
            "r/a:1".into(),
            "r/a@sha256:abc".into(),
            format!("r/a@sha256:{digest}0"),
            format!("r/a@sha256:{}", digest.to_uppercase()),
            format!("r/a@md5:{digest}"),
            format!("r/a:1@sha256:{digest}@sha256:{digest}"),
            format!("r/a:sha256-{digest}"),
        ] {
            rejects_under(&spec, IMAGE, |pod| set_image(pod, &image));
        }
    }

    #[test]
    fn image_of_a_volume_is_an_image() {
        let policy = "images: {allowed: [registry.example.com/**], requireDigest: true}";
        let spec = spec(&format!("{{volumes: {{image: true}}, {policy}}}"));
        let digest = "a1".repeat(32);
        let violations_with = |reference: Json| {
            let mut pod = complete_pod();
            set_image(&mut pod, &format!("registry.example.com/a@sha256:{digest}"));
            let volume = json!({"name": "tools", "image": {"reference": reference}});
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            let mut violations = violations_of(&spec, &pod);
            violations.retain(|violation| violation.starts_with("images "));
            violations
        };
        let path = "images spec.volumes[2].image.reference";
        let pinned = json!(format!("registry.example.com/tools@sha256:{digest}"));
        assert_eq!(violations_with(pinned), Vec::<String>::new());
        assert_eq!(violations_with(json!("registry.example.com/tools:1")), [path]);
        assert_eq!(violations_with(json!(format!("evil.example.net/tools@sha256:{digest}"))), [path]);
        assert_eq!(violations_with(json!("evil.example.net/tools:latest")), [path, path]);
        assert_eq!(violations_with(json!(null)), [path, path]);
    }

    #[test]
    fn every_kind_of_container_is_checked() {
        let spec = spec("{images: {allowed: [registry.example.com/**]}}");
        let mut pod = complete_pod_of_three();
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "busybox"}]);
        for container in ["/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"] {
            pod.pointer_mut(container).unwrap()["image"] = json!("busybox");
        }
        let mut violations = violations_of(&spec, &pod);
        violations.retain(|violation| violation.starts_with("images "));
        assert_eq!(
            violations,
            [
                "images spec.initContainers[0].image",
                "images spec.containers[0].image",
                "images spec.containers[1].image",
                "images spec.ephemeralContainers[0].image",
            ]
        );
    }

    #[test]
    fn exception_does_not_allow_its_image() {
        let policy = policy(
            "{images: {allowed: [registry.example.com/**]}, containers: [{name: agent, \
             match: {images: [ghcr.io/example/agent]}, spec: {env: {HOME: /tmp}}}]}",
        );
        let mut pod = complete_pod();
        set_image(&mut pod, "ghcr.io/example/agent:1");
        assert_eq!(violations_under(policy.base(), &pod), [IMAGE]);
    }

    #[test]
    fn message_names_the_allowed_places_and_the_key() {
        let spec = spec("{images: {allowed: [registry.example.com/**, busybox]}}");
        let mut pod = complete_pod();
        set_image(&mut pod, "evil.example.net/x");
        assert_eq!(
            lines_of(&spec, &pod),
            [
                "spec.containers[0].image is \"evil.example.net/x\", must be from registry.example.com/** or busybox: use an \
              image from an allowed place (policy key images.allowed) (images)"
            ]
        );
    }
}
