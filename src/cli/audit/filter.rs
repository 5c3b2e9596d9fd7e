//! The filter of verdicts.

use clap::Args;
use jiff::{Span, Timestamp, civil, tz::TimeZone};

use sandgate_engine::review::{AuditRecord, Outcome};

#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    /// From this time on: 2026-11-24T12:00:00Z, 2026-11-24 (UTC), or how long ago: 90m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to this time, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only these verdicts; may be given several times, like every filter
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = Outcome::ALL.map(Outcome::as_str))]
    verdict: Vec<String>,
    /// Only what violates this rule; "*" matches any text, here and in the filters below
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Only of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Only of this cluster, as --cluster-name of the server has it
    #[arg(long, value_name = "CLUSTER")]
    cluster: Vec<String>,
    /// Only of this user
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// Only with this image, such as "*busybox*"
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
}

impl FilterArgs {
    pub(super) fn wants(&self, record: &AuditRecord) -> bool {
        let Self { since, until, verdict: verdicts, rule, namespace, cluster, user, image } = self;
        let rules = record.rules();
        (verdicts.is_empty() || verdicts.iter().any(|verdict| *verdict == record.verdict))
            && is_any(namespace, &record.namespace)
            && is_any(cluster, &record.cluster)
            && is_any(user, &record.user)
            && (rule.is_empty() || rules.iter().any(|id| is_any(rule, id)))
            && (image.is_empty() || record.images.iter().any(|name| is_any(image, name)))
            && is_between(*since, *until, &record.time)
    }

    /// Returns each filter that was given, with its values.
    pub(super) fn described(&self) -> Vec<(&'static str, String)> {
        let Self { since, until, verdict, rule, namespace, cluster, user, image } = self;
        let time = |time: &Option<Timestamp>| time.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filters = [
            ("since", time(since)),
            ("until", time(until)),
            ("verdict", verdict.clone()),
            ("rule", rule.clone()),
            ("namespace", namespace.clone()),
            ("cluster", cluster.clone()),
            ("user", user.clone()),
            ("image", image.clone()),
        ];
        let given = filters.into_iter().filter(|(_, values)| !values.is_empty());
        given.map(|(name, values)| (name, values.join(" or "))).collect()
    }
}

/// A record without a time that can be read belongs to no span of time.
fn is_between(since: Option<Timestamp>, until: Option<Timestamp>, time: &str) -> bool {
    if since.is_none() && until.is_none() {
        return true;
    }
    let is_in = |time| since.is_none_or(|since| since <= time) && until.is_none_or(|until| time <= until);
    time.parse().is_ok_and(is_in)
}

fn is_any(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

/// Returns whether `text` matches `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, behind)) = text.split_once(part) else { return false };
        text = behind;
    }
    text.ends_with(end)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    moment_at(Timestamp::now(), text).ok_or_else(|| {
        "neither a time (2026-11-24T12:00:00Z), a day (2026-11-24) nor how long ago (2h)".into()
    })
}

fn moment_at(now: Timestamp, text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        return Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let ago: Span = text.parse().ok()?;
    Some(now.to_zoned(TimeZone::UTC).checked_sub(ago.abs()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "x"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "abc"),
            ("*b*", "abc"),
            ("a**c", "ac"),
            ("*a*a", "aa"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", "ab"), ("a*", "ba"), ("*c", "cb"), ("ab*ba", "aba"), ("*x*", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_a_day_or_some_time_ago() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("2026-11-24T13:00:00+01:00", "2026-11-24T12:00:00Z"),
            ("2026-11-23", "2026-11-23T00:00:00Z"),
            ("2h", "2026-11-24T10:00:00Z"),
            ("90m", "2026-11-24T10:30:00Z"),
            ("7d", "2026-11-17T12:00:00Z"),
        ] {
            assert_eq!(moment_at(now, text), Some(moment.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "12", "99999999999999d", "2026-13-01"] {
            assert_eq!(moment_at(now, text), None, "{text}");
        }
    }
}
