//! The audit line: an audit record as JSON.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{AuditClamped, AuditOwner, AuditRecord, AuditViolation};
use crate::{
    json::{ObjectWriter, write_json},
    text::{escape, is_plain, is_unsafe_for_display},
};

/// Appends a record as its `Serialize` has it, with more escapes: people read the trail, too.
pub(super) fn write(record: &AuditRecord, out: &mut Vec<u8>) {
    let AuditRecord {
        time,
        cluster,
        instance,
        verdict,
        endpoint,
        authenticated,
        uid,
        dry_run,
        operation,
        resource,
        subresource,
        namespace,
        name,
        generate_name,
        owner,
        user,
        groups,
        service_account,
        policy,
        profile,
        exceptions,
        policy_hash,
        mode,
        filled,
        clamped,
        token_removed,
        violations,
        forgiven,
        candidate,
        images,
        duration_micros,
    } = record;
    let mut line = ObjectWriter::new(out, write_text);
    line.text("time", time);
    line.text("cluster", cluster);
    line.text("instance", instance);
    line.text("verdict", verdict);
    line.text("endpoint", endpoint);
    line.bool("authenticated", *authenticated);
    line.text("uid", uid);
    line.bool("dryRun", *dry_run);
    line.text("operation", operation);
    line.text("resource", resource);
    line.text("subresource", subresource);
    line.text("namespace", namespace);
    line.text("name", name);
    line.text("generateName", generate_name);
    match owner {
        Some(owner) => write_owner(owner, line.key("owner")),
        None => line.key("owner").extend_from_slice(b"null"),
    }
    line.text("user", user);
    line.texts("groups", groups);
    line.text("serviceAccount", service_account);
    line.text("policy", policy);
    match profile {
        Some(profile) => line.text("profile", profile),
        None => line.key("profile").extend_from_slice(b"null"),
    }
    line.texts("exceptions", exceptions);
    line.text("policyHash", policy_hash);
    line.text("mode", mode);
    line.texts("filled", filled);
    line.list("clamped", clamped, write_clamped);
    line.bool("tokenRemoved", *token_removed);
    line.list("violations", violations, write_violation);
    line.list("forgiven", forgiven, write_violation);
    line.list("candidate", candidate, write_violation);
    line.texts("images", images);
    write_json(duration_micros, line.key("durationMicros"));
    line.end();
}

fn write_owner(AuditOwner { kind, name }: &AuditOwner, out: &mut Vec<u8>) {
    let mut owner = ObjectWriter::new(out, write_text);
    owner.text("kind", kind);
    owner.text("name", name);
    owner.end();
}

fn write_clamped(AuditClamped { path, from, to }: &AuditClamped, out: &mut Vec<u8>) {
    let mut clamped = ObjectWriter::new(out, write_text);
    clamped.text("path", path);
    write_json(from, clamped.key("from"));
    write_json(to, clamped.key("to"));
    clamped.end();
}

fn write_violation(violation: &AuditViolation, out: &mut Vec<u8>) {
    let AuditViolation { rule, level, path, found, wanted, remedy } = violation;
    let mut written = ObjectWriter::new(out, write_text);
    written.text("rule", rule);
    written.text("level", level);
    written.text("path", path);
    written.text("found", found);
    written.text("wanted", wanted);
    written.text("remedy", remedy);
    written.end();
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Nearly every text is plain.
    if !is_plain(text) {
        let mut writer = Serializer::with_formatter(out, EscapeDeceptive);
        return text.serialize(&mut writer).expect("writing JSON to memory cannot fail");
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Escapes what `serde_json` leaves as it is and a terminal obeys.
struct EscapeDeceptive;

impl Formatter for EscapeDeceptive {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        out.write_all(escape(text, is_unsafe_for_display).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &AuditRecord) -> String {
        let mut line = Vec::new();
        write(record, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn line_is_what_the_serializer_writes() {
        let violation = AuditViolation {
            rule: "a".into(),
            level: "b".into(),
            path: "c".into(),
            found: "d \"\\ü".into(),
            wanted: "e".into(),
            remedy: "f".into(),
        };
        let full = AuditRecord {
            time: "2026-11-24T12:00:00Z".into(),
            verdict: "denied".into(),
            authenticated: true,
            owner: Some(AuditOwner { kind: "Job".into(), name: "build".into() }),
            groups: vec!["one".into(), "two".into()],
            profile: Some("agents".into()),
            exceptions: vec!["proxy".into()],
            filled: vec!["spec.a".into()],
            clamped: vec![AuditClamped { path: "spec.b".into(), from: i64::MIN, to: 60 }; 2],
            token_removed: true,
            violations: vec![violation.clone(), violation.clone()],
            forgiven: vec![violation.clone()],
            candidate: vec![violation],
            images: vec!["alpine".into()],
            duration_micros: u64::MAX,
            ..AuditRecord::default()
        };
        for record in [AuditRecord::default(), full] {
            assert_eq!(line(&record), serde_json::to_string(&record).unwrap());
        }
    }

    #[test]
    fn characters_that_deceive_are_escaped() {
        let record = AuditRecord { user: "a\u{202e}b\n".into(), ..AuditRecord::default() };
        assert!(line(&record).contains(r#""user":"a\u202eb\n","#), "{}", line(&record));
    }
}
