//! Thousands of policies.

use std::{fmt::Write as _, fs};

use serde_json::Value;

use super::{Objects, rendering, template_least};

/// The largest ConfigMap that an API server stores, in bytes of data.
const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;

/// Renders so many policies of three namespaces each.
async fn render_policies(count: usize, flags: &[&str]) -> testbed::Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.yaml");
    let mut text = "policies:\n".to_owned();
    for number in 0..count {
        let names = format!("[team-{number}-a, team-{number}-b, team-{number}-c]");
        writeln!(text, "  policy-{number}: {{namespaces: {names}, mode: audit}}").expect("text");
    }
    fs::write(&file, text).expect("it is written");
    let file = file.display().to_string();
    template_least(&[&["--values", &file], flags].concat()).await
}

fn config_maps(objects: &Objects) -> Vec<&Value> {
    objects.all("ConfigMap").collect()
}

#[tokio::test]
async fn policies_beyond_one_config_map_name_the_number_that_holds_them_and_it_does() {
    let complaint = render_policies(6000, &[]).await.expect_failure();
    let (_, advice) = complaint.split_once("set policyConfigMaps=").expect("advice");
    assert!(complaint.contains("policyConfigMaps is 1, must be more: "), "{complaint}");
    let number: String = advice.chars().take_while(char::is_ascii_digit).collect();
    let rendered = render_policies(6000, &["--set", &format!("policyConfigMaps={number}")]).await;
    let objects = Objects::read(&rendered.expect_success());
    let maps = config_maps(&objects);
    assert_eq!(maps.len().to_string(), number);
    for map in maps {
        let bytes: usize =
            map["data"].as_object().expect("data").values().map(|text| text.to_string().len()).sum();
        assert!(bytes < MAX_CONFIG_MAP_BYTES, "{bytes}");
    }
    assert_eq!(rendering::policies(&objects).policies().len(), 6001);
    let sources =
        &objects.one("Deployment")["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(super::items(sources).len().to_string(), number);
}

/// A policy that comes or goes moves no other from one ConfigMap to another: for a moment it would be in neither.
#[tokio::test]
async fn a_policy_stays_in_its_config_map_when_others_come() {
    let flags = ["--set", "policyConfigMaps=3"];
    let [few, more] = [render_policies(20, &flags).await, render_policies(40, &flags).await]
        .map(|output| output.expect_success());
    let [few, more] = [few, more].map(|text| Objects::read(&text));
    let mut used = 0;
    for (before, after) in config_maps(&few).iter().zip(config_maps(&more)) {
        assert_eq!(before["metadata"]["name"], after["metadata"]["name"]);
        let Some(files) = before["data"].as_object() else { continue };
        used += usize::from(!files.is_empty());
        assert!(files.iter().all(|(name, text)| after["data"].get(name) == Some(text)));
    }
    assert_eq!(used, 3, "twenty-one policies are spread over all");
}
