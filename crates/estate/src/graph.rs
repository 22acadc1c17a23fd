//! The dependencies between applications as a graph that other tools draw.

use crate::estate::{ApplicationDependency, Estate};
use crate::model::{DependencyKind, Tier};
use crate::text::{Lang, Text};
use serde::Serialize;
use std::fmt::Write;

/// The graph of applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// Every application.
    pub nodes: Vec<GraphNode>,
    /// Who needs whom.
    pub edges: Vec<ApplicationDependency>,
}

/// One application in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphNode {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: Text,
    /// Its highest stated tier.
    pub tier: Option<Tier>,
    /// Its site, where all sources agree.
    pub site: Option<String>,
}

// === impl Graph ===

impl Graph {
    /// The applications of `estate` and the dependencies between them.
    pub fn of(estate: &Estate) -> Self {
        let nodes = estate
            .applications
            .values()
            .map(|application| GraphNode {
                id: application.id.clone(),
                name: application.display_name(),
                tier: application.tier.greatest().copied(),
                site: application.site.agreed().cloned(),
            })
            .collect();
        Self {
            nodes,
            edges: estate.application_dependencies(),
        }
    }

    /// Mermaid's flowchart; dashed arrows are asynchronous or batch.
    pub fn mermaid(&self, lang: Lang) -> String {
        let mut text = String::from("flowchart LR\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let label = format!("{}<br/>{}", plain(node.name.get(lang)), plain(&node.id));
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  n{index}[\"{label}\"]:::{}", tier_class(node.tier));
        }
        for edge in &self.edges {
            if let (Some(from), Some(to)) = (self.index(&edge.from), self.index(&edge.to)) {
                let arrow = if waits(edge) { "-->" } else { "-.->" };
                let _ = writeln!(text, "  n{from} {arrow} n{to}");
            }
        }
        for (class, fill) in [
            ("core", "#f4b6b6"),
            ("important", "#f7dba7"),
            ("general", "#cfe3f5"),
            ("office", "#e4e4e4"),
            ("unknown", "#ffffff"),
        ] {
            let _ = writeln!(text, "  classDef {class} fill:{fill},stroke:#555");
        }
        text
    }

    /// Graphviz; dashed edges are asynchronous or batch.
    pub fn dot(&self, lang: Lang) -> String {
        let mut text = String::from("digraph estate {\n  rankdir=LR;\n  node [shape=box];\n");
        for node in &self.nodes {
            let label = format!("{}\\n{}", escaped(node.name.get(lang)), escaped(&node.id));
            let _ = writeln!(text, "  \"{}\" [label=\"{label}\"];", escaped(&node.id));
        }
        for edge in &self.edges {
            let style = if waits(edge) { "" } else { " [style=dashed]" };
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\"{style};",
                escaped(&edge.from),
                escaped(&edge.to)
            );
        }
        text.push_str("}\n");
        text
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }
}

/// Whether the one that needs may wait for an answer; unknown counts as waiting.
fn waits(edge: &ApplicationDependency) -> bool {
    let loose = [DependencyKind::Asynchronous, DependencyKind::Batch];
    edge.kinds.is_empty() || edge.kinds.iter().any(|kind| !loose.contains(kind))
}

fn tier_class(tier: Option<Tier>) -> &'static str {
    match tier {
        Some(Tier::Core) => "core",
        Some(Tier::Important) => "important",
        Some(Tier::General) => "general",
        Some(Tier::Office) => "office",
        None => "unknown",
    }
}

// Mermaid reads HTML entities in labels; everything that could end the label becomes one.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' | '<' | '>' | '&' | '#' | ';' | '`' | '[' | ']' => {
                format!("#{};", u32::from(character))
            }
            other => other.to_string(),
        })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
