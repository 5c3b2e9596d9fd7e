//! Who a Pod is, and how it begins and ends.

use serde_json::json;

use super::{RuleCase, hardened, rule_case, tiny};
use crate::generator;

pub(super) fn rule_cases() -> Vec<RuleCase> {
    let sidecar = json!({
        "name": "proxy", "image": "registry.example.com/proxy:1", "restartPolicy": "Always",
        "securityContext": hardened(), "resources": tiny(),
    });
    let mut beside_a_sidecar = generator::complete()["spec"].take();
    beside_a_sidecar["containers"][0]["resources"] = tiny();
    beside_a_sidecar["initContainers"] = json!([sidecar]);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let metadata = json!({
        "name": "of-a-job", "namespace": "workflows", "labels": {"app": "workflow-runner"}, "ownerReferences": [job],
    });
    vec![
        rule_case(
            "service-account",
            vec![
                (
                    "spec/serviceAccountName",
                    vec![json!("admin"), json!("Workflow-runner"), json!("default ")],
                ),
                ("spec/serviceAccount", vec![json!("admin")]),
            ],
            vec![
                ("spec/serviceAccountName", vec![json!("default"), json!(""), json!("!remove")]),
                ("spec/serviceAccount", vec![json!("workflow-runner"), json!("default"), json!("")]),
            ],
        ),
        rule_case(
            "token-volumes",
            vec![("spec/automountServiceAccountToken", vec![json!(true), json!(null)])],
            vec![
                ("spec/automountServiceAccountToken", vec![json!(false), json!("!remove")]),
                ("spec/volumes+", vec![crate::edits::token_volume()]),
            ],
        ),
        rule_case(
            "restart-policy",
            vec![(
                "spec/restartPolicy",
                vec![json!("OnFailure"), json!("never"), json!(""), json!("Always")],
            )],
            vec![
                ("spec/restartPolicy", vec![json!("!remove"), json!("Always"), json!("Never")]),
                ("metadata", vec![metadata]),
            ],
        ),
        rule_case(
            "container-restart-rules",
            vec![
                (
                    "spec/containers/*/restartPolicy",
                    vec![json!("Always"), json!("OnFailure"), json!("never")],
                ),
                (
                    "C/restartPolicyRules",
                    vec![json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}])],
                ),
            ],
            vec![
                ("spec/containers/*/restartPolicy", vec![json!("Never"), json!(null)]),
                ("C/restartPolicyRules", vec![json!([])]),
                ("spec", vec![beside_a_sidecar]),
            ],
        ),
        rule_case(
            "active-deadline",
            vec![(
                "spec/activeDeadlineSeconds",
                vec![json!(0), json!(-1), json!(3601), json!(4_294_967_297_u64)],
            )],
            vec![("spec/activeDeadlineSeconds", vec![json!(1), json!(3600), json!("!remove")])],
        ),
        rule_case(
            "grace-period",
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(61), json!(-1), json!(4_294_967_297_u64)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 61})],
                ),
            ],
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(0), json!(60)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 60})],
                ),
            ],
        ),
    ]
}
