//! `sandgate audit report`: the page, as it is written. `tests/browser` opens it in a browser.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use sandgate::audit::chain::Link;
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{Endpoint, answer},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Folder, audit::verdict, sandgate, sandgate_with};

/// A request, and what the engine says to it.
struct Request {
    time: &'static str,
    user: &'static str,
    namespace: &'static str,
    pod: Value,
}

/// The trail of these requests, under policies of each mode.
fn trail(requests: &[Request]) -> String {
    let policy = |name: &str, mode: &str| crate::policy(name, mode);
    let text =
        [policy("workflows", "enforce"), policy("batch", "audit"), policy("agents", "warn")].join("---\n");
    let policies = PolicySet::from_sources(&[Source { name: "p".into(), text }]).unwrap();
    let (mut chain, mut trail) = (Link::default(), Vec::new());
    for (number, Request { time, user, namespace, pod }) in requests.iter().enumerate() {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": format!("uid-{number}"), "operation": "CREATE", "namespace": namespace,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": user}, "object": pod}});
        let review = review.to_string();
        let mut record = Vec::new();
        answer(&policies, Endpoint::Mutate, None, review.as_bytes()).unwrap().record.write_line(
            &mut record,
            time,
            9,
        );
        // What /mutate admits ends at /validate, and requests are counted.
        let mut line = String::from_utf8(record).unwrap();
        if !line.contains(r#""verdict":"denied""#) {
            line = line.replace(r#""endpoint":"mutate""#, r#""endpoint":"validate""#);
        }
        chain.seal(line.as_bytes(), &mut trail);
    }
    String::from_utf8(trail).unwrap()
}

fn pod(name: &str, image: &str, spec: &Value) -> Value {
    let mut pod =
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": image}]}});
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

fn some() -> String {
    let request =
        |time, user, namespace, spec| Request { time, user, namespace, pod: pod("p", "busybox", &spec) };
    trail(&[
        request("2026-11-24T08:00:00Z", "alice", "workflows", json!({"hostPID": true})),
        request("2026-11-24T09:00:00Z", "bob", "workflows", json!({})),
        request("2026-11-24T10:00:00Z", "carol", "batch", json!({"hostPID": true})),
        request("2026-11-24T11:00:00Z", "dave", "agents", json!({"hostNetwork": true})),
        request("2026-11-24T12:30:00Z", "alice", "workflows", json!({"nodeName": "node-7"})),
    ])
}

fn report(input: impl Into<Vec<u8>>, arguments: &[&str]) -> String {
    sandgate_with(&[&["audit", "report", "--html", "-", "-"], arguments].concat(), input).fine()
}

/// What the page says, without its marks, between two of its headings.
fn section<'p>(page: &'p str, id: &str) -> &'p str {
    let start = page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no section {id} in {page}"));
    let section = &page[start..];
    &section[..section.find("</section>").unwrap()]
}

#[track_caller]
fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn the_page_shows_who_was_denied_and_what_to_change() {
    let page = report(some(), &[]);
    assert!(page.starts_with("<!doctype html>\n"), "{}", &page[..80]);
    assert_has(&page, &["24 Nov 2026, 08:00:00</time> to <time", "24 Nov 2026, 12:30:00</time> UTC"]);
    assert_has(&page, &["<dt>Requests</dt><dd>5</dd>", "<dt>Denied</dt><dd>2</dd>", "40.0 % of all"]);
    let denied = section(&page, "denied");
    assert_has(denied, &["host-namespaces</a>", "node-name</a>", "<bdi>alice</bdi>", "<bdi>busybox</bdi>"]);
    assert!(!denied.contains("carol") && !denied.contains("dave") && !denied.contains("bob"), "{denied}");
    let newest = section(&page, "newest");
    assert_has(
        newest,
        &[
            "spec.nodeName</bdi> is <bdi class=\"found\">&#34;node-7&#34;</bdi>, must be",
            "spec.hostPID</bdi> is <bdi class=\"found\">true</bdi>, must be <bdi class=\"wanted\">false or unset</bdi>",
            "href=\"#rule-host-namespaces\"",
        ],
    );
    assert!(newest.find("spec.nodeName") < newest.find("spec.hostPID"), "the newest comes first");
    assert_has(section(&page, "rules"), &["id=\"rule-host-namespaces\"", "id=\"rule-node-name\""]);
    assert_has(section(&page, "read"), &["<bdi>standard input</bdi>", "<td>5</td><td>5</td>"]);
}

#[test]
fn what_would_be_denied_stands_apart_and_so_do_its_modes() {
    let page = report(some(), &[]);
    assert_has(&page, &["<dt>Would be denied</dt><dd>2</dd>", "1 in mode audit, 1 warned"]);
    let would = section(&page, "would-be");
    assert_has(would, &["<bdi>carol</bdi>", "<bdi>dave</bdi>", "<bdi>batch</bdi>", "<bdi>agents</bdi>"]);
    assert!(!would.contains("alice"), "{would}");
    let policies = section(&page, "policies");
    assert_has(
        policies,
        &["<bdi>workflows</bdi> <span class=\"sub\">mode <bdi>enforce</bdi>", "mode <bdi>audit</bdi>"],
    );
    let hash = serde_json::from_str::<Value>(some().lines().next().unwrap()).unwrap();
    assert_has(policies, &[hash["policyHash"].as_str().unwrap()]);
}

#[test]
fn the_chart_has_a_column_for_each_denial_and_says_so_in_words() {
    let page = report(some(), &[]);
    let chart = section(&page, "over-time");
    assert_has(
        chart,
        &["One column for each 5 minutes", "role=\"img\"", "<desc id=\"chart-text\">55 columns"],
    );
    assert_has(chart, &["24 Nov 2026, 08:00:00 UTC: 1 denied, 0 would be denied, 0 other</title>"]);
    assert_eq!(chart.matches("<rect class=\"denied\" x=").count(), 2);
    assert_eq!(chart.matches("<rect class=\"would\" x=").count(), 2);
}

#[test]
fn nothing_is_loaded_from_anywhere_and_only_its_own_style_is_allowed() {
    let page = report(some(), &[]);
    for word in
        ["<script", "http:", "https:", "src=", "url(", "@import", "<link", "style=\"", "<img", "<iframe"]
    {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.split("href=\"").skip(1).all(|rest| rest.starts_with('#')));
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    assert_has(
        &page,
        &[&format!(
            "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\""
        )],
    );
}

#[test]
fn hostile_names_are_text_and_neither_hide_nor_turn_anything() {
    const HOSTILE: &str = "\"'><script>alert(1)</script>\n\u{1b}[2J\u{202e}\u{0}&lt;{{ x }}";
    let mut record = verdict(HOSTILE, "denied");
    for key in
        ["uid", "namespace", "name", "operation", "resource", "subresource", "policy", "policyHash", "mode"]
    {
        record[key] = HOSTILE.into();
    }
    record["owner"] = json!({"kind": HOSTILE, "name": HOSTILE});
    record["images"] = json!([HOSTILE, format!("{HOSTILE}2")]);
    record["violations"] = json!([{"rule": HOSTILE, "path": HOSTILE, "found": HOSTILE, "wanted": HOSTILE}]);
    let mut would_be = record.clone();
    would_be["verdict"] = "would-deny".into();
    let folder = Folder::with(&[("<b>&'\".jsonl", &format!("{record}\n{would_be}\n<u>\n"))]);
    let run = folder.run(&["audit", "report", "--html", "-", "<b>&'\".jsonl", "--user", "*<script>*"]);
    assert_eq!(run.status, 1);
    let page = run.stdout;
    for forged in ["<script", "<b>", "<u>", "'>", "\u{1b}", "\u{202e}", "\u{0}", "<bdi></bdi>"] {
        assert!(!page.contains(forged), "{forged:?}");
    }
    let shown = "&#34;&#39;&#62;&#60;script&#62;alert(1)&#60;/script&#62;\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}&#38;lt;{{ x }}";
    assert!(page.matches(shown).count() > 20, "{}", page.matches(shown).count());
}

#[test]
fn a_name_of_a_megabyte_is_cut() {
    let mut record = verdict(&"u".repeat(1 << 20), "denied");
    record["images"] = vec!["i".repeat(1 << 20); 3].into();
    let page = report(format!("{record}\n"), &[]);
    assert_has(&page, &[&format!("{}… (1048576 bytes)", "u".repeat(300))]);
    assert!(page.len() < 60_000, "{}", page.len());
}

#[test]
fn a_list_that_is_cut_says_so() {
    let records: Vec<_> =
        (0..12).map(|number| verdict(&format!("user-{number:02}"), "denied").to_string()).collect();
    let page = report(records.join("\n") + "\n", &["--newest", "3"]);
    assert_has(
        section(&page, "denied"),
        &["user-09", "and 2 more; <span class=\"mono\">--limit</span> shows"],
    );
    assert!(!section(&page, "denied").contains("user-10"));
    let newest = section(&page, "newest");
    assert_has(newest, &["The last 3 of 12.", "user-11", "user-10", "user-09"]);
    assert!(!newest.contains("user-08"));
    assert_has(&report(records.join("\n") + "\n", &["--limit", "12"]), &["user-10"]);
}

#[test]
fn the_page_says_which_filters_it_was_made_with() {
    let page = report(some(), &["--user", "c*", "--user", "dave", "--since", "2026-11-24"]);
    assert_has(&page, &["since <bdi>2026-11-24T00:00:00Z</bdi>", "user <bdi>c* or dave</bdi>"]);
    assert_has(&page, &["<dt>Requests</dt><dd>2</dd>"]);
    assert!(!page.contains("alice") && !page.contains("id=\"denied\""));
    assert_has(
        &report(some(), &["--user", "unknown"]),
        &["There is no request in what was read that the filters let through."],
    );
}

#[test]
fn what_could_not_be_read_is_named_in_the_page_too() {
    let input = format!("{}\0\0\n{}", some(), &some()[..40]);
    let run = sandgate_with(&["audit", "report", "--html", "-", "-"], input);
    assert_eq!(run.status, 1);
    assert_eq!(
        run.stderr,
        "error: standard input:6: is no audit line: expected value\nerror: standard input:7: is cut off\n"
    );
    assert_has(&run.stdout, &["<strong>2 lines could not be read.</strong>", "<dt>Requests</dt><dd>5</dd>"]);
    assert_has(
        section(&run.stdout, "read"),
        &["standard input:6: is no audit line: expected value", "standard input:7: is cut off"],
    );
    let many = format!("{}{}", some(), "x\n".repeat(15));
    let page = sandgate_with(&["audit", "report", "--html", "-", "-"], many).violations();
    assert_has(&page, &["<strong>15 lines could not be read.</strong>", "<li>and 5 more</li>"]);
}

#[test]
fn records_that_were_dropped_are_missed_in_the_page() {
    let mut lines = Vec::new();
    Link::default().seal(br#"{"time":"2026-11-24T12:00:00Z","notice":"dropped","records":1200}"#, &mut lines);
    let page = report([some().into_bytes(), lines].concat(), &[]);
    assert_has(&page, &["<strong>1,200 records are missing from the trail.</strong>"]);
}

#[test]
fn a_time_that_cannot_be_read_is_reported_and_in_no_column() {
    let mut record = verdict("mallory", "denied");
    record["time"] = "noon".into();
    let page = report(format!("{}{record}\n", some()), &[]);
    assert_has(section(&page, "read"), &["which stand in no column above: 1"]);
    assert_has(section(&page, "over-time"), &["<desc id=\"chart-text\">55 columns"]);
    assert_has(section(&page, "newest"), &["at a time that cannot be read"]);
}

#[test]
fn the_api_servers_own_log_makes_a_page_too() {
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a", "verb": "create",
        "requestURI": "/api/v1/namespaces/workflows/pods", "user": {"username": "mallory"},
        "objectRef": {"resource": "pods", "namespace": "workflows", "name": "p"},
        "requestReceivedTimestamp": "2026-11-24T12:00:00.000000Z",
        "annotations": {"mutate.sandgate.dev/verdict": "denied", "mutate.sandgate.dev/policy": "p",
            "mutate.sandgate.dev/rules": "privileged", "mutate.sandgate.dev/policy-hash": "00"}});
    let folder = Folder::with(&[("audit.log", &format!("{event}\n")), ("a.jsonl", &some())]);
    let page = folder.run(&["audit", "report", "--html", "-", "--apiserver", "audit.log", "a.jsonl"]).fine();
    assert_has(
        section(&page, "newest"),
        &["mallory", "No container is privileged. <a href=\"#rule-privileged\">"],
    );
    assert_has(section(&page, "read"), &["sandgate&#39;s audit trail", "the API server&#39;s audit log"]);
}

#[test]
fn an_empty_trail_makes_a_page_that_says_so() {
    assert_has(&report("", &[]), &["There is no request in what was read.", "<dt>Requests</dt><dd>0</dd>"]);
}

#[test]
fn the_same_records_make_the_same_page_and_a_new_one_replaces_it() {
    let folder = Folder::with(&[("a.jsonl", &some()), ("empty.html", "")]);
    let make =
        |file: &str| assert_eq!(folder.run(&["audit", "report", "--html", file, "a.jsonl"]).fine(), "");
    make("report.html");
    let first = fs::read_to_string(folder.path("report.html")).unwrap();
    make("report.html");
    make("empty.html");
    assert_eq!(fs::read_to_string(folder.path("report.html")).unwrap(), first);
    assert_eq!(fs::read_to_string(folder.path("empty.html")).unwrap(), first);
    let files = fs::read_dir(folder.path("")).unwrap().count();
    assert_eq!(files, 3, "nothing is left behind");
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_others_may_read_the_page() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = Folder::with(&[("a.jsonl", &some()), ("real.html", "")]);
    symlink("real.html", folder.path("link.html")).unwrap();
    folder.run(&["audit", "report", "--html", "link.html", "a.jsonl"]).fine();
    assert!(fs::symlink_metadata(folder.path("link.html")).unwrap().is_symlink());
    assert!(fs::read_to_string(folder.path("real.html")).unwrap().starts_with("<!doctype html>"));
    folder.run(&["audit", "report", "--html", "/dev/null", "a.jsonl"]).fine();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let any_file = fs::metadata(folder.path("a.jsonl")).unwrap().permissions().mode();
    assert_eq!(fs::metadata(folder.path("real.html")).unwrap().permissions().mode(), any_file);
}

#[test]
fn a_file_that_is_no_report_is_not_replaced_least_of_all_the_trail() {
    let folder = Folder::with(&[("a.jsonl", &some()), ("a.jsonl.1", &some())]);
    let rejected = "a.jsonl: is there and is no report, so it is not replaced; give the page another name";
    folder.run(&["audit", "report", "--html", "a.jsonl", "a.jsonl.1"]).fails(rejected);
    assert_eq!(fs::read_to_string(folder.path("a.jsonl")).unwrap(), some());
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_anything_is_read() {
    let fails = |file: &str, reason: &str| {
        sandgate(&["audit", "report", "--html", file, "missing"]).fails(reason);
    };
    fails("nowhere/r.html", "nowhere/r.html: cannot be written: there is no folder nowhere");
    fails("/", "/: cannot be written: is a directory");
    fails("r.html", "missing: cannot be read: no such file or directory");
}

/// A trail in which a Pod was admitted by exemption, after a gap of hours.
fn with_exemption() -> String {
    let mut exempt = verdict("root", "exempt");
    exempt["time"] = json!("2026-11-24T18:00:00Z");
    let (mut chain, mut trail) = (Link::default(), Vec::new());
    for record in [verdict("alice", "denied"), exempt] {
        chain.seal(record.to_string().as_bytes(), &mut trail);
    }
    String::from_utf8(trail).unwrap()
}

#[test]
fn an_auditor_finds_scope_exemptions_controls_and_every_denial() {
    let page = report(with_exemption(), &["--title", "Quarter <4>", "--cluster", "east"]);
    assert_has(&page, &["<h1>Quarter &#60;4&#62;</h1>", "<dt>Exempt</dt><dd>1</dd>"]);
    assert_has(
        section(&page, "scope"),
        &[
            "<dt>Clusters</dt><dd><bdi>east</bdi></dd>",
            "<dt>Replicas</dt><dd><bdi>gate-1</bdi></dd>",
            "<dt>Namespaces</dt><dd><bdi>workflows</bdi></dd>",
            "24 Nov 2026, 12:05:00 to 24 Nov 2026, 18:00:00",
            "the hash chain of all 2 lines is whole",
            "<bdi>east/gate-1</bdi>",
        ],
    );
    let exemptions = section(&page, "exemptions");
    assert_has(exemptions, &["user <bdi>root</bdi>", "<td><bdi>privileged</bdi></td>"]);
    assert!(!exemptions.contains("alice"), "{exemptions}");
    let appendix = section(&page, "appendix");
    assert_has(appendix, &["user <bdi>alice</bdi>", "uid-alice", "<td><bdi>privileged</bdi></td>"]);
    assert_has(
        section(&page, "rules"),
        &["PSS Baseline: Privileged Containers; CIS 5.2.2; NSA/CISA: Pod security enforcement"],
    );
    assert_has(section(&page, "newest"), &["<bdi>remove privileged</bdi>"]);
    assert_has(section(&page, "policies"), &["24 Nov 2026, 12:00:00 to 24 Nov 2026, 18:00:00"]);
}

#[test]
fn a_chain_whose_beginning_is_not_there_is_said_to_begin_later() {
    let whole = with_exemption();
    let (_, end) = whole.split_once('\n').unwrap();
    let scope = report(end.to_owned(), &[]);
    let words =
        "the only line is whole; 1 chain begins after number 1, so earlier records are not among the files";
    assert_has(section(&scope, "scope"), &[words]);
    assert!(!section(&report(whole, &[]), "scope").contains("after number 1"));
}

#[test]
fn a_page_of_a_broken_chain_says_so() {
    let edited = with_exemption().replace("alice", "mallory");
    let scope = report(edited, &[]);
    assert_has(section(&scope, "scope"), &["<strong>broken</strong>", "standard input:1: was edited"]);
    let unchained = verdict("alice", "denied").to_string() + "\n";
    let scope = report(unchained, &[]);
    assert_has(section(&scope, "scope"), &["<dt>Integrity</dt><dd>not checked"]);
}
