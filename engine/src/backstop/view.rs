//! The view of a Pod that checks look at, and the choice of its profile and of the exceptions of its containers.

use crate::{
    cel::{self, patterns, selected},
    policy::{ContainerMatch, Kind, PodMatch, Policy, Spec},
};

/// Returns the number of the profile of `pod`, which is 0 for the policy's own keys. `is_created` is the condition that
/// the request creates it.
pub(super) fn profile(policy: &Policy, pod: &str) -> String {
    let base = &policy.base().spec;
    let mut choice = String::new();
    for (index, profile) in policy.profiles().iter().enumerate() {
        choice = format!("{choice}{} ? {} : ", matches(&profile.matcher, base, pod), index + 1);
    }
    format!("{choice}0")
}

fn matches(matcher: &PodMatch, base: &Spec, pod: &str) -> String {
    let PodMatch { users, groups, owners, service_accounts, labels, runtime_classes, extended_resources } =
        matcher;
    // Users count on CREATE only.
    let creates = "request.operation == 'CREATE'";
    let users = users.as_ref().map(|users| {
        format!("({creates} && {})", patterns::names(users, "request.userInfo.?username.orValue('')"))
    });
    let groups = groups.as_ref().map(|groups| {
        format!(
            "({creates} && request.userInfo.?groups.orValue([]).exists(g, {}))",
            patterns::names(groups, "g")
        )
    });
    let owners = owners.as_ref().map(|owners| {
        let is_one = owners.iter().map(|owner| {
            let (kind, group) = owner.as_str().split_once('.').unwrap_or((owner.as_str(), ""));
            let version = "w.?apiVersion.orValue('')";
            let of_group = if group.is_empty() {
                format!("!{version}.contains('/')")
            } else {
                format!("{version}.startsWith({})", cel::text(&format!("{group}/")))
            };
            format!("(w.?kind.orValue('') == {} && {of_group})", cel::text(kind))
        });
        format!(
            "{pod}.?metadata.?ownerReferences.orValue([]).exists(w, w.?controller.orValue(false) && {})",
            cel::any(is_one)
        )
    });
    let accounts = service_accounts.as_ref().map(|names| {
        let default = base.service_account.default.as_deref().unwrap_or("default");
        let written = format!(
            "({pod}.?spec.?serviceAccountName.orValue('') != '' ? {pod}.spec.serviceAccountName : \
             {pod}.?spec.?serviceAccount.orValue(''))"
        );
        let effective = format!("({written} in ['', 'default'] ? {} : {written})", cel::text(default));
        patterns::names(names, &effective)
    });
    let labels = labels.as_ref().map(|labels| {
        cel::all(labels.iter().map(|(key, pattern)| {
            let default = base.labels.required.get(key);
            let unset = default.is_some_and(|value| pattern.matches(value));
            let label = format!("{pod}.?metadata.?labels[?{}]", cel::text(key));
            let set = if pattern.is_anything() {
                "true".into()
            } else {
                patterns::globs_match(std::iter::once(pattern.as_str()), &format!("{label}.orValue('')"))
            };
            format!("({label}.hasValue() ? {set} : {unset})")
        }))
    });
    let classes = runtime_classes.as_ref().map(|names| {
        let written = format!("{pod}.?spec.?runtimeClassName.orValue('')");
        let default = cel::text(&base.runtime_class.default);
        patterns::names(names, &format!("({written} == '' ? {default} : {written})"))
    });
    let resources = extended_resources.as_ref().map(|names| {
        let asks = |object: &str| {
            let amounts = ["limits", "requests"].map(|kind| format!("{object}.?resources.?{kind}"));
            cel::any(names.iter().flat_map(|name| {
                amounts.clone().map(|amounts| format!("{amounts}[?{}].hasValue()", cel::text(name)))
            }))
        };
        format!("({} || {}.exists(c, {}))", asks(&format!("{pod}.?spec")), containers(pod), asks("c"))
    });
    cel::all([users, groups, owners, accounts, labels, classes, resources].into_iter().flatten())
}

/// Returns all containers of `pod`.
pub(super) fn containers(pod: &str) -> String {
    let of = |list: &str| format!("{pod}.?spec.?{list}.orValue([])");
    format!("({} + {} + {})", of("initContainers"), of("containers"), of("ephemeralContainers"))
}

/// Returns the view of `pod`, whose profile has the number that the expression `profile` gives.
pub(super) fn view(policy: &Policy, pod: &str, profile: &str, is_binding: bool) -> String {
    let init = "(c.?restartPolicy.orValue('') == 'Always' ? 'sidecar' : 'init')";
    let has_exceptions = policy.all_profiles().any(|profile| !profile.exceptions.is_empty());
    let number = if has_exceptions { exception(policy, profile) } else { "0".into() };
    let of = |list: &str, kind: &str, number: &str| {
        format!(
            "{pod}.?spec.?{list}.orValue([]).map(c, [{kind}].map(k, \
             {{'o': dyn(c), 'k': dyn(k), 'x': dyn({number})}})[0])"
        )
    };
    format!(
        "{{'o': dyn({pod}), 'p': dyn({profile}), 'binding': dyn({is_binding}), 'all': dyn({} + {} + {}), \
         'ann': dyn({pod}.?metadata.?annotations.orValue({{}})), 'labels': dyn({pod}.?metadata.?labels.orValue({{}})), \
         'vols': dyn({pod}.?spec.?volumes.orValue([]))}}",
        of("initContainers", init, &number),
        of("containers", "'app'", &number),
        of("ephemeralContainers", "'ephemeral'", "0"),
    )
}

/// Returns the number of the exception of a container `c` of the kind `k` under a profile, or 0.
fn exception(policy: &Policy, profile: &str) -> String {
    let of_profile = policy.all_profiles().map(|profile| {
        let mut choice = String::new();
        for (index, exception) in profile.exceptions.iter().enumerate() {
            choice = format!("{choice}{} ? {} : ", is_excepted(&exception.matcher), index + 1);
        }
        format!("{choice}0")
    });
    selected(profile, &of_profile.collect::<Vec<_>>())
}

fn is_excepted(matcher: &ContainerMatch) -> String {
    let ContainerMatch { images, names, kinds } = matcher;
    let kinds = kinds.iter().map(|kind| match kind {
        Kind::Init => "init",
        Kind::Sidecar => "sidecar",
        Kind::App => "app",
    });
    let image = "c.?image.orValue('')";
    // No exception is for an image whose reference cannot be read.
    let is_image = if images.allow_anything() { patterns::is_image(image) } else { "true".into() };
    cel::all([
        format!("k in {}", cel::list(kinds)),
        patterns::names(names, "c.?name.orValue('')"),
        is_image,
        patterns::images(images, image),
    ])
}
