//! The channel without a machine: `agent.sh`'s part is played by a thread.

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Played {
    guest: Guest,
    requests: BufReader<UnixStream>,
    control: UnixStream,
    stdout: UnixStream,
    stderr: UnixStream,
}

fn play() -> Played {
    let pair = || UnixStream::pair().unwrap();
    let ((control, ours), (stdout, out), (stderr, err)) = (pair(), pair(), pair());
    let guest = Guest::new(ours, out, err).unwrap();
    Played { guest, requests: BufReader::new(control.try_clone().unwrap()), control, stdout, stderr }
}

impl Played {
    /// Answers the next `run` in a thread: prints, marks, and ends with a status of 3.
    fn answer(self, script: fn(&mut UnixStream, &mut UnixStream)) -> Guest {
        let Self { guest, mut requests, mut control, mut stdout, mut stderr } = self;
        std::thread::spawn(move || {
            let mut line = String::new();
            requests.read_line(&mut line).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            script(&mut stdout, &mut stderr);
            writeln!(control, "exit {} 3", words[1]).unwrap();
            for stream in [&mut stdout, &mut stderr] {
                stream.write_all(words[2].as_bytes()).unwrap();
            }
            // Keeps the ports open until the host has gone.
            requests.read_line(&mut String::new()).unwrap();
        });
        guest
    }
}

#[test]
fn streams_are_kept_apart_and_complete() {
    let mut guest = play().answer(|stdout, stderr| {
        stdout.write_all(b"out\0\xff").unwrap();
        stderr.write_all(b"why\n").unwrap();
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = guest.run("x", SOON, &mut |stream, bytes| {
        if stream == Stream::Out { &mut out } else { &mut err }.extend_from_slice(bytes);
    });
    assert_eq!((status.unwrap(), out.as_slice(), err.as_slice()), (3, &b"out\0\xff"[..], &b"why\n"[..]));
}

#[test]
fn another_boot_is_waited_for() {
    let mut played = play();
    writeln!(played.control, "hello first").unwrap();
    assert!(played.guest.wait_ready(None, SOON).unwrap());
    assert!(!played.guest.wait_ready(Some("first"), Duration::from_millis(50)).unwrap());
    writeln!(played.control, "hello second").unwrap();
    assert!(played.guest.wait_ready(Some("first"), SOON).unwrap());
    assert_eq!(played.guest.boot(), Some("second"));
}

#[test]
fn a_restart_and_the_power_cut_end_a_command() {
    let mut played = play();
    writeln!(played.control, "hello second").unwrap();
    assert!(matches!(played.guest.run("x", SOON, &mut |_, _| {}), Err(Error::Restarted { .. })));
    writeln!(played.control, "hello second").unwrap();
    assert!(matches!(played.guest.run("x", SOON, &mut |_, _| {}), Err(Error::ChannelRestarted { .. })));
    let Played { mut guest, control, requests, .. } = played;
    drop((control, requests));
    assert!(matches!(guest.run("x", SOON, &mut |_, _| {}), Err(Error::Off { .. })));
    assert_eq!(guest.boot(), None);
}

#[test]
fn a_command_out_of_time_is_killed_and_its_output_shown() {
    let Played { mut guest, mut requests, mut control, mut stdout, mut stderr } = play();
    let guest_end = std::thread::spawn(move || {
        let (mut run, mut kill) = (String::new(), String::new());
        requests.read_line(&mut run).unwrap();
        stdout.write_all(b"still at it").unwrap();
        requests.read_line(&mut kill).unwrap();
        let words: Vec<&str> = run.split_whitespace().collect();
        assert_eq!(kill, format!("kill {}\n", words[1]));
        writeln!(control, "exit {} 137", words[1]).unwrap();
        stdout.write_all(words[2].as_bytes()).unwrap();
        stderr.write_all(words[2].as_bytes()).unwrap();
        (requests, control, stdout, stderr)
    });
    let error = guest.run("sleep 9", Duration::from_millis(300), &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("`sleep 9`") && error.contains("| still at it"), "{error}");
    drop(guest_end.join().unwrap());
}
