//! A package that diverts another's file with a rename: both files are in the commit, each where
//! dpkg's own rules put it.

use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_tests::archive::Archive;
use keelson_tests::deb::Deb;
use keelson_tests::paths;

const DEBIAN: &str = "[[repository]]\nname = \"trixie\"\nsuite = \"trixie\"\ncomponents = [\"main\"]\n";

#[test]
fn a_diverted_file_is_kept_beside_the_diverting_one() {
    let divert = "dpkg-divert --package diverter --add --rename --divert /usr/bin/tool.plain /usr/bin/tool";
    let debs = [
        Deb::new("plain", "1.0").tree("f 0755 /usr/bin/tool plain"),
        Deb::new("diverter", "1.0").tree("f 0755 /usr/bin/tool diverter").script("preinst", divert),
    ];
    let mut archive = Archive::new(&debs).unwrap();
    archive.keelson.cache = paths::cache();
    let manifest = archive.manifest("\"plain\", \"diverter\"", DEBIAN).unwrap();
    archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap();
    let outcome = archive.keelson.compose(&manifest).unwrap();
    let cat = |path: &str| {
        let repo = format!("--repo={}", archive.keelson.repo.display());
        Command::new("ostree").args([&repo, "cat", &outcome.checksum, path]).output_text().unwrap()
    };
    assert_eq!(cat("/usr/bin/tool").trim(), "diverter");
    assert_eq!(cat("/usr/bin/tool.plain").trim(), "plain");
    assert!(cat("/usr/lib/sysimage/dpkg/diversions").contains("/usr/bin/tool.plain"));
}
