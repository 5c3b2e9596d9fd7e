//! What a scan reads from the API server: Pods page by page, the labels of namespaces, the policies of a release.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
};

use axum::http::{Request, StatusCode};
use clap::Args;
use http_body_util::{BodyExt, Limited};
use kube::{Client, client::Body};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    cli::CliError,
    cluster::{self, Access, Api},
};
use sandgate_engine::policy::Source;

/// The API server to ask.
#[derive(Debug, Args)]
pub(in crate::cli) struct ClusterChoice {
    /// Kubeconfig file [default: ~/.kube/config, or the service account in a Pod]
    #[arg(long, value_name = "PATH", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// The number of Pods in one page, as kubectl has it.
const MAX_PAGE_PODS: usize = 500;

/// The largest page that is kept in memory, in bytes. A larger one is read again in smaller pages.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// A connection to the API server.
pub(in crate::cli) struct Cluster {
    client: Client,
    /// The namespace of the context, or of the service account.
    pub(in crate::cli) namespace: String,
}

/// The Pods to list: of one namespace, or of all.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Scope<'s>(pub(in crate::cli) Option<&'s str>);

/// The place of the next page.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Cursor {
    token: String,
    limit: usize,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { token: String::new(), limit: MAX_PAGE_PODS }
    }
}

/// Some Pods of a list.
pub(in crate::cli) struct Page {
    /// The text of each Pod.
    pub(in crate::cli) pods: Vec<Box<RawValue>>,
    /// The place of the next page; absent after the last one.
    pub(in crate::cli) next: Option<Cursor>,
    /// The number of Pods that come after this page, if the API server knows it.
    pub(super) left: u64,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    remaining_item_count: Option<u64>,
}

#[derive(Deserialize)]
struct Labelled {
    metadata: LabelledMetadata,
}

#[derive(Deserialize)]
struct LabelledMetadata {
    name: String,
    #[serde(default)]
    labels: HashMap<String, String>,
}

#[derive(Deserialize)]
struct ConfigMap {
    metadata: LabelledMetadata,
    #[serde(default)]
    data: HashMap<String, String>,
}

/// A kind of objects, by the names of its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiResource {
    pub(super) group: String,
    pub(super) version: String,
    /// The plural in paths and rights.
    pub(super) resource: String,
}

impl ApiResource {
    fn core(resource: &str) -> Self {
        Self { group: String::new(), version: "v1".into(), resource: resource.into() }
    }

    /// Returns the path of the group and version.
    fn base(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
    }
}

/// A kind of objects that the API server serves.
#[derive(Debug, Clone)]
pub(super) struct ServedKind {
    pub(super) kind: String,
    pub(super) resource: ApiResource,
    /// True if its objects are in namespaces.
    pub(super) is_namespaced: bool,
}

/// A list that the API server does not give, with the right that it needs.
struct Asked<'a> {
    of: &'a ApiResource,
    namespace: Option<&'a str>,
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.namespace {
            Some(namespace) => write!(f, "{} in namespace {namespace}", self.of.resource),
            None => write!(f, "{} of the cluster", self.of.resource),
        }
    }
}

/// The answer of the API server to a list.
enum Listed {
    Page(Vec<u8>),
    /// The list is older than what the API server still has; the token goes on from there with newer Pods.
    Expired(String),
    TooLarge,
}

impl ClusterChoice {
    pub(in crate::cli) async fn connect(&self) -> Result<Cluster, CliError> {
        let api = self.api().await?;
        Ok(Cluster { client: api.client().clone(), namespace: api.namespace().to_owned() })
    }

    pub(in crate::cli) async fn api(&self) -> Result<Api, CliError> {
        let access =
            Access { kubeconfig: self.kubeconfig.clone(), namespace: None, context: self.context.clone() };
        cluster::connect(access.of_user()).await.map_err(CliError::new)
    }
}

impl Cluster {
    /// Returns the Pods to list: of all namespaces, or of each of `namespaces` once, or of that of the context if none is
    /// named.
    pub(in crate::cli) fn scopes<'s>(&'s self, namespaces: &'s [String], all: bool) -> Vec<Scope<'s>> {
        if all {
            return vec![Scope(None)];
        }
        let mut names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        if names.is_empty() {
            names.push(&self.namespace);
        }
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| Scope(Some(name))).collect()
    }

    /// Returns the client, for other requests.
    pub(in crate::cli) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads the Pods at `cursor`.
    pub(super) async fn pods(&self, scope: Scope<'_>, cursor: Cursor) -> Result<Page, CliError> {
        self.selected_pods(scope, "", cursor).await
    }

    /// Reads the Pods at `cursor` whose labels fit `selector`; an empty one fits all.
    pub(in crate::cli) async fn selected_pods(
        &self,
        scope: Scope<'_>,
        selector: &str,
        cursor: Cursor,
    ) -> Result<Page, CliError> {
        self.objects(&ApiResource::core("pods"), scope, selector, cursor).await
    }

    /// Reads the objects of a kind at `cursor` whose labels fit `selector`; an empty one fits all.
    pub(super) async fn objects(
        &self,
        of: &ApiResource,
        scope: Scope<'_>,
        selector: &str,
        mut cursor: Cursor,
    ) -> Result<Page, CliError> {
        let asked = Asked { of, namespace: scope.0 };
        loop {
            let Cursor { token, limit } = &cursor;
            let query = [
                ("limit", limit.to_string()),
                ("continue", token.clone()),
                ("labelSelector", selector.to_owned()),
            ];
            let body = match self.list(&asked, &query).await? {
                Listed::Page(body) => body,
                Listed::Expired(token) => {
                    cursor.token = token;
                    continue;
                }
                Listed::TooLarge if cursor.limit > 1 => {
                    cursor.limit /= 2;
                    continue;
                }
                Listed::TooLarge => return Err(too_large(&asked)),
            };
            let List { metadata, items } = parse(&asked, &body)?;
            let left = metadata.remaining_item_count.unwrap_or_default();
            let token = metadata.next.filter(|token| !token.is_empty());
            return Ok(Page { pods: items, left, next: token.map(|token| Cursor { token, ..cursor }) });
        }
    }

    /// Reads the labels of every namespace, or of one.
    pub(super) async fn labels(&self, scope: Scope<'_>) -> Result<Labels, CliError> {
        let namespaces = ApiResource::core("namespaces");
        let asked = Asked { of: &namespaces, namespace: None };
        let mut labels = HashMap::new();
        let mut token = String::new();
        loop {
            let mut query = vec![("limit", MAX_PAGE_PODS.to_string()), ("continue", token)];
            if let Some(name) = scope.0 {
                query.push(("fieldSelector", format!("metadata.name={name}")));
            }
            let body = match self.list(&asked, &query).await? {
                Listed::Page(body) => body,
                Listed::Expired(newer) => {
                    token = newer;
                    continue;
                }
                Listed::TooLarge => return Err(too_large(&asked)),
            };
            let List { metadata, items } = parse::<List<Labelled>>(&asked, &body)?;
            labels.extend(items.into_iter().map(|item| (item.metadata.name, item.metadata.labels)));
            token = metadata.next.unwrap_or_default();
            if token.is_empty() {
                return Ok(Labels(labels));
            }
        }
    }

    /// Reads the policies that the chart installed into a namespace; none if it has no ConfigMap of them.
    pub(in crate::cli) async fn policies(&self, namespace: &str) -> Result<Vec<Source>, CliError> {
        let config_maps = ApiResource::core("configmaps");
        let asked = Asked { of: &config_maps, namespace: Some(namespace) };
        let query = [("labelSelector", "app.kubernetes.io/part-of=sandgate".to_string())];
        let Listed::Page(body) = self.list(&asked, &query).await? else { return Err(too_large(&asked)) };
        let List { items, .. } = parse::<List<ConfigMap>>(&asked, &body)?;
        let mut sources = Vec::new();
        for ConfigMap { metadata, data } in items.into_iter().filter(|map| is_of_policies(&map.metadata.name))
        {
            let files = data.into_iter().map(|(file, text)| Source {
                name: format!("ConfigMap {namespace}/{} {file}", metadata.name),
                text,
            });
            sources.extend(files);
        }
        sources.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(sources)
    }

    /// Returns the groups that are served, with their versions, the preferred one first. The core group has an empty name.
    pub(super) async fn groups(&self) -> Result<BTreeMap<String, Vec<String>>, CliError> {
        let Some(answer) = self.discover("/apis").await? else { return Ok(BTreeMap::new()) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_group = |group: &Value| {
            let preferred = text(&group["preferredVersion"]["version"]);
            let versions = group["versions"].as_array().into_iter().flatten();
            let others = versions.map(|version| text(&version["version"]));
            let others = others.filter(|version| *version != preferred).collect::<Vec<_>>();
            (text(&group["name"]), std::iter::once(preferred.clone()).chain(others).collect())
        };
        let groups = answer["groups"].as_array().into_iter().flatten().map(of_group);
        Ok(groups.chain([(String::new(), vec!["v1".to_owned()])]).collect())
    }

    /// Returns the kinds of a group and version; none if it is not served.
    pub(super) async fn kinds(&self, group: &str, version: &str) -> Result<Vec<ServedKind>, CliError> {
        let of = |resource: &str| ApiResource {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        };
        let Some(answer) = self.discover(&of("").base()).await? else { return Ok(Vec::new()) };
        let resources = answer["resources"].as_array().into_iter().flatten();
        let kinds = resources.filter_map(|resource| {
            let (name, kind) = (resource["name"].as_str()?, resource["kind"].as_str()?);
            let is_namespaced = resource["namespaced"] == true;
            // A subresource has a slash in its name.
            let is_whole = !name.contains('/');
            is_whole.then(|| ServedKind { kind: kind.to_owned(), resource: of(name), is_namespaced })
        });
        Ok(kinds.collect())
    }

    /// Returns a document of the API server's discovery; `None` if it is not there.
    async fn discover(&self, path: &str) -> Result<Option<Value>, CliError> {
        let failed = |problem: String| CliError::new(format_args!("cannot get {path}: {problem}"));
        let request = Request::get(path).body(Body::empty()).map_err(|error| failed(error.to_string()))?;
        let (status, body) = self.send(request).await.map_err(failed)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(failed(message(status, &body)));
        }
        serde_json::from_slice(&body).map(Some).map_err(|error| failed(error.to_string()))
    }

    /// Sends a request, and returns the status and the body of the answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), String> {
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_PAGE_BYTES).collect().await.map_err(|error| error.to_string())?;
        Ok((head.status, body.to_bytes().into()))
    }

    async fn list(&self, asked: &Asked<'_>, query: &[(&str, String)]) -> Result<Listed, CliError> {
        let Asked { of, namespace } = asked;
        let (base, resource) = (of.base(), &of.resource);
        let path = match namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{resource}"),
            None => format!("{base}/{resource}"),
        };
        let query = query.iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = Request::get(format!("{path}?{query}")).body(Body::empty());
        let request = request.map_err(|_| {
            CliError::new(format_args!(
                "cannot list {asked}: this is no name of a namespace; use one of a cluster"
            ))
        })?;
        let unreachable = |error: &dyn fmt::Display| {
            CliError::new(format_args!("cannot list {asked}: the API server does not answer: {error}"))
        };
        let answer = self.client.send(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = answer.into_parts();
        let body = match Limited::new(body, MAX_PAGE_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(Listed::TooLarge),
            Err(error) => return Err(unreachable(&error)),
        };
        if head.status.is_success() {
            return Ok(Listed::Page(body.into()));
        }
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(token) if head.status == StatusCode::GONE => Ok(Listed::Expired(token.to_owned())),
            _ => Err(denied(asked, head.status, &status)),
        }
    }
}

/// The labels of namespaces.
#[derive(Default)]
pub(super) struct Labels(HashMap<String, HashMap<String, String>>);

impl Labels {
    pub(super) fn of(&self, namespace: &str, key: &str) -> Option<&str> {
        self.0.get(namespace)?.get(key).map(String::as_str)
    }
}

/// Returns true for the names that the chart gives to its `ConfigMap`s of policies.
fn is_of_policies(name: &str) -> bool {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    name.ends_with("-policy") || base.ends_with("-policy-")
}

fn parse<T: DeserializeOwned>(asked: &Asked, body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|error| {
        CliError::new(format_args!(
            "cannot list {asked}: the answer is no list; check that the address is one of an API server: {error}"
        ))
    })
}

fn too_large(asked: &Asked) -> CliError {
    let limit = MAX_PAGE_BYTES >> 20;
    CliError::new(format_args!("cannot list {asked}: a single page is larger than {limit} MiB"))
}

/// Returns the message of a `Status`, or the status code.
pub(super) fn message(status: StatusCode, body: &[u8]) -> String {
    of_status(status, &serde_json::from_slice(body).unwrap_or_default())
}

fn of_status(status: StatusCode, answer: &Value) -> String {
    answer["message"].as_str().map_or_else(|| format!("status {status}"), str::to_owned)
}

fn denied(asked: &Asked, status: StatusCode, answer: &Value) -> CliError {
    let message = of_status(status, answer);
    let remedy = match status {
        StatusCode::FORBIDDEN => {
            let role = if asked.namespace.is_some() { "Role" } else { "ClusterRole" };
            let ApiResource { group, resource, .. } = asked.of;
            format!(
                "; add a {role} with the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [list]}}"
            )
        }
        StatusCode::UNAUTHORIZED => "; its credentials are not accepted: log in again".into(),
        _ => String::new(),
    };
    CliError::new(format_args!("cannot list {asked}: {message}{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named() {
        let answer = serde_json::json!({"message": "forbidden"});
        let text = |namespace| {
            let asked = Asked { of: &ApiResource::core("pods"), namespace };
            denied(&asked, StatusCode::FORBIDDEN, &answer).0.remove(0)
        };
        assert_eq!(
            text(Some("ci")),
            "cannot list pods in namespace ci: forbidden; add a Role with the rule {apiGroups: [\"\"], resources: \
             [pods], verbs: [list]}"
        );
        assert!(text(None).contains("pods of the cluster: forbidden; add a ClusterRole with"));
    }

    #[test]
    fn the_policies_of_the_chart_are_known_by_the_name_of_their_map() {
        for name in ["sandgate-policy", "x-sandgate-policy-1", "sandgate-policy-12"] {
            assert!(is_of_policies(name), "{name}");
        }
        for name in ["sandgate-dashboard", "policy-1", "sandgate-policy-x"] {
            assert!(!is_of_policies(name), "{name}");
        }
    }
}
