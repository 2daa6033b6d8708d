//! Owns `--security-opt`: what the daemon takes, with profiles read here.

/// The options as they cross the API; `read` gives the content of a file.
pub fn options(
    options: &[String],
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<(Vec<String>, bool), String> {
    let mut all = Vec::new();
    let mut unconfined_paths = false;
    for option in options {
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, value),
            None if option == "no-new-privileges" => {
                all.push(option.clone());
                continue;
            }
            None => return Err(format!("Invalid --security-opt: \"{option}\"")),
        };
        match (key, value) {
            ("systempaths", "unconfined") => unconfined_paths = true,
            ("seccomp", "unconfined" | "builtin") => all.push(format!("{key}={value}")),
            ("seccomp", path) => {
                let text = read(path).map_err(|why| format!("opening seccomp profile ({path}) failed: {why}"))?;
                let profile: serde_json::Value = serde_json::from_str(&text)
                    .map_err(|why| format!("compacting json for seccomp profile ({path}) failed: {why}"))?;
                all.push(format!("seccomp={profile}"));
            }
            _ => all.push(format!("{key}={value}")),
        }
    }
    Ok((all, unconfined_paths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_here() {
        let read = |path: &str| match path {
            "p.json" => Ok("{ \"defaultAction\":\n \"SCMP_ACT_ALLOW\" }".to_owned()),
            _ => Err("no such file or directory".to_owned()),
        };
        let of = |given: &[&str]| options(&given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), read);
        let (all, paths) =
            of(&["no-new-privileges", "seccomp=p.json", "apparmor:x", "systempaths=unconfined"]).unwrap();
        assert_eq!(all, ["no-new-privileges", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "apparmor=x"]);
        assert!(paths);
        assert_eq!(of(&["seccomp=unconfined"]).unwrap().0, ["seccomp=unconfined"]);
        assert!(of(&["foo"]).is_err() && of(&["seccomp=absent"]).is_err());
    }
}
