//! The lints stop a compose whose tree breaks a rule, and are listed for those who ask.

use keelson_tests::archive::Archive;
use keelson_tests::deb::Deb;
use keelson_tests::paths;

const DEBIAN: &str = "[[repository]]\nname = \"trixie\"\nsuite = \"trixie\"\ncomponents = [\"main\"]\n";

#[test]
fn a_named_pipe_in_the_tree_is_fatal() {
    let mut archive = Archive::new(&[Deb::new("demo", "1.0")]).unwrap();
    archive.keelson.cache = paths::cache();
    let script = "postprocess = [{ script = \"mkfifo /usr/share/pipe\" }]";
    let manifest = archive.manifest("\"demo\"", &format!("{script}\n{DEBIAN}")).unwrap();
    archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap();
    archive.refuses(&manifest, &["/usr/share/pipe", "special-files"]).unwrap();
}

#[test]
fn every_lint_is_listed_with_its_level() {
    let archive = Archive::new(&[]).unwrap();
    let listed = archive.keelson.run(&["lint", "--list"]).unwrap().expect(0).unwrap().stdout;
    for (lint, level) in [("host-keys", "fatal"), ("var-empty", "fatal"), ("no-kernel", "warning")] {
        let line = listed.lines().find(|line| line.contains(lint));
        assert!(line.is_some_and(|line| line.contains(level)), "{lint}: {listed}");
    }
}
