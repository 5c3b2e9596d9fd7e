//! The rules whose level cannot be lowered.

/// The rules that cannot be lowered below the mode of the policy: without one of them a Pod leaves the sandbox.
pub const FLOOR_RULES: [&str; 10] = [
    "gvisor-annotations",
    "host-namespaces",
    "mirror-pod",
    "pod-schema",
    "privileged",
    "privilege-escalation",
    "runtime-class",
    "volume-devices",
    "volume-types",
    "windows",
];
