//! What `keelson lock` and `keelson compose` refuse before anything is unpacked: each with exit
//! code 1, words that help, and the repository as it was.

use std::fs;

use keelson_tests::archive::Archive;
use keelson_tests::deb::Deb;
use keelson_tests::gpg::Key;

/// One package that needs nothing.
fn demo() -> Archive {
    Archive::new(&[Deb::new("demo", "1.0").tree("f 0644 /usr/share/demo x")]).unwrap()
}

#[test]
fn unknown_key() {
    let archive = demo();
    let manifest = archive.manifest("\"demo\"", "pakages = []").unwrap();
    archive.refuses(&manifest, &["demo.toml:5:1", "pakages", "did you mean `packages`"]).unwrap();
}

#[test]
fn missing_package() {
    let archive = demo();
    let manifest = archive.manifest("\"dmeo\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["dmeo"]).unwrap();
    archive.refuses(&manifest, &["dmeo"]).unwrap();
}

#[test]
fn unsatisfiable_dependency() {
    let needy = Deb::new("needy", "1.0").field("Depends", "demo (>= 2)");
    let archive = Archive::new(&[Deb::new("demo", "1.0"), needy]).unwrap();
    let manifest = archive.manifest("\"needy\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["needy", "demo (>= 2)"]).unwrap();
}

#[test]
fn conflicting_packages() {
    let rival = Deb::new("rival", "1.0").field("Conflicts", "demo");
    let archive = Archive::new(&[Deb::new("demo", "1.0"), rival]).unwrap();
    let manifest = archive.manifest("\"demo\", \"rival\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["rival", "demo"]).unwrap();
}

#[test]
fn release_signed_by_a_stranger() {
    let archive = demo();
    let stranger = Key::generate("Stranger <stranger@keelson.invalid>").unwrap();
    archive.repository.sign(&stranger).unwrap();
    let manifest = archive.manifest("\"demo\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["signature", "test InRelease"]).unwrap();
}

#[test]
fn release_changed_after_signing() {
    let archive = demo();
    for name in ["InRelease", "Release"] {
        let path = archive.repository.dist(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("Origin: Keelson tests", "Origin: Somebody else")).unwrap();
    }
    let manifest = archive.manifest("\"demo\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["signature"]).unwrap();
}

#[test]
fn release_without_signature() {
    let archive = demo();
    fs::remove_file(archive.repository.dist("InRelease")).unwrap();
    fs::remove_file(archive.repository.dist("Release.gpg")).unwrap();
    let manifest = archive.manifest("\"demo\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["sign"]).unwrap();
}

#[test]
fn index_that_is_not_the_signed_one() {
    let archive = demo();
    let index = archive.repository.dist("main/binary-amd64");
    let text = fs::read_to_string(index.join("Packages")).unwrap();
    fs::write(index.join("Packages"), text.replace("demo_1.0", "evil_1.0")).unwrap();
    fs::remove_file(index.join("Packages.xz")).unwrap();
    let manifest = archive.manifest("\"demo\"", "").unwrap();
    archive.refuses_to_lock(&manifest, &["Packages"]).unwrap();
}

/// Locks, then changes the served `.deb`, then composes.
fn after_the_lock(change: impl FnOnce(&std::path::Path), words: &[&str]) {
    let archive = demo();
    let manifest = archive.manifest("\"demo\"", "").unwrap();
    archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap();
    change(&archive.repository.pool().join("demo_1.0_all.deb"));
    archive.refuses(&manifest, words).unwrap();
}

#[test]
fn truncated_deb() {
    after_the_lock(
        |deb| {
            let bytes = fs::read(deb).unwrap();
            fs::write(deb, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["demo_1.0_all.deb"],
    );
}

#[test]
fn deb_with_another_hash() {
    after_the_lock(
        |deb| {
            let mut bytes = fs::read(deb).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(deb, bytes).unwrap();
        },
        &["demo_1.0_all.deb", "SHA-256"],
    );
}

#[test]
fn locked_package_gone() {
    after_the_lock(|deb| fs::remove_file(deb).unwrap(), &["demo", "1.0", "keelson lock"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let archive = demo();
    for words in [&["compose"][..], &["compose", "--no-such-option", "x.toml"], &["composs", "x.toml"], &[]] {
        let run = archive.keelson.run(words).unwrap().expect(2).unwrap();
        assert!(run.stdout.is_empty() && run.stderr.contains("Usage"), "{run:?}");
    }
    archive.unharmed().unwrap();
}

#[test]
fn manifest_that_is_not_there() {
    let archive = demo();
    archive.refuses(&archive.folder().join("none.toml"), &["none.toml"]).unwrap();
}
