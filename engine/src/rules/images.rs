//! The origin of images.

use super::{Group, Rule};
use crate::{
    pod::{Pod, image::ImageReference},
    policy::Spec,
    violations::{Reporter, show},
};

pub(super) static IMAGES: Rule = Rule {
    id: "images",
    group: Group::Images,
    title: "Images come from allowed places, pinned if the policy demands it.",
    why: "Off unless the policy sets it. A prefix ends at a boundary of the reference: registry.example.com/team \
          does not allow registry.example.com/team-of-others.",
    references: &["https://kubernetes.io/docs/concepts/containers/images/"],
    setting: "spec.images",
    fill: None,
    check: check_images,
};

fn check_images(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.images;
    for container in &pod.containers {
        let image = container.object.get("image");
        let text = image.and_then(|image| image.as_str()).unwrap_or_default();
        let allowed = &settings.allowed;
        if !allowed.allow_anything()
            && !ImageReference::parse(text).is_some_and(|image| allowed.allow(&image))
        {
            let patterns: Vec<&str> = allowed.iter().map(|pattern| pattern.as_str()).collect();
            let wanted = format!("from {}", patterns.join(" or "));
            out.report(container.at("image"), show(image), wanted, "use an image from an allowed place");
        }
        if settings.require_digest && !has_digest(text) {
            out.report(
                container.at("image"),
                show(image),
                "pinned by a digest",
                "add @sha256:… to the image",
            );
        }
    }
}

fn has_digest(image: &str) -> bool {
    let digest = image.rsplit_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use crate::policy::Spec;

    const IMAGE: &str = "images spec.containers[0].image";

    #[test]
    fn images_come_from_allowed_places() {
        let mut spec = Spec::default();
        spec.images = super::super::testing::spec("{images: {allowed: [registry.example.com/team, registry.example.com/team/**, mirror.example.com/**]}}").images;
        for image in ["registry.example.com/team/a:1", "registry.example.com/team:1", "mirror.example.com/x"]
        {
            accepts_under(&spec, |pod| pod["spec"]["containers"][0]["image"] = json!(image));
        }
        for image in
            ["registry.example.com/team-of-others/a", "evil.example.com/registry.example.com/team", "a", ""]
        {
            rejects_under(&spec, IMAGE, |pod| pod["spec"]["containers"][0]["image"] = json!(image));
        }
    }

    #[test]
    fn a_digest_pins_the_image() {
        let mut spec = Spec::default();
        spec.images.require_digest = true;
        let digest = "a".repeat(64);
        accepts_under(&spec, |pod| {
            pod["spec"]["containers"][0]["image"] = json!(format!("r/a:1@sha256:{digest}"))
        });
        for image in ["r/a:1".to_string(), "r/a@sha256:abc".into(), format!("r/a@sha256:{digest}0")] {
            rejects_under(&spec, IMAGE, |pod| pod["spec"]["containers"][0]["image"] = json!(image));
        }
    }
}
