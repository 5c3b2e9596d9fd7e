//! The policies that the fuzz targets ask: the built-in one, the same in the other modes, and some that open much.

use sandgate_engine::policy::{LoadErrors, PolicySet, Source};

/// The `spec` of each policy.
const SPECS: [&str; 6] = [
    "mode: enforce",
    "mode: warn",
    "mode: audit",
    "fill: always\n  mode: warn\n  rules: {seccomp: enforce, dns-policy: audit}",
    "extends: preset/argo-workflows",
    r#"volumes:
    configMap: {names: ["*"]}
    downwardAPI: true
    image: true
    persistentVolumeClaim: {names: ["pvc-*"]}
    csi: [{driver: csi.example.com, attributes: {key: ["*"]}}]
    ephemeral: {storageClasses: [standard]}
    writablePaths: ["*"]
  images: {allowed: ["registry.example.com/**"]}
  secrets: {environment: [s], volumes: ["token-*"]}
  security:
    root: {runtimeClasses: [gvisor]}
    runAsUser: {default: null}
    readOnlyRootFilesystem: false
  serviceAccount: {tokens: [{audience: sts.amazonaws.com, maxExpirationSeconds: 86400}]}
  lifecycle: {activeDeadlineSeconds: {default: null, max: 60, onExcess: clamp}}
  resources: {extended: {nvidia.com/gpu: {max: 1, runtimeClasses: [gvisor]}}, fillAt: pod}
  profiles:
  - {name: builder, match: {labels: {role: builder}}, spec: {security: {shareProcessNamespace: true}}}
  containers:
  - {name: proxy, match: {images: [registry.example.com/proxy]}, spec: {serviceAccount: {automountToken: true}}}"#,
];

/// Returns the policies, each alone in its set.
pub(crate) fn policies() -> Vec<PolicySet> {
    SPECS.iter().map(|spec| load(document(spec)).expect("the policy is right")).collect()
}

/// Returns a policy file with this `spec`.
pub(crate) fn document(spec: &str) -> String {
    format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec:\n  namespaces: [workflows]\n  {spec}\n"
    )
}

/// Loads a policy file.
pub(crate) fn load(text: String) -> Result<PolicySet, LoadErrors> {
    PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }])
}
