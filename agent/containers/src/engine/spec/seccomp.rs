//! Translates a seccomp profile in Docker's format, with conditions on capabilities and
//! architectures, to the runtime's, which has none.

use std::collections::HashSet;

use oci_spec::runtime::{Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSyscall};
use serde::Deserialize;

use crate::error::{Error, Result};

/// The profile for who asks for none, from Debian's `golang-github-containers-common`.
pub const DEFAULT: &str = "/usr/share/containers/seccomp.json";

/// A profile as it is written. What else is in the file is for other programs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// How old profiles name a single call.
    #[serde(default)]
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// What the conditions of a profile are about.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the container may do.
    pub capabilities: &'a HashSet<Capability>,
    /// The release of the kernel.
    pub kernel: &'a str,
}

impl Profile {
    /// Reads a profile.
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text)
            .map_err(|error| Error::Invalid(format!("Decoding seccomp profile failed: {error}")))
    }

    /// The profile as the runtime takes it.
    pub fn evaluate(&self, facts: Facts<'_>) -> Result<LinuxSeccomp> {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(self.default_action);
        profile.set_default_errno_ret(self.default_errno_ret);
        profile.set_architectures(Some(self.arches()?));
        let rules = self.syscalls.iter().filter(|rule| rule.applies(facts));
        let rules = rules.map(Rule::evaluate).collect::<Result<Vec<_>>>()?;
        profile.set_syscalls((!rules.is_empty()).then_some(rules));
        Ok(profile)
    }

    fn arches(&self) -> Result<Vec<Arch>> {
        let (native, _) = native();
        let mapped = self.arch_map.iter().find(|map| map.architecture == native);
        let names: Vec<&String> = match mapped {
            Some(map) => std::iter::once(&map.architecture).chain(map.sub_architectures.iter().flatten()).collect(),
            None => self.architectures.iter().collect(),
        };
        let arch = |name: &&String| serde_json::from_value(serde_json::Value::String((*name).clone())).ok();
        let unknown = |name: &&String| Error::Invalid(format!("{name:?} is no architecture of a seccomp profile"));
        names.iter().map(|name| arch(name).ok_or_else(|| unknown(name))).collect()
    }
}

impl Rule {
    fn applies(&self, facts: Facts<'_>) -> bool {
        let (_, arch) = native();
        let has = |cap: &String| facts.capabilities.iter().any(|capability| format!("CAP_{capability}") == *cap);
        let included = self.includes.as_ref().is_none_or(|filter| {
            filter.caps.iter().all(has)
                && (filter.arches.is_empty() || filter.arches.iter().any(|name| name == arch))
                && filter.min_kernel.as_ref().is_none_or(|least| release(facts.kernel) >= release(least))
        });
        let excluded = self.excludes.as_ref().is_some_and(|filter| {
            filter.caps.iter().any(has)
                || filter.arches.iter().any(|name| name == arch)
                || filter.min_kernel.as_ref().is_some_and(|least| release(facts.kernel) >= release(least))
        });
        included && !excluded
    }

    fn evaluate(&self) -> Result<LinuxSyscall> {
        let names: Vec<String> = self.names.iter().chain(&self.name).cloned().collect();
        if names.is_empty() {
            return Err(Error::Invalid("a rule of the seccomp profile names no system call".to_owned()));
        }
        let mut call = LinuxSyscall::default();
        call.set_names(names);
        call.set_action(self.action);
        call.set_errno_ret(self.errno_ret);
        call.set_args(self.args.clone().filter(|args| !args.is_empty()));
        Ok(call)
    }
}

/// This machine in the words of libseccomp and in those of Go, which profiles use both.
fn native() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("SCMP_ARCH_AARCH64", "arm64"),
        _ => ("SCMP_ARCH_X86_64", "amd64"),
    }
}

/// `6.12.3-amd64` is 6 and 12.
fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|byte: char| !byte.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"defaultErrno":"ENOSYS",
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                   {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
        "syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[],"includes":{},"excludes":{}},
        {"names":["bpf"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{"caps":["CAP_SYS_ADMIN"]},"excludes":{}},
        {"names":["bpf"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["s390"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
        {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
        {"names":["personality"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":8,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#;

    fn rules(capabilities: &[Capability], kernel: &str) -> Vec<(String, LinuxSeccompAction)> {
        let capabilities = capabilities.iter().copied().collect();
        let facts = Facts { capabilities: &capabilities, kernel };
        let evaluated = Profile::parse(PROFILE.as_bytes()).unwrap().evaluate(facts).unwrap();
        assert_eq!(evaluated.architectures().as_ref().map(Vec::len), Some(2));
        let calls = evaluated.syscalls().clone().unwrap();
        calls.iter().map(|call| (call.names().join(" "), call.action())).collect()
    }

    #[test]
    fn conditions_on_capabilities() {
        let without = rules(&[], "6.1.0");
        assert!(without.contains(&("bpf".to_owned(), LinuxSeccompAction::ScmpActErrno)));
        assert!(!without.contains(&("bpf".to_owned(), LinuxSeccompAction::ScmpActAllow)));
        let with = rules(&[Capability::SysAdmin], "6.1.0");
        assert!(with.contains(&("bpf".to_owned(), LinuxSeccompAction::ScmpActAllow)));
        assert_eq!(with.len(), 4);
    }

    #[test]
    fn conditions_on_the_machine() {
        assert!(!rules(&[], "6.1.0").iter().any(|(name, _)| name == "s390"));
        assert!(rules(&[], "4.19.0-9").iter().any(|(name, _)| name == "ptrace"));
        assert!(!rules(&[], "4.4.0").iter().any(|(name, _)| name == "ptrace"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Profile::parse(b"{}").is_err());
        let unnamed = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#;
        let facts = Facts { capabilities: &HashSet::new(), kernel: "6.1" };
        assert!(Profile::parse(unnamed).unwrap().evaluate(facts).is_err());
    }
}
