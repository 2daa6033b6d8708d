//! Owns `$(VAR)` in commands, arguments and values of variables. Pure.

/// Replaces each `$(NAME)` by what `value` has for it, and leaves it where there is nothing; `$$` is one
/// `$`, so `$$(NAME)` stays as `$(NAME)`.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        expanded.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match value(name) {
                Some(value) => expanded.push_str(&value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "REF" => Some("$(A)".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn references_are_replaced_once() {
        assert_eq!(expanded("x$(A)y$(A)"), "xaya");
        assert_eq!(expanded("$(EMPTY)-$(REF)"), "-$(A)");
    }

    #[test]
    fn what_is_unknown_or_no_reference_stays() {
        assert_eq!(expanded("$(B) $A ${A} $ $(A"), "$(B) $A ${A} $ $(A");
        assert_eq!(expanded("cost: 5$"), "cost: 5$");
        assert_eq!(expanded("$()"), "$()");
    }

    #[test]
    fn a_doubled_dollar_is_one() {
        assert_eq!(expanded("$$(A) $$$(A) $$$$(A)"), "$(A) $a $$(A)");
    }
}
