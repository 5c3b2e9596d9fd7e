//! `sandgate review`: the webhook's answers without the webhook.

use std::io::{self, BufRead, Write};

use clap::{Args, ValueEnum};

use super::{
    Failure, PolicyArgs, Status,
    input::{reason, warn_of_terminal},
    unwritable,
};
use sandgate_engine::review::{Endpoint, Outcome, answer};

/// Answer admission reviews from standard input, as the webhook would
///
/// Reads AdmissionReviews from standard input, one after the other, and prints each answer as one line as soon as its
/// review is complete. Stops at the first thing that is no AdmissionReview.
#[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 everything was allowed, 1 something was denied, 2 not everything could be \
                        answered."
)]
pub(super) struct ReviewArgs {
    /// Which webhook to be
    #[arg(long, value_enum, default_value_t = EndpointArg::Mutate, value_name = "ENDPOINT")]
    endpoint: EndpointArg,

    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EndpointArg {
    /// Fill, then check
    Mutate,
    /// Only check, as for the final object
    Validate,
}

impl From<EndpointArg> for Endpoint {
    fn from(endpoint: EndpointArg) -> Self {
        match endpoint {
            EndpointArg::Mutate => Self::Mutate,
            EndpointArg::Validate => Self::Validate,
        }
    }
}

pub(super) fn run(args: &ReviewArgs) -> Result<Status, Failure> {
    if args.policy.is_stdin() {
        return Err(Failure::new("standard input is for the AdmissionReviews; put the policy into a file"));
    }
    let policies = args.policy.load()?;
    warn_of_terminal("AdmissionReviews");
    let mut reviews = Reviews::new(io::stdin().lock());
    let mut out = io::stdout().lock();
    let mut status = Status::Fine;
    while reviews.advance()? {
        let answer = answer(&policies, args.endpoint.into(), &reviews.current)
            .map_err(|error| reviews.failure(error))?;
        if answer.record.outcome == Outcome::Denied {
            status = Status::Violations;
        }
        match write_line(&mut out, answer.body) {
            Ok(()) => {}
            // Whoever reads the answers wants no more of them.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(status),
            Err(error) => return Err(unwritable(&error)),
        }
    }
    if reviews.number == 0 {
        return Err(Failure::new("standard input is empty; send it an AdmissionReview as JSON"));
    }
    Ok(status)
}

fn write_line(out: &mut impl Write, mut line: Vec<u8>) -> io::Result<()> {
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Cuts a stream into JSON objects, one at a time.
struct Reviews<R> {
    input: R,
    /// The review that is being read, or was read last.
    current: Vec<u8>,
    /// Which one it is, from 1.
    number: u64,
    /// Where in the stream it begins.
    begins: u64,
    /// How much of the stream has been read.
    offset: u64,
}

impl<R: BufRead> Reviews<R> {
    /// The API server sends 3 MB at the most.
    const LARGEST: usize = 64 << 20;

    fn new(input: R) -> Self {
        Self { input, current: Vec::new(), number: 0, begins: 0, offset: 0 }
    }

    /// Reads the next object, up to its last brace and not a byte further; `false` at the end of the stream.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.current.clear();
        let Some(first) = self.skip_space()? else { return Ok(false) };
        self.number += 1;
        self.begins = self.offset;
        if first != b'{' {
            let found = char::from(first).escape_default();
            return Err(
                self.failure(format_args!("not an AdmissionReview: begins with '{found}', not with '{{'"))
            );
        }
        let mut brackets = Brackets::default();
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(unreadable(&error)),
            };
            if chunk.is_empty() {
                let length = self.current.len();
                return Err(self.failure(format_args!(
                    "not an AdmissionReview: the input ends inside it, after {length} bytes"
                )));
            }
            let end = chunk.iter().position(|byte| brackets.close_with(*byte));
            let length = end.map_or(chunk.len(), |last| last + 1);
            self.current.extend_from_slice(&chunk[..length]);
            self.consume(length);
            if self.current.len() > Self::LARGEST {
                let limit = Self::LARGEST >> 20;
                return Err(self.failure(format_args!("larger than {limit} MiB, which no API server sends")));
            }
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// The first byte that is no white space, left where it is.
    fn skip_space(&mut self) -> Result<Option<u8>, Failure> {
        loop {
            let chunk = self.input.fill_buf().map_err(|error| unreadable(&error))?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let space = chunk.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = chunk.get(space).copied();
            self.consume(space);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.offset += length as u64;
    }

    fn failure(&self, problem: impl std::fmt::Display) -> Failure {
        Failure::new(format_args!(
            "review {}, from byte {} of standard input: {problem}",
            self.number, self.begins
        ))
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format_args!("standard input cannot be read: {}", reason(error)))
}

/// Follows the brackets of JSON, byte by byte, to the one that closes the first.
#[derive(Debug, Default)]
struct Brackets {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Whether `byte` closes the outermost bracket.
    fn close_with(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(stream: &str, capacity: usize) -> Vec<String> {
        let mut reviews = Reviews::new(io::BufReader::with_capacity(capacity, stream.as_bytes()));
        let mut all = Vec::new();
        loop {
            match reviews.advance() {
                Ok(true) => all.push(String::from_utf8(reviews.current.clone()).unwrap()),
                Ok(false) => return all,
                Err(Failure(reasons)) => {
                    all.push(format!("! {}", reasons[0]));
                    return all;
                }
            }
        }
    }

    #[test]
    fn objects_are_cut_wherever_the_chunks_end() {
        let stream = " {\"a\":\"}\\\"\"}{\"b\":[{}]}\n\n\t{}\n";
        for capacity in 1..stream.len() {
            assert_eq!(cut(stream, capacity), ["{\"a\":\"}\\\"\"}", "{\"b\":[{}]}", "{}"]);
        }
    }

    #[test]
    fn what_is_no_object_is_named_by_its_place() {
        assert_eq!(
            cut("{} x", 8)[1],
            "! review 2, from byte 3 of standard input: not an AdmissionReview: begins with 'x', not with '{'"
        );
        assert_eq!(
            cut("{\"a\":", 8)[0],
            "! review 1, from byte 0 of standard input: not an AdmissionReview: the input ends inside it, after 5 bytes"
        );
    }
}
