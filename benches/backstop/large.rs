//! The processor time of the API server for one large Pod, with and without the backstop.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BACKSTOP, NONE, Result, complete_pod, millis};
use testbed::{ControlPlane, Rest};

/// The goal for a Pod that is too large to be evaluated: no more than this, of what it costs without the backstop.
const GOAL: f64 = 1.5;

/// Prints the least of several measurements of each Pod: others on the machine only ever add to it.
pub(super) async fn compare(bed: &ControlPlane, rest: &Rest, repeats: usize) -> Result<()> {
    println!(
        "\n| one large Pod | bytes | without, API server CPU ms | backstop | ratio |\n|---|--:|--:|--:|--:|"
    );
    for (name, pod, is_too_large) in pods()? {
        let without = measure(bed, rest, NONE, &pod, repeats).await?;
        let with = measure(bed, rest, BACKSTOP, &pod, repeats).await?;
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        let goal = match is_too_large {
            true if ratio <= GOAL => ", met",
            true => ", missed",
            false => "",
        };
        let (without, with, bytes) = (millis(without), millis(with), pod.to_string().len());
        println!("| {name} | {bytes} | {without:.1} | {with:.1} | {ratio:.2}{goal} |");
    }
    println!("\nGoal beyond the bounds of a Pod's size: at most {GOAL} times.");
    Ok(())
}

async fn measure(
    bed: &ControlPlane,
    rest: &Rest,
    namespace: &str,
    pod: &Value,
    repeats: usize,
) -> Result<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..repeats {
        let before = bed.apiserver_cpu()?;
        // A Pod beyond the bounds is denied, which costs as well.
        let _ = rest.post(&format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), pod).await;
        least = least.min(bed.apiserver_cpu()?.saturating_sub(before));
    }
    Ok(least)
}

/// Returns Pods, each with true if it is beyond the bounds.
fn pods() -> Result<Vec<(&'static str, Value, bool)>> {
    let variables = |count: usize| -> Vec<Value> {
        (0..count).map(|number| json!({"name": format!("V{number}"), "value": "x"})).collect()
    };
    let mounts = |count: usize| -> Vec<Value> {
        (0..count).map(|number| json!({"name": "tmp", "mountPath": format!("/tmp/{number}")})).collect()
    };
    let with = |containers: usize, mounts_each: usize, variables_each: usize| -> Result<Value> {
        let mut pod = complete_pod()?;
        let mut container = pod["spec"]["containers"][0].clone();
        // All of them stay within the budget of the policy: a denial costs more than an admission.
        let tiny = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
        container["resources"] = json!({"requests": tiny, "limits": tiny});
        if mounts_each > 0 {
            container["volumeMounts"] = json!(mounts(mounts_each));
        }
        container["env"] = json!(variables(variables_each));
        let of_number = |number: usize| {
            let mut container = container.clone();
            container["name"] = json!(format!("c{number}"));
            container
        };
        pod["spec"]["containers"] = (0..containers).map(of_number).collect::<Vec<Value>>().into();
        Ok(pod)
    };
    Ok(vec![
        ("20 containers", with(20, 0, 20)?, false),
        ("100 containers, 5 mounts and 20 variables each", with(100, 5, 20)?, false),
        ("500 containers, 50 mounts each", with(500, 50, 0)?, true),
        ("500 containers", with(500, 0, 0)?, true),
        ("12,000 mounts", with(1, 12_000, 0)?, true),
        ("40,000 variables", with(1, 0, 40_000)?, true),
    ])
}
