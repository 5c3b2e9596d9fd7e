//! Which Events there are and what is to be written of them. The same denial again is no new Event but counts in the
//! one there is. No clock, no cluster.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::denial::DeniedPod;
use sandgate_engine::hash::short_hash;

/// As many series are kept.
const MOST: usize = 1024;

/// As many of them may be in one namespace: a Pod names its owner itself, and invented owners must not silence others.
const MOST_OF_NAMESPACE: usize = 128;

/// As many of them may be about one object: a sender that is denied for ever new reasons must not hide the other Events
/// of the object.
const MOST_OF_ONE: usize = 10;

/// A series ends when nothing was added to it for so long, as in client-go.
const END: Duration = Duration::from_mins(6);

/// How long counts of one series are gathered until they are written.
const GATHER: Duration = Duration::from_secs(5);

/// How long nothing is tried again after a failure.
const REST: Duration = Duration::from_mins(1);

/// The time: a monotonic instant, and the time of the day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) time: Timestamp,
}

/// Something to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// The series that it is of.
    pub(super) key: DeniedPod,
    /// The name of the Event.
    pub(super) name: String,
    /// The Event, or what changes in it.
    pub(super) object: Value,
    /// Whether there is none yet.
    pub(super) is_new: bool,
}

/// Every series that has not ended.
#[derive(Debug)]
pub(super) struct Aggregator {
    instance: String,
    series: HashMap<DeniedPod, Series>,
}

/// One denial, again and again.
#[derive(Debug)]
struct Series {
    /// Whether the API server has the Event.
    is_stored: bool,
    first: Now,
    last: Now,
    count: u64,
    /// How many of them were not written yet.
    unwritten: u64,
    /// Before it nothing of this series is written.
    due: Instant,
}

impl Series {
    fn new(now: Now) -> Self {
        Self { is_stored: false, first: now, last: now, count: 0, unwritten: 0, due: now.at }
    }

    fn has_ended(&self, now: Instant) -> bool {
        now - self.last.at >= END
    }
}

impl Aggregator {
    /// Nothing yet, of the replica `instance`.
    pub(super) fn new(instance: String) -> Self {
        Self { instance, series: HashMap::new() }
    }

    /// Counts a denial; returns false if the book is full.
    #[must_use]
    pub(super) fn take(&mut self, denied: DeniedPod, now: Now) -> bool {
        let is_known = self.series.get(&denied).is_some_and(|series| !series.has_ended(now.at));
        if !is_known && !self.free_place(&denied, now.at) {
            return false;
        }
        let series = self.series.entry(denied).or_insert_with(|| Series::new(now));
        series.last = now;
        series.count += 1;
        series.unwritten += 1;
        true
    }

    fn free_place(&mut self, denied: &DeniedPod, now: Instant) -> bool {
        self.series.retain(|_, series| !series.has_ended(now));
        let DeniedPod { regarding, .. } = denied;
        let in_namespace = self.series.keys().filter(|key| key.regarding.namespace == regarding.namespace);
        let of_one = in_namespace.clone().filter(|key| key.regarding == *regarding).count();
        self.series.len() < MOST && in_namespace.count() < MOST_OF_NAMESPACE && of_one < MOST_OF_ONE
    }

    /// When something is to be written.
    pub(super) fn due(&self) -> Option<Instant> {
        self.series.values().filter(|series| series.unwritten > 0).map(|series| series.due).min()
    }

    /// What is to be written first of all that is due.
    pub(super) fn next(&self, now: Instant) -> Option<Write> {
        let waiting = self.series.iter().filter(|(_, series)| series.unwritten > 0 && series.due <= now);
        let (key, series) = waiting.min_by_key(|(_, series)| series.due)?;
        let name = self.name(key, series);
        let object = if series.is_stored { count(series) } else { self.event(&name, key, series) };
        Some(Write { key: key.clone(), name, object, is_new: !series.is_stored })
    }

    /// Notes whether it was written.
    pub(super) fn written(&mut self, key: &DeniedPod, is_stored: bool, now: Instant) {
        let Some(series) = self.series.get_mut(key) else { return };
        series.due = now + if is_stored { GATHER } else { REST };
        if is_stored {
            series.is_stored = true;
            series.unwritten = 0;
        }
    }

    /// Notes that the Event is gone: what was not written of it becomes a new one.
    pub(super) fn lost(&mut self, key: &DeniedPod, now: Instant) {
        let Some(series) = self.series.get_mut(key) else { return };
        series.is_stored = false;
        series.first = series.last;
        series.count = series.unwritten;
        series.due = now;
    }

    /// The name is unique among replicas and among earlier series.
    fn name(&self, key: &DeniedPod, series: &Series) -> String {
        let content = format!("{key:?}\n{}\n{}", self.instance, series.first.time.as_nanosecond());
        format!("sandgate.{}", short_hash(content.as_bytes()))
    }

    fn event(&self, name: &str, DeniedPod { regarding, note }: &DeniedPod, series: &Series) -> Value {
        let mut event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": regarding.namespace},
            "eventTime": time(series.first),
            "reportingController": "sandgate.dev/sandgate",
            "reportingInstance": self.instance,
            "action": "CreatePod",
            "reason": "PodDenied",
            "type": "Warning",
            "regarding": regarding,
            "note": note,
        });
        if series.count > 1 {
            event["series"] = count(series)["series"].take();
        }
        event
    }
}

fn count(series: &Series) -> Value {
    json!({"series": {"count": series.count, "lastObservedTime": time(series.last)}})
}

/// A `meta/v1` `MicroTime`, which has exactly six digits of a fraction.
fn time(now: Now) -> String {
    format!("{:.6}", now.time)
}

#[cfg(test)]
mod tests {
    use super::{super::denial::Regarding, *};

    const SECOND: Duration = Duration::from_secs(1);

    fn denied(name: &str, note: &str) -> DeniedPod {
        denied_in("workflows", name, note)
    }

    fn denied_in(namespace: &str, name: &str, note: &str) -> DeniedPod {
        let [api_version, kind, namespace] = ["batch/v1", "Job", namespace].map(str::to_owned);
        let regarding = Regarding { api_version, kind, namespace, name: name.into(), uid: "1".into() };
        DeniedPod { regarding, note: note.into() }
    }

    /// A book, and a clock that only this moves.
    struct Trial {
        book: Aggregator,
        now: Now,
    }

    impl Trial {
        fn new() -> Self {
            let now = Now { at: Instant::now(), time: "2026-11-25T00:00:00Z".parse().unwrap() };
            Self { book: Aggregator::new("sandgate-0".into()), now }
        }

        fn pass(&mut self, time: Duration) {
            self.now.at += time;
            self.now.time += time;
        }

        fn deny(&mut self, note: &str) -> bool {
            self.book.take(denied("j", note), self.now)
        }

        /// Writes what is due.
        fn write(&mut self, works: bool) -> Option<Write> {
            let write = self.book.next(self.now.at)?;
            self.book.written(&write.key, works, self.now.at);
            Some(write)
        }
    }

    #[test]
    fn the_first_denial_is_an_event_at_once() {
        let mut trial = Trial::new();
        assert!(trial.deny("why"));
        let Write { name, object, is_new, .. } = trial.write(true).unwrap();
        assert!(is_new);
        assert_eq!(
            object,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {"name": name, "namespace": "workflows"},
                "eventTime": "2026-11-25T00:00:00.000000Z",
                "reportingController": "sandgate.dev/sandgate", "reportingInstance": "sandgate-0",
                "action": "CreatePod", "reason": "PodDenied", "type": "Warning",
                "regarding": {"apiVersion": "batch/v1", "kind": "Job", "namespace": "workflows", "name": "j", "uid": "1"},
                "note": "why",
            })
        );
        assert!(trial.write(true).is_none(), "nothing is left to write");
        assert_eq!(trial.book.due(), None);
    }

    #[test]
    fn the_same_again_is_counted_and_written_after_a_while() {
        let mut trial = Trial::new();
        trial.deny("why");
        let first = trial.write(true).unwrap();
        for _ in 0..29 {
            trial.pass(SECOND / 10);
            assert!(trial.deny("why"));
        }
        assert!(trial.write(true).is_none(), "counts are gathered");
        trial.pass(GATHER);
        let second = trial.write(true).unwrap();
        assert_eq!((second.name, second.is_new), (first.name, false));
        let series = json!({"count": 30, "lastObservedTime": "2026-11-25T00:00:02.900000Z"});
        assert_eq!(second.object, json!({"series": series}));
        assert!(trial.write(true).is_none());
    }

    #[test]
    fn another_reason_is_another_event() {
        let mut trial = Trial::new();
        trial.deny("a");
        trial.deny("b");
        let names = [trial.write(true).unwrap().name, trial.write(true).unwrap().name];
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn a_failure_is_tried_again_after_a_minute_with_all_that_was_counted() {
        let mut trial = Trial::new();
        trial.deny("why");
        trial.write(false).unwrap();
        trial.pass(REST / 2);
        trial.deny("why");
        assert!(trial.write(false).is_none(), "no storm");
        trial.pass(REST / 2);
        let write = trial.write(true).unwrap();
        assert!(write.is_new);
        assert_eq!(write.object["series"]["count"], 2);
    }

    #[test]
    fn an_event_that_is_gone_is_followed_by_one_with_what_it_did_not_say() {
        let mut trial = Trial::new();
        trial.deny("why");
        let old = trial.write(true).unwrap();
        trial.pass(GATHER);
        trial.deny("why");
        let write = trial.book.next(trial.now.at).unwrap();
        trial.book.lost(&write.key, trial.now.at);
        let new = trial.write(true).unwrap();
        assert!(new.is_new && new.name != old.name, "{new:?}");
        assert_eq!(new.object["series"], Value::Null, "one denial is no series");
    }

    #[test]
    fn a_series_ends() {
        let mut trial = Trial::new();
        trial.deny("why");
        let old = trial.write(true).unwrap();
        trial.pass(END);
        trial.deny("why");
        let new = trial.write(true).unwrap();
        assert!(new.is_new && new.name != old.name, "{new:?}");
    }

    #[test]
    fn one_object_has_ten_events_at_a_time_and_others_have_theirs() {
        let mut trial = Trial::new();
        let taken = (0..100).filter(|i| trial.deny(&format!("reason {i}"))).count();
        assert_eq!(taken, MOST_OF_ONE);
        assert!(trial.deny("reason 3"), "what there is goes on");
        assert!(trial.book.take(denied("another", "why"), trial.now));
        trial.pass(END);
        assert!(trial.deny("reason 99"), "when they end there is a place again");
    }

    #[test]
    fn invented_owners_silence_no_other_namespace() {
        let mut trial = Trial::new();
        let now = trial.now;
        let taken = (0..2 * MOST).filter(|i| trial.book.take(denied(&format!("j{i}"), "why"), now)).count();
        assert_eq!(taken, MOST_OF_NAMESPACE);
        assert!(trial.book.take(denied_in("elsewhere", "j", "why"), now));
    }

    #[test]
    fn memory_is_bounded() {
        let mut trial = Trial::new();
        let now = trial.now;
        let one_each = |i: usize| denied_in(&format!("namespace-{i}"), "j", "why");
        let taken = (0..2 * MOST).filter(|i| trial.book.take(one_each(*i), now)).count();
        assert_eq!((taken, trial.book.series.len()), (MOST, MOST));
    }
}
