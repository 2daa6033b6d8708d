//! Owns the rule by which a node gets its name: text with variables for what the host knows of itself.

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `{hostname}`: up to its first dot.
    Hostname,
    /// `{instance-id}`: the cloud's name of the machine.
    InstanceId,
    /// `{machine-id}`: systemd's.
    MachineId,
    /// `{query:PATH}`: what `cloud-init query PATH` says.
    Query(String),
}

/// A rule for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

impl Template {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| format!("`{text}`: a variable ends with }}"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable(variable(name)?));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// The name: a DNS label or several, as Kubernetes wants one; what does not fit in one becomes a dash.
    pub fn fill<E>(&self, mut value: impl FnMut(&Variable) -> Result<String, E>) -> Result<String, E> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Variable(variable) => name.push_str(&value(variable)?),
            }
        }
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
        let name: String = name.chars().map(fit).take(253).collect();
        Ok(name.trim_matches(['-', '.']).to_owned())
    }

    /// Whether it is the same on every host.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }
}

fn variable(name: &str) -> Result<Variable, String> {
    match name {
        "hostname" => Ok(Variable::Hostname),
        "instance-id" => Ok(Variable::InstanceId),
        "machine-id" => Ok(Variable::MachineId),
        _ => match name.strip_prefix("query:").filter(|path| !path.is_empty()) {
            Some(path) => Ok(Variable::Query(path.to_owned())),
            None => Err(format!(
                "`{{{name}}}` is no variable: there are {{hostname}}, {{instance-id}}, {{machine-id}} and \
                 {{query:PATH}}"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let value = |variable: &Variable| {
            Ok::<_, ()>(match variable {
                Variable::Hostname => "Host".to_owned(),
                Variable::InstanceId => "i-0a".to_owned(),
                Variable::MachineId => "f00".to_owned(),
                Variable::Query(path) => format!("<{path}>"),
            })
        };
        Template::parse(text).unwrap().fill(value).unwrap()
    }

    #[test]
    fn names_are_what_kubernetes_takes() {
        assert_eq!(filled("worker"), "worker");
        assert_eq!(filled("{hostname}"), "host");
        assert_eq!(filled("eu_{instance-id}.{machine-id}"), "eu-i-0a.f00");
        assert_eq!(filled("{query:v1.region}-x"), "v1.region--x");
        assert_eq!(filled("{hostname}-"), "host");
        assert!(Template::parse("a").unwrap().is_fixed() && !Template::parse("{hostname}").unwrap().is_fixed());
    }

    #[test]
    fn what_is_no_variable_is_told() {
        assert!(Template::parse("{host}").unwrap_err().contains("is no variable: there are {hostname}"));
        assert!(Template::parse("{query:}").is_err());
        assert!(Template::parse("a{hostname").unwrap_err().contains("ends with }"));
    }
}
