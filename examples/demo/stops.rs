//! The stops of the tour, in their order.

use std::{fs, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::tour::{Tour, chapter, explain, omission, show_command, show_output};
use testbed::{Result, STEP_TIMEOUT, eventually};

/// A table of what the sandbox is made of.
const SANDBOX_COLUMNS: &str =
    "custom-columns=POD:.metadata.name,RUNTIME:.spec.runtimeClassName,USER:.spec.securityContext.runAsUser";

pub(crate) async fn a_namespace(tour: &Tour) -> Result<()> {
    chapter(
        "A namespace for untrusted work",
        "The cluster is new, and has no nodes: it stores pods and never runs them.\n\
         The policy wants one thing of a namespace: this service account.",
    );
    tour.run("kubectl create namespace workflows").await?;
    tour.run("kubectl create serviceaccount workflow-runner -n workflows").await?;
    eventually("the namespace has its default service account", async || {
        let accounts = tour.output_of("kubectl get serviceaccounts -n workflows -o name").await;
        Ok(accounts.contains("/default").then_some(()))
    })
    .await
}

pub(crate) async fn a_bare_pod(tour: &Tour) -> Result<()> {
    chapter(
        "A pod that asks for nothing",
        "From here on sandgate guards the namespace, with its default policy.\n\
         People who create Pods need not know that it is there.",
    );
    tour.run("kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations -o name").await?;
    tour.run("kubectl run hello --image=busybox -n workflows").await?;
    explain("This is what the cluster stored. Nothing of it was asked for:");
    tour.run_and_show("kubectl get pod hello -n workflows -o yaml", sandbox_of).await?;
    explain("Its container has no way up, and a limit to what it may use:");
    for field in ["securityContext", "resources.limits", "volumeMounts"] {
        let path = format!("'{{.spec.containers[0].{field}}}'");
        tour.run(&format!("kubectl get pod hello -n workflows -o jsonpath={path}")).await?;
    }
    Ok(())
}

/// Of the YAML of a pod the fields of the spec that make the sandbox.
fn sandbox_of(yaml: &str) -> String {
    const FIELDS: [&str; 8] = [
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "restartPolicy",
        "runtimeClassName",
        "securityContext",
        "serviceAccountName",
        "volumes",
    ];
    let mut shown = false;
    let spec = yaml.lines().skip_while(|line| *line != "spec:").skip(1);
    let spec = spec.take_while(|line| line.starts_with(' ')).filter(|line| {
        // Lists stand as deep as their key.
        if let Some(field) = line.strip_prefix("  ").filter(|field| !field.starts_with([' ', '-'])) {
            shown = FIELDS.iter().any(|wanted| field.split(':').next() == Some(wanted));
        }
        shown
    });
    let spec = spec.collect::<Vec<_>>().join("\n");
    format!("{}spec:\n{spec}\n{}", omission("metadata"), omission("the rest of the spec, and the status"))
}

pub(crate) async fn a_hostile_pod(tour: &Tour) -> Result<()> {
    chapter(
        "A pod that wants the node",
        "It is privileged, with the node's processes and its root folder.\n\
         The denial names all violations at once, and what to change.",
    );
    tour.run_denied("kubectl apply -f examples/pods/hostile-privileged.yaml").await
}

pub(crate) async fn a_job(tour: &Tour) -> Result<()> {
    chapter("A Job", "The pods of a controller are filled like any other.");
    tour.run("kubectl create job report --image=busybox -n workflows -- echo done").await?;
    eventually("the Job has its pod", async || {
        let pods = tour.output_of("kubectl get pods -n workflows -l job-name=report -o name").await;
        Ok((!pods.is_empty()).then_some(()))
    })
    .await?;
    tour.run(&format!("kubectl get pods -n workflows -o {SANDBOX_COLUMNS}")).await
}

pub(crate) async fn a_deployment(tour: &Tour) -> Result<()> {
    chapter(
        "A Deployment",
        "Its pods would run for ever, under a label of their own: the policy allows neither.\n\
         The Deployment is created, for it is no pod. Why it gets no pods stands in the\n\
         events of its ReplicaSet.",
    );
    tour.run("kubectl create deployment web --image=busybox -n workflows").await?;
    eventually("the ReplicaSet names the reason why it has no pods", async || {
        let events =
            tour.output_of("kubectl get events -n workflows --field-selector reason=FailedCreate").await;
        Ok(events.contains("denied the request").then_some(()))
    })
    .await?;
    tour.run_and_show("kubectl describe replicaset -n workflows -l app=web", events_of).await
}

/// The end of what `kubectl describe` prints.
fn events_of(description: &str) -> String {
    let events = description.split_once("\nEvents:").map_or(description, |(_, events)| events);
    format!("{}Events:{events}", omission("the ReplicaSet itself"))
}

pub(crate) async fn a_debugger(tour: &Tour) -> Result<()> {
    chapter(
        "A debugger in a running pod",
        "A pod that is admitted stays in its sandbox. A debug container with more\n\
         rights than the pod is no way out.",
    );
    tour.run_denied("kubectl debug hello --image=busybox --profile=general --container=debugger -n workflows")
        .await
}

pub(crate) async fn a_label(tour: &Tour) -> Result<()> {
    chapter(
        "A label",
        "Network policies find the pod by the label app, so it cannot be taken off.\n\
         Other labels are free.",
    );
    tour.run_denied("kubectl label pod hello app- -n workflows").await?;
    tour.run("kubectl label pod hello team=a -n workflows").await
}

pub(crate) async fn another_namespace(tour: &Tour) -> Result<()> {
    chapter("Another namespace", "Here the API server does not even ask sandgate.");
    tour.run("kubectl run hello --image=busybox -n default").await?;
    tour.run(&format!("kubectl get pods -n default -o {SANDBOX_COLUMNS}")).await
}

pub(crate) async fn metrics(tour: &Tour) -> Result<()> {
    chapter(
        "What sandgate counted",
        "Each verdict, and each rule that a pod broke. The tour itself tried some pods,\n\
         in dry runs, until the API server knew of sandgate: they count too.",
    );
    let admin = admin_address(tour)?;
    show_command(&format!(
        "curl -s http://{admin}/metrics | grep -E '(reviews|violations)_total.* [1-9]' | sort"
    ));
    let metrics = timeout(STEP_TIMEOUT, get_metrics(admin)).await??;
    let mut lines: Vec<&str> = metrics.lines().filter(|line| is_counted(line)).collect();
    lines.sort_unstable();
    show_output(&lines.join("\n"));
    if lines.is_empty() { Err("sandgate has counted nothing".into()) } else { Ok(()) }
}

fn is_counted(line: &str) -> bool {
    (line.contains("reviews_total") || line.contains("violations_total")) && !line.ends_with(" 0")
}

/// The testbed chooses a port, which sandgate's log names.
fn admin_address(tour: &Tour) -> Result<SocketAddr> {
    for entry in fs::read_dir(tour.bed().folder())? {
        let log = fs::read_to_string(entry?.path().join("sandgate.log")).unwrap_or_default();
        if let Some((_, rest)) = log.split_once(" admin=") {
            return Ok(rest.split_whitespace().next().unwrap_or_default().parse()?);
        }
    }
    Err("the log of sandgate has no address of its probes".into())
}

async fn get_metrics(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: sandgate\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
