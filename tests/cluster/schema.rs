//! The fields of a Pod, held against the API server's own document: those of `docs/pod-fields.md`, and the kinds of
//! value that the engine takes in them. A field that a newer Kubernetes brings turns these tests red.

#[path = "../fields/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};

use sandgate_engine::pod::schema::{Kind, POD, Type};
use serde_json::{Value, json};

use self::table::{FieldClass, Table};
use crate::sandbox::Sandbox;
use testbed::{ApiServer, Rest, Version};

#[tokio::test]
#[cfg_attr(
    before_kubernetes = "1.36",
    ignore = "needs Kubernetes 1.36: the table has the fields of 1.36 and newer"
)]
async fn the_fields_of_a_pod_are_those_that_the_api_server_knows() {
    let sandbox = Sandbox::unguarded(&Value::Null, &json!({})).await;
    compare_all(&sandbox.rest).await;
}

#[tokio::test]
async fn the_fields_of_a_pod_are_those_that_the_newest_kubernetes_knows() {
    let newest = ApiServer::start(Version::NEWEST).await.expect("an API server");
    compare_all(&newest.rest().await.expect("a client")).await;
}

async fn compare_all(rest: &Rest) {
    let document = Document {
        minor: minor_version(rest).await,
        schemas: rest.get("/openapi/v3/api/v1").await.expect("the API server describes itself")["components"]
            ["schemas"]
            .take(),
        table: Table::read(),
    };
    document.compare_fields();
    document.compare_kinds(&POD, POD_SCHEMA, "Pod");
}

async fn minor_version(rest: &Rest) -> u32 {
    let version = rest.get("/version").await.expect("the API server reports its version");
    let minor = version["minor"].as_str().and_then(|minor| minor.trim_end_matches('+').parse().ok());
    minor.expect("a minor version is a number")
}

const POD_SCHEMA: &str = "io.k8s.api.core.v1.Pod";

/// What the API server says, and what we say.
struct Document {
    minor: u32,
    schemas: Value,
    table: Table,
}

type Fields = BTreeMap<String, BTreeSet<String>>;

impl Document {
    fn compare_fields(&self) {
        let mut theirs = Fields::new();
        self.collect(POD_SCHEMA, &mut theirs);
        let mut ours = Fields::new();
        for (of, field, _) in self.table.lines().filter(|(.., line)| self.has(line.since)) {
            ours.entry(of.into()).or_default().insert(field.into());
        }
        let version = self.minor;
        for of in theirs.keys().chain(ours.keys()) {
            let fields = |side: &Fields| side.get(of).cloned().unwrap_or_default();
            let (theirs, ours) = (fields(&theirs), fields(&ours));
            let new: Vec<_> = theirs.difference(&ours).collect();
            assert!(
                new.is_empty(),
                "docs/pod-fields.md does not have {new:?} of {of} in Kubernetes 1.{version}"
            );
            let gone: Vec<_> = ours.difference(&theirs).collect();
            assert!(
                gone.is_empty(),
                "Kubernetes 1.{version} has no {gone:?} of {of}, which docs/pod-fields.md has"
            );
        }
    }

    /// The fields of the type and of every type below it.
    fn collect(&self, schema: &str, types: &mut Fields) {
        let of = short(schema).to_owned();
        if types.contains_key(&of) {
            return;
        }
        let fields = self.fields(schema);
        types.insert(of, fields.keys().cloned().collect());
        for (_, value) in fields.iter().filter(|(field, _)| !is_whole(field)) {
            if let Some(below) = self.object_in(value) {
                self.collect(below, types);
            }
        }
    }

    /// The type of the objects in a value, a list or a map.
    fn object_in<'d>(&self, mut value: &'d Value) -> Option<&'d str> {
        while let Some(inner) = ["items", "additionalProperties"].iter().find_map(|key| value.get(key)) {
            value = inner;
        }
        reference(value).filter(|name| self.schemas[name]["properties"].is_object())
    }

    fn fields(&self, schema: &str) -> &serde_json::Map<String, Value> {
        let fields = self.schemas[schema]["properties"].as_object();
        fields.unwrap_or_else(|| panic!("{schema} is an object of the API"))
    }

    fn has(&self, since: Option<u32>) -> bool {
        since.is_none_or(|since| since <= self.minor)
    }

    /// The engine leaves out what is unknown, and knows what is new.
    fn compare_kinds(&self, ours: &Type, schema: &str, path: &str) {
        assert_eq!(ours.name, short(schema), "the type of {path}");
        let theirs = self.fields(schema);
        for (name, kind) in ours.fields {
            let line = &self.table.types[ours.name][*name];
            assert_ne!(line.class, FieldClass::Unknown, "{path}.{name}");
            if self.has(line.since) {
                self.compare_kind(*kind, &theirs[*name], &format!("{path}.{name}"));
            }
        }
    }

    fn compare_kind(&self, ours: Kind, value: &Value, path: &str) {
        let theirs = reference(value).map_or(value, |name| &self.schemas[name]);
        let has_type = |name: &str| assert_eq!(theirs["type"], name, "the type of {path}");
        match ours {
            Kind::Any => {}
            Kind::String => has_type("string"),
            Kind::Integer => has_type("integer"),
            Kind::Boolean => has_type("boolean"),
            Kind::Quantity => {
                assert_eq!(theirs["oneOf"].as_array().map(Vec::len), Some(2), "{path} is a quantity");
            }
            Kind::IntOrString => assert_eq!(theirs["format"], "int-or-string", "{path}"),
            Kind::List(items) => self.compare_kind(*items, &theirs["items"], &format!("{path}[]")),
            Kind::Map(values) => {
                self.compare_kind(*values, &theirs["additionalProperties"], &format!("{path}.*"));
            }
            Kind::Object(of) => {
                let name = reference(value).unwrap_or_else(|| panic!("{path} is an object of the API"));
                self.compare_kinds(of, name, path);
            }
        }
    }
}

/// Fields that are checked as a whole: a line of their own, and none for what is in them.
fn is_whole(field: &str) -> bool {
    matches!(field, "status" | "managedFields")
}

/// The name of the type that a value has, which may stand in an `allOf` beside a default.
fn reference(value: &Value) -> Option<&str> {
    let reference = value["$ref"].as_str().or_else(|| value.pointer("/allOf/0/$ref")?.as_str())?;
    reference.rsplit('/').next()
}

fn short(schema: &str) -> &str {
    schema.rsplit('.').next().unwrap_or(schema)
}
