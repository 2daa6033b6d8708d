//! `keelson seed`: what it makes holds what was asked for, and what is wrong is told before anything is written.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::keelson::{Run, finish};
use keelson_tests::paths;
use serde_json::Value;

const HOSTS: &str =
    "[[host]]\nname = \"one\"\naddress = \"10.0.0.11/24\"\nlabels = { zone = \"a\" }\n[[host]]\nname = \"two\"\n";
const TEMPLATE: &str = "#cloud-config\nfqdn: ${name}.example\nkeelson:\n  join:\n    server: https://m:6443\n    \
    token-file: /t\n    ca-hash: [\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]\n    \
    labels: ${labels}\n";

fn seed(folder: &Path, words: &[&str]) -> Result<Run> {
    finish(Command::new(paths::program("keelson")?).arg("seed").args(words).current_dir(folder))
}

/// A folder with a table and a template.
fn folder(template: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("hosts.toml"), HOSTS)?;
    fs::write(folder.path().join("user-data.yaml"), template)?;
    Ok(folder)
}

#[test]
fn each_host_has_an_image_with_its_documents() -> Result<()> {
    let folder = folder(TEMPLATE)?;
    let run = seed(folder.path(), &["--hosts", "hosts.toml", "--json", "user-data.yaml"])?.expect(0)?;
    let said: Value = serde_json::from_str(&run.stdout)?;
    ensure!(said["seeds"] == serde_json::json!(["seeds/one.iso", "seeds/two.iso"]), "{said}");
    let out = folder.path().join("out");
    let image = folder.path().join("seeds/one.iso");
    Command::new("xorriso").args(["-osirrox", "on", "-indev"]).arg(&image).args(["-extract", "/"]).arg(&out).run()?;
    let text = fs::read_to_string(out.join("user-data"))?;
    ensure!(text.contains("fqdn: one.example\n") && text.contains("labels: {\"zone\":\"a\"}\n"), "{text}");
    ensure!(fs::read_to_string(out.join("network-config"))?.contains("10.0.0.11/24"));
    ensure!(fs::read_to_string(out.join("meta-data"))?.contains("local-hostname: \"one\"\n"));
    Ok(())
}

#[test]
fn a_folder_for_a_web_server_is_the_same_each_time() -> Result<()> {
    let folder = folder(TEMPLATE)?;
    let words = ["--hosts", "hosts.toml", "--folder", "-o", "served", "user-data.yaml"];
    let run = seed(folder.path(), &words)?.expect(0)?;
    ensure!(run.stderr.contains("only you can read them"), "{}", run.stderr);
    let meta = folder.path().join("served/two/meta-data");
    let before = fs::read(&meta)?;
    ensure!(!folder.path().join("served/two/network-config").exists(), "two has DHCP");
    seed(folder.path(), &words)?.expect(0)?;
    ensure!(fs::read(&meta)? == before, "another instance, with nothing changed");
    Ok(())
}

#[test]
fn what_is_wrong_is_told_and_nothing_written() -> Result<()> {
    let folder = folder(&TEMPLATE.replace("server:", "sever:"))?;
    let run = seed(folder.path(), &["--hosts", "hosts.toml", "user-data.yaml"])?.expect(1)?;
    let told = "user-data.yaml for one: keelson: unknown key `sever` in [join]; did you mean `server`?";
    ensure!(run.stderr.contains(told), "{}", run.stderr);
    fs::write(folder.path().join("user-data.yaml"), "#cloud-config\nhostname: ${nam}\n")?;
    let run = seed(folder.path(), &["--hosts", "hosts.toml", "user-data.yaml"])?.expect(1)?;
    ensure!(run.stderr.contains("user-data.yaml:2: there is no `${nam}`"), "{}", run.stderr);
    fs::write(folder.path().join("hosts.toml"), "[[host]]\nname = \"One\"\n")?;
    let run = seed(folder.path(), &["--hosts", "hosts.toml", "user-data.yaml"])?.expect(1)?;
    ensure!(run.stderr.contains("hosts.toml:2:8: `One` is no hostname"), "{}", run.stderr);
    ensure!(!folder.path().join("seeds").exists(), "something was written");
    Ok(())
}

#[test]
fn user_data_alone_is_checked() -> Result<()> {
    let example = paths::workspace().join("manifests/examples/node.yaml");
    let run = seed(&paths::workspace(), &["--check", &example.to_string_lossy()])?.expect(0)?;
    ensure!(run.stdout.ends_with("node.yaml is good\n"), "{}", run.stdout);
    Ok(())
}
