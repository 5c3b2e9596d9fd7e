//! Where images come from.

use super::{Faults, Section, Subject, must, word};
use crate::patterns::{is_image, is_pinned};
use serde::Deserialize;

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: Vec::new,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Images {
    pub(crate) allowed: Vec<String>,
    pub(crate) require_digest: bool,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r#"
images: {allowed: ["*"], requireDigest: false}
"#;

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
images.allowed: [["registry.example.com/**"], [registry.example.com/runner, registry.example.com/tools], ["*"], [registry.example.com/*, docker.io/library/busybox]]
images.requireDigest: [true, false]
"#;

/// The images of containers and of volumes are all code of the sandbox.
fn check(subject: &Subject, faults: &mut Faults) {
    let images = &subject.keys.images;
    let comes_from_there = |image: &str| images.allowed.iter().any(|pattern| is_image(pattern, image));
    for placed in subject.containers {
        let image = word(placed.container.image.as_ref());
        placed.must(comes_from_there(image), "image", faults);
        placed.must(!images.require_digest || is_pinned(image), "digest", faults);
    }
    for source in subject.spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref()) {
        let image = word(source.reference.as_ref());
        must(comes_from_there(image), "image of a volume", faults);
        must(!images.require_digest || is_pinned(image), "digest of a volume's image", faults);
    }
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: images
  spec: {images: {allowed: ["registry.example.com/**"]}}
  violating:
    spec/containers/*/image: [evil.example.com/x, registry.example.com.evil/x, Registry.example.com/x, registry.example.co, " registry.example.com/x", "registry.example.com:5000/x", registry.example.com]
  boundary:
    spec/containers/*/image: [registry.example.com/x, registry.example.com/a/b/c, "registry.example.com/x:1@sha256:00"]
- rule: images
  spec: {images: {allowed: [registry.example.com/runner, busybox]}}
  violating:
    spec/containers/*/image: [registry.example.com/runner-evil, registry.example.com/runner/x, "evil/busybox", registry.example.com/a/runner]
  boundary:
    spec/containers/*/image: [registry.example.com/runner, "docker.io/library/busybox:1", "index.docker.io/library/busybox"]
- rule: images
  spec: {images: {requireDigest: true}}
  base: {/spec/containers/0/image: "registry.example.com/runner:1@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}
  violating:
    spec/containers/*/image: ["registry.example.com/runner:1", "x@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0", "x@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0g", "x@sha512:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"]
  boundary:
    spec/containers/*/image: ["x@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"]
- rule: images
  spec: {images: {allowed: [registry.example.com/runner]}, volumes: {image: true}}
  violating:
    spec/volumes+: [{name: extra, image: {reference: evil.example.com/x}}, {name: extra, image: {}}]
  boundary:
    spec/volumes+: [{name: extra, image: {reference: "registry.example.com/runner:2"}}]
"#;
