//! docs/rolling-out.md: its steps in their order, on a namespace that is in use.

use std::process::Command;

use serde_json::{Value, json};

use crate::examples::{plain_pod, with_host_path};
use testbed::{ControlPlane, IN_USE_NAMESPACE, Rest, Sandgate, eventually, program, shared};

const PAGE: &str = include_str!("../../docs/rolling-out.md");

/// A namespace in which Pods run that nothing guards.
struct InUse {
    bed: &'static ControlPlane,
    rest: Rest,
    namespace: String,
    folder: tempfile::TempDir,
    /// The part of the page that comes after the commands that were run.
    rest_of_page: &'static str,
}

impl InUse {
    async fn new() -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let namespace = bed.namespace(&rest, &json!({"name": IN_USE_NAMESPACE})).await.expect("a namespace");
        let folder = tempfile::tempdir().expect("a folder");
        Self { bed, rest, namespace, folder, rest_of_page: PAGE }
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).expect("a file");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }

    /// Runs the next command of the page, for this namespace instead of `workflows`, and returns status and output.
    fn run(&mut self, command: &str) -> (i32, String) {
        let found = self.rest_of_page.find(command);
        let at =
            found.unwrap_or_else(|| panic!("the page does not have it, or not in this place: {command}"));
        self.rest_of_page = &self.rest_of_page[at + command.len()..];
        let words = command.trim_start_matches("$ ").split_whitespace().skip(1);
        let words = words.map(|word| if word == "workflows" { self.namespace.as_str() } else { word });
        let words: Vec<&str> = words.take_while(|word| *word != ">").collect();
        let output = Command::new(program().expect("sandgate is built"))
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", self.bed.kubeconfig())
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = output.status.code().expect("it ends by itself");
        assert!(status < 2, "{command}: {}{text}", String::from_utf8_lossy(&output.stderr));
        if let Some((_, file)) = command.split_once(" > ") {
            self.write(file, &text);
        }
        (status, text)
    }

    /// Names and versions of everything that is stored in the namespace by people.
    async fn stored(&self) -> Vec<String> {
        let mut stored = Vec::new();
        for kind in ["api/v1/pods", "api/v1/resourcequotas", "apis/networking.k8s.io/v1/networkpolicies"] {
            let (group, kind) = kind.rsplit_once('/').expect("a group");
            let path = format!("/{group}/namespaces/{}/{kind}", self.namespace);
            let list = self.rest.get(&path).await.expect("a list");
            stored.extend(
                list["items"].as_array().into_iter().flatten().map(|item| item["metadata"].to_string()),
            );
        }
        stored
    }

    /// Starts sandgate with the policy of `policy.yaml` after `change`, in front of the namespace.
    async fn guard(&self, flags: &[&str], change: impl FnOnce(&mut Value)) -> Sandgate {
        let policy: Value = serde_saphyr::from_str(&self.read("policy.yaml")).expect("one document of YAML");
        let mut spec = policy["spec"].clone();
        change(&mut spec);
        let sandgate = Sandgate::start_flagged(self.bed, &spec, flags).await.expect("sandgate starts");
        sandgate.register(&self.rest).await.expect("the API server asks sandgate");
        sandgate
    }

    /// Stops sandgate and removes its webhooks, as the next version of a release replaces them.
    async fn replace(&self, mut sandgate: Sandgate) {
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{}", sandgate.configuration());
            self.rest.delete(&path).await.expect("it is there");
        }
        sandgate.stop();
    }
}

fn worker(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    pod["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    pod
}

/// A Pod that violates a rule which is not yet enforced in step 6.
fn with_priority(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["priorityClassName"] = json!("system-node-critical");
    pod
}

#[tokio::test]
async fn each_step_of_the_page_does_what_it_says() {
    let mut used = InUse::new().await;
    for pod in [plain_pod("web"), worker("train-1"), with_host_path("agent")] {
        used.rest.post(&used.pods(), &pod).await.expect("nothing guards the namespace yet");
    }

    // 1. Preflight.
    let sandbox = format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: workflows}}\nspec: {{namespaces: [{}]}}\n",
        used.namespace
    );
    used.write("sandbox.yaml", &sandbox);
    let (status, checked) = used.run("$ sandgate doctor --preflight --policy sandbox.yaml");
    assert_eq!(status, 1, "no node of this cluster runs gVisor: {checked}");
    assert!(checked.contains(" runtime-class ") && checked.contains("FAIL  critical"), "{checked}");

    // 2. Scan.
    let (status, scanned) = used.run("$ sandgate scan -n workflows --policy sandbox.yaml");
    assert_eq!(status, 1);
    assert!(scanned.contains("deny spec.volumes[") && scanned.contains("writable-paths"), "{scanned}");

    // 3. Suggest.
    let (status, suggested) = used.run("$ sandgate policy suggest -n workflows > policy.yaml");
    assert_eq!(status, 1, "one Pod needs the host: {suggested}");
    assert_eq!(used.run("$ sandgate policy validate policy.yaml").0, 0);
    let (_, scanned) = used.run("$ sandgate scan -n workflows --policy policy.yaml");
    assert_eq!(scanned.matches("  deny ").count(), 1, "only the Pod that needs the host: {scanned}");

    // 4. Audit: nothing lands on what runs, and new Pods are stored as they came.
    let before = used.stored().await;
    let log = used.folder.path().join("audit.jsonl").display().to_string();
    let sandgate = used.guard(&["--audit", "file", "--audit-file", &log], |_| {}).await;
    let stored = eventually("sandgate records a create", async || {
        let name = format!("probe-{}", used.read("audit.jsonl").lines().count());
        let mut pod = with_host_path("x");
        pod["metadata"] = json!({"generateName": format!("{name}-")});
        let stored = used.rest.post(&used.pods(), &pod).await?;
        let is_recorded = used.read("audit.jsonl").contains(&name);
        Ok(is_recorded.then_some(stored))
    });
    let stored = stored.await.expect("a Pod that would be denied is stored");
    assert_eq!(stored["spec"].get("runtimeClassName"), None, "nothing is filled");
    let after = used.stored().await;
    assert!(before.iter().all(|object| after.contains(object)), "{before:#?} {after:#?}");
    assert!(after.iter().all(|object| before.contains(object) || object.contains("probe-")), "{after:#?}");

    // 5. A week of records.
    let (_, top) = used.run("$ sandgate audit top --by rule,owner audit.jsonl");
    assert!(top.contains(&format!("volume-types  {}/Pod/probe-", used.namespace)), "{top}");
    let (_, listed) = used.run("$ sandgate audit list --verdict would-deny audit.jsonl");
    assert!(listed.contains("volume-types"), "{listed}");
    used.write("next.yaml", &used.read("policy.yaml").replace("mode: audit", "mode: enforce"));
    assert_eq!(
        used.run("$ sandgate policy diff policy.yaml next.yaml").0,
        0,
        "a stricter mode is not weaker"
    );
    let created = eventually("the API server's audit log has the Pods", async || {
        let events = used.bed.audit_events(&used.namespace)?;
        let names = events.iter().map(|event| event["objectRef"]["name"].as_str().unwrap_or_default());
        let has_all =
            ["web", "train-1", "agent"].iter().all(|name| names.clone().any(|found| found == *name));
        Ok(has_all.then_some(events))
    });
    let lines = created
        .await
        .expect("a log")
        .iter()
        .fold(String::new(), |lines, event| lines + &event.to_string() + "\n");
    used.write("audit.log", &lines);
    let (status, replayed) = used.run("$ sandgate policy replay --policy next.yaml audit.log");
    assert_eq!(status, 1, "{replayed}");
    assert!(replayed.contains("volume-types") && !replayed.contains("/Pod/train-1"), "{replayed}");
    used.replace(sandgate).await;

    // 6. Rule by rule: what violates the rule is denied, what violates another one is not.
    let (_, top) = used.run("$ sandgate audit top --by rule --limit 0 audit.jsonl");
    assert!(top.contains("volume-types") && !top.contains("priority-class"), "{top}");
    let sandgate = used
        .guard(&[], |spec| {
            spec["rules"] = json!({"volume-types": "enforce"});
        })
        .await;
    eventually("the rule is enforced", async || {
        let answer = used.rest.post(&format!("{}?dryRun=All", used.pods()), &with_host_path("denied")).await;
        Ok(answer.err().filter(|denied| denied.names("volume-types")).map(drop))
    })
    .await
    .expect("it is denied");
    let admitted = used.rest.post(&used.pods(), &with_priority("prioritized")).await;
    assert!(admitted.is_ok(), "{admitted:?}");
    used.replace(sandgate).await;

    // 7. Enforce: what ran is admitted and sandboxed when it is made anew; what needs the host is denied.
    let _sandgate = used.guard(&[], |spec| spec["mode"] = json!("enforce")).await;
    eventually("the policy is enforced", async || {
        let answer = used.rest.post(&format!("{}?dryRun=All", used.pods()), &with_priority("denied")).await;
        Ok(answer.err().filter(|denied| denied.names("priority-class")).map(drop))
    })
    .await
    .expect("it is denied");
    for pod in [plain_pod("web-2"), worker("train-2")] {
        let stored = used.rest.post(&used.pods(), &pod).await.expect("it is admitted");
        assert_eq!(stored["spec"]["runtimeClassName"], "gvisor");
    }
    let denied = used.rest.post(&used.pods(), &with_host_path("agent-2")).await.expect_err("it is denied");
    assert!(denied.names("volume-types"), "{denied:?}");
    let running = used.rest.get(&format!("{}/web", used.pods())).await.expect("it still runs");
    assert_eq!(running["spec"].get("runtimeClassName"), None, "Pods that run go on as they are");
    let (_, scanned) = used.run("$ sandgate scan -n workflows --policy next.yaml");
    let is_found = |pod: &str| scanned.contains(&format!("Pod {}/{pod}:", used.namespace));
    assert!(is_found("web") && !is_found("web-2"), "only what is still from before: {scanned}");
}
