//! The table of fields that sandgate knows, held against the API server's own document.

use std::collections::BTreeSet;

use sandgate::pod::schema::{Kind, POD, Type};
use serde_json::Value;

use crate::sandbox::Sandbox;

#[tokio::test]
async fn the_fields_of_a_pod_are_those_that_the_api_server_knows() {
    let Some(sandbox) = Sandbox::unguarded(&Value::Null).await else { return };
    let document = sandbox.rest.get("/openapi/v3/api/v1").await.expect("the API server describes itself");
    let schemas = &document["components"]["schemas"];
    compare(&POD, &schemas["io.k8s.api.core.v1.Pod"], schemas, "Pod");
}

fn compare(ours: &Type, theirs: &Value, schemas: &Value, path: &str) {
    let properties =
        theirs["properties"].as_object().unwrap_or_else(|| panic!("{path} is an object of the API"));
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let known = names(ours.fields.iter().map(|(name, _)| *name).collect());
    assert_eq!(known, names(properties.keys().map(String::as_str).collect()), "the fields of {path}");
    for (name, kind) in ours.fields {
        compare_kind(*kind, &properties[*name], schemas, &format!("{path}.{name}"));
    }
}

fn compare_kind(ours: Kind, theirs: &Value, schemas: &Value, path: &str) {
    let theirs = resolve(theirs, schemas);
    let has_type = |name: &str| assert_eq!(theirs["type"], name, "the type of {path}");
    match ours {
        Kind::Any => {}
        Kind::String => has_type("string"),
        Kind::Integer => has_type("integer"),
        Kind::Boolean => has_type("boolean"),
        Kind::Quantity => {
            assert_eq!(theirs["oneOf"].as_array().map(Vec::len), Some(2), "{path} is a quantity")
        }
        Kind::IntOrString => assert_eq!(theirs["format"], "int-or-string", "{path}"),
        Kind::List(items) => compare_kind(*items, &theirs["items"], schemas, &format!("{path}[]")),
        Kind::Map(values) => {
            compare_kind(*values, &theirs["additionalProperties"], schemas, &format!("{path}.*"))
        }
        Kind::Object(fields) => compare(fields, theirs, schemas, path),
    }
}

/// Follows a reference, which may stand in an `allOf` beside a default.
fn resolve<'d>(schema: &'d Value, schemas: &'d Value) -> &'d Value {
    let reference = schema["$ref"].as_str().or_else(|| schema.pointer("/allOf/0/$ref")?.as_str());
    let name = reference.and_then(|reference| reference.rsplit('/').next());
    name.map_or(schema, |name| &schemas[name])
}
