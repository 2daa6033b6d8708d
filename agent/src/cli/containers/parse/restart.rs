//! Owns `--restart`: `no`, `always`, `unless-stopped`, `on-failure[:N]`.

use bollard::models::{RestartPolicy, RestartPolicyNameEnum as Name};

/// The policy.
pub fn policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let format = |why: &str| format!("invalid restart policy format: {why}");
    if name.is_empty() && count.is_some() {
        return Err(format("no policy provided before colon"));
    }
    let name = match name {
        "" | "no" => Name::NO,
        "always" => Name::ALWAYS,
        "unless-stopped" => Name::UNLESS_STOPPED,
        "on-failure" => Name::ON_FAILURE,
        other => {
            return Err(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    };
    let count = match count {
        None => None,
        Some(_) if name != Name::ON_FAILURE => {
            return Err("invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned());
        }
        Some(count) => match count.parse::<i64>() {
            Ok(count) if count >= 0 => Some(count),
            Ok(_) => return Err("invalid restart policy: maximum retry count cannot be negative".to_owned()),
            Err(_) => return Err(format("maximum retry count must be an integer")),
        },
    };
    Ok(RestartPolicy { name: Some(name), maximum_retry_count: count.or(Some(0)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy() {
        let of = |text| policy(text).map(|policy| (policy.name.unwrap(), policy.maximum_retry_count.unwrap()));
        assert_eq!(of("no"), Ok((Name::NO, 0)));
        assert_eq!(of("on-failure:3"), Ok((Name::ON_FAILURE, 3)));
        assert_eq!(of("on-failure"), Ok((Name::ON_FAILURE, 0)));
        assert_eq!(of("unless-stopped"), Ok((Name::UNLESS_STOPPED, 0)));
        assert!(of("always:3").is_err() && of("on-failure:x").is_err() && of("on-failure:-1").is_err());
        assert!(of(":3").is_err() && of("sometimes").is_err());
    }
}
