//! Writes the seeds that `make fuzz` starts from, and the words it tries: `seeds FOLDER`.

mod corpus;

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("the folder to write to");
    for (target, seeds) in corpus::seeds() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:03}")), seed)?;
        }
    }
    let words: Vec<String> = corpus::words().iter().map(|word| format!("{word:?}\n")).collect();
    fs::write(Path::new(&folder).join("words.dict"), words.concat())
}
