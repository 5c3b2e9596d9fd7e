//! Which doors of a node a Pod finds open: asked by a program in it, with and without sandgate.

mod matrix;
mod probed;

use self::{matrix::Matrix, probed::probed};
use crate::shared::cluster;

#[tokio::test]
async fn no_door_to_the_kernel_of_the_machine_is_open_to_a_sandboxed_pod() {
    let Some(bed) = cluster().await else { return };

    let Matrix { plain, restricted, sandboxed } = probed(&bed).await;

    for d in 0..plain.doors.len() {
        let a = [&plain, &restricted, &sandboxed].map(|c| format!("{}{}", if c.doors[d].open {"OPEN "} else {""}, c.doors[d].answer));
        println!("{:28} {:32} {:32} {:32}", plain.doors[d].id, a[0], a[1], a[2]);
    }
    println!("{}\n{}\n{}", plain.kernel, restricted.kernel, sandboxed.kernel);
}
