//! Checks of profiles and exceptions: names, and matches that can never hold or that the fill would change.

use super::{
    super::{
        Policy,
        profile::{Exception, PodMatch, Profile},
        spec::Spec,
    },
    Problems,
    header::EVERYBODY,
    is_dns_label, is_dns_subdomain, is_label_key, is_label_value,
};
use crate::policy::load::repeated;

pub(super) fn check(policy: &Policy, findings: &mut Problems) {
    let base = &policy.base().spec;
    let is_extended = !policy.header.extends.is_empty();
    check_exceptions(policy.base(), "", is_extended, findings);
    for index in repeated(policy.profiles().iter().map(|profile| profile.name.as_str())) {
        findings.add(format!("profiles[{index}].name"), "is the name of an earlier profile: choose another");
    }
    for (index, profile) in policy.profiles().iter().enumerate() {
        let path = format!("profiles[{index}]");
        if !is_label_value(&profile.name) || profile.name.is_empty() {
            let problem = format!("{:?} must be 1 to 63 letters, digits, '-', '_' or '.'", profile.name);
            findings.add(format!("{path}.name"), problem);
        }
        check_match(profile, base, &path, findings);
        let covering =
            policy.profiles()[..index].iter().find(|earlier| earlier.matcher.covers(&profile.matcher));
        if let Some(earlier) = covering.filter(|earlier| !earlier.matcher.is_empty()) {
            let problem =
                format!("never matches, since the earlier profile {:?} covers it: move it up", earlier.name);
            findings.add(format!("{path}.match"), problem);
        }
        stable_choice(policy, profile, &path, findings);
        let inherited = profile.exceptions == policy.base().exceptions;
        if !inherited {
            check_exceptions(profile, &format!("{path}.spec."), is_extended, findings);
        }
    }
}

/// Reports a profile that would be left by its own fill: /validate must choose as /mutate did.
fn stable_choice(policy: &Policy, profile: &Profile, path: &str, findings: &mut Problems) {
    let base = &policy.base().spec;
    let reads = |read: &dyn Fn(&PodMatch) -> bool| {
        policy.profiles().iter().find(|profile| read(&profile.matcher)).map(|profile| profile.name.as_str())
    };
    let mut fail = |key: &str, reader: &str| {
        let problem = format!(
            "differs from the policy's own, and the match of the profile {reader:?} reads it: a Pod that is filled would \
             change its profile. Set it in the policy, or match by something else"
        );
        findings.add(format!("{path}.spec.{key}"), problem);
    };
    if profile.spec.service_account.default != base.service_account.default
        && let Some(reader) = reads(&|matcher| matcher.service_accounts.is_some())
    {
        fail("serviceAccount.default", reader);
    }
    if profile.spec.runtime_class.default != base.runtime_class.default
        && let Some(reader) = reads(&|matcher| matcher.runtime_classes.is_some())
    {
        fail("runtimeClass.default", reader);
    }
    for (key, value) in &profile.spec.labels.required {
        let differs = base.labels.required.get(key) != Some(value);
        let reader = reads(&|matcher| matcher.labels.as_ref().is_some_and(|labels| labels.contains_key(key)));
        if differs && let Some(reader) = reader {
            fail("labels.required", reader);
        }
    }
}

fn check_match(profile: &Profile, base: &Spec, path: &str, findings: &mut Problems) {
    let PodMatch { users, groups, owners, service_accounts, labels, runtime_classes, extended_resources } =
        &profile.matcher;
    if profile.matcher.is_empty() {
        findings
            .add(format!("{path}.match"), "has no key, so it would match every Pod: name what it matches");
    }
    let lists = [
        ("users", users.as_ref().map(super::super::Names::is_empty)),
        ("groups", groups.as_ref().map(super::super::Names::is_empty)),
        ("owners", owners.as_ref().map(Vec::is_empty)),
        ("serviceAccounts", service_accounts.as_ref().map(super::super::Names::is_empty)),
        ("labels", labels.as_ref().map(std::collections::BTreeMap::is_empty)),
        ("runtimeClasses", runtime_classes.as_ref().map(super::super::Names::is_empty)),
        ("extendedResources", extended_resources.as_ref().map(Vec::is_empty)),
    ];
    for (key, empty) in lists {
        if empty == Some(true) {
            findings.add(format!("{path}.match.{key}"), "is empty, so it can never match: remove the key");
        }
    }
    for (key, names) in [("users", users), ("groups", groups)] {
        for (index, name) in names.iter().flatten().enumerate() {
            let everybody =
                name.is_anything() || EVERYBODY.iter().any(|group| name.matches(group)) && key == "groups";
            if everybody {
                let problem =
                    format!("{:?} matches everybody: name the users or groups that are meant", name.as_str());
                findings.add(format!("{path}.match.{key}[{index}]"), problem);
            }
        }
    }
    for (index, name) in service_accounts.iter().flatten().enumerate() {
        let path = format!("{path}.match.serviceAccounts[{index}]");
        if name.as_str() == "default" && base.service_account.default.is_some() {
            findings.add(
                path,
                "can never match: a Pod of the account default counts as one of serviceAccount.default",
            );
        } else if !profile.spec.service_account.allowed.iter().any(|allowed| allowed.meets(name)) {
            let problem = format!(
                "{:?} is no account that serviceAccount.allowed of the profile allows, so every Pod that matches would be \
                 denied: allow it there",
                name.as_str()
            );
            findings.add(path, problem);
        }
    }
    for (index, name) in runtime_classes.iter().flatten().enumerate() {
        if !profile.spec.runtime_class.allowed.iter().any(|class| name.matches(class)) {
            let problem = format!(
                "{:?} is no class that runtimeClass.allowed of the profile has, so every Pod that matches would be denied: \
                 allow it there",
                name.as_str()
            );
            findings.add(format!("{path}.match.runtimeClasses[{index}]"), problem);
        }
    }
    for (key, pattern) in labels.iter().flatten() {
        let path = format!("{path}.match.labels");
        if !is_label_key(key) {
            findings.add(&path, format!("{key:?} is no valid label key"));
        }
        if profile.spec.labels.required.get(key).is_some_and(|value| !pattern.matches(value)) {
            let problem =
                format!("labels.required of the profile demands another value of {key:?}: no Pod can match");
            findings.add(&path, problem);
        }
        if profile.spec.labels.forbidden.allows(key) {
            findings.add(&path, format!("labels.forbidden of the profile forbids {key:?}: no Pod can match"));
        }
    }
    for (index, name) in extended_resources.iter().flatten().enumerate() {
        if !profile.spec.resources.extended.contains_key(name) {
            let problem = format!(
                "{name:?} is not in resources.extended of the profile, so every Pod that matches would be denied: add it \
                 there"
            );
            findings.add(format!("{path}.match.extendedResources[{index}]"), problem);
        }
    }
}

fn check_exceptions(profile: &Profile, prefix: &str, is_extended: bool, findings: &mut Problems) {
    for index in repeated(profile.exceptions.iter().map(|exception| exception.name.as_str())) {
        findings.add(
            format!("{prefix}containers[{index}].name"),
            "is the name of an earlier exception: choose another",
        );
    }
    for (index, exception) in profile.exceptions.iter().enumerate() {
        let path = format!("{prefix}containers[{index}]");
        let Exception { name, matcher, spec } = exception;
        if !is_label_value(name) || name.is_empty() {
            let problem = format!("{name:?} must be 1 to 63 letters, digits, '-', '_' or '.'");
            findings.add(format!("{path}.name"), problem);
        }
        if matcher.images.is_empty() {
            findings.add(format!("{path}.match.images"), "is empty, so it can never match: name the images");
        }
        for (position, image) in matcher.images.iter().enumerate() {
            if !image.names_repository() {
                let problem = format!(
                    "{:?} must name registry and repository, without '*': anyone who can push a matching image would \
                     get the exception",
                    image.as_str()
                );
                findings.add(format!("{path}.match.images[{position}]"), problem);
            }
        }
        for (key, empty) in [("names", matcher.names.is_empty()), ("kinds", matcher.kinds.is_empty())] {
            if empty {
                findings
                    .add(format!("{path}.match.{key}"), "is empty, so it can never match: remove the key");
            }
        }
        for (position, name) in matcher.names.iter().enumerate() {
            let shortest = name.as_str().replace('*', "x");
            if !is_dns_label(&shortest) && !is_dns_subdomain(&shortest) {
                let problem = format!("{:?} can be the name of no container", name.as_str());
                findings.add(format!("{path}.match.names[{position}]"), problem);
            }
        }
        let covers = |earlier: &&Exception| earlier.matcher.covers(matcher);
        if let Some(earlier) = profile.exceptions[..index].iter().find(covers) {
            let problem = format!(
                "never matches, since the earlier exception {:?} covers it: move it up",
                earlier.name
            );
            findings.add(format!("{path}.match"), problem);
        }
        // One that a preset brings may have become needless by what the policy itself opens.
        if *spec == profile.spec && !is_extended {
            findings
                .add(format!("{path}.spec"), "changes nothing: set what differs, or remove the exception");
        }
    }
}
