//! Contents that a policy may have and probably should not. They are logged, and printed by `policy validate`.

use super::{
    super::{
        load::{Loaded, Problem},
        merge::join,
        profile::Profile,
        spec::Spec,
        tree::{Node, Tree},
    },
    Problems, each_spec,
};

/// The user of the controllers of Kubernetes where they share one.
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
/// The kinds of the core API that own Pods.
const CORE_OWNERS: [&str; 5] = ["ConfigMap", "Node", "Pod", "ReplicationController", "Service"];
/// The beginning of the user of every service account. A program creates Pods by one, on the word of others.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

pub(in super::super) fn warnings(loaded: &Loaded) -> Vec<Problem> {
    let mut findings = Problems::default();
    for (index, user) in loaded.policy.header.exempt.users.iter().enumerate() {
        let controller = user == CONTROLLER_MANAGER || user.starts_with(SERVICE_ACCOUNT_PREFIX);
        if controller {
            let problem = format!(
                "{user:?} is the account of a controller: everybody who may write the objects that it watches is exempt"
            );
            findings.add(format!("exempt.users[{index}]"), problem);
        }
    }
    for (index, profile) in loaded.policy.profiles().iter().enumerate() {
        for (position, owner) in profile.matcher.owners.iter().flatten().enumerate() {
            let owner = owner.as_str();
            if !owner.contains('.') && !CORE_OWNERS.contains(&owner) {
                let problem = format!(
                    "{owner:?} has no group, so it stands for a kind of the core API: write KIND.GROUP, such as Job.batch"
                );
                findings.add(format!("profiles[{index}].match.owners[{position}]"), problem);
            }
        }
    }
    let mut problems: Vec<Problem> = findings.located(&loaded.tree, "spec.").collect();
    if let Some(add) = &loaded.add {
        warn_of_unreached(add, "", &loaded.tree, &mut problems);
    }
    each_spec(loaded, |profile, spec, exception, tree, prefix| {
        let mut findings = Problems::default();
        warn_of_root(spec, profile, exception, &mut findings);
        if exception.is_none() {
            warn_of_spec(spec, &mut findings);
        }
        problems.extend(findings.located(tree, prefix));
    });
    problems
}

fn exceptions_of(spec: Option<&Tree>) -> &[Tree] {
    spec.and_then(|spec| spec.get("containers")).map(Tree::items).unwrap_or_default()
}

/// Warns of each list of `add` that a profile or an exception replaces by one of its own.
fn warn_of_unreached(add: &Tree, path: &str, tree: &Tree, problems: &mut Vec<Problem>) {
    for (key, addition) in add.members() {
        let path = join(path, key);
        if !matches!(addition.node, Node::List(_)) {
            warn_of_unreached(addition, &path, tree, problems);
            continue;
        }
        let profiles = tree.get("profiles").map(Tree::items).unwrap_or_default();
        let of_profiles = profiles.iter().flat_map(|profile| exceptions_of(profile.get("spec")));
        let of_containers =
            exceptions_of(Some(tree)).iter().chain(of_profiles).map(|entry| ("exception", entry));
        for (what, entry) in profiles.iter().map(|entry| ("profile", entry)).chain(of_containers) {
            let own = path.split('.').try_fold(entry.get("spec"), |at, key| Some(at?.get(key))).flatten();
            let Some(Node::List(own)) = own.map(|own| &own.node) else { continue };
            let has = |item: &Tree| own.iter().any(|own| own.to_json() == item.to_json());
            if addition.items().iter().all(has) {
                continue;
            }
            let name = entry.get("name").and_then(Tree::text).unwrap_or_default();
            let problem = format!(
                "does not reach the {what} {name:?}, which has a list of its own: write it there too"
            );
            problems.push(Problem::new(&format!("spec.add.{path}"), problem, &addition.place));
        }
    }
}

fn warn_of_spec(spec: &Spec, findings: &mut Problems) {
    if !spec.resources.resource_claim_templates.is_empty()
        && spec.runtime_class.allowed.iter().any(|class| class.contains("gvisor") || class.contains("runsc"))
    {
        let problem = "stands beside a gVisor runtime class: nvproxy shows every GPU of the node, not only the claimed one \
                       (gvisor#13621). Use nodes with one tenant";
        findings.add("resources.resourceClaimTemplates", problem);
    }
    if has_durable_volumes(spec) && spec.security.supplemental_groups_policy.is_none() {
        let problem = "is unset, so the image's /etc/group may give a process the group of a volume's files: set Strict if \
                       the nodes know it (Kubernetes 1.31 and containerd 2.0 or later)";
        findings.add("security.supplementalGroupsPolicy", problem);
    }
}

fn warn_of_root(spec: &Spec, profile: &Profile, exception: Option<&Spec>, findings: &mut Problems) {
    let inherited = exception.is_some_and(|base| base.security.root == spec.security.root);
    if !inherited
        && spec.security.root.is_allowed()
        && has_durable_volumes(&profile.spec)
        && !spec.security.root.user_namespace
        && profile.spec.security.host_users != Some(false)
    {
        let problem = "allows root beside volumes that outlive the Pod: root can leave files there that are owned by root \
                       for other Pods. Set security.root.userNamespace: true if the nodes have user namespaces";
        findings.add("security.root", problem);
    }
}

fn has_durable_volumes(spec: &Spec) -> bool {
    let volumes = &spec.volumes;
    !volumes.persistent_volume_claim.names.is_empty()
        || !volumes.csi.is_empty()
        || !volumes.ephemeral.storage_classes.is_empty()
}
