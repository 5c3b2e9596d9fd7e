//! sandgate in front of a real API server: what people do, and what is stored of it.

#[path = "../bed/mod.rs"]
mod bed;

#[tokio::test]
async fn smoke() {
    let bed = bed::ControlPlane::start().await.unwrap();
    let rest = bed.rest().await.unwrap();
    let ns = bed.namespace(&rest, "a", &serde_json::json!({})).await.unwrap();
    println!("{}", bed.kubectl(&["run", "x", "--image=y", "-n", &ns]).await.expect_success());
    println!("{}", bed.kubectl(&["get", "all", "-A", "-o", "wide"]).await.expect_success());
    println!("{:?}", bed.audit_events().unwrap().len());
}
