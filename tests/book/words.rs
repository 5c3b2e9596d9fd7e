//! One word for one thing: the pages have the field's terms, and none that they replaced.

use std::fs;

use crate::pages::{Page, root};

/// A word that no page uses, and the term for it.
const REPLACED: [(&str, &str); 17] = [
    ("anybody", "anyone"),
    ("farewell", "grace period"),
    ("furnish", "set up"),
    ("judge", "evaluate, validate or check"),
    ("judged", "evaluated, validated or checked"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("nobody", "no one"),
    ("refusal", "denial"),
    ("refuse", "deny, or reject if the API server does it"),
    ("refuses", "denies, or rejects if the API server does it"),
    ("somebody", "name who"),
    ("stranger", "name who"),
    ("tells", "shows, names or reports"),
    ("told", "shown, named or reported"),
    ("unjudged", "not evaluated"),
    ("whoever", "anyone who"),
];

#[test]
fn pages_use_the_fields_terms() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        let prose = page.prose().to_lowercase();
        let words: Vec<&str> =
            prose.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()).collect();
        for (word, term) in REPLACED {
            if words.contains(&word) {
                wrong.push(format!("{}: {word}, say {term}", page.path.display()));
            }
        }
        // What a program says of a connection stays.
        let refused = words.windows(2).any(|pair| pair[1] == "refused" && pair[0] != "connection");
        if refused {
            wrong.push(format!(
                "{}: refused, say denied, or rejected if the API server did it",
                page.path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pages_name_the_event_as_the_program_does() {
    let source = fs::read_to_string(root().join("src/cluster/events/aggregator.rs")).unwrap();
    let (_, rest) = source.split_once("\"reason\": \"").expect("an Event has a reason");
    let reason = rest.split('"').next().unwrap();
    let mut named = 0;
    for page in Page::all() {
        let words = page.text.split(|letter: char| !letter.is_alphanumeric());
        for word in words.filter(|word| ["PodRefused", "PodDenied"].contains(word)) {
            assert_eq!(word, reason, "{}", page.path.display());
            named += 1;
        }
    }
    assert!(named > 0, "{named}");
}
