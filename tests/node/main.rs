//! sandgate in a real cluster with real gVisor.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

#[path = "../bed/mod.rs"]
mod bed;

use bed::*;

#[tokio::test]
async fn up() {
    let begun = std::time::Instant::now();
    let cluster = Cluster::start().await.unwrap();
    eprintln!("up {:?}", begun.elapsed());
    if let Err(e) = cluster.install_sandgate(&program().unwrap(), &[]).await { eprintln!("{e}"); }
    eprintln!("installed {:?}", begun.elapsed());
    for c in std::env::var("CMDS").unwrap().split(';') {
        let words: Vec<&str> = c.split_whitespace().collect();
        let o = if words[0] == "sleep" { std::thread::sleep(std::time::Duration::from_secs(words[1].parse().unwrap())); continue }
          else if words[0]=="ctr" { cluster.ctr(&words[1..]).unwrap() } else if words[0]=="node" {cluster.run_in_node(&words[1..]).unwrap()} else { cluster.bed.kubectl(&words).await };
        eprintln!("$ {c}\n{}{}", o.stdout, o.stderr);
    }
}
