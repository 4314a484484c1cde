//! Whether a tool call runs in the background, and how: one answer for schema, prompt and dispatch.
//!
//! # Invariants
//! 1. Only an eligible tool runs in the background, whatever the model asks for.
//! 2. What the model says goes before what the agent says, that before the tool, that before the
//!    default; each field is looked for by itself.
//!
//! *Not here*: running the tool.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// The field of a tool call's arguments in which the model says how it shall run.
pub const FIELD: &str = "_background";

/// What becomes of a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The turn waits for its result, inline.
    Foreground,
    /// The model gets a placeholder and goes on; the run need not wait for the result.
    Deferred,
    /// The model gets a placeholder and goes on, but the run waits for the result.
    Awaited,
}

/// What a tool, an agent or the host says; what is `None` is left to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether it may run in the background.
    pub eligible: Option<bool>,
    /// How it runs unless the model says otherwise.
    pub disposition: Option<Disposition>,
    /// Its time limit.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retries: Option<u32>,
}

/// What an agent says of its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AgentTools {
    /// Nothing.
    #[default]
    Open,
    /// All of them are eligible.
    All,
    /// These, by name without the prefixes `agent-` and `workflow-`.
    Named(BTreeMap<String, Settings>),
    /// None runs in the background.
    Disabled,
}

/// What is said of an agent's tools, beside what the tools say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the agent says.
    pub agent: AgentTools,
    /// What holds for tools of which nobody says anything.
    pub default: Settings,
    /// How many tasks are above the agent.
    pub level: u32,
}

/// How a tool call runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Inline or how else.
    pub disposition: Disposition,
    /// Its time limit, if anybody set one.
    pub timeout: Option<Duration>,
    /// How often it is tried again, if anybody said so.
    pub retries: Option<u32>,
    /// The arguments without [`FIELD`].
    pub args: Value,
}

/// The model filled [`FIELD`] with something else than its schema allows; tell it so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FIELD}.{field} cannot be {value}; use {expected}")]
pub struct InvalidWish {
    /// Which field of it.
    pub field: String,
    /// What it was.
    pub value: String,
    /// What it can be.
    pub expected: &'static str,
}

impl Disposition {
    /// Whether the model gets a placeholder instead of the result.
    pub const fn is_background(self) -> bool {
        matches!(self, Self::Deferred | Self::Awaited)
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "foreground" => Some(Self::Foreground),
            "deferred" => Some(Self::Deferred),
            "awaited" => Some(Self::Awaited),
            _ => None,
        }
    }
}

impl Policy {
    /// Whether this tool may run in the background at all.
    pub fn is_eligible(&self, name: &str, tool: &Settings) -> bool {
        let agent = match &self.agent {
            AgentTools::Disabled => return false,
            AgentTools::All => Some(true),
            AgentTools::Open | AgentTools::Named(_) => self.said_of(name).eligible,
        };
        let said = agent.or(tool.eligible).or(self.default.eligible);
        said.unwrap_or(false) && self.level <= 1
    }

    /// How this tool runs when the model says nothing.
    pub fn default_disposition(&self, name: &str, tool: &Settings) -> Disposition {
        if !self.is_eligible(name, tool) {
            return Disposition::Foreground;
        }
        let agent = self.said_of(name).disposition;
        let said = agent.or(tool.disposition).or(self.default.disposition);
        said.unwrap_or(Disposition::Foreground)
    }

    /// How this call of a tool runs.
    ///
    /// ```
    /// use serde_json::json;
    /// use understory::models::background::{Disposition, Policy, Settings};
    ///
    /// let tool = Settings { eligible: Some(true), ..Settings::default() };
    /// let args = json!({ "query": "rust", "_background": { "disposition": "deferred" } });
    /// let call = Policy::default().resolve("search", &tool, &args)?;
    /// assert_eq!(call.disposition, Disposition::Deferred);
    /// assert_eq!(call.args, json!({ "query": "rust" }));
    /// # Ok::<(), understory::models::background::InvalidWish>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidWish`] when the tool is eligible and [`FIELD`] is not as its schema says.
    pub fn resolve(
        &self,
        name: &str,
        tool: &Settings,
        args: &Value,
    ) -> Result<Resolved, InvalidWish> {
        let mut args = args.clone();
        let wish = args.as_object_mut().and_then(|args| args.remove(FIELD));
        let agent = self.said_of(name);
        let mut resolved = Resolved {
            disposition: self.default_disposition(name, tool),
            timeout: agent.timeout.or(tool.timeout).or(self.default.timeout),
            retries: agent.retries.or(tool.retries).or(self.default.retries),
            args,
        };
        if let Some(wish) = wish.filter(|_| self.is_eligible(name, tool)) {
            resolved.heed(&wish)?;
        }
        Ok(resolved)
    }

    /// The policy of an agent that runs as a background task of this one: its own tools may make
    /// tasks, but those of an agent one level further may not.
    pub fn nested(&self) -> Self {
        let level = self.level + 1;
        Self {
            level,
            ..self.clone()
        }
    }

    fn said_of(&self, name: &str) -> Settings {
        let AgentTools::Named(tools) = &self.agent else {
            return Settings::default();
        };
        let bare = name
            .strip_prefix("agent-")
            .or_else(|| name.strip_prefix("workflow-"));
        let said = tools.get(name).or_else(|| tools.get(bare?));
        said.cloned().unwrap_or_default()
    }
}

impl Resolved {
    fn heed(&mut self, wish: &Value) -> Result<(), InvalidWish> {
        let invalid = |field: &str, value: &Value, expected| InvalidWish {
            field: field.to_owned(),
            value: value.to_string(),
            expected,
        };
        let Some(wish) = wish.as_object() else {
            return Err(invalid("", wish, "an object"));
        };
        let mut enabled = None;
        let mut disposition = None;
        for (field, value) in wish {
            match field.as_str() {
                "enabled" => {
                    let said = value.as_bool();
                    enabled = Some(said.ok_or_else(|| invalid(field, value, "true or false"))?);
                }
                "disposition" => {
                    let said = value.as_str().and_then(Disposition::parse);
                    let expected = "foreground, deferred or awaited";
                    disposition = Some(said.ok_or_else(|| invalid(field, value, expected))?);
                }
                "timeout_ms" => {
                    let said = value.as_u64().map(Duration::from_millis);
                    let expected = "a whole number of milliseconds";
                    self.timeout = Some(said.ok_or_else(|| invalid(field, value, expected))?);
                }
                "max_retries" => {
                    let said = value
                        .as_u64()
                        .and_then(|retries| u32::try_from(retries).ok());
                    let expected = "a whole number";
                    self.retries = Some(said.ok_or_else(|| invalid(field, value, expected))?);
                }
                _ => return Err(invalid(field, value, "the fields of its schema")),
            }
        }
        self.disposition = match (enabled, disposition) {
            (Some(false), _) => Disposition::Foreground,
            (_, Some(said)) => said,
            (Some(true), None) if !self.disposition.is_background() => Disposition::Deferred,
            (Some(true) | None, None) => self.disposition,
        };
        Ok(())
    }
}

/// The schema of a tool's arguments, with [`FIELD`] if the tool is eligible. A schema that is not
/// of an object stays as it is, and so does the one that is given.
///
/// ```
/// use serde_json::json;
/// use understory::models::background::{Policy, Settings, schema};
///
/// let plain = json!({ "type": "object", "properties": {} });
/// let tool = Settings { eligible: Some(true), ..Settings::default() };
/// let advertised = schema(&Policy::default(), "search", &tool, &plain);
/// assert!(advertised["properties"]["_background"].is_object());
/// assert_eq!(schema(&Policy::default(), "ask", &Settings::default(), &plain), plain);
/// ```
pub fn schema(policy: &Policy, name: &str, tool: &Settings, plain: &Value) -> Value {
    let mut schema = plain.clone();
    let is_object =
        plain["type"] == "object" && plain.get("properties").is_none_or(Value::is_object);
    if is_object && policy.is_eligible(name, tool) {
        schema["properties"][FIELD] = json!({
            "type": "object",
            "description": "How this call runs. Leave it out to use the tool's own way.",
            "properties": {
                "enabled": { "type": "boolean" },
                "disposition": { "enum": ["foreground", "deferred", "awaited"] },
                "timeout_ms": { "type": "integer", "minimum": 0 },
                "max_retries": { "type": "integer", "minimum": 0 },
            },
            "additionalProperties": false,
        });
    }
    schema
}

/// What to tell a model of its tools that can run in the background; `None` when there are none.
///
/// ```
/// use understory::models::background::{Policy, Settings, system_prompt};
///
/// let tool = Settings { eligible: Some(true), ..Settings::default() };
/// let text = system_prompt(&Policy::default(), &[("search", &tool)]).unwrap_or_default();
/// assert!(text.contains("- search"));
/// assert_eq!(system_prompt(&Policy::default(), &[]), None);
/// ```
pub fn system_prompt(policy: &Policy, tools: &[(&str, &Settings)]) -> Option<String> {
    let eligible = tools
        .iter()
        .filter(|(name, tool)| policy.is_eligible(name, tool));
    let lines: Vec<_> = eligible
        .map(
            |(name, tool)| match policy.default_disposition(name, tool) {
                Disposition::Foreground => format!("- {name}"),
                Disposition::Deferred => format!("- {name} (in the background by default)"),
                Disposition::Awaited => {
                    format!("- {name} (in the background by default; your run waits for it)")
                }
            },
        )
        .collect();
    if lines.is_empty() {
        return None;
    }
    Some(format!(
        "These tools can run in the background. Such a call answers at once with a task id, and \
         you are told of the result when it is there. Add \"{FIELD}\" to the arguments of a call \
         to choose: {{\"disposition\": \"deferred\"}} to go on without the result, \"awaited\" \
         to go on but end only when it is there, \"foreground\" to wait.\n{}",
        lines.join("\n")
    ))
}
