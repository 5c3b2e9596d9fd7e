//! The audit record: one declaration for the trail, its JSON schema, and everything that reads it.

use std::{borrow::Cow, collections::HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Clamped, LeveledViolations, Outcome, Record, audit_line};
use crate::{
    json::Object,
    path::FieldPath,
    pod,
    policy::Level,
    text::{cut, is_plain, is_unsafe_for_display},
    violations::Violation,
};

/// The most characters of a text in an audit record. A longer one is cut; its length and hash are kept.
pub const MAX_TEXT_CHARS: usize = 512;

/// The most bytes of a list of texts in an audit line. What does not fit is counted in the list's last item.
const MAX_TEXTS_BYTES: usize = 32 << 10;

/// The most bytes of a list of violations in an audit line. What does not fit is counted in the list's last item.
const MAX_VIOLATIONS_BYTES: usize = 80 << 10;

/// The most bytes of a list of exceptions or lowered numbers in an audit line. What does not fit is counted in the
/// list's last item.
const MAX_SHORT_LIST_BYTES: usize = 8 << 10;

/// The most bytes of an audit line, with its newline and the fields of the chain.
pub const MAX_LINE_BYTES: usize = 420 << 10;

/// A verdict of sandgate on one admission review. A text longer than 512 characters is cut; its length in bytes and the
/// beginning of its SHA-256 stand behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord<'a> {
    /// The time of the verdict, in UTC, by RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: Cow<'a, str>,
    /// The name of the cluster, from the flag --cluster-name. Empty if none was given.
    #[serde(default)]
    pub cluster: Cow<'a, str>,
    /// The name of the replica of sandgate that gave the verdict, from the flag --instance.
    #[serde(default)]
    pub instance: Cow<'a, str>,
    /// The verdict. `warned` and `would-deny` are admitted, where mode enforce would have denied; `exempt` is admitted
    /// because the policy exempts the user or a group; `no-policy` means that no policy covers the namespace.
    #[schemars(extend("enum" = RECORDED_VERDICTS))]
    pub verdict: Cow<'a, str>,
    /// The endpoint that the API server called: mutate or validate.
    pub endpoint: Cow<'a, str>,
    /// True if the caller proved to be the API server, by a client certificate or a token.
    #[serde(default)]
    pub authenticated: bool,
    /// The uid of the admission request. The API server makes a new one for each call of a webhook.
    pub uid: Cow<'a, str>,
    /// True if the request was a dry run, which stores nothing.
    pub dry_run: bool,
    /// The operation: CREATE or UPDATE.
    pub operation: Cow<'a, str>,
    /// The resource of the request, such as pods.
    pub resource: Cow<'a, str>,
    /// The subresource of the request, such as resize. Empty if the request is for the whole object.
    pub subresource: Cow<'a, str>,
    /// The namespace of the object.
    pub namespace: Cow<'a, str>,
    /// The name of the object. Empty if the API server makes the name from generateName.
    pub name: Cow<'a, str>,
    /// The prefix from which the API server makes the object's name. Empty if the object has a name.
    pub generate_name: Cow<'a, str>,
    /// The controller that owns the Pod, or null.
    pub owner: Option<AuditOwner<'a>>,
    /// The name of the user who sent the request.
    pub user: Cow<'a, str>,
    /// The groups of the user who sent the request.
    pub groups: Vec<Cow<'a, str>>,
    /// The service account that the Pod runs as.
    pub service_account: Cow<'a, str>,
    /// The name of the policy that was applied. Empty if no policy covers the namespace.
    pub policy: Cow<'a, str>,
    /// The name of the profile of the policy that was applied, or null.
    #[serde(default)]
    pub profile: Option<Cow<'a, str>>,
    /// The names of the exceptions of the policy that hold for containers of the Pod.
    #[serde(default)]
    pub exceptions: Vec<Cow<'a, str>>,
    /// The hash of the content of the policy that was applied.
    pub policy_hash: Cow<'a, str>,
    /// The mode of the policy that was applied: enforce, warn or audit.
    pub mode: Cow<'a, str>,
    /// The paths of the fields that were filled, or would be filled in mode enforce.
    pub filled: Vec<Cow<'a, str>>,
    /// The numbers that were lowered to the policy's maximum, or would be lowered in mode enforce.
    #[serde(default)]
    pub clamped: Vec<AuditClamped<'a>>,
    /// True if the service account token for the API server was removed, or would be removed in mode enforce.
    #[serde(default)]
    pub token_removed: bool,
    /// The violations of the policy. If they do not all fit, the first one of each rule is listed before the others.
    pub violations: Vec<AuditViolation<'a>>,
    /// The findings that deny nothing: fields of the metadata that no rule knows, and, of an update, the violations that
    /// the stored object has already.
    #[serde(default)]
    pub forgiven: Vec<AuditViolation<'a>>,
    /// The violations of the candidate policy, which is evaluated beside the one that was applied.
    #[serde(default)]
    pub candidate: Vec<AuditViolation<'a>>,
    /// The images of all containers of the Pod.
    pub images: Vec<Cow<'a, str>>,
    /// The duration of the evaluation, in microseconds.
    pub duration_micros: u64,
}

/// The controller that owns a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditOwner<'a> {
    /// The kind of the controller, such as Job.
    pub kind: Cow<'a, str>,
    /// The name of the controller. It is in the namespace of the Pod.
    pub name: Cow<'a, str>,
}

/// A number that was lowered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditClamped<'a> {
    /// The path of the field, in the notation of Kubernetes. The last item of a list that was cut counts the rest.
    pub path: Cow<'a, str>,
    /// The number that the Pod had.
    pub from: i64,
    /// The number that the Pod has now.
    pub to: i64,
}

/// A field that violates a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditViolation<'a> {
    /// The id of the violated rule. Empty in the last item of a list that was cut, which counts the rest.
    pub rule: Cow<'a, str>,
    /// The level of the rule in the policy: enforce, warn or audit. Only violations at the level enforce deny a
    /// request.
    #[serde(default)]
    pub level: Cow<'a, str>,
    /// The path of the field, in the notation of Kubernetes.
    pub path: Cow<'a, str>,
    /// The value that was found in the field.
    pub found: Cow<'a, str>,
    /// The values that the policy allows in the field.
    pub wanted: Cow<'a, str>,
    /// The change of the object after which the policy allows it.
    #[serde(default)]
    pub remedy: Cow<'a, str>,
}

/// The part of sandgate that wrote an audit record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The name of the replica.
    pub instance: &'a str,
}

const RECORDED_VERDICTS: [&str; Outcome::ALL.len() - 1] = [
    Outcome::Admitted.as_str(),
    Outcome::Denied.as_str(),
    Outcome::Warned.as_str(),
    Outcome::WouldDeny.as_str(),
    Outcome::Exempt.as_str(),
    Outcome::NoPolicy.as_str(),
];

impl<'a> AuditRecord<'a> {
    pub(super) fn of(record: &'a Record, origin: Origin<'a>, time: &'a str, duration_micros: u64) -> Self {
        let (metadata, spec) = (pod::metadata(&record.object), pod::spec(&record.object));
        let request = &record.request;
        let name = if request.name.is_empty() { text(metadata, "name") } else { &request.name };
        let images = pod::containers(&record.object).filter_map(|container| container.str("image"));
        let is_filled = !matches!(record.outcome, Outcome::Denied | Outcome::Exempt);
        let filled = if is_filled { record.filled_texts() } else { Vec::new() };
        let clamped = if is_filled { record.findings.clamped.as_slice() } else { &[] };
        let policy = record.policy;
        Self {
            time: time.into(),
            cluster: short(origin.cluster),
            instance: short(origin.instance),
            verdict: record.outcome.as_str().into(),
            endpoint: record.endpoint.as_str().into(),
            authenticated: request.caller.is_authenticated(),
            uid: short(&request.uid),
            dry_run: request.dry_run,
            operation: request.operation.as_str().into(),
            resource: short(&request.resource),
            subresource: short(&request.subresource),
            namespace: short(&request.namespace),
            name: short(name),
            generate_name: short(text(metadata, "generateName")),
            owner: pod::controller(metadata).map(|owner| AuditOwner {
                kind: short(text(owner, "kind")),
                name: short(text(owner, "name")),
            }),
            user: short(&request.user),
            groups: texts(request.groups.iter().map(|group| short(group)), MAX_TEXTS_BYTES),
            service_account: short(text(spec, "serviceAccountName")),
            policy: policy.map(|policy| short(&policy.name)).unwrap_or_default(),
            profile: record.profile().map(short),
            exceptions: texts(
                record.findings.exceptions.iter().map(|name| short(name)),
                MAX_SHORT_LIST_BYTES,
            ),
            policy_hash: policy.map(|policy| short(&policy.hash)).unwrap_or_default(),
            mode: policy.map(|policy| policy.mode().as_str().into()).unwrap_or_default(),
            filled: texts(filled.into_iter().map(short_owned), MAX_TEXTS_BYTES),
            clamped: lowered(clamped),
            token_removed: is_filled && record.findings.is_token_removed,
            violations: violations(record.violations()),
            forgiven: violations(&record.findings.forgiven),
            candidate: violations(&record.candidate),
            images: texts(images.map(short), MAX_TEXTS_BYTES),
            duration_micros,
        }
    }

    /// Returns the verdict, unless it is a word of another version of sandgate.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        Outcome::from_word(&self.verdict)
    }

    /// Returns the ids of the violated rules, each once, in the order of the violations.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        rules(&self.violations)
    }

    /// Appends the audit line, with its newline. It has at most [`MAX_LINE_BYTES`] less the fields of the chain.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        audit_line::write(self, out);
        out.push(b'\n');
    }
}

/// Returns the ids of the rules of these violations, each once, in their order.
#[must_use]
pub fn rules<'v>(violations: &'v [AuditViolation<'_>]) -> Vec<&'v str> {
    let mut rules: Vec<&str> = Vec::new();
    for AuditViolation { rule, .. } in violations {
        if !rule.is_empty() && !rules.contains(&&**rule) {
            rules.push(rule);
        }
    }
    rules
}

impl<'a> AuditViolation<'a> {
    fn of((level, Violation { rule, path, found, wanted, remedy }): (Level, &'a Violation)) -> Self {
        let (found, wanted, remedy) = (short(found), short(wanted), short(remedy));
        Self {
            rule: rule.id.into(),
            level: level.as_str().into(),
            path: short_path(path),
            found,
            wanted,
            remedy,
        }
    }

    /// Returns an upper bound of the bytes of the violation in a line.
    fn bytes(&self) -> usize {
        const KEYS: usize = r#"{"rule":"","level":"","path":"","found":"","wanted":"","remedy":""},"#.len();
        let Self { rule, level, path, found, wanted, remedy } = self;
        KEYS + [rule, level, path, found, wanted, remedy].iter().map(|text| json_bytes(text)).sum::<usize>()
    }
}

/// Cuts a text of the record. Every text that comes from a request goes through it.
fn short(text: &str) -> Cow<'_, str> {
    cut(text, MAX_TEXT_CHARS)
}

fn short_path<'a>(path: &FieldPath) -> Cow<'a, str> {
    short_owned(path.to_string())
}

fn short_owned<'a>(text: String) -> Cow<'a, str> {
    match short(&text) {
        Cow::Borrowed(_) => text.into(),
        Cow::Owned(cut) => cut.into(),
    }
}

fn text<'o>(object: &'o Object, key: &str) -> &'o str {
    object.str(key).unwrap_or_default()
}

/// Returns a list of at most `max_bytes` bytes.
fn texts<'a>(mut texts: impl Iterator<Item = Cow<'a, str>>, max_bytes: usize) -> Vec<Cow<'a, str>> {
    let (mut listed, mut free) = (Vec::new(), max_bytes);
    for text in texts.by_ref() {
        let bytes = json_bytes(&text) + r#""","#.len();
        if bytes > free {
            listed.push(format!("… and {} more", texts.count() + 1).into());
            break;
        }
        free -= bytes;
        listed.push(text);
    }
    listed
}

/// Cuts the list of lowered numbers.
fn lowered(clamped: &[Clamped]) -> Vec<AuditClamped<'_>> {
    const KEYS_AND_NUMBERS: usize =
        r#"{"path":"","from":-9223372036854775808,"to":-9223372036854775808},"#.len();
    let (mut listed, mut free) = (Vec::new(), MAX_SHORT_LIST_BYTES);
    for Clamped { path, from, to } in clamped {
        let path = short_path(path);
        let bytes = json_bytes(&path) + KEYS_AND_NUMBERS;
        if bytes > free {
            let path = format!("… and {} more", clamped.len() - listed.len()).into();
            listed.push(AuditClamped { path, ..AuditClamped::default() });
            break;
        }
        free -= bytes;
        listed.push(AuditClamped { path, from: *from, to: *to });
    }
    listed
}

/// Cuts each violation and the list.
fn violations(all: &LeveledViolations) -> Vec<AuditViolation<'_>> {
    let found: Vec<(Level, &Violation)> = all.with_level().collect();
    let mut listed = fitting(found.iter().copied());
    if listed.len() < found.len() {
        // A Pod must not be able to hide a rule behind a thousand violations of another.
        let mut seen = HashSet::new();
        let (first, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, violation)| seen.insert(violation.rule.id));
        listed = fitting(first.into_iter().chain(others));
    }
    let omitted = all.len() - listed.len();
    if omitted > 0 {
        let found = format!("… and {omitted} more").into();
        listed.push(AuditViolation { found, ..AuditViolation::default() });
    }
    listed
}

fn fitting<'a>(violations: impl Iterator<Item = (Level, &'a Violation)>) -> Vec<AuditViolation<'a>> {
    let mut free = MAX_VIOLATIONS_BYTES;
    let fits = |violation: &AuditViolation| {
        let bytes = violation.bytes();
        let fits = bytes <= free;
        free = free.saturating_sub(bytes);
        fits
    };
    violations.map(AuditViolation::of).take_while(fits).collect()
}

/// Returns an upper bound of the bytes of a text between its quotes in a line.
fn json_bytes(text: &str) -> usize {
    if is_plain(text) {
        return text.len();
    }
    let of = |c: char| match c {
        '"' | '\\' => 2,
        c if is_unsafe_for_display(c) => r"\u0000".len(),
        c => c.len_utf8(),
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        path::LazyPath,
        policy::{PolicySet, Source},
        review::{Endpoint, answer},
        violations::{Reporter, Violations},
    };

    fn report(list: &mut Violations, rule: &str, path: &str) {
        let rule = crate::rules::by_id(rule).unwrap();
        Reporter::new(rule, list).report(LazyPath::root(path), "true", "false", "remove it");
    }

    /// Returns as many violations at the level enforce.
    fn enforced(count: usize, rule: &str, path: impl Fn(usize) -> String) -> LeveledViolations {
        let mut violations = LeveledViolations::default();
        (0..count).for_each(|number| report(&mut violations.enforce, rule, &path(number)));
        violations
    }

    #[test]
    fn a_list_of_texts_is_cut_and_counts_the_rest() {
        let image = "x".repeat(1000);
        let list = texts(std::iter::repeat_n(short(&image), 1000), MAX_TEXTS_BYTES);
        assert_eq!(list.last().unwrap(), &format!("… and {} more", 1000 - (list.len() - 1)));
        let bytes: usize = list.iter().map(|text| json_bytes(text) + 3).sum();
        assert!((MAX_TEXTS_BYTES / 2..MAX_TEXTS_BYTES + 100).contains(&bytes), "{bytes}");
        assert_eq!(texts(["a", "b"].map(Cow::from).into_iter(), 100), ["a", "b"]);
    }

    #[test]
    fn no_rule_is_hidden_behind_violations_of_another() {
        let mut all = enforced(1200, "labels", |number| format!("{number}{}", "x".repeat(400)));
        report(&mut all.warn, "privileged", "spec");
        let listed = violations(&all);
        assert_eq!(rules(&listed), ["labels", "privileged"]);
        assert_eq!(listed.last().unwrap().found, format!("… and {} more", 1201 - (listed.len() - 1)));
        let few = enforced(3, "labels", |number| number.to_string());
        let few = violations(&few);
        assert_eq!(few.iter().map(|violation| &violation.path[..1]).collect::<Vec<_>>(), ["0", "1", "2"]);
    }

    #[test]
    fn a_long_list_of_lowered_numbers_is_cut_and_counts_the_rest() {
        let path = FieldPath::from(LazyPath::root("x"));
        let clamped = vec![Clamped { path, from: i64::MAX, to: 0 }; 1000];
        let listed = lowered(&clamped);
        let bytes = serde_json::to_string(&listed).unwrap().len();
        assert!(bytes < MAX_SHORT_LIST_BYTES + 100, "{bytes}");
        assert_eq!(listed.last().unwrap().path, format!("… and {} more", 1000 - (listed.len() - 1)));
        assert_eq!(lowered(&clamped[..2]).len(), 2);
    }

    #[test]
    fn the_longest_record_is_shorter_than_the_longest_line() {
        // Each character that is cut off at the limit takes the most bytes there are.
        let long: Cow<str> = cut(&"\u{202e}".repeat(MAX_TEXT_CHARS + 1), MAX_TEXT_CHARS).into_owned().into();
        let list = || texts(std::iter::repeat_n("\u{202e}".into(), 1 << 20), MAX_TEXTS_BYTES);
        let short_list = || texts(std::iter::repeat_n("\u{202e}".into(), 1 << 20), MAX_SHORT_LIST_BYTES);
        let all = enforced(1000, "labels", |_| "\u{202e}".repeat(500));
        let violations = || violations(&all);
        let numbers = vec![Clamped { path: LazyPath::root("x").into(), from: i64::MIN, to: i64::MIN }; 1000];
        let text = || long.clone();
        let record = AuditRecord {
            time: "2026-11-24T12:00:00.123456789Z".into(),
            cluster: text(),
            instance: text(),
            verdict: "would-deny".into(),
            endpoint: "templates".into(),
            authenticated: false,
            uid: text(),
            dry_run: false,
            operation: "CONNECT".into(),
            resource: text(),
            subresource: text(),
            namespace: text(),
            name: text(),
            generate_name: text(),
            owner: Some(AuditOwner { kind: text(), name: text() }),
            user: text(),
            groups: list(),
            service_account: text(),
            policy: text(),
            profile: Some(text()),
            exceptions: short_list(),
            policy_hash: text(),
            mode: "enforce".into(),
            filled: list(),
            clamped: lowered(&numbers),
            token_removed: false,
            violations: violations(),
            forgiven: violations(),
            candidate: violations(),
            images: list(),
            duration_micros: u64::MAX,
        };
        let mut line = Vec::new();
        record.write_line(&mut line);
        assert!((MAX_LINE_BYTES * 9 / 10..MAX_LINE_BYTES - 1000).contains(&line.len()), "{}", line.len());
    }

    /// Returns the record of a request with these fields, under a policy with this spec for the namespace `workflows`.
    fn record_of(spec: &str, fields: &Value) -> Value {
        let text = format!(
            "{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: p}}, spec: {spec}}}"
        );
        let policies = PolicySet::from_sources(&[Source { name: "p.yaml".into(), text }]).unwrap();
        let mut request = json!({"uid": "u", "operation": "CREATE", "namespace": "workflows",
            "userInfo": {"username": "jane", "groups": ["dev"]}, "object": hostile()});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
        let review = review.to_string();
        let mut line = Vec::new();
        let answer = answer(&policies, Endpoint::Validate, None, review.as_bytes()).unwrap();
        answer.record.write_line(&mut line, "2026-11-24T12:00:00Z", 1);
        assert!(line.len() < MAX_LINE_BYTES - 1000, "{}", line.len());
        serde_json::from_slice(&line).unwrap()
    }

    fn hostile() -> Value {
        json!({"spec": {"hostPID": true, "containers": [{"name": "a", "image": "i"}]}})
    }

    fn rules_of(violations: &Value) -> Vec<&str> {
        violations.as_array().unwrap().iter().map(|violation| violation["rule"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_exempt_are_recorded_with_what_they_would_have_been_denied_for() {
        let record = record_of("{namespaces: [workflows], exempt: {users: [jane]}}", &json!({}));
        assert_eq!((&record["verdict"], &record["filled"]), (&json!("exempt"), &json!([])));
        assert!(rules_of(&record["violations"]).contains(&"host-namespaces"), "{record}");
    }

    #[test]
    fn a_namespace_without_a_policy_is_recorded() {
        let record = record_of("{namespaces: [workflows]}", &json!({"namespace": "elsewhere"}));
        for (key, value) in [
            ("verdict", "denied"),
            ("namespace", "elsewhere"),
            ("user", "jane"),
            ("policy", ""),
            ("mode", ""),
        ] {
            assert_eq!(record[key], value, "{key}");
        }
        assert_eq!(rules_of(&record["violations"]), ["namespace-policy"]);
        assert_eq!(record["profile"], Value::Null);
    }

    #[test]
    fn what_a_stored_pod_violates_is_recorded_in_every_mode() {
        for mode in ["enforce", "warn", "audit"] {
            let update = json!({"operation": "UPDATE", "oldObject": hostile()});
            let record = record_of(&format!("{{namespaces: [workflows], mode: {mode}}}"), &update);
            assert_eq!(record["verdict"], "admitted", "{mode}");
            assert!(rules_of(&record["forgiven"]).contains(&"host-namespaces"), "{mode}: {record}");
        }
    }

    #[test]
    fn a_pod_of_which_every_text_is_long_makes_a_line_of_bounded_length() {
        for character in ["x", "\u{7f}", "\u{202e}", "\"", "沙"] {
            let long = character.repeat(200_000);
            let pod = json!({
                "metadata": {"name": long, "generateName": long, "annotations": {format!("dev.gvisor.{long}"): long},
                    "labels": {&long: long}, "ownerReferences": [{"kind": long, "name": long, "controller": true}]},
                "spec": {"serviceAccountName": long, "nodeName": long, "hostPID": true, "runtimeClassName": long,
                    "containers": [{"name": long, "image": long, "resources": {"limits": {&long: "1"}}}]},
            });
            let record = record_of(
                "{namespaces: ['*']}",
                &json!({
                    "uid": long, "name": long, "namespace": long, "resource": {"resource": "pods"},
                    "userInfo": {"username": long, "groups": vec![&long; 3]}, "object": pod,
                }),
            );
            let user = record["user"].as_str().unwrap();
            assert!(user.contains(&format!("({} bytes, SHA-256 ", long.len())), "{user}");
            assert!(rules_of(&record["violations"]).contains(&"host-namespaces"));
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record =
            AuditRecord { user: "a\u{202e}\n".into(), profile: Some("p".into()), ..AuditRecord::default() };
        let mut line = Vec::new();
        record.write_line(&mut line);
        assert_eq!(serde_json::from_slice::<AuditRecord>(&line).unwrap(), record);
    }
}
