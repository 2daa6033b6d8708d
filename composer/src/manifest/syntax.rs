//! Owns the grammar of single values: pure checks of one text each, whose error says what is wrong
//! with it and what would be right.

use crate::expand::{self, Wrong};

/// What a check gives: nothing, or a message without a place.
pub type Checked = Result<(), String>;

/// Debian architectures with a kernel to boot.
pub const ARCHITECTURES: [&str; 9] =
    ["amd64", "arm64", "armhf", "i386", "loong64", "mips64el", "ppc64el", "riscv64", "s390x"];

/// Suffixes of systemd units.
const UNIT_TYPES: [&str; 11] =
    ["service", "socket", "target", "timer", "mount", "automount", "path", "slice", "scope", "swap", "device"];

/// Folders that are not part of a commit, each with what to do instead.
const NOT_IN_COMMIT: [(&str, &str); 14] = [
    ("/var", "/var is empty in a commit: copy a tmpfiles.d file that makes it on the host"),
    ("/run", "/run is made at boot: copy a tmpfiles.d file that makes it on the host"),
    ("/tmp", "/tmp is made at boot: copy a tmpfiles.d file that makes it on the host"),
    ("/home", "it links into /var: copy a tmpfiles.d file that makes it on the host"),
    ("/root", "it links into /var: copy a tmpfiles.d file that makes it on the host"),
    ("/srv", "it links into /var: copy a tmpfiles.d file that makes it on the host"),
    ("/mnt", "it links into /var: copy a tmpfiles.d file that makes it on the host"),
    ("/opt", "it links into /var: use a folder under /usr/lib"),
    ("/usr/local", "it links into /var: use the same folder under /usr"),
    ("/usr/etc", "write /etc: the commit keeps it as /usr/etc"),
    ("/boot", "/boot belongs to the host: kernels live under /usr/lib/modules"),
    ("/dev", "the kernel fills it"),
    ("/proc", "the kernel fills it"),
    ("/sys", "the kernel fills it"),
];

fn check(good: bool, message: impl FnOnce() -> String) -> Checked {
    if good { Ok(()) } else { Err(message()) }
}

fn debian_name(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}

/// A manifest's name: it becomes os-release's `ID`-like field and file names.
pub fn name(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    check(good, || format!("`{text}` is no name: lower-case letters, digits, `-`, `_` and `.`"))
}

/// A container image's name.
pub fn image(text: &str) -> Checked {
    let whole = whole_image(text);
    check(whole.is_some(), || format!("`{text}` is no image: write [REGISTRY/]NAME[:TAG], like registry.example/web:1"))
}

/// An image's name with the parts that may be left out.
pub fn whole_image(text: &str) -> Option<String> {
    text.parse::<oci_spec::distribution::Reference>().ok().map(|reference| reference.whole())
}

/// An OSTree ref, `keelson/host/amd64`.
pub fn reference(text: &str) -> Checked {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    check(text.split('/').all(part), || {
        format!("`{text}` is no ref: letters, digits, `-`, `_` and `.`, in parts separated by `/`, like keelson/host")
    })
}

/// A version, or the prefix of one.
pub fn version(text: &str) -> Checked {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~+:".contains(c));
    check(good, || format!("`{text}` is no version: letters, digits and any of -_.~+:"))
}

/// A Debian architecture.
pub fn architecture(text: &str) -> Checked {
    check(ARCHITECTURES.contains(&text), || {
        let near =
            keelson_common::strict::nearest(text, &ARCHITECTURES).map(|near| format!(" (did you mean `{near}`?)"));
        format!("`{text}` is no Debian architecture{}; known: {}", near.unwrap_or_default(), ARCHITECTURES.join(", "))
    })
}

/// A package to install: `name`, `name=version` or `name/suite`.
pub fn wanted_package(text: &str) -> Checked {
    let (name, rest) = match text.find(['=', '/']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    package(name)?;
    let good = rest
        .is_none_or(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~+:".contains(c)));
    check(good, || format!("`{text}`: after the name there may be `=VERSION` or `/SUITE`"))
}

/// A package's bare name.
pub fn package(text: &str) -> Checked {
    if let Some(bare) = text.strip_suffix('-') {
        return Err(format!("`{text}` would remove the package: write `{bare}` under `exclude`"));
    }
    if let Some((bare, _)) = text.split_once(':') {
        return Err(format!("`{text}` names an architecture: write `{bare}`; a host has one architecture"));
    }
    check(debian_name(text), || {
        format!("`{text}` is no package name: at least two of lower-case letters, digits, `+`, `-` and `.`")
    })
}

/// A repository's short name, an archive or a component.
pub fn word(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    check(good, || format!("`{text}`: letters, digits, `-`, `_`, `.` and `+` only, without spaces or `/`"))
}

/// A suite, `trixie`, `trixie-security`, `stable/updates`, or `./` of a flat repository.
pub fn suite(text: &str) -> Checked {
    let good = !text.is_empty()
        && !text.starts_with('/')
        && !text.split('/').any(|part| part == "..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c));
    check(good, || format!("`{text}` is no suite: a name like `trixie`, or a folder ending in `/` when flat"))
}

/// An address packages or updates come from.
pub fn url(text: &str) -> Checked {
    let rest = ["http://", "https://", "file:///"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let good =
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()));
    check(good, || format!("`{text}` is no address: it starts with http://, https:// or file:/// and has no spaces"))
}

/// Permission bits in octal, `0644`.
pub fn mode(text: &str) -> Result<u32, String> {
    let good = (3..=4).contains(&text.len()) && text.chars().all(|c| c.is_digit(8));
    let bits = u32::from_str_radix(text, 8).ok().filter(|_| good);
    bits.ok_or_else(|| format!("`{text}` is no mode: three or four octal digits, like \"0644\""))
}

/// An absolute path without `.` and `..`, which ends without `/`.
pub fn absolute(text: &str) -> Checked {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not absolute: it starts with `/`, the root of the host"));
    }
    let good = text == "/" || text[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    check(good && !text.contains(char::is_control), || {
        format!("`{text}` is no plain path: without `.`, `..`, `//` and a `/` at the end")
    })
}

/// A path that a commit can hold.
pub fn in_commit(text: &str) -> Checked {
    absolute(text)?;
    let below = |folder: &str| text == folder || text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    match NOT_IN_COMMIT.iter().find(|(folder, _)| below(folder)) {
        Some((_, why)) => Err(format!("`{text}` would be lost: {why}")),
        None => check(!below("/sysroot") && !below("/ostree"), || format!("`{text}` belongs to libostree")),
    }
}

/// A systemd unit with its type, `ssh.service`.
pub fn unit(text: &str) -> Checked {
    let Some((stem, kind)) = text.rsplit_once('.') else {
        return Err(format!("`{text}` has no unit type: did you mean `{text}.service`?"));
    };
    if !UNIT_TYPES.contains(&kind) {
        let near = keelson_common::strict::nearest(kind, &UNIT_TYPES).unwrap_or("service");
        return Err(format!("`{text}`: `.{kind}` is no unit type; did you mean `{stem}.{near}`?"));
    }
    let good = !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
    check(good, || format!("`{text}` is no unit name: letters, digits and any of :-_.\\@ before the type"))
}

/// The unit a host boots into.
pub fn target(text: &str) -> Checked {
    unit(text)?;
    check(text.ends_with(".target"), || format!("`{text}` is no target: the default is one, like multi-user.target"))
}

/// A login or group name, as systemd-sysusers takes it.
pub fn account(text: &str) -> Checked {
    let good = (1..=31).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c));
    check(good, || {
        format!("`{text}` is no account name: up to 31 lower-case letters, digits, `-` and `_`, a letter or `_` first")
    })
}

/// A uid or gid of an account that a manifest creates.
pub fn id(number: u32) -> Checked {
    check(!matches!(number, 0 | 65534 | 65535 | u32::MAX), || format!("the id {number} is root's or reserved"))
}

/// One kernel argument.
pub fn karg(text: &str) -> Checked {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{text}` is not one kernel argument: write each as its own item, without spaces"));
    }
    let key = text.split('=').next().unwrap_or_default();
    check(!matches!(key, "ostree" | "root" | "BOOT_IMAGE" | "initrd"), || {
        format!("`{text}`: `{key}=` is set when a disk is made and when a version is deployed")
    })
}

/// A static hostname.
pub fn hostname(text: &str) -> Checked {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    check(text.len() <= 64 && text.split('.').all(label), || {
        format!("`{text}` is no hostname: letters, digits and `-`, in parts separated by `.`, at most 64 characters")
    })
}

/// A field name of os-release.
pub fn os_release_key(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    check(good, || format!("`{text}` is no os-release field: upper-case letters, digits and `_`, like PRETTY_NAME"))
}

/// A value of os-release: one line.
pub fn os_release_value(text: &str) -> Checked {
    check(!text.contains(char::is_control), || "an os-release value is one line of text".to_owned())
}

/// The name of a dracut module or a kernel driver.
pub fn module(text: &str) -> Checked {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    check(good, || format!("`{text}` is no module name: letters, digits, `-` and `_`; without .ko"))
}

/// Replaces `${arch}` and `${name}`; anything else in `${...}` is an error.
pub fn expand(text: &str, arch: &str, name: &str) -> Result<String, String> {
    let word = |variable: &str| match variable {
        "arch" => Some(arch),
        "name" => Some(name),
        _ => None,
    };
    expand::expand(text, word).map_err(|wrong| match wrong {
        Wrong::Open { .. } => format!("`{text}`: `${{` is never closed"),
        Wrong::Unknown { name, .. } => format!("`${{{name}}}` means nothing: there are ${{arch}} and ${{name}}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(check: impl Fn(&str) -> Checked, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in bad {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_debian() {
        all(
            wanted_package,
            &["g++", "libc6", "ab=1:2~rc1-1+b2", "x11/trixie-backports"],
            &["", "a", "Foo", "foo-", "foo:i386", "foo bar", "foo=", "foo/", "-foo", "foo=1 2"],
        );
        all(suite, &["trixie", "stable/updates", "./"], &["", "/x", "a/../b", "tri xie"]);
        all(architecture, &["amd64"], &["x86_64", ""]);
        assert!(architecture("amd46").unwrap_err().contains("did you mean `amd64`?"));
        all(word, &["main", "non-free-firmware"], &["", "main contrib", "a/b"]);
    }

    #[test]
    fn names_of_ostree_and_systemd() {
        all(reference, &["keelson/host/amd64", "x"], &["", "/x", "x/", "a//b", "a b", "../x", ".x"]);
        all(
            unit,
            &["ssh.service", "getty@.service", "var-lib\\x2dx.mount", "dev-ttyS0.device"],
            &["ssh", "ssh.servce", ".service", "a b.service"],
        );
        assert!(unit("ssh.servce").unwrap_err().ends_with("did you mean `ssh.service`?"));
        all(target, &["multi-user.target"], &["ssh.service"]);
        all(account, &["_apt", "core"], &["", "Core", "1x", "a b", "a.b"]);
    }

    #[test]
    fn paths_that_survive() {
        all(
            in_commit,
            &["/", "/etc/motd", "/usr/lib/x", "/varnish"],
            &[
                "",
                "etc",
                "/etc/",
                "/etc//x",
                "/etc/../x",
                "/var/lib/x",
                "/run/x",
                "/usr/local/bin/x",
                "/usr/etc/x",
                "/sysroot/x",
                "/boot/x",
            ],
        );
        assert!(in_commit("/var/lib/x").unwrap_err().contains("tmpfiles.d"));
    }

    #[test]
    fn kernel_and_host() {
        all(karg, &["quiet", "console=ttyS0,115200"], &["", "a b", "ostree=/x", "root=LABEL=x", "tab\t"]);
        all(hostname, &["keelson", "a.example"], &["", "-a", "a_b", "a..b"]);
        all(url, &["https://x/y", "file:///srv/x"], &["", "x", "ftp://x", "https://", "http://x y"]);
        assert_eq!(mode("0644"), Ok(0o644));
        assert_eq!(mode("1777"), Ok(0o1777));
        for bad in ["644x", "99", "0o644", "", "+644", "0888"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_expand_or_are_errors() {
        assert_eq!(expand("a/${name}/${arch}", "amd64", "host").as_deref(), Ok("a/host/amd64"));
        assert!(expand("${arhc}", "amd64", "host").unwrap_err().contains("${arch}"));
        assert!(expand("${arch", "amd64", "host").is_err());
    }
}
