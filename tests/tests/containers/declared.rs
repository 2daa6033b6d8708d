//! Containers by declaration, on a real containerd: files are written, changed and removed, and the
//! daemon is killed in between.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use keelson_common::command::CommandExt;
use keelson_tests::containers::{ContainerHost, Registry, RegistryKind, Setup, TestImage, eventually};
use serde_json::{Value, json};

/// On a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(60);
const FOREVER: &str = "command = ['sleep', '1000']\nstop-timeout = '1s'\n";

fn host() -> ContainerHost {
    let host = ContainerHost::start().unwrap();
    host.load(&TestImage::busybox("busybox:latest")).unwrap();
    host
}

fn declare(host: &ContainerHost, file: &str, text: &str) {
    // As careful writers do: the daemon never sees half a file.
    let folder = host.folder().join("declarations");
    fs::write(folder.join(".new"), text).unwrap();
    fs::rename(folder.join(".new"), folder.join(file)).unwrap();
}

fn undeclare(host: &ContainerHost, file: &str) {
    fs::remove_file(host.folder().join("declarations").join(file)).unwrap();
}

/// What the daemon says of a container.
fn row(host: &ContainerHost, name: &str) -> Option<Value> {
    let run = host.keelctl(&["--json", "containers", "status"]).ok()?;
    let report = run.json().ok()?;
    report["containers"].as_array()?.iter().find(|row| row["name"] == name).cloned()
}

/// Waits until a container stands so, and shows all when it does not.
fn stands(host: &ContainerHost, name: &str, standing: &str) -> Value {
    let is = || row(host, name).is_some_and(|row| row["standing"] == standing);
    if !eventually(SOON, is) {
        let status = host.keelctl(&["containers", "status"]).unwrap();
        panic!("{name} is not {standing}:\n{}{}\n{}", status.stdout, status.stderr, host.daemon().log_tail());
    }
    row(host, name).unwrap()
}

fn inspect(host: &ContainerHost, name: &str) -> Value {
    let text = host.ok(&["inspect", name]).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0].clone()
}

fn id(host: &ContainerHost, name: &str) -> String {
    inspect(host, name)["Id"].as_str().unwrap().to_owned()
}

fn gone(host: &ContainerHost, name: &str) -> bool {
    eventually(SOON, || host.keelctl(&["inspect", name]).is_ok_and(|run| run.code != Some(0)))
}

/// Removes every declaration, and fails when something is left of the containers.
fn clean(host: &ContainerHost) -> Result<()> {
    for entry in fs::read_dir(host.folder().join("declarations"))? {
        fs::remove_file(entry?.path())?;
    }
    assert!(eventually(SOON, || host.ok(&["ps", "-aq"]).is_ok_and(|text| text.is_empty())));
    host.no_leaks()
}

#[test]
fn a_file_makes_changes_and_removes_a_container() {
    let host = host();
    let web = format!("[[container]]\nimage = 'busybox'\nenvironment = {{ A = '1' }}\n{FOREVER}");
    declare(&host, "web.toml", &web);
    stands(&host, "web", "ok");
    let first = inspect(&host, "web");
    assert_eq!(first["State"]["Running"], true);
    assert_eq!(first["Config"]["Labels"]["org.keelson.declared"], "web.toml/web");
    assert!(first["Config"]["Env"].as_array().unwrap().contains(&json!("A=1")));

    // What changed while no daemon ran is seen by the next.
    let folder = host.folder().join("declarations");
    let mut host = host;
    host.kill_daemon().unwrap();
    fs::write(folder.join("web.toml"), web.replace("'1'", "'2'")).unwrap();
    fs::write(folder.join("db.toml"), format!("[[container]]\nimage = 'busybox'\n{FOREVER}")).unwrap();
    host.restart_daemon().unwrap();
    assert!(gone(&host, first["Id"].as_str().unwrap()));
    stands(&host, "web", "ok");
    stands(&host, "db", "ok");
    assert!(inspect(&host, "web")["Config"]["Env"].as_array().unwrap().contains(&json!("A=2")));
    assert!(host.ok(&["containers", "apply", "--dry-run"]).unwrap().contains("All 2 containers are as declared"));
    assert!(host.ok(&["containers", "apply"]).unwrap().contains("All 2 containers are as declared"));

    undeclare(&host, "db.toml");
    assert!(gone(&host, "db"));
    clean(&host).unwrap();
}

#[test]
fn crashes_of_the_daemon_touch_no_declared_container() {
    let mut host = host();
    declare(&host, "web.toml", &format!("[[container]]\nimage = 'busybox'\n{FOREVER}"));
    stands(&host, "web", "ok");
    let before = inspect(&host, "web");
    for _ in 0..3 {
        host.kill_daemon().unwrap();
        host.restart_daemon().unwrap();
        stands(&host, "web", "ok");
    }
    let after = inspect(&host, "web");
    assert_eq!((&before["Id"], &before["State"]["Pid"]), (&after["Id"], &after["State"]["Pid"]));
    clean(&host).unwrap();
}

#[test]
fn ended_containers_are_restarted_as_their_policy_says() {
    let host = host();
    declare(
        &host,
        "all.toml",
        "[[container]]\nname = 'always'\nimage = 'busybox'\ncommand = ['sh', '-c', 'echo run; sleep 0.2']\n\
         restart = { delay = '100ms', max-delay = '200ms' }\n\
         [[container]]\nname = 'once'\nimage = 'busybox'\ncommand = ['true']\nrestart = { policy = 'no' }\n\
         [[container]]\nname = 'hopeless'\nimage = 'busybox'\ncommand = ['sh', '-c', 'echo run; exit 3']\n\
         restart = { policy = 'on-failure', retries = 2, delay = '100ms' }\n",
    );
    let runs = |name: &str| host.ok(&["logs", name]).map_or(0, |text| text.matches("run").count());
    assert!(eventually(SOON, || runs("always") >= 3), "{}", runs("always"));
    // While it runs, it stands well, too.
    let ended = |row: Value| row["standing"] == "ok" && row["reason"].to_string().contains("it ended with 0");
    assert!(eventually(SOON, || row(&host, "once").is_some_and(ended)), "{:?}", row(&host, "once"));
    // It runs in between, and is kept then, too.
    let given_up = |row: Value| row["standing"] == "failed" && row["action"] == "keep";
    assert!(eventually(SOON, || row(&host, "hopeless").is_some_and(given_up)), "{:?}", row(&host, "hopeless"));
    assert_eq!(runs("hopeless"), 3);
    clean(&host).unwrap();
}

#[test]
fn containers_wait_for_what_they_require() {
    let host = host();
    let text = format!(
        "[[container]]\nname = 'app'\nimage = 'busybox'\n{FOREVER}requires = {{ job = 'completed', db = 'started' }}\n\
         [[container]]\nname = 'db'\nimage = 'busybox'\n{FOREVER}\
         [[container]]\nname = 'job'\nimage = 'busybox'\ncommand = ['sleep', '1']\nrestart = {{ policy = 'no' }}\n"
    );
    declare(&host, "app.toml", &text);
    stands(&host, "app", "ok");
    let time = |name: &str, what: &str| inspect(&host, name)["State"][what].as_str().unwrap().to_owned();
    assert!(time("app", "StartedAt") > time("job", "FinishedAt"));
    assert!(time("app", "StartedAt") > time("db", "StartedAt"));
    // What requires db is restarted with it; the job is not run again.
    let (db, app, job) = (id(&host, "db"), time("app", "StartedAt"), time("job", "StartedAt"));
    declare(&host, "app.toml", &text.replace("name = 'db'\n", "name = 'db'\nlabels = { new = '1' }\n"));
    assert!(gone(&host, &db));
    assert!(eventually(SOON, || row(&host, "app").is_some_and(|row| row["standing"] == "ok")));
    assert!(time("app", "StartedAt") > time("db", "StartedAt") && time("app", "StartedAt") > app);
    assert_eq!(time("job", "StartedAt"), job);
    clean(&host).unwrap();
}

#[test]
fn broken_files_circles_and_conflicts_are_told_and_harm_nothing() {
    let host = host();
    declare(&host, "web.toml", &format!("[[container]]\nimage = 'busybox'\n{FOREVER}"));
    stands(&host, "web", "ok");
    let before = id(&host, "web");
    host.ok(&["run", "-d", "--name", "taken", "busybox", "sleep", "1000"]).unwrap();
    declare(&host, "web.toml", "[[container]]\nimge = 'busybox'\n");
    declare(&host, "taken.toml", &format!("[[container]]\nimage = 'busybox'\n{FOREVER}"));
    declare(
        &host,
        "circle.toml",
        "[[container]]\nname = 'aa'\nimage = 'busybox'\nafter = ['bb']\n[[container]]\nname = 'bb'\nimage = 'busybox'\nafter = ['aa']\n",
    );
    declare(&host, "good.toml", &format!("[[container]]\nimage = 'busybox'\n{FOREVER}"));
    stands(&host, "good", "ok");
    assert!(stands(&host, "web", "failed")["reason"].as_str().unwrap().contains("web.toml is broken"));
    assert!(stands(&host, "aa", "failed")["reason"].as_str().unwrap().contains("aa -> bb -> aa"));
    let taken = stands(&host, "taken", "failed");
    assert!(taken["reason"].as_str().unwrap().starts_with("Conflict. The container name \"/taken\" is already in use"));
    let status = host.keelctl(&["containers", "status"]).unwrap().expect(1).unwrap();
    assert!(
        status.stderr.contains("web.toml:2:1: unknown key `imge` in [[container]]; did you mean `image`?"),
        "{status:?}"
    );
    assert_eq!(id(&host, "web"), before);
    assert_eq!(inspect(&host, "taken")["Config"]["Labels"].get("org.keelson.declared"), None);
    // The name is free again: the declaration has it.
    host.ok(&["rm", "-f", "taken"]).unwrap();
    stands(&host, "taken", "ok");
    clean(&host).unwrap();
}

#[test]
fn files_are_checked_without_a_daemon() {
    let host = ContainerHost::start().unwrap();
    let path = host.folder().join("file.toml");
    let path = path.to_str().unwrap();
    fs::write(path, "[[container]]\nname = 'web'\nimage = 'busybox'\n").unwrap();
    assert_eq!(host.ok(&["containers", "check", path]).unwrap(), "good: web");
    fs::write(path, "[[container]]\nname = 'web'\nimage = 'busybox'\nports = ['x']\n").unwrap();
    host.keelctl(&["containers", "check", path])
        .unwrap()
        .expect(1)
        .unwrap()
        .says(&["file.toml:4:10: invalid port"])
        .unwrap();
}

#[test]
fn a_group_shares_its_network_and_ports() {
    let mut host = host();
    let text = "[group]\nports = ['18080:80']\nvolumes = ['shared:/shared']\n\
         [[container]]\nname = 'server'\nimage = 'busybox'\n\
         command = ['sh', '-c', 'echo hello > /shared/index.html; exec httpd -f -p 80 -h /shared']\nstop-timeout = '1s'\n\
         [[container]]\nname = 'client'\nimage = 'busybox'\nrequires = { server = 'started' }\nstop-timeout = '1s'\n\
         command = ['sh', '-c', 'until wget -q -O- http://localhost/; do sleep 0.1; done; exec sleep 1000']\n".to_string();
    declare(&host, "pod.toml", &text);
    stands(&host, "client", "ok");
    assert!(eventually(SOON, || host.ok(&["logs", "client"]).is_ok_and(|text| text.starts_with("hello"))));
    let outside = |host: &ContainerHost| {
        host.namespace().command("curl").args(["-s", "--max-time", "5", "http://127.0.0.1:18080/"]).output_text()
    };
    assert_eq!(outside(&host).unwrap(), "hello\n");
    // The network outlives its containers and the daemon.
    let client = inspect(&host, "client")["State"]["Pid"].clone();
    host.kill_daemon().unwrap();
    host.restart_daemon().unwrap();
    host.ok(&["kill", "server"]).unwrap();
    assert!(eventually(SOON, || outside(&host).is_ok_and(|text| text == "hello\n")));
    assert_eq!(inspect(&host, "client")["State"]["Pid"], client);
    // Other ports need another network.
    declare(&host, "pod.toml", &text.replace("18080", "18081"));
    let other = |host: &ContainerHost| {
        host.namespace().command("curl").args(["-s", "--max-time", "5", "http://127.0.0.1:18081/"]).output_text()
    };
    assert!(eventually(SOON, || other(&host).is_ok_and(|text| text == "hello\n")));
    clean(&host).unwrap();
}

#[test]
fn a_followed_tag_takes_the_newer_image_and_goes_back_from_a_bad_one() {
    let host = host();
    let registry = Registry::start(&host, RegistryKind::Plain, 5000).unwrap();
    let put = |version: &str, command: &str| {
        let command = format!("echo {version}; {command}");
        let image = TestImage::busybox("app:1").set("Cmd", json!(["sh", "-c", command]));
        registry.put(&host, &image, "app:1").unwrap();
    };
    put("one", "exec sleep 1000");
    let name = format!("{}/app:1", registry.loopback());
    let text = format!(
        "[[container]]\nname = 'app'\nimage = '{name}'\nstop-timeout = '1s'\n\
         update = {{ follow = 'tag', interval = '1h', trial = '2s' }}\n"
    );
    declare(&host, "app.toml", &text);
    let version = || host.ok(&["logs", "app"]).unwrap_or_default();
    stands(&host, "app", "ok");
    assert!(eventually(SOON, || version() == "one"));
    put("two", "exec sleep 1001");
    host.ok(&["containers", "apply", "--update"]).unwrap();
    assert!(eventually(SOON, || version() == "two"), "{}", host.daemon().log_tail());
    assert!(eventually(SOON, || row(&host, "app").is_some_and(|row| row["update"].is_null())));
    // The third dies at once: the second comes back, and the third is not tried again.
    put("three", "exit 7");
    host.ok(&["containers", "apply", "--update"]).unwrap();
    let told = || row(&host, "app").and_then(|row| row["update"].as_str().map(str::to_owned)).unwrap_or_default();
    assert!(eventually(SOON, || told().contains("was no good: it ended with 7")), "{}", host.daemon().log_tail());
    assert!(eventually(SOON, || version() == "two"));
    // The fourth says itself that it is unhealthy.
    let sick = TestImage::busybox("app:1")
        .set("Cmd", json!(["sh", "-c", "echo four; exec sleep 1000"]))
        .set("Healthcheck", json!({ "Test": ["CMD", "false"], "Interval": 200_000_000, "Retries": 2 }));
    registry.put(&host, &sick, "app:1").unwrap();
    host.ok(&["containers", "apply", "--update"]).unwrap();
    assert!(eventually(SOON, || told().contains("was no good: it is unhealthy")), "{}", host.daemon().log_tail());
    assert!(eventually(SOON, || version() == "two"));
    clean(&host).unwrap();
}

/// Writes an image as the operating system brings it: an OCI layout, by skopeo.
fn bake(host: &ContainerHost, image: &TestImage, to: &Path) {
    let archive = host.archive(image).unwrap();
    let target = format!("oci:{}:docker.io/library/{}", to.display(), image.reference);
    let mut skopeo = std::process::Command::new("skopeo");
    skopeo.args(["copy", "--quiet", &format!("docker-archive:{}", archive.display()), &target]).run().unwrap();
}

#[test]
fn baked_images_start_without_a_network_and_are_not_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("images");
    let options = vec!["--baked".to_owned(), layout.display().to_string()];
    let mut host = ContainerHost::with(Setup { options, ..Setup::default() }).unwrap();
    bake(&host, &TestImage::busybox("baked:1").set("Cmd", json!(["sleep", "1000"])), &layout);
    declare(&host, "app.toml", "[[container]]\nimage = 'baked:1'\nstop-timeout = '1s'\n");
    host.restart_daemon().unwrap();
    stands(&host, "app", "ok");
    clean(&host).unwrap();
    host.ok(&["image", "prune", "-a", "-f"]).unwrap();
    assert!(host.ok(&["images"]).unwrap().contains("baked"), "{}", host.ctr(&["images", "ls"]).unwrap());
    // The next version of the operating system has another one, and then none.
    fs::remove_dir_all(&layout).unwrap();
    bake(&host, &TestImage::busybox("baked:1").file("new", 0o644, "x"), &layout);
    host.restart_daemon().unwrap();
    let new = || host.ok(&["run", "--rm", "--network", "none", "baked:1", "cat", "/new"]).is_ok_and(|text| text == "x");
    assert!(eventually(SOON, new));
    fs::remove_dir_all(&layout).unwrap();
    host.restart_daemon().unwrap();
    let pruned = || {
        host.ok(&["image", "prune", "-a", "-f"]).unwrap();
        !host.ok(&["images"]).unwrap().contains("baked")
    };
    assert!(eventually(SOON, pruned));
}

#[test]
fn health_checks_decide_what_is_started_and_restarted() {
    let host = host();
    // The db is healthy once the gate is open, and no sooner, however long the test takes to look.
    let gate = host.folder().join("gate");
    fs::create_dir(&gate).unwrap();
    let text = format!(
        "[[container]]\nname = 'app'\nimage = 'busybox'\n{FOREVER}requires = {{ db = 'healthy' }}\n\
         [[container]]\nname = 'db'\nimage = 'busybox'\nstop-timeout = '1s'\nvolumes = ['{}:/gate']\n\
         command = ['sh', '-c', 'until test -e /gate/open; do sleep 0.1; done; touch /ready; exec sleep 1000']\n\
         health = {{ shell = 'echo looking; test -e /ready', interval = '300ms', retries = 100, on-unhealthy = 'restart' }}\n",
        gate.display()
    );
    declare(&host, "app.toml", &text);
    let health = || inspect(&host, "db")["State"]["Health"].clone();
    assert!(eventually(SOON, || row(&host, "db").is_some_and(|row| row["health"] == "starting")
        && row(&host, "app").is_some_and(|row| row["waits"] == "it requires db to be healthy")));
    fs::write(gate.join("open"), "").unwrap();
    stands(&host, "app", "ok");
    assert_eq!(health()["Status"], "healthy");
    assert!(health()["Log"][0]["Output"].as_str().unwrap().contains("looking"));
    assert!(host.ok(&["ps"]).unwrap().contains("(healthy)"));
    // Unhealthy with one failure from here on: it is made anew, and the app is restarted after it.
    declare(&host, "app.toml", &text.replace("retries = 100", "retries = 1, start-period = '20s'"));
    let pid = |name: &str| inspect(&host, name)["State"]["Pid"].clone();
    assert!(eventually(SOON, || row(&host, "app").is_some_and(|row| row["standing"] == "ok")
        && row(&host, "db").is_some_and(|row| row["health"] == "healthy")));
    let (db, app) = (pid("db"), pid("app"));
    host.ok(&["exec", "db", "rm", "/ready"]).unwrap();
    assert!(eventually(SOON, || row(&host, "app").is_some_and(|row| row["standing"] == "ok")
        && pid("db") != db
        && pid("app") != app));
    clean(&host).unwrap();
}

#[test]
fn health_checks_of_docker_are_the_same() {
    let mut host = host();
    let words = ["run", "-d", "--name", "web", "--health-cmd", "test -e /ready", "--health-interval", "300ms"];
    host.docker(&[&words[..], &["--health-retries", "2", "busybox", "sleep", "1000"]].concat())
        .unwrap()
        .expect(0)
        .unwrap();
    let status = |host: &ContainerHost| inspect(host, "web")["State"]["Health"]["Status"].clone();
    assert!(eventually(SOON, || status(&host) == "unhealthy"));
    assert!(host.docker(&["ps"]).unwrap().stdout.contains("(unhealthy)"));
    host.docker(&["exec", "web", "touch", "/ready"]).unwrap().expect(0).unwrap();
    assert!(eventually(SOON, || status(&host) == "healthy"));
    // A new daemon goes on with it.
    host.kill_daemon().unwrap();
    host.restart_daemon().unwrap();
    host.docker(&["exec", "web", "rm", "/ready"]).unwrap().expect(0).unwrap();
    assert!(eventually(SOON, || status(&host) == "unhealthy"));
    let slow = ["run", "-d", "--name", "slow", "--health-cmd", "sleep 60", "--health-interval", "200ms"];
    host.docker(
        &[&slow[..], &["--health-timeout", "500ms", "--health-retries", "1", "busybox", "sleep", "1000"]].concat(),
    )
    .unwrap()
    .expect(0)
    .unwrap();
    let log = || inspect(&host, "slow")["State"]["Health"]["Log"][0]["Output"].as_str().unwrap_or_default().to_owned();
    assert!(eventually(SOON, || log().contains("Health check exceeded timeout (500ms)")), "{}", log());
    host.ok(&["rm", "-f", "web", "slow"]).unwrap();
    host.no_leaks().unwrap();
}

/// Four containers that need each other, of a version.
fn four(version: u32) -> String {
    let one = |name: &str, more: &str| {
        format!(
            "[[container]]\nname = '{name}'\nimage = 'busybox'\n{FOREVER}labels = {{ version = '{version}' }}\n{more}\n"
        )
    };
    let ports = format!("[group]\nports = ['{}:80']\n", 18000 + version);
    let more = "requires = { first = 'started' }";
    [
        ports,
        one("first", ""),
        one("second", more),
        one("third", "requires = { second = 'started' }"),
        one("fourth", more),
    ]
    .concat()
}

#[test]
fn a_daemon_killed_at_any_point_leaves_work_that_the_next_one_ends() {
    let mut host = host();
    for round in 0..12 {
        declare(&host, "four.toml", &four(round));
        std::thread::sleep(Duration::from_millis(u64::from(round) * 130));
        host.kill_daemon().unwrap();
        host.restart_daemon().unwrap();
    }
    for name in ["first", "second", "third", "fourth"] {
        stands(&host, name, "ok");
        assert_eq!(inspect(&host, name)["Config"]["Labels"]["version"], "11");
    }
    assert_eq!(host.ok(&["ps", "-aq"]).unwrap().lines().count(), 4);
    clean(&host).unwrap();
}
