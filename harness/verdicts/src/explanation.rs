//! What differs between two runs and may explain another result: the caller's words, with the values where there are any.

use serde::{Deserialize, Serialize};

/// One difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// A sentence that says all of it.
    pub text: String,
    /// Dotted name of what differs, where it has one: `settings.gpu.0.power.limit_watts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it was, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<String> for Explanation {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}
