//! sandgate in a real cluster with real gVisor.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

#[path = "../bed/mod.rs"]
mod bed;

use bed::*;

#[tokio::test]
async fn up() {
    let cluster = Cluster::start().await.unwrap();
    println!("{}", cluster.bed.kubectl(&["get", "nodes", "-o", "wide"]).await.expect_success());
}
