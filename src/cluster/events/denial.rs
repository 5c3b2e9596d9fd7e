//! A denial as an Event reports it: its note, and the object that it is about.

use serde::Serialize;

use sandgate_engine::{
    json::Object,
    pod,
    review::{Operation, Outcome, Record},
    text::is_unsafe_for_display,
};

/// The object that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Regarding {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
}

/// A denial: of whose Pod, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DeniedPod {
    pub(super) regarding: Regarding,
    pub(super) note: String,
}

impl DeniedPod {
    /// The denial of a Pod that was to be created, and by no dry run. Who is denied an update has the Pod, and the
    /// answer.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let request = &record.request;
        let is_pod = matches!(&*request.resource, "pods" | "") && request.subresource.is_empty();
        let is_denied = record.outcome == Outcome::Denied
            && request.operation == Operation::Create
            && !request.dry_run
            && request.caller.is_believed()
            && is_pod
            && fits(&request.namespace);
        if !is_denied {
            return None;
        }
        let namespace = &*request.namespace;
        let controller = pod::controller(pod::metadata(&record.object));
        let regarding = controller.and_then(|owner| Regarding::controller(owner, namespace));
        Some(Self {
            regarding: regarding.unwrap_or_else(|| Regarding::namespace(namespace)),
            note: note(record.message()),
        })
    }
}

impl Regarding {
    /// The controller that made the Pod; `None` where its reference is none that an API server has ever written.
    fn controller(owner: &Object, namespace: &str) -> Option<Self> {
        let text = |key| owner.str(key).filter(|text| fits(text)).map(str::to_owned);
        Some(Self {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            namespace: namespace.to_owned(),
            name: text("name")?,
            uid: text("uid")?,
        })
    }

    /// The namespace. Its Event is kept in itself, where its users look, and not in `default`, as one about an object
    /// without a namespace would be.
    fn namespace(name: &str) -> Self {
        Self {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: name.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        }
    }
}

fn fits(text: &str) -> bool {
    const LONGEST: usize = 253;
    (1..=LONGEST).contains(&text.len()) && !text.chars().any(is_unsafe_for_display)
}

/// Returns what kubectl shows, on one line, and no longer than the note of an Event may be.
fn note(message: &str) -> String {
    const LONGEST: usize = 1024;
    const MORE: &str = "…";
    let mut note = message.replacen("\n- ", ": ", 1).replace("\n- ", "; ").replace('\n', ". ");
    if note.len() > LONGEST {
        note.truncate(note.floor_char_boundary(LONGEST - MORE.len()));
        note.push_str(MORE);
    }
    note
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use sandgate_engine::{
        policy::PolicySet,
        review::{Endpoint, answer},
    };

    /// Returns the denial that is reported of a review with these fields of the request.
    fn reported(fields: &Value) -> Option<DeniedPod> {
        reported_by(&PolicySet::builtin(), fields)
    }

    fn reported_by(policies: &PolicySet, fields: &Value) -> Option<DeniedPod> {
        let mut request = json!({
            "uid": "u", "operation": "CREATE", "namespace": "workflows", "resource": {"resource": "pods"},
            "object": {"spec": {"hostPID": true, "containers": [{"name": "main", "image": "x"}]}},
        });
        for (key, value) in fields.as_object().unwrap() {
            request[key] = value.clone();
        }
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
        let review = review.to_string();
        DeniedPod::of(&answer(policies, Endpoint::Mutate, None, review.as_bytes()).unwrap().record)
    }

    fn owned(owner: &Value) -> Value {
        json!({"object": {
            "metadata": {"ownerReferences": [owner]},
            "spec": {"hostPID": true, "containers": [{"name": "main", "image": "x"}]},
        }})
    }

    #[test]
    fn a_denial_is_about_the_controller_that_made_the_pod() {
        let owner =
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
        let denied = reported(&owned(&owner)).unwrap();
        let regarding = serde_json::to_value(&denied.regarding).unwrap();
        let wanted = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "workflows", "name": "j", "uid": "1"});
        assert_eq!(regarding, wanted);
        assert!(
            denied.note.starts_with("policy \"workflow-runner\": spec.hostPID is true"),
            "{}",
            denied.note
        );
    }

    #[test]
    fn without_a_controller_it_is_about_the_namespace() {
        let namespace = Regarding::namespace("workflows");
        assert_eq!(reported(&json!({})).unwrap().regarding, namespace);
        let good = json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1", "controller": true});
        for (key, value) in [
            ("controller", json!(false)),
            ("uid", json!("")),
            ("name", json!("a\nb")),
            ("name", json!("n".repeat(254))),
            ("kind", json!(7)),
        ] {
            let mut owner = good.clone();
            owner[key] = value;
            assert_eq!(reported(&owned(&owner)).unwrap().regarding, namespace, "{owner}");
        }
    }

    #[test]
    fn what_was_not_denied_or_is_no_new_pod_is_not_reported() {
        for fields in [
            json!({"dryRun": true}),
            json!({"operation": "UPDATE"}),
            json!({"operation": "DELETE"}),
            json!({"resource": {"resource": "bindings"}}),
            json!({"object": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}),
        ] {
            assert_eq!(reported(&fields), None, "{fields}");
        }
    }

    #[test]
    fn a_policy_that_only_warns_or_records_has_denied_nothing() {
        for mode in ["warn", "audit"] {
            let text = format!(
                "{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: p}}, spec: {{mode: {mode}}}}}"
            );
            let source = sandgate_engine::policy::Source { name: "policy.yaml".into(), text };
            assert_eq!(reported_by(&PolicySet::from_sources(&[source]).unwrap(), &json!({})), None, "{mode}");
        }
    }

    #[test]
    fn a_note_is_one_line_of_at_most_1024_bytes() {
        assert_eq!(note("policy \"p\": 2 violations\n- a\n- b"), "policy \"p\": 2 violations: a; b");
        assert_eq!(note("policy \"p\": a\nAbout it\nAsk us."), "policy \"p\": a. About it. Ask us.");
        let long = note(&format!("x{}", "ü".repeat(1000)));
        assert!(long.ends_with("ü…") && (1022..=1024).contains(&long.len()), "{}", long.len());
    }
}
