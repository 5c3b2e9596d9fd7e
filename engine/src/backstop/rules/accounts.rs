//! The service account, and the tokens that containers get.

use crate::{
    cel::{self, Keys, Statement, patterns},
    policy::{ServiceAccount, Token},
};

const NAME: &str = "(v.o.?spec.?serviceAccountName.orValue('') != '' ? v.o.spec.serviceAccountName : \
                    v.o.?spec.?serviceAccount.orValue(''))";

pub(super) fn service_account(keys: Keys) -> Vec<Statement> {
    let allowed = &keys.spec.service_account.allowed;
    let name = format!("({NAME} == '' ? 'default' : {NAME})");
    let alias = "v.o.?spec.?serviceAccount.orValue('')";
    vec![
        Statement::pod(
            cel::not(&patterns::names(allowed, &name)),
            "spec.serviceAccountName",
            &format!("strings.quote({NAME})"),
        ),
        Statement::pod(
            format!("!({alias} in ['', 'default']) && {alias} != {NAME}"),
            "spec.serviceAccount",
            &format!("strings.quote({alias})"),
        ),
    ]
}

/// True of a volume `d` with exactly the content that the API server gives its own.
pub(in super::super) const IS_API_VOLUME: &str = concat!(
    "[d.?projected.?sources.orValue([])].exists(l, l.size() >= 3 && l.size() <= 4 && l.all(s, dyn(s).size() == 1) && ",
    "l.filter(s, s.?serviceAccountToken.hasValue() && s.serviceAccountToken.?audience.orValue('') == '' && ",
    "s.serviceAccountToken.?expirationSeconds.orValue(3600) <= 3607 && ",
    "s.serviceAccountToken.?path.orValue('') == 'token').size() == 1 && ",
    "l.filter(s, s.?configMap.?name.orValue('') == 'kube-root-ca.crt' && ",
    "s.configMap.?items.orValue([]).size() == 1 && s.configMap.items.all(i, i.key == 'ca.crt' && i.path == 'ca.crt')",
    ").size() == 1 && ",
    "l.filter(s, s.?downwardAPI.?items.orValue([]).size() == 1 && s.downwardAPI.items.all(i, ",
    "!i.?resourceFieldRef.hasValue() && i.path == 'namespace' && ",
    "i.?fieldRef.?fieldPath.orValue('') == 'metadata.namespace')).size() == 1 && ",
    "(l.size() == 3 || l.filter(s, s.?configMap.?name.orValue('') == 'openshift-service-ca.crt' && ",
    "s.configMap.?items.orValue([]).size() == 1 && s.configMap.items.all(i, i.key == 'service-ca.crt' && ",
    "i.path == 'service-ca.crt')).size() == 1))",
);

/// Returns the condition that containers with these keys may have the token of the source `s` of the volume `d`.
fn may_have(account: &ServiceAccount) -> String {
    let for_api_server = if account.automount_token {
        format!("(s.serviceAccountToken.?audience.orValue('') == '' && {IS_API_VOLUME})")
    } else {
        "false".into()
    };
    cel::any(std::iter::once(for_api_server).chain(account.tokens.iter().map(is_token)))
}

fn is_token(token: &Token) -> String {
    let audience = "s.serviceAccountToken.?audience.orValue('')";
    let seconds = "s.serviceAccountToken.?expirationSeconds.orValue(3600)";
    let is_for = if token.audience.contains('*') {
        patterns::globs_match(std::iter::once(token.audience.as_str()), audience)
    } else {
        format!("{audience} == {}", cel::text(&token.audience))
    };
    format!(
        "({audience} != '' && {is_for} && {seconds} >= 1 && {seconds} <= {})",
        token.max_expiration_seconds
    )
}

pub(super) fn token_volumes(keys: Keys) -> Vec<Statement> {
    let tokens = "d.?projected.?sources.orValue([]).filter(s, s.?serviceAccountToken.hasValue())";
    // The Pod's own keys count, and those of each exception that a container has.
    let held = keys.specs().enumerate().map(|(number, spec)| {
        let may_have = may_have(&spec.service_account);
        let is_held = if number == 0 { "true".into() } else { format!("v.all.exists(c, c.x == {number})") };
        (may_have, is_held)
    });
    let held: Vec<(String, String)> = held.collect();
    let any_may = cel::any(held.iter().map(|(may, is_held)| cel::all([is_held.clone(), may.clone()])));
    let signer = "s.podCertificate.?signerName";
    let signers = &keys.spec.volumes.projected.pod_certificate_signers;
    let is_allowed = cel::all([
        format!("{signer}.hasValue()"),
        patterns::names(signers, &format!("{signer}.orValue('')")),
    ]);
    let certificates = format!(
        "d.?projected.?sources.orValue([]).exists(s, s.?podCertificate.hasValue() && {})",
        cel::not(&is_allowed)
    );
    let mut checks = vec![
        automount(keys),
        Statement::volume(
            certificates,
            ".projected",
            "'a certificate of ' + d.projected.sources.filter(s, s.?podCertificate.hasValue())\
             .map(s, s.podCertificate.?signerName.orValue('no signer')).join(', ')",
        ),
        Statement::volume(
            format!("{tokens}.exists(s, {})", cel::not(&any_may)),
            ".projected",
            &format!(
                "'a token for ' + {tokens}.map(s, strings.quote(s.serviceAccountToken.?audience.orValue('')) + ' of ' + \
                 string(s.serviceAccountToken.?expirationSeconds.orValue(3600)) + ' s').join(', ')"
            ),
        ),
    ];
    if held.len() > 1 {
        let own: Vec<String> = held.iter().map(|(may, _)| may.clone()).collect();
        let own = cel::selected("c.x", &own);
        let mounted = format!(
            "v.vols.exists(d, d.name == m.name && {tokens}.exists(s, {any_may} && {}))",
            cel::not(&own)
        );
        let has_token = format!("v.vols.exists(d, {tokens}.size() > 0)");
        checks.push(Statement::container(
            format!("{has_token} && c.o.?volumeMounts.orValue([]).exists(m, {mounted})"),
            "volumeMounts",
            &format!(
                "'a mount of a volume with a token: ' + c.o.?volumeMounts.orValue([]).filter(m, {mounted})\
                 .map(m, m.name).join(', ')"
            ),
        ));
    }
    checks
}

fn automount(keys: Keys) -> Statement {
    let closed: Vec<String> = keys
        .specs()
        .enumerate()
        .filter(|(_, spec)| !spec.service_account.automount_token)
        .map(
            |(number, _)| {
                if number == 0 { "true".into() } else { format!("v.all.exists(c, c.x == {number})") }
            },
        )
        .collect();
    let field = "v.o.?spec.?automountServiceAccountToken";
    let condition = cel::all([cel::any(closed), format!("{field}.orValue(true) != false")]);
    Statement::pod(condition, "spec.automountServiceAccountToken", &cel::shown_value(field))
}
