//! The types, sources and sizes of volumes.

use super::accounts::IS_API_VOLUME;
use crate::{
    cel::{self, Keys, Statement, patterns},
    policy::{Amount, CsiDriver, Ephemeral, Names, Spec},
};

/// Returns true if some container of the Pod may mount a Secret.
pub(super) fn opens_secrets(keys: Keys) -> bool {
    keys.specs().any(|spec| !spec.secrets.volumes.is_empty())
}

fn open_types(keys: Keys) -> Vec<&'static str> {
    let volumes = &keys.spec.volumes;
    let types = [
        ("name", true),
        ("emptyDir", true),
        ("projected", true),
        ("configMap", !volumes.config_map.names.is_empty()),
        ("downwardAPI", volumes.downward_api),
        ("image", volumes.image),
        ("persistentVolumeClaim", !volumes.persistent_volume_claim.names.is_empty()),
        ("ephemeral", !volumes.ephemeral.storage_classes.is_empty()),
        ("csi", !volumes.csi.is_empty()),
        ("secret", opens_secrets(keys)),
    ];
    types.into_iter().filter(|(_, is_open)| *is_open).map(|(name, _)| name).collect()
}

pub(super) fn volume_types(keys: Keys) -> Vec<Statement> {
    let open = open_types(keys);
    let types = cel::list(&open);
    let mut checks = vec![Statement::volume(
        format!("!dyn(d).all(f, f in {types})"),
        "",
        &format!("'a volume of the type ' + dyn(d).filter(f, !(f in {types})).join(', ')"),
    )];
    let volumes = &keys.spec.volumes;
    let opens = |name: &str| open.contains(&name);
    if opens("configMap") {
        checks.push(named("configMap", "name", &volumes.config_map.names));
    }
    if opens("persistentVolumeClaim") {
        checks.push(named("persistentVolumeClaim", "claimName", &volumes.persistent_volume_claim.names));
    }
    if opens("ephemeral") {
        checks.push(ephemeral(&volumes.ephemeral));
    }
    if opens("csi") {
        checks.push(csi(&volumes.csi));
    }
    checks.push(projected(keys));
    checks
}

fn named(kind: &str, field: &str, names: &Names) -> Statement {
    let name = format!("d.{kind}.?{field}");
    let allowed =
        cel::all([format!("{name}.hasValue()"), patterns::names(names, &format!("{name}.orValue('')"))]);
    let condition = cel::all([format!("d.?{kind}.hasValue()"), cel::not(&allowed)]);
    Statement::volume(condition, &format!(".{kind}.{field}"), &cel::shown(&name))
}

/// Returns the condition that an optional quantity is set, more than zero and at most `max`.
pub(super) fn is_within(quantity: &str, max: &Amount) -> String {
    format!(
        "({quantity}.hasValue() && quantity({quantity}.value()).isGreaterThan(quantity('0')) && \
         !quantity({quantity}.value()).isGreaterThan(quantity({})))",
        cel::text(&max.text)
    )
}

fn ephemeral(bounds: &Ephemeral) -> Statement {
    let template = "d.ephemeral.?volumeClaimTemplate";
    let claim = "d.ephemeral.?volumeClaimTemplate.?spec";
    let class = format!("{claim}.?storageClassName.orValue('')");
    let modes = format!("{claim}.?accessModes.orValue([])");
    let storage = |kind: &str| format!("{claim}.?resources.?{kind}[?'storage']");
    let choosing = ["dataSource", "dataSourceRef", "selector", "volumeName", "volumeAttributesClassName"];
    let (requests, limits) = (storage("requests"), storage("limits"));
    let fits = [
        format!("{claim}.hasValue()"),
        format!("{template}.?metadata.?annotations.orValue({{}}).size() == 0"),
        format!("!dyn({claim}.orValue({{}})).exists(f, f in {})", cel::list(choosing)),
        patterns::names(&bounds.storage_classes, &class),
        format!("({modes}.size() > 0 && {modes}.all(m, m in ['ReadWriteOnce', 'ReadWriteOncePod']))"),
        format!("{claim}.?volumeMode.orValue('Filesystem') == 'Filesystem'"),
        is_within(&requests, &bounds.max_size),
        format!("(!{limits}.hasValue() || {})", is_within(&limits, &bounds.max_size)),
    ];
    let found = format!(
        "'a claim of class ' + strings.quote({class}) + ', modes ' + {modes}.join(', ') + ', storage ' + \
         {requests}.orValue('unset') + ', fields ' + dyn({claim}.orValue({{}})).map(f, f).join(', ')"
    );
    Statement::volume(
        cel::all(["d.?ephemeral.hasValue()".into(), cel::not(&cel::all(fits))]),
        ".ephemeral.volumeClaimTemplate",
        &found,
    )
}

fn csi(drivers: &[CsiDriver]) -> Statement {
    let attributes = "d.csi.?volumeAttributes.orValue({})";
    let fits = drivers.iter().map(|CsiDriver { driver, attributes: allowed }| {
        let keys = allowed.iter().map(|(key, values)| {
            let value = patterns::names(values, &format!("{attributes}[a]"));
            cel::all([format!("a == {}", cel::text(key)), value])
        });
        let may_be = cel::any(keys);
        format!("(d.csi.?driver.orValue('') == {} && {attributes}.all(a, {may_be}))", cel::text(driver))
    });
    let condition = cel::all(["d.?csi.hasValue()".into(), cel::not(&cel::any(fits))]);
    let found = format!(
        "'of driver ' + strings.quote(d.csi.?driver.orValue('')) + ' with ' + \
         {attributes}.map(a, strings.quote(a) + '=' + strings.quote({attributes}[a])).join(', ')"
    );
    Statement::volume(condition, ".csi", &found)
}

fn projected(keys: Keys) -> Statement {
    let spec: &Spec = keys.spec;
    let config_maps = &spec.volumes.config_map.names;
    let bundles = &spec.volumes.projected.cluster_trust_bundles;
    let is_bundle = |field: &str| {
        let name = format!("s.clusterTrustBundle.?{field}");
        format!("(!{name}.hasValue() || {})", patterns::names(bundles, &format!("{name}.orValue('')")))
    };
    let bundle = cel::all([
        "(s.clusterTrustBundle.?name.hasValue() || s.clusterTrustBundle.?signerName.hasValue())".into(),
        is_bundle("name"),
        is_bundle("signerName"),
    ]);
    let config_map = if config_maps.allows_anything() {
        "true".into()
    } else {
        cel::all([
            "s.configMap.?name.hasValue()".into(),
            patterns::names(config_maps, "s.configMap.?name.orValue('')"),
        ])
    };
    let kinds = [
        ("secret", opens_secrets(keys).to_string()),
        ("downwardAPI", spec.volumes.downward_api.to_string()),
        ("configMap", config_map),
        ("clusterTrustBundle", bundle),
    ];
    let fits = kinds.into_iter().map(|(kind, fits)| cel::all([format!("f == '{kind}'"), fits]));
    let source =
        cel::any(std::iter::once("f in ['serviceAccountToken', 'podCertificate']".to_string()).chain(fits));
    let sources = "d.projected.?sources.orValue([])";
    let all_fit =
        format!("({sources}.exists(s, dyn(s).size() > 0) && {sources}.all(s, dyn(s).all(f, {source})))");
    let condition =
        cel::all(["d.?projected.hasValue()".into(), cel::not(&all_fit), format!("!{IS_API_VOLUME}")]);
    let found = format!(
        "'a volume of the sources ' + {sources}.map(s, dyn(s).map(f, f + ' ' + \
         (f == 'configMap' ? s.configMap.?name.orValue('') : '')).join(', ')).join(', ')"
    );
    Statement::volume(condition, ".projected", &found)
}

pub(super) fn empty_dir(keys: Keys) -> Vec<Statement> {
    let bounds = &keys.spec.volumes.empty_dir;
    let is_empty_dir = "(d.?emptyDir.hasValue() || dyn(d).all(f, f == 'name'))";
    let medium = "d.?emptyDir.?medium.orValue('')";
    let limit = "d.?emptyDir.?sizeLimit";
    let fits = format!(
        "({medium} == 'Memory' ? {} : {})",
        is_within(limit, &bounds.max_memory),
        is_within(limit, &bounds.max_size)
    );
    vec![
        Statement::volume(
            format!("{is_empty_dir} && !({medium} in ['', 'Memory'])"),
            ".emptyDir.medium",
            &format!("strings.quote({medium})"),
        ),
        Statement::volume(
            format!("{is_empty_dir} && !{fits}"),
            ".emptyDir.sizeLimit",
            &format!("{limit}.orValue('unset')"),
        ),
    ]
}
