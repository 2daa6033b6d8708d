//! Tests of whole manifests: files written to a folder, loaded, and the manifest or the problems
//! compared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const BASE: &str = r#"
name = "base"
ref = "keelson/${name}/${arch}"
version = "13.1"
architecture = "amd64"
packages = ["systemd", "dracut", "linux-image-cloud-${arch}"]
kargs = ["quiet"]
hostname = "one"
[units]
enable = ["ssh.service"]
default = "multi-user.target"
[os-release]
ID = "keelson"
[initramfs]
omit = ["crypt"]
[[repository]]
suite = "trixie"
components = ["main"]
[[file]]
target = "/etc/motd"
content = "hello"
"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn good(files: &[(&str, &str)]) -> Manifest {
    load(&folder(files).path().join("m.toml")).unwrap()
}

/// The problems of `m.toml`, without the folder's name.
fn bad(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    let error = load(&dir.path().join("m.toml")).unwrap_err();
    error.to_string().replace(&format!("{}/", dir.path().display()), "")
}

/// The problems of a manifest that includes a good base.
fn above_base(text: &str) -> String {
    bad(&[("base.toml", BASE), ("m.toml", &format!("include = ['base.toml']\n{text}"))])
}

#[test]
fn one_file_is_a_manifest() {
    let manifest = good(&[("m.toml", BASE)]);
    assert_eq!(manifest.reference, "keelson/base/amd64");
    assert_eq!(manifest.version, VersionRule::Fixed("13.1".into()));
    assert_eq!(manifest.packages, ["dracut", "linux-image-cloud-amd64", "systemd"]);
    assert_eq!(manifest.repositories[0].name, "trixie");
    assert_eq!(manifest.repositories[0].archive, "debian");
    assert!(!manifest.recommends);
}

#[test]
fn an_including_manifest_overrides_scalars_and_adds_to_lists() {
    let top = r#"
include = ["base.toml"]
name = "host"
version = { prefix = "13." }
local = ["../debs"]
packages = ["crun", "systemd=257.1-1"]
kargs = ["console=ttyS0"]
[units]
mask = ["ssh.service"]
[os-release]
ID = "other"
VARIANT = "x"
[[file]]
target = "/etc/motd"
content = "bye"
mode = "0600"
"#;
    let manifest = good(&[("base.toml", BASE), ("m.toml", top)]);
    assert_eq!(manifest.reference, "keelson/host/amd64");
    assert_eq!(manifest.version, VersionRule::Counter { prefix: "13.".into() });
    assert_eq!(manifest.packages, ["crun", "dracut", "linux-image-cloud-amd64", "systemd=257.1-1"]);
    assert_eq!(manifest.kargs, ["quiet", "console=ttyS0"]);
    assert_eq!(manifest.units.mask, ["ssh.service"]);
    assert!(manifest.units.enable.is_empty());
    assert_eq!(manifest.units.default.as_deref(), Some("multi-user.target"));
    assert_eq!(manifest.os_release["ID"], "other");
    assert_eq!(manifest.files.len(), 1);
    assert_eq!((manifest.files[0].content.as_deref(), manifest.files[0].mode), (Some("bye"), Some(0o600)));
    assert!(manifest.local[0].is_absolute() && manifest.local[0].ends_with("debs"));
}

#[test]
fn drop_takes_out_what_includes_bring_in() {
    let top = r#"
include = ["base.toml"]
[drop]
packages = ["dracut"]
files = ["/etc/motd"]
units = ["ssh.service"]
kargs = ["quiet"]
os-release = ["ID"]
initramfs = ["crypt"]
repositories = ["trixie"]
[[repository]]
suite = "sid"
components = ["main"]
"#;
    let manifest = good(&[("base.toml", BASE), ("m.toml", top)]);
    assert_eq!(manifest.packages, ["linux-image-cloud-amd64", "systemd"]);
    assert!(manifest.files.is_empty() && manifest.kargs.is_empty() && manifest.os_release.is_empty());
    assert!(manifest.units.enable.is_empty() && manifest.initramfs.omit.is_empty());
    assert_eq!(manifest.repositories.len(), 1);
}

#[test]
fn a_drop_that_drops_nothing_is_a_problem() {
    assert_eq!(
        above_base("[drop]\npackages = ['drcut']\n"),
        "m.toml:3:13: the includes bring in no package `drcut` to drop; did you mean `dracut`?"
    );
    assert_eq!(
        bad(&[("m.toml", &format!("{BASE}[drop]\npackages = ['dracut']\n"))]),
        "m.toml:23:13: the includes bring in no package `dracut` to drop"
    );
}

#[test]
fn every_problem_is_shown_at_once() {
    let problems = above_base("packages = ['Foo', 'bar-']\nkargs = ['a b']\n[units]\nmask = ['ssh']\n");
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 4, "{problems}");
    assert!(lines[0].starts_with("m.toml:2:13: `Foo` is no package name"));
    assert!(lines[1].starts_with("m.toml:2:20: `bar-` would remove the package"));
}

#[test]
fn a_package_is_not_both_wanted_and_excluded() {
    assert_eq!(
        above_base("exclude = ['dracut']\n"),
        "m.toml:2:12: the package `dracut` is excluded here and wanted at base.toml:6: to take it out of an include, \
         write it under [drop] packages"
    );
}

#[test]
fn doubles_are_problems() {
    let user = |name: &str| format!("[[user]]\nname = '{name}'\nuid = 900\n");
    assert_eq!(above_base(&(user("a") + &user("b"))), "m.toml:6:8: the uid 900 is taken already, at m.toml:3");
    assert!(above_base(&(user("a") + &user("a"))).contains("the user `a` is in this file twice, first at m.toml:3"));
    assert!(above_base("[units]\nenable = ['a.service']\nmask = ['a.service']\n").contains("twice"));
}

#[test]
fn files_that_are_missing_or_lost_are_problems() {
    let file = |rest: &str| above_base(&format!("[[file]]\n{rest}\n"));
    assert!(file("target = '/etc/x'\nsource = 'gone'").contains("m.toml:4:10: cannot read the source "));
    assert!(file("target = '/var/lib/x'\ncontent = ''").contains("copy a tmpfiles.d file"));
    assert!(file("target = '/etc/x'").contains("either `source` or `content`"));
    assert!(file("target = '/etc/x'\ncontent = ''\nmode = '9'").contains("m.toml:5:8: `9` is no mode"));
    let overlay = "include = ['base.toml']\n[[file]]\ntarget = '/'\nsource = 'root'\n";
    let problems = bad(&[("base.toml", BASE), ("m.toml", overlay), ("root/var/lib/x", "")]);
    assert!(problems.starts_with("m.toml:3:10: `/var` would be lost"), "{problems}");
}

#[test]
fn repositories_are_checked() {
    let repository = |rest: &str| above_base(&format!("[[repository]]\n{rest}\n"));
    assert!(
        repository("suite = 'x'\ncomponents = ['main']\nkey = 'gone.asc'").contains("m.toml:5:7: cannot read the key")
    );
    assert!(repository("suite = './'\nname = 'x'\ncomponents = ['main']").contains("has no components"));
    assert!(repository("suite = 'x'").contains("`components` is missing"));
    assert!(above_base("packages = ['xz/sid']").contains("no [[repository]] has the suite `sid`; there are: trixie"));
}

#[test]
fn includes_that_are_missing_or_circular_are_problems() {
    assert!(bad(&[("m.toml", "include = ['gone.toml']")]).starts_with("m.toml:1:12: cannot read gone.toml: "));
    let problems = bad(&[("m.toml", "include = ['b.toml']"), ("b.toml", "include = ['m.toml']")]);
    assert_eq!(problems, "b.toml:1:12: m.toml includes itself by way of this file");
    let problems = bad(&[("base.toml", "[units]\nenabel = []"), ("m.toml", "include = ['base.toml']")]);
    assert!(problems.starts_with("base.toml:2:1: unknown key `enabel` in [units]"), "{problems}");
}

#[test]
fn what_is_needed_is_asked_for() {
    let problems = bad(&[("m.toml", "")]);
    for key in ["`name`", "`ref`", "`version`", "`packages`", "[[repository]]"] {
        assert!(problems.contains(key), "{problems}");
    }
    assert!(matches!(load(Path::new("/no/such.toml")), Err(ManifestError::Read { .. })));
}

#[test]
fn the_digest_covers_content_and_not_the_place() {
    let top = format!("{BASE}[[file]]\ntarget = '/usr/lib/x'\nsource = 'x'\n");
    let (one, two) = (folder(&[("m.toml", &top), ("x/f", "1")]), folder(&[("m.toml", &top), ("x/f", "1")]));
    let digest = |dir: &TempDir| load(&dir.path().join("m.toml")).unwrap().digest().unwrap();
    assert_eq!(digest(&one), digest(&two));
    let before = digest(&one);
    assert_eq!(before.len(), 64);
    fs::write(one.path().join("x/f"), "2").unwrap();
    let content = digest(&one);
    assert_ne!(content, before);
    fs::write(one.path().join("x/f"), "1").unwrap();
    fs::set_permissions(one.path().join("x/f"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(&one), before);
    fs::write(two.path().join("m.toml"), format!("# a comment\n{top}")).unwrap();
    assert_eq!(digest(&two), before);
    fs::write(two.path().join("m.toml"), top.replace("hello", "bye")).unwrap();
    assert_ne!(digest(&two), before);
}

#[test]
fn folders_with_one_target_add_up() {
    let top = "include = ['base.toml']\n[[file]]\ntarget = '/'\nsource = 'top'\n";
    let base = format!("{BASE}[[file]]\ntarget = '/'\nsource = 'base'\n");
    let manifest = good(&[("base.toml", &base), ("m.toml", top), ("base/etc/x", "1"), ("top/etc/x", "2")]);
    let targets: Vec<&str> = manifest.files.iter().map(|file| file.target.as_str()).collect();
    assert_eq!(targets, ["/etc/motd", "/", "/"]);
    assert!(manifest.files[2].source.as_ref().is_some_and(|source| source.ends_with("top")));
}

#[test]
fn the_manifests_we_ship_load() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let names = ["minimal", "host"].map(|name| load(&manifests.join(name).with_extension("toml")).unwrap().name);
    assert_eq!(names, ["keelson-minimal", "keelson-host"]);
    let error = load(&manifests.join("base.toml")).unwrap_err().to_string();
    assert!(error.contains("the key `name` is missing"), "{error}");
}

#[test]
fn images_have_whole_names_and_their_line() {
    let top = r#"
include = ["base.toml"]
[drop]
images = ["debian:13"]
[[image]]
name = "registry.example/web:1"
from = "mirror.example/${arch}/web:1"
[[image]]
name = "app"
archive = "app.tar"
"#;
    let base = format!("{BASE}[[image]]\nname = 'debian:13'\n");
    let manifest = good(&[("base.toml", &base), ("m.toml", top), ("app.tar", "")]);
    let names: Vec<&str> = manifest.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["registry.example/web:1", "docker.io/library/app:latest"]);
    assert_eq!(manifest.images[0].from.as_deref(), Some("mirror.example/amd64/web:1"));
    assert!(manifest.images[1].site.ends_with("m.toml:9"), "{}", manifest.images[1].site);
    assert!(!serde_json::to_string(&good(&[("m.toml", BASE)])).unwrap().contains("images"));
}

#[test]
fn images_that_cannot_be_are_refused() {
    for (text, part) in [
        ("[[image]]\nname = 'A B'\n", "m.toml:3:8: `A B` is no image"),
        ("[[image]]\nname = 'app'\narchive = 'none.tar'\n", "m.toml:4:11: cannot read the archive none.tar"),
        ("[[image]]\nname = 'app'\narchive = 'm.toml'\nfrom = 'x'\n", "not both"),
        ("[[image]]\nname = 'app'\n[[image]]\nname = 'app:latest'\n", "is in this file twice"),
        ("[drop]\nimages = ['app']\n", "bring in no image `docker.io/library/app:latest` to drop"),
        (&format!("[[image]]\nname = 'app@sha256:{}'\n", "0".repeat(64)), "by its tag"),
    ] {
        let told = above_base(text);
        assert!(told.contains(part), "{part}\n{told}");
    }
}
