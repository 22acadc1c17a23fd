//! One policy, compiled once and asked many times; it can look at nothing but its input.

use crate::control::Parameter;
use crate::verdict::Status;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value as RegoValue};
use serde_json::Value;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;
use yundu_estate::text::Text;

/// Longest policy text, bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Longest evaluation of one policy; longer counts as unknown. Three orders of magnitude above
/// what the embedded policies need, so that a slow machine gives the same verdict.
pub const POLICY_TIME_MAX: Duration = Duration::from_secs(5);
/// Work units of the interpreter between two looks at its timer.
const TIMER_CHECK_INTERVAL: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);
/// Most reasons that are taken from one policy, and the longest of them in characters.
const REASONS_MAX: usize = 64;
const REASON_CHARS_MAX: usize = 2_000;

/// What would make a verdict depend on something else than its input.
const FORBIDDEN: [&str; 8] = [
    "time.now_ns",
    "http.send",
    "net.lookup_ip_addr",
    "opa.runtime",
    "rand.",
    "uuid.rfc4122",
    "io.jwt",
    "trace",
];

/// Why a policy cannot be used; its controls are unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The catalog has no such file.
    #[error("catalog/policies/{file} does not exist; add it or correct `policy:` of the control")]
    Missing {
        /// File name.
        file: String,
    },
    /// Not Rego, or Rego that does not compile.
    #[error("catalog/policies/{file} is not valid Rego: {message}")]
    Invalid {
        /// File name.
        file: String,
        /// Line and cause, as the compiler says it.
        message: String,
    },
    /// It asks for the clock, the network, chance …
    #[error(
        "catalog/policies/{file}:{line} uses `{builtin}`: a verdict may depend on its recorded input alone; use `input.now_us` for the time"
    )]
    Forbidden {
        /// File name.
        file: String,
        /// 1-based line.
        line: usize,
        /// The name used.
        builtin: String,
    },
    /// Larger than [`POLICY_BYTES_MAX`].
    #[error("catalog/policies/{file} has {size_bytes} bytes; at most {POLICY_BYTES_MAX} are read")]
    TooLarge {
        /// File name.
        file: String,
        /// Its size.
        size_bytes: usize,
    },
}

/// A compiled policy of one control, with that control's parameters.
#[derive(Clone)]
pub(crate) struct Policy {
    engine: Engine,
    query: String,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// What a policy answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: Status,
    pub reasons: Vec<Text>,
}

impl Answer {
    fn unknown(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self {
            status: Status::Unknown,
            reasons: vec![Text::new(zh, en)],
        }
    }
}

impl Policy {
    /// Compiles `file` of `texts` together with `lib.rego`, if there is one.
    pub(crate) fn compile(
        file: &str,
        texts: &BTreeMap<String, String>,
        parameters: &BTreeMap<String, Parameter>,
        time_max: Duration,
    ) -> Result<Self, PolicyFault> {
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: time_max,
            check_interval: TIMER_CHECK_INTERVAL,
        });
        let invalid = |file: &str, error: &dyn std::fmt::Display| PolicyFault::Invalid {
            file: file.to_owned(),
            message: one_line(&error.to_string()),
        };
        let mut package = String::new();
        let library = (file != "lib.rego" && texts.contains_key("lib.rego")).then_some("lib.rego");
        for name in library.into_iter().chain([file]) {
            let text = texts.get(name).ok_or_else(|| PolicyFault::Missing {
                file: name.to_owned(),
            })?;
            if text.len() > POLICY_BYTES_MAX {
                return Err(PolicyFault::TooLarge {
                    file: name.to_owned(),
                    size_bytes: text.len(),
                });
            }
            refuse_forbidden(name, text)?;
            package = engine
                .add_policy(name.to_owned(), text.clone())
                .map_err(|error| invalid(name, &error))?;
        }
        let data = serde_json::json!({ "parameters": parameters });
        engine
            .add_data(RegoValue::from(data))
            .map_err(|error| invalid(file, &error))?;
        // Undefined variables and unknown functions come to light at the first evaluation.
        let query = format!("{package}.verdict");
        let mut policy = Self { engine, query };
        policy.engine.set_input(RegoValue::new_object());
        if let Err(error) = policy.engine.eval_rule(policy.query.clone()) {
            let message = error.to_string();
            if !is_run_time(&message) {
                return Err(invalid(file, &message));
            }
        }
        Ok(policy)
    }

    /// Asks the policy; anything but the one expected shape is unknown.
    pub(crate) fn ask(&self, input: &Value) -> Answer {
        let mut engine = self.engine.clone();
        engine.set_input(RegoValue::from(input.clone()));
        match engine.eval_rule(self.query.clone()) {
            Err(error) => {
                let message = one_line(&error.to_string());
                Answer::unknown(
                    format!("策略无法计算：{message}"),
                    format!("the policy could not be computed: {message}"),
                )
            }
            Ok(RegoValue::Undefined) => Answer::unknown(
                "策略没有给出 verdict（未定义），通常是缺少证据字段",
                "the policy gave no verdict (undefined): a field of the evidence is probably missing",
            ),
            Ok(value) => read_answer(&value),
        }
    }
}

/// Time-outs and errors of built-ins depend on the input; they are judged when asked.
fn is_run_time(message: &str) -> bool {
    message.contains("time limit") || message.contains("limit exceeded")
}

fn read_answer(value: &RegoValue) -> Answer {
    let shape = || {
        Answer::unknown(
            "策略的 verdict 不是 {\"status\", \"reasons\"} 的形式",
            "the policy's verdict does not have the shape {\"status\", \"reasons\"}",
        )
    };
    let Ok(json) = value.to_json_str() else {
        return shape();
    };
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(&json) else {
        return shape();
    };
    let (Some(status), Some(reasons), 2) =
        (fields.get("status"), fields.get("reasons"), fields.len())
    else {
        return shape();
    };
    let Ok(status) = serde_json::from_value::<Status>(status.clone()) else {
        return shape();
    };
    let Ok(mut reasons) = serde_json::from_value::<Vec<Text>>(reasons.clone()) else {
        return shape();
    };
    reasons.truncate(REASONS_MAX);
    for text in &mut reasons {
        text.zh = text.zh.chars().take(REASON_CHARS_MAX).collect();
        text.en = text.en.chars().take(REASON_CHARS_MAX).collect();
    }
    Answer { status, reasons }
}

/// Refuses names that reach outside the input. Strings and comments are blanked first, and white
/// space around dots is closed up, so that neither hides a name nor looks like one.
fn refuse_forbidden(file: &str, text: &str) -> Result<(), PolicyFault> {
    let code = code_only(text);
    for (index, line) in code.lines().enumerate() {
        let tight: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let tight = tight.replace(" .", ".").replace(". ", ".");
        for name in FORBIDDEN {
            if uses(&tight, name) {
                return Err(PolicyFault::Forbidden {
                    file: file.to_owned(),
                    line: index + 1,
                    builtin: name.trim_end_matches('.').to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Whether `name` stands in `line` as a word of its own, called as a function or as a reference.
fn uses(line: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        let rest = line.get(at + name.len()..).unwrap_or_default();
        let after = rest.chars().next();
        let starts = !before.is_some_and(word);
        let ends = name.ends_with('.') || !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let called = name != "trace" || rest.trim_start().starts_with('(');
        starts && ends && called
    })
}

fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut characters = text.chars();
    let mut inside: Option<char> = None;
    while let Some(character) = characters.next() {
        match inside {
            None if matches!(character, '"' | '`' | '#') => {
                inside = Some(character);
                code.push(' ');
            }
            None => code.push(character),
            Some(_) if character == '\n' => {
                // A raw string may span lines; a comment or a plain string may not.
                if inside != Some('`') {
                    inside = None;
                }
                code.push('\n');
            }
            Some('"') if character == '\\' => {
                characters.next();
            }
            Some(quote) if quote != '#' && character == quote => inside = None,
            Some(_) => {}
        }
    }
    code
}

fn one_line(message: &str) -> String {
    message
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(400)
        .collect()
}
