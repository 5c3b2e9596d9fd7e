//! The published frameworks whose controls the rules carry out, as references of rules name them.

use super::Rule;

/// A published set of controls for containers or for Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framework {
    /// The levels Baseline and Restricted of Kubernetes' Pod Security Standards.
    PodSecurityStandards,
    /// Chapter 5 of the CIS Kubernetes Benchmark, version 1.12.
    Cis,
    /// The Kubernetes Hardening Guide of NSA and CISA, version 1.2 of August 2022.
    NsaCisa,
    /// NIST Special Publication 800-190, chapter 4.
    Nist800190,
    /// Kubescape's library of controls.
    Kubescape,
}

impl Framework {
    /// Every framework, in the order in which references name them.
    pub const ALL: [Self; 5] =
        [Self::PodSecurityStandards, Self::Cis, Self::NsaCisa, Self::Nist800190, Self::Kubescape];

    /// Returns the name with its version, as references begin.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodSecurityStandards => "Pod Security Standards",
            Self::Cis => "CIS Kubernetes Benchmark 1.12",
            Self::NsaCisa => "NSA/CISA Kubernetes Hardening Guide 1.2",
            Self::Nist800190 => "NIST SP 800-190",
            Self::Kubescape => "Kubescape",
        }
    }

    /// Returns the control of this framework that a reference names, such as `5.2.2: Minimize the admission of
    /// privileged containers`.
    #[must_use]
    pub fn control(self, reference: &str) -> Option<&str> {
        reference.strip_prefix(self.as_str())?.strip_prefix(", ")
    }
}

impl Rule {
    /// Returns the controls of a framework that this rule carries out, wholly or in part.
    pub fn controls(&self, framework: Framework) -> impl Iterator<Item = &'static str> {
        self.references.iter().copied().filter_map(move |reference| framework.control(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn a_reference_names_a_framework_and_one_of_its_controls() {
        let privileged = rules::by_id("privileged").expect("a rule");
        assert_eq!(
            privileged.controls(Framework::Cis).collect::<Vec<_>>(),
            ["5.2.2: Minimize the admission of privileged containers"]
        );
        assert_eq!(
            privileged.controls(Framework::Kubescape).collect::<Vec<_>>(),
            ["C-0057: Privileged container"]
        );
        assert_eq!(Framework::Cis.control("https://example.com"), None);
    }

    #[test]
    fn a_control_has_one_title() {
        let mut titles = std::collections::BTreeMap::new();
        for (framework, rule) in
            Framework::ALL.iter().flat_map(|of| rules::ALL.iter().map(move |rule| (of, rule)))
        {
            for (number, title) in rule.controls(*framework).filter_map(|control| control.split_once(": ")) {
                if *framework != Framework::PodSecurityStandards {
                    assert_eq!(
                        *titles.entry((framework.as_str(), number)).or_insert(title),
                        title,
                        "{}",
                        rule.id
                    );
                }
            }
        }
    }
}
