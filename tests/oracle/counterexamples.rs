//! Pods that once got a wrong verdict, each in `tests/data`, named after the rule that decides.

use std::{fs, path::Path};

use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::Value as Json;

use crate::{apiserver::create, exhaustive::is_sound};

/// The first line of each file says what must happen: `# denied`, `# admitted`, or `# denied when final` for what
/// `/mutate` repairs and `/validate` must deny.
#[test]
fn counterexamples_stay_decided() {
    let policies = PolicySet::builtin();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for file in fs::read_dir(folder).into_iter().flatten() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let pod: Json = serde_saphyr::from_str(&text).unwrap();
        let is_admitted = text.starts_with("# admitted");
        assert!(is_admitted || text.starts_with("# denied"), "{}: no verdict", path.display());
        let is_final = text.starts_with("# denied when final");
        let endpoint = if is_final { Endpoint::Validate } else { Endpoint::Mutate };
        let reply = create(&policies, endpoint, &pod);
        assert_eq!(reply.allowed, is_admitted, "{}: {:?}", path.display(), reply.causes);
        let rule = path.file_stem().unwrap().to_string_lossy().to_string();
        assert!(
            is_admitted || reply.causes.iter().any(|(id, _)| rule.starts_with(id)),
            "{rule}: {:?}",
            reply.causes
        );
        assert!(!is_admitted || is_sound(&reply.pod).is_ok(), "{rule}: {:?}", is_sound(&reply.pod));
    }
}
