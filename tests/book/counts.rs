//! Pages that count rules, presets and the like have the number that there is.

use std::fs;

use sandgate_engine::{
    policy::{FLOOR_RULES, PRESETS},
    rules,
};

use crate::pages::{Page, root};

/// Numbers that a page may spell out. Smaller ones count something else: two rules, of many.
const SPELLED: [(&str, usize); 11] = [
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
];

#[test]
fn pages_count_what_there_is() {
    let targets = fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap().count();
    let there = [
        ("rules", rules::ALL.len()),
        ("floor rules", FLOOR_RULES.len()),
        ("presets", PRESETS.len()),
        ("fuzz targets", targets),
    ];
    let mut wrong = Vec::new();
    let mut counted = 0;
    for page in Page::all() {
        let prose = page.prose().to_lowercase();
        let words: Vec<&str> =
            prose.split_whitespace().map(|word| word.trim_matches(['.', ',', ':', ';'])).collect();
        for (noun, number) in there {
            let noun: Vec<&str> = noun.split(' ').collect();
            for window in words.windows(noun.len() + 1).filter(|window| window[1..] == noun) {
                let Some(written) = as_number(window[0]).filter(|number| *number >= 10) else { continue };
                counted += 1;
                if written != number {
                    wrong.push(format!("{}: {}, there are {number}", page.path.display(), window.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counted > 8, "only {counted} numbers were found");
}

fn as_number(word: &str) -> Option<usize> {
    let spelled = SPELLED.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    spelled.or_else(|| word.parse().ok())
}
