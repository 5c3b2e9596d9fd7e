//! Every preset loads, as a file and as what another policy extends.

use super::*;

#[test]
fn every_preset_loads_and_explains_itself() {
    for (name, text) in PRESETS {
        let set = load(text).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(set.policies()[0].name, name);
        for word in ["# Opens:", "# Reached by:", "# Set in the engine:", "# Will not work:"] {
            assert!(text.contains(word), "{name}: {word}");
        }
        assert!(text.lines().all(|line| line.len() <= 130), "{name}");
        let child = named("child", &format!("extends: preset/{name}\nnamespaces: [a]"));
        let child = load(&child).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(child.policies()[0].base(), set.policies()[0].base(), "{name}");
    }
}

#[test]
fn presets_are_those_of_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../presets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".yaml").to_string())
        .collect();
    files.sort();
    assert_eq!(PRESETS.map(|(name, _)| name).to_vec(), files);
}

#[test]
fn no_preset_demands_the_label_app_or_leaves_the_sandbox() {
    for (name, text) in PRESETS {
        let set = load(text).unwrap();
        let base = set.policies()[0].base();
        assert_eq!(base.spec.runtime_class.allowed, ["gvisor"], "{name}");
        for profile in set.policies()[0].all_profiles() {
            assert!(!profile.spec.labels.required.contains_key("app"), "{name}");
            // A class of Kata Containers is a virtual machine.
            let is_sandbox = |class: &&String| class.starts_with("gvisor") || class.starts_with("kata");
            let classes = &profile.spec.runtime_class.allowed;
            assert!(classes.iter().all(|class| is_sandbox(&class)), "{name}: {classes:?}");
        }
    }
}

#[test]
fn token_of_argo_is_for_init_and_wait_only() {
    let set = load(preset("argo-workflows").unwrap()).unwrap();
    let base = set.policies()[0].base();
    assert!(!base.spec.service_account.automount_token);
    assert!(base.exceptions[0].spec.service_account.automount_token);
}
