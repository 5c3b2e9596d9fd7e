//! The properties of the fuzz targets, for a moment and without coverage: on what was once found, on the seeds, and
//! on seeds with random damage. `make fuzz` drives the same functions at length.

#[path = "../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../fuzz/program.rs"]
mod program;
#[path = "../../fuzz/properties.rs"]
mod properties;

use std::{fs, path::Path};

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

/// What must hold for any bytes.
type Property = fn(&[u8]);

const TARGETS: [(&str, Property); 16] = [
    ("head", properties::head),
    ("policy_pod", properties::policy_pod),
    ("patch", properties::patch),
    ("yaml", properties::yaml),
    ("workload", properties::workload),
    ("image", properties::image),
    ("path", properties::path),
    ("pattern", properties::pattern),
    ("review", properties::review),
    ("pod", properties::pod),
    ("policy", properties::policy),
    ("quantity", properties::quantity),
    ("cel", properties::cel),
    ("certificates", program::certificates),
    ("audit", program::audit),
    ("trace", program::trace),
];

fn property(target: &str) -> Property {
    let known = TARGETS.into_iter().find(|(name, _)| *name == target);
    known.map(|(_, holds)| holds).expect("a target")
}

#[test]
fn what_was_found_once_is_right_now() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/findings");
    let mut replayed = 0;
    for (target, holds) in TARGETS {
        for file in fs::read_dir(folder.join(target)).into_iter().flatten() {
            holds(&fs::read(file.expect("a file").path()).expect("a finding is read"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "the findings are there");
}

#[test]
fn the_seeds_are_right() {
    for (target, seeds) in corpus::seeds() {
        let holds = property(target);
        for seed in seeds {
            holds(&seed);
        }
    }
    assert!(corpus::words().contains("runtimeClassName"), "the words have the names of the fields");
}

#[test]
fn damaged_seeds_are_right() {
    for (target, seeds) in corpus::seeds() {
        let holds = property(target);
        let mut runner =
            TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
        let damaged = (select(seeds.clone()), proptest::collection::vec(damage(seeds), 1..6));
        let result = runner.run(&damaged, |(mut data, damages)| {
            for damage in damages {
                damage.apply(&mut data);
            }
            holds(&data);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
}

/// One thing that befalls a text.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index, Index),
    Insert(Index, Vec<u8>),
}

/// Parts of other seeds, words and any bytes are put in.
fn damage(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Damage> {
    let words: Vec<Vec<u8>> = corpus::words().into_iter().map(String::into_bytes).collect();
    let part =
        (select(seeds), any::<[Index; 2]>()).prop_map(|(seed, ends)| seed[range(&seed, ends)].to_vec());
    let inserted = prop_oneof![3 => select(words), 1 => part, 1 => any::<Vec<u8>>()];
    prop_oneof![
        (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Cut(from, to)),
        (any::<Index>(), inserted).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn range(data: &[u8], [one, other]: [Index; 2]) -> std::ops::Range<usize> {
    let (one, other) = (one.index(data.len() + 1), other.index(data.len() + 1));
    one.min(other)..one.max(other)
}

impl Damage {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Flip(at, bits) if !data.is_empty() => {
                let at = at.index(data.len());
                data[at] ^= bits;
            }
            Self::Flip(..) => {}
            Self::Cut(from, to) => drop(data.drain(range(data, [*from, *to]))),
            Self::Insert(at, bytes) => {
                let at = at.index(data.len() + 1);
                data.splice(at..at, bytes.iter().copied());
            }
        }
    }
}
