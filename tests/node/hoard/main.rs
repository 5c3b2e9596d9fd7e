//! Opens files and keeps them open, until no more are allowed or there are 100 000.

use std::{fs::File, thread, time::Duration};

fn main() {
    let mut files = Vec::new();
    let path = "/workspace/file";
    File::create(path).expect("/workspace can be written to");
    let error = loop {
        match File::open(path) {
            Ok(file) if files.len() < 100_000 => files.push(file),
            Ok(_) => break "no error".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    println!("{} files: {error}", files.len());
    thread::sleep(Duration::from_secs(1000));
}
