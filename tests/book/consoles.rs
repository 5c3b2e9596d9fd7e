//! Each `console` block that needs no cluster is run, and prints what the page shows.
//!
//! - The commands of a page run in one folder. A block that begins with `yaml file=NAME` is a file there, and so are the
//!   `examples` and `presets` of this checkout, and the CA of development certificates, `ca.crt`.
//! - In the output `…` stands for the rest of a line, and a line of `…` alone for any lines.
//! - A block with a command that needs a cluster, or a fence that says `console example`, is not run here. Tests of the
//!   doctor, of the cluster and of the node hold some of these against what a cluster prints.
//!
//! `make book-pages` writes the output anew where it differs, without what was left out of it.

use std::{env, fs, os::unix::fs::symlink};

use crate::pages::{Page, root, terminal};
use testbed::is_shown;

/// The subcommands of `sandgate` that need neither a cluster nor a running server.
const OFFLINE: [&str; 10] =
    ["--version", "audit", "backstop", "check", "explain", "fix", "help", "policy", "render", "review"];

/// Commands below them that read the Pods of a cluster, or files that only one has.
const ONLINE: [(&str, &str); 3] = [("backstop", "verify"), ("policy", "suggest"), ("policy", "replay")];

#[test]
fn commands_print_what_the_pages_show() {
    let mut wrong = Vec::new();
    let mut run = 0;
    let certificates = tempfile::tempdir().unwrap();
    terminal("sandgate certs dev --out .", certificates.path());
    for page in Page::all() {
        let mut corrected = page.text.clone();
        let folder = tempfile::tempdir().unwrap();
        for name in ["examples", "presets"] {
            symlink(root().join(name), folder.path().join(name)).unwrap();
        }
        fs::copy(certificates.path().join("ca.crt"), folder.path().join("ca.crt")).unwrap();
        for (info, block) in page.blocks() {
            if let Some(name) = info.strip_prefix("yaml file=") {
                let file = folder.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, &block).unwrap();
            }
            if info != "console" || !is_offline(&block) {
                continue;
            }
            for (command, shown) in commands(&block) {
                run += 1;
                let printed = terminal(&command, folder.path());
                if is_shown(&shown, &printed) {
                    continue;
                }
                corrected = corrected.replacen(
                    &format!("$ {command}\n{shown}"),
                    &format!("$ {command}\n{printed}"),
                    1,
                );
                let path = page.path.display();
                wrong.push(format!("{path}: $ {command}\nshows:\n{shown}\nprinted:\n{printed}"));
            }
        }
        if env::var_os("SANDGATE_WRITE_BOOK").is_some() && corrected != page.text {
            fs::write(root().join(&page.path), corrected).unwrap();
            wrong.clear();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run > 80, "only {run} commands were found");
}

/// Returns whether each command of the block can run here.
fn is_offline(block: &str) -> bool {
    let mut lines = block.lines().filter_map(|line| line.strip_prefix("$ "));
    let is_offline = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [program, command, rest @ ..] = &words[..] else { return false };
        let is_online = rest.first().is_some_and(|subcommand| ONLINE.contains(&(*command, *subcommand)));
        *program == "sandgate" && OFFLINE.contains(command) && !is_online
    };
    lines.clone().next().is_some() && lines.all(is_offline)
}

/// Returns each command of a block with the output behind it.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut continues = false;
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.into(), String::new()));
        } else if let Some((command, _)) = commands.last_mut().filter(|_| continues) {
            command.push('\n');
            command.push_str(line);
        } else if let Some((_, shown)) = commands.last_mut() {
            shown.push_str(line);
            shown.push('\n');
        }
        continues = line.ends_with('\\') && commands.last().is_some_and(|(_, shown)| shown.is_empty());
    }
    commands
}
