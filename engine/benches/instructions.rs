//! The instructions that one review costs: `cargo bench -p sandgate-engine --bench instructions [-- FILTER]`.
//!
//! Times need a quiet machine; the number of instructions is the same on a busy one. Callgrind counts them. Each case
//! runs this program again under `valgrind`, which counts inside [`measured`] only. It prints a line for each case, its
//! name and the instructions of one call, separated by a tab, so that `scripts/bench-compare` can compare two revisions.

#[path = "../../benches/support/reviews.rs"]
mod reviews;

use std::{
    borrow::Cow,
    env,
    error::Error,
    fs,
    hint::black_box,
    process::{Command, Stdio},
};

use mimalloc::MiMalloc;
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{self, Endpoint, Origin},
};
use serde::Deserialize;

use reviews::Kind;

/// The allocator of the program: what it costs is part of every figure.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first argument of the program that does the work.
const WORK: &str = "work";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [WORK, case] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return Case::named(case).ok_or("there is no such case").map(Case::run).map_err(Into::into);
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    for case in Case::all() {
        let name = case.name();
        if filter.is_none_or(|filter| name.contains(filter.as_str())) {
            println!("{name}\t{}", case.count()?);
        }
    }
    Ok(())
}

/// What is done with a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The floor: the uid is found, and nothing is kept.
    Null,
    /// The body is read into owned values, which are dropped.
    Tree,
    /// The review is read.
    Read,
    /// It is answered, without a record.
    Answer,
    /// It is answered, and the line of the audit trail is written.
    Audited,
    /// It is answered by the last of a thousand policies.
    ThousandPolicies,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    work: Work,
    kind: Kind,
    size: (&'static str, usize),
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        const WORKS: [Work; 6] =
            [Work::Null, Work::Tree, Work::Read, Work::Answer, Work::Audited, Work::ThousandPolicies];
        reviews::SIZES
            .into_iter()
            .flat_map(|size| {
                Kind::ALL.into_iter().flat_map(move |kind| WORKS.map(|work| Self { work, kind, size }))
            })
            .filter(|case| case.work != Work::ThousandPolicies || case.size.1 == reviews::SMALL)
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().find(|case| case.name() == name)
    }

    fn name(self) -> String {
        let Self { work, kind, size: (size, _) } = self;
        let work = match work {
            Work::Null => "null",
            Work::Tree => "tree",
            Work::Read => "read",
            Work::Answer => "answer",
            Work::Audited => "answer and audit line",
            Work::ThousandPolicies => "answer, 1000 policies",
        };
        format!("{size}, {}, {work}", kind.as_str())
    }

    fn run(self) {
        let body = reviews::create(self.kind, self.size.1);
        let policies = match self.work {
            Work::ThousandPolicies => thousand_policies(),
            _ => PolicySet::builtin(),
        };
        let mut line = Vec::new();
        let mut call = || match self.work {
            Work::Null => drop(black_box(uid(&body))),
            Work::Tree => drop(black_box(serde_json::from_slice::<serde_json::Value>(&body))),
            Work::Read => drop(black_box(review::Request::read(&body))),
            Work::Answer | Work::ThousandPolicies => {
                drop(black_box(review::answer(&policies, Endpoint::Mutate, None, &body)));
            }
            Work::Audited => {
                let answer = review::answer(&policies, Endpoint::Mutate, None, &body);
                let record = &answer.expect("it is a review").record;
                line.clear();
                record.audit_record(Origin::default(), "2026-11-24T12:00:00.000Z", 42).write_line(&mut line);
                black_box(&line);
            }
        };
        // The first call fills what later ones find.
        call();
        for _ in 0..self.calls() {
            measured(&mut call);
        }
    }

    /// Returns the instructions of one call.
    fn count(self) -> Result<u64> {
        let case = self.name();
        let profile = env::temp_dir().join(format!("sandgate-callgrind-{}", std::process::id()));
        let status = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=*instructions*measured*", "--quiet"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(env::current_exe()?)
            .args([WORK, &case])
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("cannot start valgrind: {error}; install the package valgrind"))?;
        let counted = fs::read_to_string(&profile);
        let _ = fs::remove_file(&profile);
        if !status.success() {
            return Err(format!("{case}: valgrind ended with {status}").into());
        }
        let counted = counted?;
        let total =
            counted.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
        match total {
            Some(total) if total > 0 => Ok(total / u64::from(self.calls())),
            _ => Err(format!("{case}: valgrind counted nothing").into()),
        }
    }

    /// Returns the number of calls that are counted: one of a large review counts as exactly as ten of a small one.
    fn calls(self) -> u32 {
        if self.size.1 <= reviews::SMALL { 10 } else { 1 }
    }
}

/// What is counted. Its name is that of the function in which valgrind counts.
#[inline(never)]
fn measured(call: &mut dyn FnMut()) {
    call();
}

fn uid(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Review<'b> {
        #[serde(borrow)]
        request: Request<'b>,
    }

    #[derive(Deserialize)]
    struct Request<'b> {
        #[serde(borrow)]
        uid: Cow<'b, str>,
    }

    let review: Review = serde_json::from_slice(body).ok()?;
    Some(review.request.uid.into_owned())
}

/// The namespace of the reviews has the last policy.
fn thousand_policies() -> PolicySet {
    let policy = |number| {
        let namespace = if number == 999 { "workflows".into() } else { format!("namespace-{number}") };
        let name = if number == 999 { "workflow-runner".into() } else { format!("policy-{number}") };
        let text = format!(
            "{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: {name}}}, \
             spec: {{namespaces: [{namespace}]}}}}"
        );
        Source { name: format!("{name}.yaml"), text }
    };
    let sources: Vec<Source> = (0..1000).map(policy).collect();
    PolicySet::from_sources(&sources).expect("the policies are valid")
}
