//! The trace context of W3C: <https://www.w3.org/TR/trace-context/>.

use axum::http::HeaderMap;

/// The trace that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the trace; never zero.
    pub trace: u128,
    /// The id of the span that the request was sent in; never zero.
    pub parent: u64,
    /// Whether the sender records its spans of this trace.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Returns the context of the request; `None` if it has none, or an invalid one.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all("traceparent").iter();
        match (all.next(), all.next()) {
            (Some(header), None) => Self::parse(header.to_str().ok()?),
            _ => None,
        }
    }

    /// Reads the value of a header `traceparent`; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const SAMPLED: u64 = 1;
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, parent, flags) =
            (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        // A newer version may have more fields, and has these in the same form.
        let is_known = version == 0 && parts.next().is_none() || (1..0xff).contains(&version);
        let parent = u64::try_from(parent).ok()?;
        let flags = u64::try_from(flags).ok()?;
        (is_known && trace != 0 && parent != 0).then_some(Self {
            trace,
            parent,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// Exactly so many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_hex)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_context_is_read() {
        let read = |text: &str| TraceContext::parse(text).map(|context| context.is_sampled);
        for (text, is_sampled) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), false),
            (format!("00-{TRACE}-00f067aa0ba902b7-02"), false),
            (format!("00-{TRACE}-00f067aa0ba902b7-ff"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-more"), true),
        ] {
            assert_eq!(read(&text), Some(is_sampled), "{text}");
        }
        let context = TraceContext::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(
            format!("{:032x} {:016x}", context.trace, context.parent),
            format!("{TRACE} 00f067aa0ba902b7")
        );
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for text in [
            String::new(),
            "hello".into(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!("00-{TRACE}0-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn two_trace_contexts_are_none() {
        let mut headers = HeaderMap::new();
        let value = || format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap();
        headers.append("traceparent", value());
        assert!(TraceContext::read(&headers).is_some());
        headers.append("traceparent", value());
        assert_eq!(TraceContext::read(&headers), None);
    }
}
