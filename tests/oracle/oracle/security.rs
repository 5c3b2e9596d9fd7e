//! Users, privileges and confinement.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
    WindowsSecurityContextOptions,
};

use super::{Faults, Placed, Subject, must, word};
use crate::policy::Keys;

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    let none = PodSecurityContext::default();
    let context = subject.spec.security_context.as_ref().unwrap_or(&none);
    check_pod(subject, context, faults);
    let users = Users { subject, context };
    for placed in subject.containers {
        let none = SecurityContext::default();
        let own = placed.container.security_context.as_ref().unwrap_or(&none);
        users.check(placed, own, faults);
        check_privileges(placed, own, faults);
    }
    users.check_what_is_not_inherited(faults);
}

fn check_pod(subject: &Subject, context: &PodSecurityContext, faults: &mut Faults) {
    let security = &subject.keys.security;
    let group = context.fs_group;
    let fits = group.map_or(security.fs_group.default.is_none(), |group| security.fs_group.contain(group));
    must(fits, "fsGroup", faults);
    let mut groups = context.supplemental_groups.iter().flatten();
    must(groups.all(|group| security.fs_group.contain(*group)), "supplemental group", faults);
    if let Some(wanted) = &security.supplemental_groups_policy {
        must(context.supplemental_groups_policy.as_ref() == Some(wanted), "supplementalGroupsPolicy", faults);
    }
    if let Some(wanted) = security.host_users {
        must(subject.spec.host_users == Some(wanted), "hostUsers", faults);
    }
    must(is_default_apparmor(context.app_armor_profile.as_ref()), "Pod's AppArmor", faults);
    must(is_no_label(context.se_linux_options.as_ref(), subject.keys), "Pod's SELinux", faults);
    let mut sysctls = context.sysctls.iter().flatten();
    must(sysctls.all(|sysctl| security.sysctls.contains(&sysctl.name)), "sysctl", faults);
    must(is_not_windows(context.windows_options.as_ref()), "Pod's Windows options", faults);
    let os = subject.spec.os.as_ref().map_or("", |os| &os.name);
    must(matches!(os, "" | "linux"), "operating system", faults);
    let shares = subject.spec.share_process_namespace == Some(true);
    must(!shares || security.share_process_namespace, "shared process namespace", faults);
}

/// What containers inherit from their Pod; what a container sets goes before it.
struct Users<'u> {
    subject: &'u Subject<'u>,
    context: &'u PodSecurityContext,
}

impl Users<'_> {
    fn may_be_root(&self, keys: &Keys) -> bool {
        let root = &keys.security.root;
        let class = word(self.subject.spec.runtime_class_name.as_ref());
        root.runtime_classes.iter().any(|allowed| allowed == class)
            && (!root.user_namespace || self.subject.spec.host_users == Some(false))
    }

    fn is_user(&self, keys: &Keys, user: Option<i64>) -> bool {
        let range = &keys.security.run_as_user;
        let has_all_but_root = range.min <= 1 && range.max >= i64::from(i32::MAX);
        match user {
            Some(0) => range.contain(0) || self.may_be_root(keys),
            Some(user) => range.contain(user),
            None => has_all_but_root || self.may_be_root(keys),
        }
    }

    fn is_non_root(&self, keys: &Keys, value: Option<bool>) -> bool {
        value == Some(true) || self.may_be_root(keys)
    }

    fn check(&self, placed: &Placed, own: &SecurityContext, faults: &mut Faults) {
        let (pod, keys) = (self.context, placed.keys);
        let non_root = own.run_as_non_root.or(pod.run_as_non_root);
        placed.must(self.is_non_root(keys, non_root), "runAsNonRoot", faults);
        placed.must(self.is_user(keys, own.run_as_user.or(pod.run_as_user)), "user", faults);
        placed.must(is_group(keys, own.run_as_group.or(pod.run_as_group)), "group", faults);
        let seccomp = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
        placed.must(is_seccomp(self.subject.keys, seccomp), "seccomp", faults);
    }

    /// What no container inherits would hold for one that is added to the running Pod.
    fn check_what_is_not_inherited(&self, faults: &mut Faults) {
        let (pod, keys) = (self.context, self.subject.keys);
        let inherit = |sets: fn(&SecurityContext) -> bool| {
            let contexts =
                self.subject.containers.iter().map(|placed| placed.container.security_context.as_ref());
            contexts.into_iter().any(|own| !own.is_some_and(sets))
        };
        let fits = pod.run_as_non_root.is_none()
            || inherit(|own| own.run_as_non_root.is_some())
            || self.is_non_root(keys, pod.run_as_non_root);
        must(fits, "Pod's runAsNonRoot", faults);
        let fits = pod.run_as_user.is_none()
            || inherit(|own| own.run_as_user.is_some())
            || self.is_user(keys, pod.run_as_user);
        must(fits, "Pod's user", faults);
        let fits = pod.run_as_group.is_none()
            || inherit(|own| own.run_as_group.is_some())
            || is_group(keys, pod.run_as_group);
        must(fits, "Pod's group", faults);
        let fits = pod.seccomp_profile.is_none() || is_seccomp(keys, pod.seccomp_profile.as_ref());
        must(fits, "Pod's seccomp", faults);
    }
}

/// Without one the group is the image's: root's, as far as is known.
fn is_group(keys: &Keys, group: Option<i64>) -> bool {
    let range = &keys.security.run_as_group;
    group.map_or(range.default.is_none() && range.contain(0), |group| range.contain(group))
}

fn is_seccomp(keys: &Keys, profile: Option<&SeccompProfile>) -> bool {
    let written = profile.map(|profile| match &profile.localhost_profile {
        Some(file) => format!("{}/{file}", profile.type_),
        None => profile.type_.clone(),
    });
    written.is_some_and(|written| keys.security.seccomp_profiles.contains(&written))
}

fn is_default_apparmor(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_none_or(|profile| profile.type_ == "RuntimeDefault")
}

fn is_no_label(options: Option<&SELinuxOptions>, keys: &Keys) -> bool {
    options.is_none_or(|SELinuxOptions { level, role, type_, user }| {
        let is_unset = |part: &Option<String>| word(part.as_ref()).is_empty();
        [role, type_, user].into_iter().all(is_unset) && (keys.security.se_linux_level || is_unset(level))
    })
}

fn is_not_windows(options: Option<&WindowsSecurityContextOptions>) -> bool {
    options.is_none_or(|options| *options == WindowsSecurityContextOptions::default())
}

fn check_privileges(placed: &Placed, own: &SecurityContext, faults: &mut Faults) {
    let security = &placed.keys.security;
    placed.must(own.privileged != Some(true), "privileged", faults);
    placed.must(own.allow_privilege_escalation == Some(false), "privilege escalation", faults);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let drops = |name: &str| capabilities.drop.iter().flatten().any(|dropped| dropped == name);
    let drops_all = security.capabilities.drop.iter().all(|name| drops("ALL") || drops(name));
    placed.must(drops_all, "capabilities not dropped", faults);
    let may_add = |name: &String| {
        security.capabilities.add.contains(name) || security.capabilities.allowed_add.contains(name)
    };
    placed.must(capabilities.add.iter().flatten().all(may_add), "capability added", faults);
    let is_read_only = own.read_only_root_filesystem == Some(true);
    placed.must(is_read_only || !security.read_only_root_filesystem, "root file system", faults);
    placed.must(matches!(word(own.proc_mount.as_ref()), "" | "Default"), "procMount", faults);
    placed.must(is_default_apparmor(own.app_armor_profile.as_ref()), "AppArmor", faults);
    placed.must(is_no_label(own.se_linux_options.as_ref(), placed.keys), "SELinux", faults);
    placed.must(is_not_windows(own.windows_options.as_ref()), "Windows options", faults);
}
