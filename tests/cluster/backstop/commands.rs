//! `sandgate backstop render` and `verify`.

use serde_json::json;

use super::{BINDINGS, FILL_BINDINGS, Release, apply, remove};
use testbed::{eventually, is_shown, shared, shown};

#[tokio::test]
async fn verify_names_what_is_missing_weakened_or_of_another_policy() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "verify-"})).await.expect("a namespace");
    let release = Release::of(&namespace, &json!({}));
    let (status, text) = release.verify(bed);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains(&format!("policy sandgate-{namespace}: it is missing")), "{text}");

    let objects = release.rendered(&[]);
    apply(&rest, &objects).await;
    let verified = eventually("the backstop is verified", async || {
        let (status, text) = release.verify(bed);
        Ok((status == 0).then_some(text))
    });
    let printed =
        verified.await.expect("it is that of the policy, and denies").replace(&namespace, "workflows");
    let page = shown("docs/backstop.md", "sandgate backstop verify").expect("an output");
    assert!(is_shown(&page, &printed), "docs/backstop.md shows\n{page}printed was\n{printed}");

    let weaker = json!({"spec": {"validationActions": ["Audit"]}});
    rest.merge(&release.path(BINDINGS), &weaker).await.expect("it is changed");
    let (status, text) = release.verify(bed);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains(r#"its validationActions are ["Audit"], must be ["Deny","Audit"]"#), "{text}");

    release.write(&json!({"images": {"requireDigest": true}}));
    let (status, text) = release.verify(bed);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("it is of another policy"), "{text}");
    remove(&rest, &objects).await;
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn verify_with_fills_compares_what_fills_too() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "fills-"})).await.expect("a namespace");
    let release = Release::of(&namespace, &json!({}));
    let objects = release.rendered(&["--fills"]);
    apply(&rest, &objects).await;
    eventually("fills and backstop are verified", async || {
        let (status, text) = release.verify_with(bed, &["--fills"]);
        Ok((status == 0 && text.contains("is denied by the backstop")).then_some(()))
    })
    .await
    .expect("they are those of the policy");

    rest.delete(&release.path(FILL_BINDINGS)).await.expect("it is removed");
    let (status, text) = release.verify_with(bed, &["--fills"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains(&format!("filling binding sandgate-{namespace}: it is missing")), "{text}");
    let (status, text) = release.verify(bed);
    assert_eq!(status, 0, "the backstop alone is complete: {text}");
    remove(&rest, &objects[..objects.len() - 1]).await;
}

#[tokio::test]
async fn render_rejects_what_cannot_be_stated_with_the_reason() {
    let names: Vec<String> =
        (0..4000).map(|number| format!("a-long-name-of-a-config-map-{number}")).collect();
    let release = Release::of("rejected", &json!({"volumes": {"configMap": {"names": names}}}));
    let (status, text) = release.command(&["render"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("policy \"rejected\": the expression"), "{text}");
    let release = Release::of("old", &json!({}));
    let (status, text) = release.command(&["render", "--kubernetes", "1.29"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("Kubernetes 1.29 has no ValidatingAdmissionPolicy of version v1"), "{text}");
}
