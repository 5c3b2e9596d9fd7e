//! What must hold for any bytes that the program itself reads: CAs and bundles, lines of the audit trail, trace contexts.

use sandgate::{
    audit::{
        TrailLine,
        chain::{ChainId, Link, Seal},
    },
    certs::ca,
    telemetry::TraceContext,
};

/// Any bytes as the Secret's list of CAs and as a `caBundle`: what is read is written back the same, and an error is one line
/// that quotes nothing, for the text has private keys.
pub(crate) fn certificates(data: &[u8]) {
    match ca::read(data) {
        Ok(authorities) => {
            assert!(!authorities.is_empty());
            assert_eq!(ca::read(&ca::write(&authorities)).as_ref(), Ok(&authorities));
        }
        Err(problem) => assert!(problem.len() < 300 && !problem.contains('\n'), "{problem:?}"),
    }
    let bundle = ca::read_bundle(data);
    assert_eq!(ca::read_bundle(ca::write_bundle(&bundle).as_bytes()), bundle);
}

/// Any bytes as lines of the trail: what is read is the end of a chain, and a seal that was put on holds until a byte is
/// changed.
pub(crate) fn audit(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(seal) = Seal::read(line) {
            assert_eq!((seal.link().seq, seal.link().hash), (seal.seq, seal.hash));
        }
        // A line that is read is a verdict or a notice; any other is an error, and no panic.
        drop(TrailLine::read(line));
        sealed_line_holds(line);
    }
}

fn sealed_line_holds(line: &[u8]) {
    let mut record = line.to_vec();
    record.extend(b"}\n");
    let mut chain = Link::begin(ChainId::new(7));
    let mut sealed = Vec::new();
    chain.seal(&record, &mut sealed);
    let sealed = sealed.strip_suffix(b"\n").unwrap_or(&sealed);
    let found = Seal::read(sealed).expect("a line that was sealed has a seal");
    assert!(found.holds && found.is_first() && found.link() == chain);
    if !line.is_empty() {
        let mut changed = sealed.to_vec();
        changed[line.len() / 2] ^= 1;
        assert!(!Seal::read(&changed).is_some_and(|seal| seal.holds), "a changed line still holds");
    }
}

/// Any text as a `traceparent`: what is read is what stands in it.
pub(crate) fn trace(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(context) = TraceContext::parse(text) else { return };
    assert!(context.trace != 0 && context.parent != 0);
    let (trace, parent) = (format!("{:032x}", context.trace), format!("{:016x}", context.parent));
    assert_eq!((&text[3..35], &text[36..52]), (trace.as_str(), parent.as_str()));
}
