//! The keys `security`: users, privileges and confinement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{compare::Nature, pattern::Names, spec::strings, values::IdRange};

/// The bounds of users, privileges and confinement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    /// The user ids that containers may run as. Containers may set this key.
    pub run_as_user: IdRange,
    /// The primary group ids that containers may run as. Containers may set this key.
    pub run_as_group: IdRange,
    /// The groups that may own volumes; supplemental groups lie in the same range.
    pub fs_group: IdRange,
    /// The value that `supplementalGroupsPolicy` must have; it is filled where unset, and null leaves it to the Pod.
    pub supplemental_groups_policy: Option<SupplementalGroupsPolicy>,
    /// The conditions under which user id 0 is allowed beside `runAsUser`. Containers may set this key.
    pub root: Root,
    /// False fills and demands a user namespace (`hostUsers: false`); null leaves it to the Pod.
    pub host_users: Option<bool>,
    /// The seccomp profiles, `RuntimeDefault` or `Localhost/PROFILE`; the first is filled where none is set.
    pub seccomp_profiles: Vec<String>,
    /// The Linux capabilities of containers. Containers may set this key.
    pub capabilities: Capabilities,
    /// True fills and demands a read-only root file system; false leaves it to the Pod. Containers may set this key.
    pub read_only_root_filesystem: bool,
    /// True lets Pods set an SELinux level, as `OpenShift` does; type, user and role stay forbidden.
    pub se_linux_level: bool,
    /// The sysctls that Pods may set, of those that Kubernetes calls safe.
    pub sysctls: Vec<String>,
    /// True lets the containers of a Pod share one process namespace.
    pub share_process_namespace: bool,
}

impl Security {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("security.runAsUser", Nature::Range),
        ("security.runAsGroup", Nature::Range),
        ("security.fsGroup", Nature::Range),
        ("security.supplementalGroupsPolicy", Nature::NullIsWeak),
        ("security.root.runtimeClasses", Nature::Allows),
        ("security.root.userNamespace", Nature::WeakIf(false)),
        ("security.hostUsers", Nature::NullIsWeak),
        ("security.seccompProfiles", Nature::Allows),
        ("security.capabilities.drop", Nature::Demands),
        ("security.capabilities.add", Nature::Allows),
        ("security.capabilities.allowedAdd", Nature::Allows),
        ("security.readOnlyRootFilesystem", Nature::WeakIf(false)),
        ("security.seLinuxLevel", Nature::WeakIf(true)),
        ("security.sysctls", Nature::Allows),
        ("security.shareProcessNamespace", Nature::WeakIf(true)),
    ];
}

impl Default for Security {
    fn default() -> Self {
        Self {
            run_as_user: IdRange::default(),
            run_as_group: IdRange::default(),
            fs_group: IdRange::default(),
            supplemental_groups_policy: None,
            root: Root::default(),
            host_users: None,
            seccomp_profiles: strings(&["RuntimeDefault"]),
            capabilities: Capabilities::default(),
            read_only_root_filesystem: true,
            se_linux_level: false,
            sysctls: Vec::new(),
            share_process_namespace: false,
        }
    }
}

/// The values of `supplementalGroupsPolicy` that a policy can demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SupplementalGroupsPolicy {
    /// The groups that the image's `/etc/group` gives the user do not count.
    Strict,
}

/// The conditions under which user id 0 is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Root {
    /// The runtime classes under which a container may run as user id 0, without patterns.
    pub runtime_classes: Vec<String>,
    /// True demands a user namespace (`hostUsers: false`) besides.
    pub user_namespace: bool,
}

impl Root {
    /// Returns true if user id 0 is allowed under some runtime class.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        !self.runtime_classes.is_empty()
    }
}

/// Linux capabilities, without the prefix `CAP_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Capabilities {
    /// The capabilities that every container must drop; they are filled where absent.
    pub drop: Vec<String>,
    /// The capabilities that are filled where a container adds none, and that it may add.
    pub add: Vec<String>,
    /// The capabilities that a container may add besides.
    pub allowed_add: Vec<String>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { drop: strings(&["ALL"]), add: Vec::new(), allowed_add: Vec::new() }
    }
}

impl Capabilities {
    /// Returns true if a container may add `name`.
    #[must_use]
    pub fn may_add(&self, name: &str) -> bool {
        self.add.iter().chain(&self.allowed_add).any(|allowed| allowed == name)
    }
}

/// The names of Secrets or `ConfigMaps` that Pods may use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NamedObjects {
    /// The names of the objects that Pods may use.
    pub names: Names,
}
