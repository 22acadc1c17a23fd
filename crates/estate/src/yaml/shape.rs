//! Checking a tree against a JSON Schema: the schema that we publish is the one that decides.
//!
//! Knows the part of JSON Schema that `schemars` writes for our types: `$ref`, `type`,
//! `properties`, `required`, `additionalProperties: false`, `items`, `enum`, `const`, `oneOf` and
//! `anyOf` (alternatives), `minimum`, `maximum`, `minLength`.

use crate::error::{Collector, nothing};
use crate::text::Text;
use crate::yaml::tree::{Entry, Node, Value};
use serde_json::Value as Json;

/// Puts everything in `node` that does not fit `schema` into `errors`. `root` holds the `$defs`.
pub(crate) fn check(root: &Json, schema: &Json, node: &Node, errors: &mut Collector) {
    let schema = resolve(root, schema);
    if let Some(choices) = alternatives(schema) {
        let fitting = choices
            .iter()
            .map(|choice| resolve(root, choice))
            .find(|choice| admits(choice, node));
        match fitting {
            Some(choice) => check(root, choice, node, errors),
            None => errors.push(
                node.line,
                node.column,
                describe(root, schema),
                node.describe(),
            ),
        }
        return;
    }
    if !admits(schema, node) {
        errors.push(
            node.line,
            node.column,
            describe(root, schema),
            node.describe(),
        );
        return;
    }
    match &node.value {
        Value::Map(entries) => check_map(root, schema, node, entries, errors),
        Value::List(items) => {
            if let Some(item_schema) = schema.get("items") {
                for item in items {
                    check(root, item_schema, item, errors);
                }
            }
        }
        _ => {}
    }
}

fn check_map(root: &Json, schema: &Json, node: &Node, entries: &[Entry], errors: &mut Collector) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return;
    };
    for entry in entries {
        if let Some(property) = properties.get(&entry.key) {
            check(root, property, &entry.node, errors);
        } else if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            let list = known.join(", ");
            let near = nearest(&entry.key, &known);
            let (zh, en) = match near {
                Some(near) => (
                    format!("（是否想写 `{near}`？）"),
                    format!(" (did you mean `{near}`?)"),
                ),
                None => (String::new(), String::new()),
            };
            let expected = Text::new(
                format!("以下字段之一：{list}{zh}"),
                format!("one of the fields {list}{en}"),
            );
            errors.push(
                entry.line,
                entry.column,
                expected,
                Text::new(
                    format!("字段 `{}`", entry.key),
                    format!("the field `{}`", entry.key),
                ),
            );
        }
    }
    for required in schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let Some(name) = required.as_str() else {
            continue;
        };
        if node.get(name).is_none_or(Node::is_null) {
            let expected = Text::new(format!("字段 `{name}`"), format!("the field `{name}`"));
            errors.push(node.line, node.column, expected, nothing());
        }
    }
}

fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let Some(reference) = schema.get("$ref").and_then(Json::as_str) else {
        return schema;
    };
    reference
        .strip_prefix('#')
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

fn alternatives(schema: &Json) -> Option<&Vec<Json>> {
    schema
        .get("oneOf")
        .or_else(|| schema.get("anyOf"))
        .and_then(Json::as_array)
}

/// Whether the node itself, without what it holds, fits.
fn admits(schema: &Json, node: &Node) -> bool {
    if let Some(constant) = schema.get("const") {
        return node.json() == *constant;
    }
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        return choices.contains(&node.json());
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => return true,
    };
    match &node.value {
        Value::Null => types.contains(&"null"),
        Value::Bool(_) => types.contains(&"boolean"),
        Value::Integer(number) => types.contains(&"integer") && within(schema, *number),
        Value::Float(_) => false,
        Value::Text(text) => {
            let shortest = schema.get("minLength").and_then(Json::as_u64).unwrap_or(0);
            types.contains(&"string") && text.chars().count() as u64 >= shortest
        }
        Value::List(_) => types.contains(&"array"),
        Value::Map(_) => types.contains(&"object"),
    }
}

fn within(schema: &Json, number: i64) -> bool {
    let bound = |name: &str| schema.get(name).and_then(whole);
    let number = i128::from(number);
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
}

// schemars writes some bounds of integers as `0.0`.
fn whole(value: &Json) -> Option<i128> {
    match value {
        Json::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").unwrap_or(&text).parse().ok()
        }
        _ => None,
    }
}

/// What the schema asks for, in words.
fn describe(root: &Json, schema: &Json) -> Text {
    if let Some(choices) = alternatives(schema) {
        let each: Vec<Text> = choices
            .iter()
            .map(|choice| resolve(root, choice))
            .filter(|choice| choice.get("type") != Some(&Json::from("null")))
            .map(|choice| describe(root, choice))
            .collect();
        let zh: Vec<&str> = each.iter().map(|text| text.zh.as_str()).collect();
        let en: Vec<&str> = each.iter().map(|text| text.en.as_str()).collect();
        return Text::new(zh.join(" 或 "), en.join(" or "));
    }
    let word = |value: &Json| match value {
        Json::String(text) => format!("`{text}`"),
        other => other.to_string(),
    };
    if let Some(constant) = schema.get("const") {
        return Text::new(word(constant), word(constant));
    }
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        let list: Vec<String> = choices
            .iter()
            .filter(|choice| !choice.is_null())
            .map(word)
            .collect();
        return Text::new(list.join(" 或 "), list.join(" or "));
    }
    let kind = match schema.get("type") {
        Some(Json::String(one)) => one.as_str(),
        Some(Json::Array(several)) => several
            .iter()
            .filter_map(Json::as_str)
            .find(|name| *name != "null")
            .unwrap_or("null"),
        _ => "",
    };
    match kind {
        "string" => Text::new("文本（数字请加引号）", "text (put a number in quotes)"),
        "boolean" => Text::new("true 或 false", "true or false"),
        "array" => Text::new("列表", "a list"),
        "object" => describe_object(schema),
        "integer" => describe_integer(schema),
        _ => Text::new("其他内容", "something else"),
    }
}

fn describe_object(schema: &Json) -> Text {
    let fields: Vec<&str> = schema
        .get("properties")
        .and_then(Json::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let list = fields.join(", ");
    Text::new(
        format!("含字段 {list} 的映射"),
        format!("a map with the fields {list}"),
    )
}

fn describe_integer(schema: &Json) -> Text {
    let bound = |name: &str| schema.get(name).and_then(whole);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) if least == most => {
            Text::new(least.to_string(), least.to_string())
        }
        (Some(least), Some(most)) => Text::new(
            format!("{least} 到 {most} 的整数"),
            format!("a whole number from {least} to {most}"),
        ),
        (Some(least), None) => Text::new(
            format!("不小于 {least} 的整数"),
            format!("a whole number of at least {least}"),
        ),
        (None, Some(most)) => Text::new(
            format!("不大于 {most} 的整数"),
            format!("a whole number of at most {most}"),
        ),
        (None, None) => Text::new("整数", "a whole number"),
    }
}

/// The known name that is at most two edits away, the nearest first.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const EDITS_MAX: usize = 2;
    known
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= EDITS_MAX && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, left) in one.chars().enumerate() {
        let mut diagonal = row;
        let mut current = row + 1;
        let mut next = vec![current];
        for (upper, right) in above.iter().skip(1).zip(&other) {
            let replaced = diagonal + usize::from(left != *right);
            current = replaced.min(upper + 1).min(current + 1);
            diagonal = *upper;
            next.push(current);
        }
        above = next;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_answered_with_the_near_one() {
        assert_eq!(nearest("ownr", &["owner", "tier"]), Some("owner"));
        assert_eq!(nearest("colour", &["owner", "tier"]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
