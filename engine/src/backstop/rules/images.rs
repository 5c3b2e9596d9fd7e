//! The origin of images.

use crate::cel::{self, Keys, Statement, patterns};

pub(super) fn images(keys: Keys) -> Vec<Statement> {
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
