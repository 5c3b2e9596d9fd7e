//! `sandgate review`: the webhook's answers without the webhook.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read, Write},
    rc::Rc,
};

use clap::{Args, ValueEnum};
use serde_json::{Deserializer, StreamDeserializer, de::IoRead, value::RawValue};

use super::{
    CliError, PolicyArgs, Status,
    input::{reason, warn_of_terminal},
    unwritable,
};
use sandgate_engine::review::{Endpoint, Outcome, answer};

/// Answer admission reviews from standard input, as the webhook would
///
/// Reads AdmissionReviews from standard input, one after the other, and prints each answer as one line as soon as its
/// review is complete. Stops at the first value that is not an AdmissionReview.
#[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 everything was allowed, 1 something was denied, 2 not everything could be \
                        answered."
)]
pub(super) struct ReviewArgs {
    /// Endpoint to emulate
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

pub(super) fn run(args: &ReviewArgs) -> Result<Status, CliError> {
    if args.policy.is_stdin() {
        return Err(CliError::new("standard input is for the AdmissionReviews; put the policy into a file"));
    }
    let policies = args.policy.load()?;
    warn_of_terminal("AdmissionReviews");
    let mut reviews = Reviews::new(io::stdin().lock());
    let mut out = io::stdout().lock();
    let mut status = Status::Fine;
    for review in reviews.by_ref() {
        let Review { text, place } = review?;
        let answer = answer(&policies, args.endpoint.into(), None, text.get().as_bytes())
            .map_err(|error| place.error(error))?;
        if answer.record.outcome == Outcome::Denied {
            status = Status::Violations;
        }
        match write_line(&mut out, answer.body) {
            Ok(()) => {}
            // The reader of the answers wants no more of them.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(status),
            Err(error) => return Err(unwritable(&error)),
        }
    }
    if reviews.number == 0 {
        return Err(CliError::new("standard input is empty; send it an AdmissionReview as JSON"));
    }
    Ok(status)
}

fn write_line(out: &mut impl Write, mut line: Vec<u8>) -> io::Result<()> {
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// The largest review that is read, in bytes; the API server sends 3 MB at most.
const MAX_REVIEW_BYTES: usize = 64 << 20;

/// The AdmissionReviews of a stream, one at a time, each as soon as its last brace was read.
struct Reviews<R: Read> {
    values: StreamDeserializer<'static, IoRead<Bounded<R>>, Box<RawValue>>,
    /// The number of bytes that may still be read for the current review.
    bytes_left: Rc<Cell<usize>>,
    /// The number of reviews so far.
    number: u64,
}

/// A review, and its place in the stream.
struct Review {
    text: Box<RawValue>,
    place: Place,
}

/// The number of a review, from 1, and the byte of the stream that it begins at, from 0.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    begins: usize,
}

impl Place {
    fn error(self, problem: impl fmt::Display) -> CliError {
        let Self { number, begins } = self;
        CliError::new(format_args!("review {number}, from byte {begins} of standard input: {problem}"))
    }
}

impl<R: Read> Reviews<R> {
    fn new(input: R) -> Self {
        let bytes_left = Rc::new(Cell::new(MAX_REVIEW_BYTES));
        let bounded = Bounded { input, bytes_left: bytes_left.clone() };
        Self { values: Deserializer::from_reader(bounded).into_iter(), bytes_left, number: 0 }
    }
}

impl<R: Read> Iterator for Reviews<R> {
    type Item = Result<Review, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.bytes_left.set(MAX_REVIEW_BYTES);
        let before = self.values.byte_offset();
        let read = self.values.next()?;
        self.number += 1;
        let number = self.number;
        Some(match read {
            Ok(text) if text.get().starts_with('{') => {
                let begins = self.values.byte_offset() - text.get().len();
                Ok(Review { text, place: Place { number, begins } })
            }
            Ok(text) => {
                let begins = self.values.byte_offset() - text.get().len();
                let first = text.get().chars().next().unwrap_or_default();
                let problem = format_args!("not an AdmissionReview: begins with '{first}', not with '{{'");
                Err(Place { number, begins }.error(problem))
            }
            Err(error) => Err(unreadable(error, Place { number, begins: before })),
        })
    }
}

fn unreadable(error: serde_json::Error, place: Place) -> CliError {
    if error.is_eof() {
        return place.error("not an AdmissionReview: the input ends inside it");
    }
    if !error.is_io() {
        return place.error(format_args!("not an AdmissionReview: {error}"));
    }
    let error = io::Error::from(error);
    if error.kind() == io::ErrorKind::FileTooLarge {
        let limit = MAX_REVIEW_BYTES >> 20;
        return place.error(format_args!("larger than {limit} MiB, which no API server sends"));
    }
    CliError::new(format_args!("standard input cannot be read: {}", reason(&error)))
}

/// A reader that fails with `FileTooLarge` when no bytes are left.
struct Bounded<R> {
    input: R,
    bytes_left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes_left.get();
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let length = buffer.len().min(left);
        let read = self.input.read(&mut buffer[..length])?;
        self.bytes_left.set(left - read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(stream: &str) -> Vec<String> {
        let reviews = Reviews::new(stream.as_bytes());
        let text = |review: Result<Review, CliError>| match review {
            Ok(review) => review.text.get().to_string(),
            Err(CliError(reasons)) => format!("! {}", reasons[0]),
        };
        reviews.map(text).collect()
    }

    #[test]
    fn objects_are_cut_at_their_last_brace() {
        let stream = " {\"a\":\"}\\\"\"}{\"b\":[{}]}\n\n\t{}\n";
        assert_eq!(cut(stream), ["{\"a\":\"}\\\"\"}", "{\"b\":[{}]}", "{}"]);
    }

    #[test]
    fn a_value_that_is_no_object_is_named_by_its_place() {
        assert_eq!(
            cut("{} [1]")[1],
            "! review 2, from byte 3 of standard input: not an AdmissionReview: begins with '[', not with '{'"
        );
        assert_eq!(
            cut("{\"a\":")[0],
            "! review 1, from byte 0 of standard input: not an AdmissionReview: the input ends inside it"
        );
    }

    #[test]
    fn a_review_without_end_is_not_kept() {
        let endless = io::repeat(b'1');
        let stream = io::Cursor::new(b"{\"a\":\"".to_vec()).chain(endless);
        let Err(CliError(reasons)) = Reviews::new(stream).next().unwrap() else { panic!("it has an end") };
        assert!(reasons[0].ends_with("larger than 64 MiB, which no API server sends"), "{reasons:?}");
    }
}
