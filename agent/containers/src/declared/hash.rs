//! Owns the digest of a declaration: of all that a container cannot change while it lives.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::model::{Declaration, Group};

/// Raised when the same declaration makes another container.
const GENERATION: u32 = 1;

/// SHA-256, hexadecimal. How it is restarted and updated and what it waits for is not part of it:
/// that needs no new container.
pub fn hash(declaration: &Declaration) -> String {
    let body = serde_json::to_value(&declaration.body).unwrap_or_default();
    let mut text = format!("{GENERATION}\n{}\n{}\n", declaration.image, declaration.group.as_deref().unwrap_or("-"));
    canonical(&body, &mut text);
    hex::encode(Sha256::digest(text))
}

/// SHA-256, hexadecimal, of the network that the containers of a group share.
pub fn network(group: &Group) -> String {
    let mut text = format!("{GENERATION}\n{}\n", group.network);
    canonical(&serde_json::to_value(&group.ports).unwrap_or_default(), &mut text);
    hex::encode(Sha256::digest(text))
}

/// JSON with the keys of objects sorted: maps of the body have no order of their own.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in pairs {
                text.push_str(key);
                text.push('\0');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}
