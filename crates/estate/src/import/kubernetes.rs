//! Kubernetes manifests. Workloads become components, claims become volumes, services become
//! interfaces, and addresses in the environment become dependencies once all files are known.
//!
//! Which application a thing belongs to: the label `app.kubernetes.io/part-of`, else the label
//! `application`, else the namespace (unless it is `default` or begins with `kube-`), else the
//! label `app.kubernetes.io/name`, else the label `app`, else the workload's own name.
//!
//! Values of Secrets are never read; of other values only addresses are kept.

use crate::document::Kind;
use crate::error::{Collector, nothing};
use crate::import::{Found, address, quantity};
use crate::names::identifier;
use crate::text::Text;
use crate::yaml::tree::{Node, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Most volumes made from one claim template.
const REPLICAS_MAX: u64 = 100;

/// What every manifest has.
struct Manifest<'a> {
    kind: &'a str,
    name: &'a str,
    namespace: &'a str,
    labels: BTreeMap<String, String>,
    node: &'a Node,
}

/// Reads every document of a file.
pub(crate) fn read(documents: &[Node], found: &mut Found, errors: &mut Collector) {
    if documents.iter().all(Node::is_null) && errors.is_empty() {
        let expected = Text::new(
            "至少一个 Kubernetes 清单",
            "at least one Kubernetes manifest",
        );
        errors.push(0, 0, expected, Text::new("空文件", "an empty file"));
    }
    for document in documents.iter().filter(|document| !document.is_null()) {
        let is_list = document.get("kind").and_then(Node::text) == Some("List");
        let items = if is_list {
            document.get("items").map_or(&[][..], Node::items)
        } else {
            std::slice::from_ref(document)
        };
        for item in items {
            if let Some(manifest) = Manifest::try_new(item, errors) {
                read_one(&manifest, found, errors);
            }
        }
    }
}

fn read_one(manifest: &Manifest<'_>, found: &mut Found, errors: &mut Collector) {
    match manifest.kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            read_workload(manifest, &["spec", "template"], found, errors);
        }
        "CronJob" => read_workload(
            manifest,
            &["spec", "jobTemplate", "spec", "template"],
            found,
            errors,
        ),
        "Pod" => read_workload(manifest, &[], found, errors),
        "Service" => read_service(manifest, found),
        "Ingress" => read_ingress(manifest, found),
        "ConfigMap" => read_configuration(manifest, true, found),
        "Secret" => read_configuration(manifest, false, found),
        "PersistentVolumeClaim" => {
            let id = manifest.qualified(manifest.name);
            found.exists(Kind::Volume, &id, manifest.node.line);
            read_claim(&id, manifest.node, found, errors);
        }
        "Namespace" | "ServiceAccount" => {}
        other => found.note(
            manifest.node.line,
            Text::new(
                format!("未导入不支持的类型 {other}“{}”", manifest.name),
                format!(
                    "not imported: {other} `{}` is of an unsupported kind",
                    manifest.name
                ),
            ),
        ),
    }
}

// === impl Manifest ===

impl<'a> Manifest<'a> {
    fn try_new(node: &'a Node, errors: &mut Collector) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            let expected = Text::new("Kubernetes 清单（映射）", "a Kubernetes manifest (a map)");
            errors.push(node.line, node.column, expected, node.describe());
            return None;
        }
        let mut required = |path: &[&str]| {
            let text = node
                .at(path)
                .and_then(Node::text)
                .filter(|text| !text.is_empty());
            if text.is_none() {
                let place = node.at(path).unwrap_or(node);
                let field = path.join(".");
                let expected = Text::new(format!("`{field}`（文本）"), format!("`{field}` (text)"));
                let stands = node.at(path).map_or_else(nothing, Node::describe);
                errors.push(place.line, place.column, expected, stands);
            }
            text
        };
        let version = required(&["apiVersion"]);
        let kind = required(&["kind"]);
        let name = required(&["metadata", "name"]);
        let (_, Some(kind), Some(name)) = (version?, kind, name) else {
            return None;
        };
        let namespace = node
            .at(&["metadata", "namespace"])
            .and_then(Node::text)
            .unwrap_or("default");
        let labels = pairs(node.at(&["metadata", "labels"]));
        Some(Self {
            kind,
            name,
            namespace,
            labels,
            node,
        })
    }

    fn qualified(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    /// The application that labels or the namespace name.
    fn application(&self, more: &BTreeMap<String, String>) -> Option<String> {
        let label = |key: &str| self.labels.get(key).or_else(|| more.get(key)).cloned();
        let own_namespace = self.namespace != "default" && !self.namespace.starts_with("kube-");
        label("app.kubernetes.io/part-of")
            .or_else(|| label("application"))
            .or_else(|| own_namespace.then(|| self.namespace.to_owned()))
            .or_else(|| label("app.kubernetes.io/name"))
            .or_else(|| label("app"))
            .map(|name| identifier(&name))
            .filter(|id| !id.is_empty())
    }
}

// === workloads ===

fn read_workload(
    manifest: &Manifest<'_>,
    template: &[&str],
    found: &mut Found,
    errors: &mut Collector,
) {
    let node = manifest.node;
    let pod = node.at(template).unwrap_or(node);
    let containers = match pod.at(&["spec", "containers"]) {
        Some(Node {
            value: Value::List(containers),
            ..
        }) if !containers.is_empty() => containers,
        other => {
            let place = other.unwrap_or(pod);
            let path = [template, &["spec", "containers"]].concat().join(".");
            let expected = Text::new(
                format!("`{path}`（非空列表）"),
                format!("`{path}` (a list with at least one item)"),
            );
            errors.push(
                place.line,
                place.column,
                expected,
                other.map_or_else(nothing, Node::describe),
            );
            return;
        }
    };
    let mut labels = pairs(pod.at(&["metadata", "labels"]));
    let application = manifest
        .application(&labels)
        .unwrap_or_else(|| identifier(manifest.name));
    let id = format!("{application}/{}", manifest.name);
    if template.is_empty() {
        labels.extend(manifest.labels.clone());
    }
    found.exists(Kind::Application, &application, node.line);
    found.say(
        Kind::Application,
        &application,
        "namespace",
        manifest.namespace,
        node.line,
    );
    found.exists(Kind::Component, &id, node.line);
    let mut say = |attribute: &str, value: Json, line: u32| {
        found.say(Kind::Component, &id, attribute, value, line)
    };
    say("application", json!(application), node.line);
    say("workload", json!(manifest.kind), node.line);
    say("namespace", json!(manifest.namespace), node.line);
    if let Some(team) = manifest.labels.get("team").or_else(|| labels.get("team")) {
        say("team", json!(team), node.line);
    }
    if let Some(replicas) = node
        .at(&["spec", "replicas"])
        .filter(|it| it.integer().is_some_and(|count| count >= 0))
    {
        say("replicas", replicas.json(), replicas.line);
    }
    let label_list: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    say("labels", json!(label_list), pod.line);
    let every = containers.iter().chain(
        pod.at(&["spec", "initContainers"])
            .map_or(&[][..], Node::items),
    );
    for container in every {
        read_container(manifest, &id, container, found);
    }
    let engine = containers.iter().find_map(engine_of);
    if let Some((engine, line)) = engine {
        found.exists(Kind::DataStore, &id, line);
        found.say(
            Kind::DataStore,
            &id,
            "application",
            application.as_str(),
            line,
        );
        found.say(Kind::DataStore, &id, "component", id.as_str(), line);
        found.say(Kind::DataStore, &id, "engine", engine, line);
    }
    let owner = Mounter {
        component: &id,
        application: &application,
        is_data_store: engine.is_some(),
    };
    read_mounts(manifest, pod, &owner, found, errors);
}

fn read_container(manifest: &Manifest<'_>, id: &str, container: &Node, found: &mut Found) {
    let mut say = |attribute: &str, value: Json, line: u32| {
        found.say(Kind::Component, id, attribute, value, line)
    };
    if let Some(image) = container
        .get("image")
        .filter(|image| image.text().is_some())
    {
        say("images", image.json(), image.line);
    }
    for port in container.get("ports").map_or(&[][..], Node::items) {
        if let Some(number) = port
            .get("containerPort")
            .filter(|it| it.integer().is_some_and(|port| port > 0))
        {
            say("ports", number.json(), number.line);
        }
    }
    for variable in container.get("env").map_or(&[][..], Node::items) {
        let key = variable
            .get("name")
            .and_then(Node::text)
            .unwrap_or_default();
        if let Some(value) = variable.get("value") {
            for mention in address::mentions(key, value.text().unwrap_or_default()) {
                say("mentions", json!(mention), value.line);
            }
        }
        for (reference, prefix) in [("configMapKeyRef", ""), ("secretKeyRef", "secret/")] {
            let Some(reference) = variable.at(&["valueFrom", reference]) else {
                continue;
            };
            let (Some(name), Some(from)) = (
                reference.get("name").and_then(Node::text),
                reference.get("key").and_then(Node::text),
            ) else {
                continue;
            };
            say(
                "configurations",
                json!(format!(
                    "{}#{from}",
                    manifest.qualified(&format!("{prefix}{name}"))
                )),
                reference.line,
            );
        }
    }
    for source in container.get("envFrom").map_or(&[][..], Node::items) {
        for (reference, prefix) in [("configMapRef", ""), ("secretRef", "secret/")] {
            if let Some(name) = source
                .at(&[reference, "name"])
                .filter(|it| it.text().is_some())
            {
                let text = name.text().unwrap_or_default();
                say(
                    "configurations",
                    json!(manifest.qualified(&format!("{prefix}{text}"))),
                    name.line,
                );
            }
        }
    }
}

/// The engine that a container runs, by the name of its image or by a well-known port.
fn engine_of(container: &Node) -> Option<(&'static str, u32)> {
    let image = container.get("image");
    let name = image
        .and_then(Node::text)
        .and_then(|image| image.split(['@', ':']).next());
    let last = name.and_then(|name| name.rsplit('/').next());
    if let Some(engine) = last.and_then(crate::engine::by_name) {
        return Some((engine, image.map_or(0, |image| image.line)));
    }
    container
        .get("ports")
        .map_or(&[][..], Node::items)
        .iter()
        .find_map(|port| {
            let number = port.get("containerPort")?;
            let engine = crate::engine::by_port(u64::try_from(number.integer()?).ok()?)?;
            Some((engine, number.line))
        })
}

// === volumes ===

/// What mounts a volume.
struct Mounter<'a> {
    component: &'a str,
    application: &'a str,
    is_data_store: bool,
}

fn read_mounts(
    manifest: &Manifest<'_>,
    pod: &Node,
    mounter: &Mounter<'_>,
    found: &mut Found,
    errors: &mut Collector,
) {
    for volume in pod.at(&["spec", "volumes"]).map_or(&[][..], Node::items) {
        if let Some(claim) = volume
            .at(&["persistentVolumeClaim", "claimName"])
            .and_then(Node::text)
        {
            say_mounted(&manifest.qualified(claim), mounter, volume.line, found);
        }
        if mounter.is_data_store && volume.get("emptyDir").is_some() {
            let name = volume.get("name").and_then(Node::text).unwrap_or("?");
            found.note(
                volume.line,
                Text::new(
                    format!("数据存储 {} 使用 emptyDir“{name}”：Pod 删除后数据即丢失", mounter.component),
                    format!("the data store {} uses the emptyDir `{name}`: its data is lost with the pod", mounter.component),
                ),
            );
        }
    }
    let replicas = manifest
        .node
        .at(&["spec", "replicas"])
        .and_then(Node::integer)
        .unwrap_or(1);
    let replicas = u64::try_from(replicas).unwrap_or(0).min(REPLICAS_MAX);
    for template in manifest
        .node
        .at(&["spec", "volumeClaimTemplates"])
        .map_or(&[][..], Node::items)
    {
        let Some(name) = template.at(&["metadata", "name"]).and_then(Node::text) else {
            let expected = Text::new("`metadata.name`（文本）", "`metadata.name` (text)");
            errors.push(template.line, template.column, expected, nothing());
            continue;
        };
        for ordinal in 0..replicas {
            // Kubernetes names the claims of a stateful set TEMPLATE-SET-ORDINAL.
            let id = manifest.qualified(&format!("{name}-{}-{ordinal}", manifest.name));
            say_mounted(&id, mounter, template.line, found);
            read_claim(&id, template, found, errors);
        }
    }
}

fn say_mounted(id: &str, mounter: &Mounter<'_>, line: u32, found: &mut Found) {
    found.exists(Kind::Volume, id, line);
    found.say(Kind::Volume, id, "application", mounter.application, line);
    found.say(Kind::Volume, id, "component", mounter.component, line);
    if mounter.is_data_store {
        found.say(Kind::Volume, id, "data_store", mounter.component, line);
    }
}

fn read_claim(id: &str, claim: &Node, found: &mut Found, errors: &mut Collector) {
    if let Some(class) = claim
        .at(&["spec", "storageClassName"])
        .filter(|it| it.text().is_some())
    {
        found.say(Kind::Volume, id, "storage_class", class.json(), class.line);
    }
    if let Some(size) = claim.at(&["spec", "resources", "requests", "storage"]) {
        let written = match size.json() {
            Json::String(text) => text,
            other => other.to_string(),
        };
        match quantity::bytes(&written) {
            Some(bytes) => found.say(Kind::Volume, id, "size_bytes", bytes, size.line),
            None => {
                let expected = Text::new("存储量，如 `10Gi`", "a quantity such as `10Gi`");
                errors.push(size.line, size.column, expected, size.describe());
            }
        }
    }
}

// === services, ingresses, configurations ===

fn read_service(manifest: &Manifest<'_>, found: &mut Found) {
    let node = manifest.node;
    let id = manifest.qualified(manifest.name);
    let selector = pairs(node.at(&["spec", "selector"]));
    found.exists(Kind::Interface, &id, node.line);
    found.say(Kind::Interface, &id, "host", manifest.name, node.line);
    found.say(
        Kind::Interface,
        &id,
        "namespace",
        manifest.namespace,
        node.line,
    );
    if let Some(application) = manifest.application(&selector) {
        found.say(Kind::Interface, &id, "application", application, node.line);
    }
    for port in node.at(&["spec", "ports"]).map_or(&[][..], Node::items) {
        if let Some(number) = port
            .get("port")
            .filter(|it| it.integer().is_some_and(|port| port > 0))
        {
            found.say(Kind::Interface, &id, "ports", number.json(), number.line);
        }
    }
    if !selector.is_empty() {
        let list: Vec<String> = selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        found.say(Kind::Interface, &id, "selector", json!(list), node.line);
    }
    if let Some(kind) = node
        .at(&["spec", "type"])
        .filter(|it| matches!(it.text(), Some("LoadBalancer" | "NodePort")))
    {
        let name = kind.text().unwrap_or_default();
        found.note(
            kind.line,
            Text::new(
                format!("服务 {id} 的类型为 {name}：集群外可访问，请确认暴露范围"),
                format!("the service {id} is of type {name}: it can be reached from outside the cluster, confirm its exposure"),
            ),
        );
    }
}

fn read_ingress(manifest: &Manifest<'_>, found: &mut Found) {
    let application = manifest.application(&BTreeMap::new());
    for (index, rule) in manifest
        .node
        .at(&["spec", "rules"])
        .map_or(&[][..], Node::items)
        .iter()
        .enumerate()
    {
        let id = manifest.qualified(&format!("ingress/{}/{index}", manifest.name));
        found.exists(Kind::Interface, &id, rule.line);
        found.say(
            Kind::Interface,
            &id,
            "namespace",
            manifest.namespace,
            rule.line,
        );
        if let Some(host) = rule.get("host").and_then(Node::text) {
            found.say(Kind::Interface, &id, "host", host, rule.line);
        }
        if let Some(application) = &application {
            found.say(
                Kind::Interface,
                &id,
                "application",
                application.as_str(),
                rule.line,
            );
        }
    }
}

fn read_configuration(manifest: &Manifest<'_>, values_may_be_read: bool, found: &mut Found) {
    let prefix = if values_may_be_read { "" } else { "secret/" };
    let id = manifest.qualified(&format!("{prefix}{}", manifest.name));
    found.exists(Kind::Configuration, &id, manifest.node.line);
    found.say(
        Kind::Configuration,
        &id,
        "namespace",
        manifest.namespace,
        manifest.node.line,
    );
    for section in ["data", "stringData"] {
        for entry in manifest.node.get(section).map_or(&[][..], Node::entries) {
            found.say(
                Kind::Configuration,
                &id,
                "keys",
                entry.key.as_str(),
                entry.line,
            );
            let value = entry
                .node
                .text()
                .filter(|_| values_may_be_read)
                .unwrap_or_default();
            for mention in address::mentions(&entry.key, value) {
                found.say(
                    Kind::Configuration,
                    &id,
                    "mentions",
                    json!(mention),
                    entry.line,
                );
            }
        }
    }
}

/// The members of a map of scalars as text.
fn pairs(node: Option<&Node>) -> BTreeMap<String, String> {
    let text = |node: &Node| match node.json() {
        Json::String(text) => text,
        other => other.to_string(),
    };
    node.map_or(&[][..], Node::entries)
        .iter()
        .map(|entry| (entry.key.clone(), text(&entry.node)))
        .collect()
}
