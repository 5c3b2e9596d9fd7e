//! The runtime class, and the annotations that reach runsc.

use crate::{
    cel::{self, Keys, Statement, patterns},
    policy::Pattern,
};

pub(super) const CLASS: &str = "v.o.?spec.?runtimeClassName.orValue('')";

pub(super) fn runtime_class(keys: Keys) -> Vec<Statement> {
    let condition = format!("!({CLASS} in {})", cel::list(&keys.spec.runtime_class.allowed));
    vec![Statement::pod(condition, "spec.runtimeClassName", &cel::shown("v.o.?spec.?runtimeClassName"))]
}

const SHARING_PREFIX: &str = "dev.gvisor.empty-dir.";

/// Only the mount hints that gVisor documents for an emptyDir of the Pod are allowed.
pub(super) fn gvisor_annotations(keys: Keys) -> Vec<Statement> {
    let is_empty_dir = "!(d.name in ['gke-gcsfuse-tmp', 'gvisorinternaldevshm']) && \
                        (d.?emptyDir.hasValue() || dyn(d).all(f, f == 'name'))";
    let hint = "(k == 'dev.gvisor.spec.mount.' + d.name + '.type' && \
                (v.ann[k] == 'tmpfs' || (v.ann[k] == 'bind' && d.?emptyDir.?medium.orValue('') != 'Memory'))) || \
                (k == 'dev.gvisor.spec.mount.' + d.name + '.share' && v.ann[k] in ['container', 'pod']) || \
                (k == 'dev.gvisor.spec.mount.' + d.name + '.options' && \
                v.ann[k].split(',').all(option, option in ['rw', 'ro', 'rprivate']))";
    let named = keys.spec.annotations.allowed.iter().map(Pattern::as_str);
    let named: Vec<&str> = named.filter(|pattern| pattern.starts_with(SHARING_PREFIX)).collect();
    let is_allowed = patterns::globs_match(named.into_iter(), "k");
    let sharing = cel::all([
        is_allowed,
        "k == 'dev.gvisor.empty-dir.' + d.name + '.force-shared'".into(),
        "v.ann[k] in ['true', 'false']".into(),
    ]);
    let order = cel::any([format!("({hint})"), sharing]);
    vec![Statement::annotation(format!(
        "k.startsWith('dev.gvisor.') && !v.vols.exists(d, {is_empty_dir} && {order})"
    ))]
}
