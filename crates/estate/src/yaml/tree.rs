//! YAML documents as trees in which every node knows its line and column.

use crate::error::{Collector, again, more, nothing, quoted, verbatim};
use crate::text::Text;
use granit_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;
/// Most nodes in one file, aliases counted as often as they are used: a small file with aliases
/// of aliases must not grow without limit.
const NODES_MAX: usize = 500_000;

/// A node and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// Kept as written: nothing in the estate is a float.
    Float(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub line: u32,
    pub column: u32,
    pub node: Node,
}

/// Reads every document in `text`. What cannot be read goes into `errors`, and reading goes on
/// with the next document.
pub(crate) fn parse(text: &str, errors: &mut Collector) -> Vec<Node> {
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_comments: false,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                let (line, column) = place(&span.start);
                if let Some(document) = builder.take(event, line, column, errors) {
                    documents.push(document);
                }
                if builder.is_exhausted {
                    let limit = Text::new(
                        format!("最多 {NODES_MAX} 个节点"),
                        format!("at most {NODES_MAX} nodes in one file"),
                    );
                    errors.push(line, column, limit, more());
                    return documents;
                }
            }
            Err(error) => {
                let (line, column) = place(error.marker());
                errors.push(
                    line,
                    column,
                    Text::new("合法的 YAML", "valid YAML"),
                    verbatim(error.info()),
                );
                builder.reset_document();
                // A document that is broken says nothing about the next one.
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    documents
}

fn place(marker: &Marker) -> (u32, u32) {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    (
        number(marker.line()),
        number(marker.col()).saturating_add(1),
    )
}

/// Turns events into trees.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    is_exhausted: bool,
    done: Option<Node>,
}

/// A collection whose end was not seen yet.
struct Open {
    anchor: usize,
    line: u32,
    column: u32,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Entries),
}

/// The members of a map so far.
#[derive(Default)]
struct Entries {
    entries: Vec<Entry>,
    /// The line on which each key first stood.
    lines: BTreeMap<String, u32>,
    /// A key whose value was not seen yet.
    waiting: Option<(String, u32, u32)>,
}

// === impl Entries ===

impl Entries {
    fn take(&mut self, node: Node, errors: &mut Collector) {
        let Some((key, line, column)) = self.waiting.take() else {
            self.waiting = Some((key_text(&node, errors), node.line, node.column));
            return;
        };
        if let Some(first) = self.lines.get(&key) {
            let expected = Text::new(
                format!("键 `{key}` 只出现一次（首次在第 {first} 行）"),
                format!("the key `{key}` only once (first on line {first})"),
            );
            errors.push(line, column, expected, again());
            return;
        }
        self.lines.insert(key.clone(), line);
        self.entries.push(Entry {
            key,
            line,
            column,
            node,
        });
    }
}

// === impl Builder ===

impl Builder {
    fn reset_document(&mut self) {
        self.open.clear();
        self.anchors.clear();
        self.done = None;
    }

    fn take(
        &mut self,
        event: Event<'_>,
        line: u32,
        column: u32,
        errors: &mut Collector,
    ) -> Option<Node> {
        match event {
            Event::DocumentStart(..) => self.reset_document(),
            Event::DocumentEnd => {
                let done = self.done.take();
                self.reset_document();
                return done;
            }
            Event::Scalar(text, style, anchor, _) => {
                let value = match style {
                    ScalarStyle::Plain => plain(&text),
                    _ => Value::Text(text.into_owned()),
                };
                self.close(
                    anchor,
                    Node {
                        value,
                        line,
                        column,
                    },
                    errors,
                );
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open {
                    anchor,
                    line,
                    column,
                    content: Content::List(Vec::new()),
                });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open {
                    anchor,
                    line,
                    column,
                    content: Content::Map(Entries::default()),
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open {
                    anchor,
                    line,
                    column,
                    content,
                }) = self.open.pop()
                {
                    let value = match content {
                        Content::List(items) => Value::List(items),
                        Content::Map(map) => Value::Map(map.entries),
                    };
                    self.close(
                        anchor,
                        Node {
                            value,
                            line,
                            column,
                        },
                        errors,
                    );
                }
            }
            Event::Alias(anchor) => {
                // The alias stands here, so that an error in it is shown where it is used.
                let Some(anchored) = self.anchors.get(&anchor) else {
                    let expected =
                        Text::new("指向已结束节点的别名", "an alias of a node that has ended");
                    errors.push(
                        line,
                        column,
                        expected,
                        Text::new(
                            "位于所指节点内部的别名",
                            "an alias inside the node it names",
                        ),
                    );
                    self.close(
                        0,
                        Node {
                            value: Value::Null,
                            line,
                            column,
                        },
                        errors,
                    );
                    return None;
                };
                self.nodes = self.nodes.saturating_add(anchored.size());
                if self.nodes > NODES_MAX {
                    self.is_exhausted = true;
                    return None;
                }
                let value = anchored.value.clone();
                self.close(
                    0,
                    Node {
                        value,
                        line,
                        column,
                    },
                    errors,
                );
            }
            _ => {}
        }
        None
    }

    fn close(&mut self, anchor: usize, node: Node, errors: &mut Collector) {
        // What a collection holds was counted when it closed; an anchor keeps a second copy.
        self.nodes = self
            .nodes
            .saturating_add(if anchor == 0 { 1 } else { node.size() });
        if self.nodes > NODES_MAX {
            self.is_exhausted = true;
            return;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.done = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries)) => entries.take(node, errors),
        }
    }
}

fn key_text(node: &Node, errors: &mut Collector) -> String {
    match &node.value {
        Value::Text(text) | Value::Float(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => String::new(),
        Value::List(_) | Value::Map(_) => {
            let expected = Text::new("文本作为键", "text as a key");
            errors.push(node.line, node.column, expected, node.describe());
            String::new()
        }
    }
}

/// The YAML 1.2 core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map_or_else(|_| Value::Text(text.to_owned()), Value::Integer);
    }
    if digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && text.parse::<f64>().is_ok()
    {
        return Value::Float(text.to_owned());
    }
    Value::Text(text.to_owned())
}

// === impl Node ===

impl Node {
    /// The member `key` of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The member at the end of `path`.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The members of a map; nothing for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; nothing for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a text node.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer node.
    pub(crate) fn integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Nothing stands here.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What stands here, for an error message.
    pub(crate) fn describe(&self) -> Text {
        match &self.value {
            Value::Null => nothing(),
            Value::Bool(flag) => verbatim(format!("`{flag}`")),
            Value::Integer(number) => {
                Text::new(format!("数字 {number}"), format!("the number {number}"))
            }
            Value::Float(text) => Text::new(format!("数字 {text}"), format!("the number {text}")),
            Value::Text(text) => verbatim(quoted(text)),
            Value::List(items) => Text::new(
                format!("{} 项的列表", items.len()),
                format!("a list of {}", items.len()),
            ),
            Value::Map(entries) => Text::new(
                format!("{} 个键的映射", entries.len()),
                format!("a map of {}", entries.len()),
            ),
        }
    }

    /// As JSON, without the places.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::from(*flag),
            Value::Integer(number) => Json::from(*number),
            Value::Float(text) | Value::Text(text) => Json::from(text.as_str()),
            Value::List(items) => Json::Array(items.iter().map(Node::json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.json()))
                    .collect(),
            ),
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => items
                .iter()
                .map(Node::size)
                .sum::<usize>()
                .saturating_add(1),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| entry.node.size())
                .sum::<usize>()
                .saturating_add(1),
            _ => 1,
        }
    }
}
