//! The published frameworks whose controls the rules carry out, as references of rules name them.
//!
//! Numbers and titles are those of one edition of each, which [`Framework::edition`] names. A new edition is a new name, so
//! that a report of last year still names the controls that it meant.

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

    /// Returns the edition that numbers and titles are of, as a sentence.
    #[must_use]
    pub fn edition(self) -> &'static str {
        match self {
            Self::PodSecurityStandards => {
                "The page of Kubernetes 1.36, whose level Baseline has Host Probes / Lifecycle Hooks since 1.34."
            }
            Self::Cis => {
                "Version 1.12, chapter 5. Editions with a 5.2.13, such as 1.23, have one control more behind 5.2.8, so that \
                 their numbers from there on are one higher."
            }
            Self::NsaCisa => "Version 1.2 of August 2022. It numbers nothing; the controls are its headings.",
            Self::Nist800190 => {
                "The publication of September 2017, chapter 4 (countermeasures). Chapter 3 has the risks under the same last \
                 numbers."
            }
            Self::Kubescape => {
                "The control library of Kubescape, whose ids do not change between its versions."
            }
        }
    }

    /// Returns the name as a cell of a table has it, without the version.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::PodSecurityStandards => "PSS",
            Self::Cis => "CIS",
            Self::NsaCisa => "NSA/CISA",
            Self::Nist800190 => "NIST 800-190",
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

    /// Returns all controls in short, such as `CIS 5.2.2`: by their number if they have one, else by their title.
    #[must_use]
    pub fn control_labels(&self) -> Vec<String> {
        let label = |framework: Framework, control: &str| match control.split_once(": ") {
            Some((number, _)) if number.contains(|character: char| character.is_ascii_digit()) => {
                format!("{} {number}", framework.short_name())
            }
            Some(_) => format!("{} {control}", framework.short_name()),
            None => format!("{}: {control}", framework.short_name()),
        };
        let of = |framework| self.controls(framework).map(move |control| label(framework, control));
        Framework::ALL.into_iter().flat_map(of).collect()
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
    fn a_control_in_short_is_a_number_or_a_title() {
        assert_eq!(
            rules::by_id("privileged").expect("a rule").control_labels(),
            [
                "PSS Baseline: Privileged Containers",
                "CIS 5.2.2",
                "NSA/CISA: Pod security enforcement",
                "NIST 800-190 4.4.3",
                "Kubescape C-0057"
            ]
        );
        assert_eq!(rules::by_id("env").expect("a rule").control_labels(), Vec::<String>::new());
    }

    #[test]
    fn every_control_of_cis_5_2_about_pods_has_a_rule() {
        let labels: Vec<String> = rules::ALL.iter().flat_map(|rule| rule.control_labels()).collect();
        for number in 2..=12 {
            assert!(labels.contains(&format!("CIS 5.2.{number}")), "{number}");
        }
    }

    #[test]
    fn every_control_of_the_pod_security_standards_has_a_rule() {
        const BASELINE: [&str; 12] = [
            "HostProcess",
            "Host Namespaces",
            "Privileged Containers",
            "Capabilities",
            "HostPath Volumes",
            "Host Ports",
            "Host Probes / Lifecycle Hooks",
            "AppArmor",
            "SELinux",
            "/proc Mount Type",
            "Seccomp",
            "Sysctls",
        ];
        const RESTRICTED: [&str; 6] = [
            "Volume Types",
            "Privilege Escalation",
            "Running as Non-root",
            "Running as Non-root user",
            "Seccomp",
            "Capabilities",
        ];
        let mut wanted: Vec<String> = BASELINE.iter().map(|control| format!("Baseline: {control}")).collect();
        wanted.extend(RESTRICTED.iter().map(|control| format!("Restricted: {control}")));
        let mut found: Vec<&str> =
            rules::ALL.iter().flat_map(|rule| rule.controls(Framework::PodSecurityStandards)).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        found.dedup();
        assert_eq!(found, wanted);
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
