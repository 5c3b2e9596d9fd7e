//! The changes of a fill beyond defaults for unset fields: numbers that it lowered, and the token that it removed.

use crate::{
    json::{JsonStep, Value, each_removal},
    path::{FieldPath, LazyPath, SPEC},
    pod::{self, Pod},
    policy::{OnExcess, Profile},
};

/// A number that was lowered to the policy's ceiling: the one fill that overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clamped {
    /// The path of the field.
    pub path: FieldPath,
    /// The number that the Pod had.
    pub from: i64,
    /// The number that the Pod has now.
    pub to: i64,
}

/// The numbers of a Pod that a fill may lower, as they were before it.
pub(super) struct Numbers(Vec<(FieldPath, i64)>);

impl Numbers {
    /// Returns the numbers of `pod` that `profile` clamps; none if it clamps nothing, so that they cost nothing then.
    pub(super) fn before_fill(profile: &Profile, pod: &Value) -> Self {
        let lifecycle = &profile.spec.lifecycle;
        let clamps = [
            lifecycle.active_deadline_seconds.on_excess,
            lifecycle.termination_grace_period_seconds.on_excess,
        ];
        if !clamps.contains(&OnExcess::Clamp) {
            return Self(Vec::new());
        }
        let mut numbers = Vec::new();
        each_number(profile, pod, |path, number| numbers.push((path.into(), number)));
        Self(numbers)
    }

    /// Returns those that are other numbers now.
    pub(super) fn clamped(self, profile: &Profile, pod: &Value) -> Vec<Clamped> {
        let mut before = self.0.into_iter().peekable();
        if before.peek().is_none() {
            return Vec::new();
        }
        let mut clamped = Vec::new();
        // Both walks take one order, and a fill adds numbers without removing any.
        each_number(profile, pod, |path, to| {
            let path = FieldPath::from(path);
            if let Some((path, from)) = before.next_if(|(next, _)| *next == path)
                && from != to
            {
                clamped.push(Clamped { path, from, to });
            }
        });
        clamped
    }
}

/// Calls `visit` for the deadline and for each grace period.
fn each_number(profile: &Profile, pod: &Value, mut visit: impl FnMut(LazyPath, i64)) {
    const GRACE_PERIOD: &str = "terminationGracePeriodSeconds";
    let pod = Pod::of(pod, profile);
    for field in ["activeDeadlineSeconds", GRACE_PERIOD] {
        if let Some(number) = pod.spec.i64(field) {
            visit(SPEC.child(field), number);
        }
    }
    for container in &pod.containers {
        for (name, probe) in container.probes() {
            if let Some(number) = probe.i64(GRACE_PERIOD) {
                visit(container.at(name).child(GRACE_PERIOD), number);
            }
        }
    }
}

/// Returns true if a fill took the API server's token out of the Pod, or out of some of its containers. No other fill
/// removes a volume or a mount.
pub(super) fn is_token_removed(pod: &Value) -> bool {
    let mut removed = false;
    each_removal(pod, &mut |steps| {
        let list = steps.iter().rev().find_map(|step| match step {
            JsonStep::Key(key) => Some(*key),
            JsonStep::Index(_) => None,
        });
        removed |= matches!(list, Some("volumes" | "volumeMounts"));
    });
    removed
}

/// Returns true if the Pod belongs to a Job, whose own deadline does not stand in its Pods.
pub(super) fn is_of_job(pod: &Value) -> bool {
    pod::controller(pod::metadata(pod)).is_some_and(pod::is_job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        json::pod_from_str,
        pod::spec_mut,
        policy::{OnExcess, Spec},
    };

    fn clamping() -> Profile {
        let mut spec = Spec::default();
        spec.lifecycle.active_deadline_seconds.on_excess = OnExcess::Clamp;
        Profile::of_spec(spec)
    }

    const POD: &str = r#"{"spec":{"activeDeadlineSeconds":9000,"containers":[
        {"livenessProbe":{"terminationGracePeriodSeconds":70},"readinessProbe":{"terminationGracePeriodSeconds":5}}]}}"#;

    fn lower(pod: &mut Value) {
        let spec = spec_mut(pod).unwrap();
        spec.set("activeDeadlineSeconds", 3600i64);
        spec.set("terminationGracePeriodSeconds", 60i64);
        for (_, container) in spec.list_mut("containers").unwrap().iter_mut() {
            let probe = container.as_object_mut().unwrap().object_mut("livenessProbe").unwrap();
            probe.set("terminationGracePeriodSeconds", 60i64);
        }
    }

    #[test]
    fn numbers_that_were_lowered_are_listed_and_those_that_were_added_are_not() {
        let profile = clamping();
        let mut pod = pod_from_str(POD).unwrap();
        let numbers = Numbers::before_fill(&profile, &pod);
        lower(&mut pod);
        let clamped: Vec<_> = numbers
            .clamped(&profile, &pod)
            .into_iter()
            .map(|Clamped { path, from, to }| (path.to_string(), from, to))
            .collect();
        assert_eq!(
            clamped,
            [
                ("spec.activeDeadlineSeconds".into(), 9000, 3600),
                ("spec.containers[0].livenessProbe.terminationGracePeriodSeconds".into(), 70, 60)
            ]
        );
    }

    #[test]
    fn a_policy_that_clamps_nothing_lists_nothing() {
        let profile = Profile::default();
        let mut pod = pod_from_str(POD).unwrap();
        let numbers = Numbers::before_fill(&profile, &pod);
        lower(&mut pod);
        assert_eq!(numbers.clamped(&profile, &pod), []);
    }

    #[test]
    fn a_removed_volume_or_mount_is_the_token_and_another_removed_item_is_not() {
        for (text, field, expected) in [
            (r#"{"spec":{"volumes":[{}]}}"#, "volumes", true),
            (r#"{"spec":{"tolerations":[{}]}}"#, "tolerations", false),
        ] {
            let mut pod = pod_from_str(text).unwrap();
            assert!(!is_token_removed(&pod));
            spec_mut(&mut pod).unwrap().list_mut(field).unwrap().remove_where(|_| true);
            assert_eq!(is_token_removed(&pod), expected, "{field}");
        }
    }
}
