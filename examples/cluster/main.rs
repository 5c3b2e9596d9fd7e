//! `make cluster` and `make cluster-down`: a real cluster with gVisor and sandgate, to try things in.
//!
//! A process in the background holds it, and everything in it ends with that process. What a user needs of it, and the
//! process id of the holder, is in `target/cluster`, or in the folder that `SANDGATE_CLUSTER` names. What runs there is the
//! sandgate that cargo has built, or the image that `SANDGATE_IMAGE` names.

mod holder;
mod home;
mod tools;

use std::{env, process::ExitCode, time::Instant};

use self::home::Home;
use testbed::{Result, cannot_run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let home = Home::of_this_checkout();
    let command = env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "up" => up(&home),
        "down" => down(&home),
        "hold" => holder::hold(&home).await,
        other => Err(format!("no command {other:?}: use up or down").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cluster: {problem}");
            ExitCode::from(2)
        }
    }
}

fn up(home: &Home) -> Result<()> {
    if home.holder().is_some() && home.is_ready() {
        println!("The cluster is up already.\n\n{}", tools::advice(home));
        return Ok(());
    }
    if let Some(reason) = cannot_run() {
        return Err(reason.into());
    }
    if let Some(ended) = home.failure() {
        println!("The last cluster ended by itself: {ended}");
    }
    // Half of an earlier one, if it was killed.
    home.end_holder()?;
    home.make()?;
    let begun = Instant::now();
    home.start_holder()?;
    println!("The cluster is up after {:.1} s.\n\n{}", begun.elapsed().as_secs_f64(), tools::advice(home));
    Ok(())
}

fn down(home: &Home) -> Result<()> {
    if home.end_holder()? {
        println!("The cluster is gone, and everything that was in it.");
    } else {
        println!("No cluster is up.");
    }
    Ok(())
}
