//! Admission policies and their bindings, which tests and benchmarks store.

use serde_json::Value;

use super::{Rest, Result, eventually};

const API: &str = "/apis/admissionregistration.k8s.io/v1";

/// Returns the path of the list that an admission policy or a binding belongs to.
#[must_use]
pub fn admission_list(object: &Value) -> String {
    let plural = match object["kind"].as_str() {
        Some("ValidatingAdmissionPolicy") => "validatingadmissionpolicies",
        Some("MutatingAdmissionPolicy") => "mutatingadmissionpolicies",
        Some("MutatingAdmissionPolicyBinding") => "mutatingadmissionpolicybindings",
        _ => "validatingadmissionpolicybindings",
    };
    format!("{API}/{plural}")
}

/// Stores an admission policy or a binding.
///
/// # Errors
/// Returns the denial of the API server, or an error if the object is not stored in time.
pub async fn store_admission(rest: &Rest, object: &Value) -> Result<()> {
    let list = admission_list(object);
    // A busy machine may need longer for the CEL of a policy than a request may take; then it is there by the next try.
    eventually("the policy is stored", async || match rest.post(&list, object).await {
        Err(denial) if denial.code == 409 => Ok(Some(())),
        Err(denial) if denial.code != 504 => Err(denial.into()),
        answer => Ok(answer.ok().map(drop)),
    })
    .await
}
