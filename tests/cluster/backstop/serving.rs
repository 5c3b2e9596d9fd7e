//! `serve --backstop`.

use serde_json::{Value, json};

use super::{BINDINGS, POLICIES, Release};
use testbed::{ControlPlane, Process, Rest, eventually, free_port, program, shared};

fn serve(bed: &ControlPlane, release: &Release) -> Process {
    let folder = release.policy.parent().expect("a folder");
    let arguments = [
        "serve",
        "--backstop",
        "--certs=dev",
        "--reload-interval=0.2",
        &format!("--policy={}", release.policy.display()),
        &format!("--kubeconfig={}", bed.kubeconfig().display()),
        &format!("--namespace={}", release.name),
        &format!("--listen=127.0.0.1:{}", free_port()),
        &format!("--admin=127.0.0.1:{}", free_port()),
    ];
    let arguments = arguments.map(str::to_owned);
    Process::start("sandgate", &program().expect("it is built"), &arguments, folder).expect("it starts")
}

async fn hash(rest: &Rest, path: &str) -> Option<Value> {
    let object = rest.get(path).await.ok()?;
    Some(object["metadata"]["annotations"]["sandgate.dev/policy-hash"].clone())
}

#[tokio::test]
async fn objects_follow_the_policies_and_a_removed_binding_stays_removed() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "serving-"})).await.expect("a namespace");
    let release = Release::of(&namespace, &json!({"rules": {"tolerations": "audit"}}));
    let mut process = serve(bed, &release);
    let (policy, binding) = (release.path(POLICIES), release.path(BINDINGS));
    // The rule at another level has objects of its own.
    let audited = format!("{policy}.audit");
    let first = eventually("policies and bindings are written", async || {
        process.check()?;
        let is_audited = rest.get(&audited).await.is_ok();
        Ok(hash(&rest, &policy).await.zip(hash(&rest, &binding).await).filter(|_| is_audited))
    })
    .await
    .expect("they are written");
    assert_eq!(first.0, first.1);

    release.write(&json!({}));
    eventually("a new policy is written, and what no policy has is removed", async || {
        process.check()?;
        let is_gone = rest.get(&audited).await.is_err();
        Ok(hash(&rest, &policy).await.filter(|hash| *hash != first.0 && is_gone))
    })
    .await
    .expect("the objects follow");

    // The emergency stop: the binding alone is removed.
    rest.delete(&binding).await.expect("it is removed");
    release.write(&json!({"images": {"requireDigest": true}}));
    let second = hash(&rest, &policy).await;
    eventually("the policy is written once more", async || {
        Ok(hash(&rest, &policy).await.filter(|hash| Some(hash) != second.as_ref()))
    })
    .await
    .expect("the policy follows");
    assert!(rest.get(&binding).await.is_err(), "the backstop stays switched off");

    rest.delete(&policy).await.expect("it is removed");
    release.write(&json!({"images": {"requireDigest": false}, "help": "Ask us."}));
    eventually("both are there again", async || {
        Ok(hash(&rest, &policy).await.zip(hash(&rest, &binding).await))
    })
    .await
    .expect("removing the policy too switches it on again");
    drop(process);
    for suffix in ["", ".binding"] {
        rest.delete(&format!("{binding}{suffix}")).await.expect("it is removed");
        rest.delete(&format!("{policy}{suffix}")).await.expect("it is removed");
    }
}
