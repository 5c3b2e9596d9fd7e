//! `sandgate audit`: reading and verifying the audit trail.

use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Folder, sandgate, sandgate_with};

/// An audit line without its seal.
pub(crate) fn verdict(user: &str, outcome: &str) -> Value {
    let violations = match outcome {
        "admitted" => json!([]),
        _ => {
            json!([{"rule": "privileged", "level": "enforce", "path": "spec.containers[0].securityContext.privileged",
            "found": "true", "wanted": "false", "remedy": "remove privileged"}])
        }
    };
    json!({
        "time": "2026-11-24T12:00:00.5Z", "cluster": "east", "instance": "gate-1", "verdict": outcome,
        "endpoint": if outcome == "denied" { "mutate" } else { "validate" }, "authenticated": false, "uid": format!("uid-{user}"), "dryRun": false,
        "operation": "CREATE", "resource": "pods", "subresource": "", "namespace": "workflows", "name": "",
        "generateName": "step-", "owner": {"kind": "Job", "name": "train"}, "user": user, "groups": ["dev"],
        "serviceAccount": "runner", "policy": "workflow-runner", "profile": null, "exceptions": [],
        "policyHash": "00", "mode": "enforce", "filled": [], "clamped": [], "tokenRemoved": false, "violations": violations, "forgiven": [], "candidate": [],
        "images": ["busybox"], "durationMicros": 1,
    })
}

/// The id of the only chain of most tests.
const CHAIN: &str = "1f2e3d4c5b6a7988";

/// The lines as sandgate writes them, chained by nothing but what the documentation says.
fn trail(records: &[Value]) -> Vec<String> {
    chained(&format!(r#""schema":1,"chain":"{CHAIN}""#), records)
}

/// Lines with these fields between the record and its number.
fn chained(fields: &str, records: &[Value]) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut previous = "0".repeat(64);
    let lines = records.iter().enumerate().map(|(index, record)| {
        let record = record.to_string();
        let record = record.strip_suffix('}').unwrap();
        let seq = index + 1;
        let line = format!(r#"{record},{fields},"seq":{seq},"previous":"{previous}""#);
        previous = hex(&Sha256::digest(&line));
        format!(r#"{line},"hash":"{previous}"}}"#)
    });
    lines.collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

fn some() -> Vec<Value> {
    vec![
        verdict("alice", "denied"),
        verdict("bob", "admitted"),
        verdict("alice", "denied"),
        verdict("carol", "would-deny"),
    ]
}

#[test]
fn a_whole_chain_is_fine_in_files_of_any_order_and_on_stdin() {
    let lines = trail(&some());
    let head = &lines[3][lines[3].len() - 66..lines[3].len() - 2];
    let folder = Folder::with(&[
        ("audit.jsonl", &text(&lines[2..])),
        ("audit.jsonl.0000000000000001", &text(&lines[..2])),
    ]);
    let number = u64::from_str_radix(&head[..12], 16).unwrap();
    let fine = format!(
        "ok: 4 lines\nchain {CHAIN} of east/gate-1: numbers 1 to 4\n  head   {head}\n  metric {number}\n"
    );
    assert_eq!(folder.run(&["audit", "verify", "audit.jsonl", "audit.jsonl.0000000000000001"]).fine(), fine);
    assert_eq!(sandgate_with(&["audit", "verify", "-"], text(&lines)).fine(), fine);
    assert_eq!(sandgate_with(&["audit", "verify", "--head", &head[..12], "-"], text(&lines)).fine(), fine);
}

#[test]
fn what_was_changed_is_named_by_file_and_line() {
    let lines = trail(&some());
    let verify = |lines: &[String]| {
        let folder = Folder::with(&[("a.jsonl", &text(lines))]);
        folder.run(&["audit", "verify", "a.jsonl"]).violations().lines().next().unwrap().to_string()
    };
    let mut edited = lines.clone();
    edited[2] = edited[2].replace("alice", "malice");
    assert_eq!(
        verify(&edited),
        "broken a.jsonl:3: east/gate-1: was edited: its hash is not that of its bytes"
    );
    let mut removed = lines.clone();
    removed.remove(1);
    assert_eq!(verify(&removed), "broken a.jsonl:2: east/gate-1: number 2 is missing before this line");
    let mut moved = lines.clone();
    moved.swap(1, 2);
    assert_eq!(verify(&moved), "broken a.jsonl:2: east/gate-1: number 2 is missing before this line");
    let mut cut = text(&lines);
    cut.truncate(cut.len() - 10);
    let run = sandgate_with(&["audit", "verify", "-"], cut).violations();
    assert!(run.starts_with("broken standard input:4: is no whole audit line: cut off, edited"), "{run}");
}

#[test]
fn a_chain_that_was_made_anew_lacks_the_head_that_was_noted() {
    let lines = trail(&some());
    let noted = &lines[2][lines[2].len() - 66..lines[2].len() - 2];
    let mut forged = some();
    forged[0]["user"] = "unknown".into();
    let run = sandgate_with(&["audit", "verify", "--head", noted, "-"], text(&trail(&forged))).violations();
    assert!(run.contains("the chain was cut or made anew"), "{run}");
}

#[test]
fn what_cannot_be_verified_is_an_error() {
    sandgate(&["audit", "verify", "missing"]).fails("missing: cannot be read: no such file or directory");
    sandgate(&["audit", "verify", "."]).fails(".: cannot be read: is a directory");
    sandgate_with(&["audit", "verify", "-"], "").fails("no chained audit line in -");
}

#[test]
fn a_compressed_file_is_named_and_the_others_are_read() {
    let folder = Folder::with(&[("a.jsonl", &text(&trail(&some())))]);
    std::fs::write(folder.path("b.jsonl.gz"), [0x1f, 0x8b, 8, 0, b'\n', 1]).unwrap();
    let named = "b.jsonl.gz:1: is compressed; unpack it first: zcat FILE | sandgate audit … -";
    let list = folder.run(&["audit", "list", "b.jsonl.gz", "a.jsonl"]);
    assert_eq!((list.status, list.stdout.lines().count()), (1, 5));
    assert_eq!(list.stderr, format!("error: {named}\n"));
    let verified = folder.run(&["audit", "verify", "a.jsonl", "b.jsonl.gz"]).violations();
    assert!(verified.starts_with(&format!("broken {named}\n1 problem: 4 lines")), "{verified}");
}

#[test]
fn verdicts_are_listed_and_filtered() {
    let folder = Folder::with(&[("a.jsonl", &text(&trail(&some())))]);
    let list = |filters: &[&str]| {
        let run = folder.run(&[&["audit", "list", "a.jsonl", "-o", "csv"], filters].concat()).fine();
        let user = run.lines().next().unwrap().split(',').position(|column| column == "user").unwrap();
        run.lines()
            .skip(1)
            .map(|line| line.split(',').nth(user).unwrap().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(list(&[]), "alice bob alice carol");
    assert_eq!(list(&["--verdict", "denied,would-deny"]), "alice alice carol");
    assert_eq!(list(&["--user", "b*"]), "bob");
    assert_eq!(list(&["--rule", "privileged", "--user", "carol"]), "carol");
    assert_eq!(list(&["-n", "elsewhere"]), "");
    assert_eq!(list(&["--image", "*box", "--user", "bob"]), "bob");
    assert_eq!(list(&["--since", "2026-11-24T12:00:01Z"]), "");
    assert_eq!(list(&["--since", "2026-11-24", "--until", "2026-11-24T12:00:01Z"]), "alice bob alice carol");
    let table = folder.run(&["audit", "list", "a.jsonl", "--user", "carol"]).fine();
    assert_eq!(
        table.lines().nth(1).unwrap(),
        "2026-11-24T12:00:00Z  would-deny  CREATE     workflows     step-*                        carol                 privileged"
    );
    let json = folder.run(&["audit", "list", "a.jsonl", "-o", "json"]).fine();
    let printed: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written: Vec<Value> = trail(&some()).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed, written);
}

#[test]
fn the_most_denied_come_first() {
    let input = text(&trail(&some()));
    let top = |by: &str| sandgate_with(&["audit", "top", "--by", by, "-o", "csv", "-"], input.clone()).fine();
    let header = "denied,wouldDeny,other,name\n";
    assert_eq!(top("user"), format!("{header}2,0,0,alice\n0,1,0,carol\n0,0,1,bob\n"));
    assert_eq!(top("rule"), format!("{header}2,1,0,privileged\n"));
    assert_eq!(top("owner"), format!("{header}2,1,1,workflows/Job/train\n"));
    assert_eq!(top("image"), format!("{header}2,1,1,busybox\n"));
    assert_eq!(top("namespace"), format!("{header}2,1,1,workflows\n"));
}

#[test]
fn rows_that_are_left_out_are_counted_and_all_can_be_printed() {
    let records: Vec<_> = (0..12).map(|number| verdict(&format!("uid-{number}"), "denied")).collect();
    let named = records.into_iter().enumerate().map(|(number, mut record)| {
        record["user"] = format!("user-{number}").into();
        record
    });
    let input = text(&trail(&named.collect::<Vec<_>>()));
    let top = |more: &[&str]| {
        let arguments = [&["audit", "top", "--by", "user"], more, &["-"]].concat();
        sandgate_with(&arguments, input.clone())
    };
    let ten = top(&[]);
    assert_eq!(ten.stderr, "note: 2 more rows: --limit 0 prints all\n");
    assert_eq!((ten.status, ten.stdout.lines().count()), (0, 11));
    assert_eq!(top(&["--limit", "0"]).fine().lines().count(), 13);
}

#[test]
fn a_request_is_shown_with_what_was_wrong() {
    let input = text(&trail(&some()));
    let shown = sandgate_with(&["audit", "show", "uid-carol", "-"], input.clone()).fine();
    assert!(shown.starts_with("would-deny\n"), "{shown}");
    assert!(
        shown.contains("  privileged spec.containers[0].securityContext.privileged\n    found  true\n"),
        "{shown}"
    );
    sandgate_with(&["audit", "show", "uid-x", "-"], input).fails("no verdict has the uid \"uid-x\"");
}

#[test]
fn lines_that_cannot_be_read_are_named_and_the_others_are_listed() {
    let lines = trail(&some());
    let input = format!("{}\n\0\0\0\n{}\nnonsense\n{}", lines[0], lines[1], &lines[2][..40]);
    let run = sandgate_with(&["audit", "list", "-"], input);
    assert_eq!(run.status, 1);
    assert_eq!(run.stdout.lines().count(), 3, "{}", run.stdout);
    assert_eq!(
        run.stderr,
        "error: standard input:2: is no audit line: expected value\n\
         error: standard input:4: is no audit line: expected ident\n\
         error: standard input:5: is cut off\n"
    );
}

#[test]
fn lines_of_a_newer_version_are_read_side_by_side() {
    let newer = trail(&[verdict("from-tomorrow", "denied")])[0]
        .replace("\"schema\":1", "\"schema\":2")
        .replacen('{', "{\"added\":[1],", 1);
    let input = format!("{}{newer}\n", text(&trail(&some())));
    let users = sandgate_with(&["audit", "top", "--by", "user", "-o", "csv", "-"], input).fine();
    for user in ["alice", "from-tomorrow"] {
        assert!(users.contains(user), "{users}");
    }
}

#[test]
fn hostile_names_forge_no_line_and_no_formula() {
    let mut record = verdict("=cmd|'/C calc'!A0", "denied");
    record["name"] = "a\n2026-11-24T12:00:00Z  admitted\u{1b}[2J\u{202e}".into();
    let input = text(&trail(&[record]));
    let table = sandgate_with(&["audit", "list", "-"], input.clone()).fine();
    assert!(table.lines().count() == 2 && !table.contains(['\u{1b}', '\u{202e}']), "{table:?}");
    let csv = sandgate_with(&["audit", "list", "-o", "csv", "-"], input.clone()).fine();
    assert!(csv.lines().count() == 2 && csv.contains(",'=cmd|"), "{csv:?}");
    let shown = sandgate_with(&["audit", "show", "uid-=cmd|'/C calc'!A0", "-"], input).fine();
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}

#[test]
fn the_api_servers_own_log_is_read_too() {
    let event = |verdict: &str, user: &str| {
        json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a", "verb": "create",
            "requestURI": "/api/v1/namespaces/workflows/pods", "user": {"username": user},
            "objectRef": {"resource": "pods", "namespace": "workflows", "name": "p"},
            "requestReceivedTimestamp": "2026-11-24T12:00:00.000000Z",
            "annotations": {"mutate.sandgate.dev/verdict": verdict, "mutate.sandgate.dev/policy": "p",
                "mutate.sandgate.dev/rules": "privileged", "mutate.sandgate.dev/policy-hash": "00"}})
    };
    let unrelated =
        json!({"auditID": "b", "verb": "list", "annotations": {"authorization.k8s.io/decision": "allow"}});
    let log = format!("{}\n{}\n{unrelated}\n", event("denied", "mallory"), event("admitted", "alice"));
    let folder = Folder::with(&[("audit.log", &log)]);
    let list =
        folder.run(&["audit", "list", "--apiserver", "audit.log", "--verdict", "denied", "-o", "json"]);
    let found: Value = serde_json::from_str(&list.fine()).unwrap();
    assert_eq!((&found["user"], &found["violations"][0]["rule"]), (&"mallory".into(), &"privileged".into()));
}

#[test]
fn how_far_it_is_stands_on_a_terminal_and_nowhere_else() {
    assert_eq!(testbed::harness::missing_program("script", "bsdutils"), None);
    let folder = Folder::with(&[("a.jsonl", &text(&trail(&some())))]);
    let program = assert_cmd::cargo::cargo_bin!("sandgate").display();
    // What is on the terminal where only standard error is one.
    let on_terminal = |arguments: &str, kind: &str| {
        let command = format!("{program} audit {arguments} a.jsonl > out");
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", kind)
            .current_dir(folder.path(""))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for arguments in ["list", "top", "show uid-bob", "verify", "report --html report.html"] {
        assert!(on_terminal(arguments, "xterm").contains("KiB/"), "{arguments}");
        assert_eq!(on_terminal(arguments, "dumb"), "", "{arguments}");
        let piped = [&["audit"], &arguments.split(' ').collect::<Vec<_>>()[..], &["a.jsonl"]].concat();
        folder.run(&piped).fine();
    }
}

#[test]
fn the_schema_names_every_field() {
    let schema: Value = serde_json::from_str(&sandgate(&["audit", "schema"]).fine()).unwrap();
    let fields = &schema["$defs"]["VerdictLine"]["properties"];
    let line: Value = serde_json::from_str(&trail(&some())[0]).unwrap();
    for key in line.as_object().unwrap().keys() {
        assert!(fields.get(key).is_some(), "{key}");
    }
}

/// A line of sandgate's own log, as it stands between the records of a Pod's output.
const LOG_LINE: &str = "2026-11-24T12:00:00.123456Z  INFO sandgate::server: Serving listen=0.0.0.0:10250";

/// The trail of a replica, with the id of its chain.
fn trail_of(instance: &str, chain: &str) -> Vec<String> {
    let mut records = some();
    for record in &mut records {
        record["instance"] = json!(instance);
    }
    chained(&format!(r#""schema":1,"chain":"{chain}""#), &records)
}

/// Two replicas whose lines a log collector mixes, with a line of the log between.
fn mixed() -> Vec<String> {
    let (one, other) = (trail_of("gate-1", "1111111111111111"), trail_of("gate-2", "2222222222222222"));
    one.into_iter().zip(other).flat_map(|(one, other)| [one, LOG_LINE.into(), other]).collect()
}

/// The hash of a line, by its last field.
fn hash(line: &str) -> &str {
    &line[line.len() - 66..line.len() - 2]
}

#[test]
fn replicas_in_one_stream_are_distinguished() {
    let lines = mixed();
    let verified = sandgate_with(&["audit", "verify", "-"], text(&lines)).fine();
    let rows: Vec<&str> = verified.lines().collect();
    assert_eq!(rows[0], "ok: 8 lines in 2 chains, between 4 lines of the log");
    assert_eq!(rows[1], "chain 1111111111111111 of east/gate-1: numbers 1 to 4");
    assert_eq!(rows[2], format!("  head   {}", hash(&lines[9])));
    assert_eq!(rows[4], "chain 2222222222222222 of east/gate-2: numbers 1 to 4");
    assert_eq!(rows[5], format!("  head   {}", hash(&lines[11])));
    let listed = sandgate_with(&["audit", "list", "--verdict", "denied", "-"], text(&lines)).fine();
    assert_eq!(listed.matches("alice").count(), 4, "lines of the log are no problem: {listed}");
}

#[test]
fn the_replica_whose_chain_is_broken_is_named() {
    let lines = mixed();
    let broken = |lines: &[String]| {
        let run = sandgate_with(&["audit", "verify", "-"], text(lines)).violations();
        run.lines().filter(|line| line.starts_with("broken ")).collect::<Vec<_>>().join("\n")
    };
    let mut removed = lines.clone();
    removed.remove(5);
    assert_eq!(
        broken(&removed),
        "broken standard input:8: east/gate-2: number 2 is missing before this line"
    );
    let mut edited = lines.clone();
    edited[3] = edited[3].replace("bob", "eve");
    assert_eq!(
        broken(&edited),
        "broken standard input:4: east/gate-1: was edited: its hash is not that of its bytes"
    );
    let mut repeated = lines.clone();
    repeated.push(lines[2].clone());
    assert_eq!(
        broken(&repeated),
        "broken standard input:13: east/gate-2: number 1 stands behind number 4: it was moved or repeated"
    );
}

#[test]
fn a_replica_that_was_restarted_has_two_chains_and_lines_that_come_late_break_none() {
    let (first, second) = (trail_of("gate-1", "1111111111111111"), trail_of("gate-1", "2222222222222222"));
    // The collector delivers the end of the first start after the beginning of the second.
    let lines = [&first[..2], &second[..3], &first[2..], &second[3..]].concat();
    let verified = sandgate_with(&["audit", "verify", "-"], text(&lines)).fine();
    assert!(verified.starts_with("ok: 8 lines in 2 chains\n"), "{verified}");
    assert_eq!(verified.matches(" of east/gate-1: numbers 1 to 4\n").count(), 2, "{verified}");
}

#[test]
fn combinations_are_counted() {
    let lines = text(&trail(&some()));
    let top = sandgate_with(&["audit", "top", "--by", "rule,owner", "-"], lines.clone()).fine();
    assert!(top.contains("privileged  workflows/Job/train\n"), "{top}");
    let top = sandgate_with(&["audit", "top", "--by", "owner,user", "-o", "json", "-"], lines).fine();
    let first: Value = serde_json::from_str(top.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["name"], &first["denied"]),
        (&json!("workflows/Job/train  alice"), &json!(2)),
        "{top}"
    );
}

#[test]
fn an_admitted_create_is_one_request() {
    let of = |endpoint: &str| {
        let mut record = verdict("bob", "admitted");
        record["endpoint"] = json!(endpoint);
        record
    };
    let lines = text(&trail(&[of("mutate"), of("validate"), verdict("bob", "denied")]));
    let top = sandgate_with(&["audit", "top", "--by", "user", "-o", "json", "-"], lines.clone()).fine();
    let row: Value = serde_json::from_str(&top).unwrap();
    assert_eq!([&row["denied"], &row["other"]], [1, 1], "{top}");
    let listed = sandgate_with(&["audit", "list", "-"], lines).fine();
    assert_eq!(listed.lines().count(), 4, "each record is listed: {listed}");
}

#[test]
fn records_of_another_cluster_are_left_out() {
    let mut west = verdict("walter", "denied");
    west["cluster"] = json!("west");
    let lines = text(&trail(&[verdict("emma", "denied"), west]));
    let listed = sandgate_with(&["audit", "list", "--cluster", "west", "-"], lines).fine();
    assert!(listed.contains("walter") && !listed.contains("emma"), "{listed}");
}
