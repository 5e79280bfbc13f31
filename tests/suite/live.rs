//! `rdpwhy watch` on real interfaces: captures are replayed through a pair of virtual Ethernet interfaces, in real time. Needs root and
//! network namespaces; says so where they are missing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rdpwhy::capture::{self, Event, OpenOptions, Span, Timestamp};
use rdpwhy::report::Report;
use rdpwhy::report::model::Outcome;
use serde_json::Value;

use crate::golden;

/// Longer than anything here takes; a condition that does not come true by then never will.
const DEADLINE: Duration = Duration::from_secs(90);

/// Two interfaces with a wire between them: one here, the other one in a namespace of its own. Both vanish when this is dropped.
struct Wire {
    space: String,
    near: String,
    far: String,
}

impl Wire {
    /// `None`, and a word about it, where this machine or user cannot have one.
    fn new() -> Option<Wire> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            eprintln!("SKIPPED: live capture needs root");
            return None;
        }
        let number = format!("{}{}", std::process::id() % 100_000, NEXT.fetch_add(1, Ordering::Relaxed));
        let wire = Wire {
            space: format!("rw{number}"),
            near: format!("rwn{number}"),
            far: format!("rwf{number}"),
        };
        if !ip(&["netns", "add", &wire.space]) {
            eprintln!("SKIPPED: live capture needs network namespaces and ip(8)");
            return None;
        }
        wire.connect();
        Some(wire)
    }

    fn connect(&self) {
        let Wire { space, near, far } = self;
        assert!(ip(&[
            "link", "add", near, "mtu", "65000", "type", "veth", "peer", "name", far, "mtu", "65000", "netns", space
        ]));
        assert!(ip(&["link", "set", near, "up"]) && ip(&["-n", space, "link", "set", far, "up"]));
    }

    fn far_end(&self, words: &[&str]) {
        let line: Vec<&str> = ["-n", &self.space, "link"].iter().chain(words).copied().collect();
        assert!(ip(&line), "{line:?}");
    }

    /// Sends packets at the pace of their times.
    fn send(&self, packets: &[(Timestamp, Vec<u8>)]) {
        let mut out = pcap::Capture::from_device(self.near.as_str()).unwrap().open().unwrap();
        let Some((first, _)) = packets.first() else { return };
        let began = Instant::now();
        for (at, bytes) in packets {
            let due = Duration::from_nanos(u64::try_from(at.since(*first).0).unwrap_or(0));
            thread::sleep(due.saturating_sub(began.elapsed()));
            out.sendpacket(bytes.as_slice()).unwrap();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        ip(&["link", "del", &self.near]);
        ip(&["netns", "del", &self.space]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let run = Command::new("ip").args(arguments).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// The program, watching the far end of a wire.
struct Watch {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Watch {
    fn start(wire: &Wire, arguments: &[&str]) -> Watch {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &wire.space, env!("CARGO_BIN_EXE_rdpwhy"), "watch"])
            .args(if arguments.contains(&"-i") {
                vec![]
            } else {
                vec!["-i", &wire.far]
            })
            .args(["--format", "ndjson", "--all"])
            .args(if arguments.contains(&"--buffer") {
                &[][..]
            } else {
                &["--buffer", "8"][..]
            })
            // Folders for tests belong to root.
            .args(if arguments.contains(&"--run-as") {
                &[][..]
            } else {
                &["--run-as", "root"][..]
            })
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if send.send(value).is_err() {
                    break;
                }
            }
        });
        let mut watch = Watch {
            child,
            lines,
            seen: Vec::new(),
        };
        // Its first line says that the interface is open.
        watch.wait_for(|line| line["type"] == "notice");
        watch
    }

    fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if is_it(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("{error}; so far: {:#?}", self.seen),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Asks it to stop; gives its exit code and every line.
    fn stop(mut self) -> (Option<i32>, Vec<Value>) {
        self.signal(Signal::SIGTERM);
        self.end()
    }

    fn end(&mut self) -> (Option<i32>, Vec<Value>) {
        let lines: Vec<Value> = self.lines.iter().collect();
        self.seen.extend(lines);
        let schema = line_schema();
        for line in &self.seen {
            assert!(schema.is_valid(line), "not a line of the schema: {line}");
        }
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The schema of one line: the document's own rules give way to it.
fn line_schema() -> jsonschema::Validator {
    let mut schema: Value = serde_json::from_str(rdpwhy::report::SCHEMA_TEXT).unwrap();
    let document = schema.as_object_mut().unwrap();
    for key in ["type", "required", "properties"] {
        document.remove(key);
    }
    document.insert("$ref".to_owned(), Value::from("#/$defs/line"));
    jsonschema::validator_for(&schema).unwrap()
}

fn packets(path: &Path) -> Vec<(Timestamp, Vec<u8>)> {
    let mut source = capture::open(path, OpenOptions::default()).unwrap();
    let mut packets = Vec::new();
    while let Some(event) = source.next().unwrap() {
        if let Event::Frame(frame) = event {
            assert_eq!(frame.link, capture::LinkType::ETHERNET);
            packets.push((frame.at, frame.bytes.to_vec()));
        }
    }
    packets
}

fn shipped(name: &str) -> PathBuf {
    golden::captures().join(name)
}

/// What an attempt was judged to be, in the words of the contract.
type Judged = (String, String, String, String, String);

fn judged_by_triage(report: &Report) -> Vec<Judged> {
    let attempts = report.attempts.iter().map(|attempt| {
        let connection = report.connection(attempt.decisive).unwrap();
        (
            attempt.server.clone(),
            attempt.verdict.cause.slug.to_owned(),
            connection.phase.slug().to_owned(),
            connection.ended_by.slug().to_owned(),
            connection.mechanism.slug().to_owned(),
        )
    });
    let mut attempts: Vec<Judged> = attempts.collect();
    attempts.sort();
    attempts
}

fn judged_live(lines: &[Value]) -> Vec<Judged> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempts = lines.iter().filter(|line| line["type"] == "attempt").map(|attempt| {
        let decisive = lines
            .iter()
            .filter(|line| line["type"] == "connection" && line["attempt"] == attempt["id"])
            .find(|connection| connection["verdict"]["cause"] == attempt["verdict"]["cause"])
            .unwrap();
        (
            text(&attempt["server"]),
            text(&attempt["verdict"]["cause"]),
            text(&decisive["phase"]),
            text(&decisive["ended_by"]),
            text(&decisive["mechanism"]),
        )
    });
    let mut attempts: Vec<Judged> = attempts.collect();
    attempts.sort();
    attempts
}

/// Short captures of every kind of end, at every point of capture.
const REPLAYED: &[&str] = &[
    "nla-required-tls-client/client.pcapng",
    "certificate-untrusted/client.pcapng",
    "certificate-denied-freerdp-tls12/client.pcapng",
    "tls-cipher-mismatch/client.pcapng",
    "credssp-old-server/client.pcapng",
    "inject-hello-other-ttl/between.pcapng",
    "syn-reset-middlebox/client.pcapng",
    "port-closed-alone/client.pcapng",
    "middlebox-reject-hello-v6/between.pcapng",
    "device-server-hello-killed/server.pcapng",
];

#[test]
fn what_falls_live_is_what_triage_says_of_the_same_packets() {
    let mut runs = Vec::new();
    for name in REPLAYED {
        let Some(wire) = Wire::new() else { return };
        let kept = tempfile::tempdir().unwrap();
        runs.push((
            name,
            thread::spawn(move || {
                let watch = Watch::start(&wire, &["--evidence", kept.path().to_str().unwrap()]);
                wire.send(&packets(&shipped(name)));
                let (code, lines) = watch.stop();
                (code, lines, kept)
            }),
        ));
    }
    for (name, run) in runs {
        let (code, lines, kept) = run.join().unwrap();
        let triage = golden::examine(&shipped(name), &[]);
        assert_eq!(judged_live(&lines), judged_by_triage(&triage), "{name}");
        let expected = match triage.outcome() {
            Outcome::Healthy => 0,
            Outcome::Failure => 1,
            Outcome::NothingToJudge => 3,
        };
        assert_eq!(code, Some(expected), "{name}");
        for folder in complete_folders(kept.path()) {
            let slice = golden::examine(&folder.join("slice.pcapng"), &[]);
            let told = lines.iter().filter(|line| line["type"] == "attempt").find(|line| {
                slice
                    .attempts
                    .iter()
                    .any(|attempt| line["verdict"]["summary"] == attempt.verdict.summary.as_str())
            });
            assert!(told.is_some(), "{name}: triage of the slice says {:?}", slice.overall.summary);
        }
    }
}

/// The folders of evidence, each of which must be whole.
fn complete_folders(kept: &Path) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = fs::read_dir(kept)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("rdpwhy-"))
        .collect();
    for folder in &folders {
        let checked = Command::new("sha256sum")
            .args(["--quiet", "-c", "manifest.sha256"])
            .current_dir(folder)
            .status()
            .unwrap();
        assert!(checked.success(), "{}", folder.display());
        for name in ["report.html", "report.md", "README.txt"] {
            assert!(folder.join(name).is_file(), "{}: {name}", folder.display());
        }
        let readme = fs::read_to_string(folder.join("README.txt")).unwrap();
        assert!(!readme.contains("CAUTION"), "{readme}");
        let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
        let mut source = capture::open(&folder.join("slice.pcapng"), OpenOptions::default()).unwrap();
        while source.next().unwrap().is_some() {}
        let summary = source.summary();
        assert_eq!(summary.shortfalls, [], "{}", folder.display());
        assert_eq!(report["sources"][0]["packets"], summary.packets);
        for evidence in report["attempts"][0]["verdict"]["evidence"].as_array().unwrap() {
            let frame = evidence["frame"].as_u64().unwrap();
            assert!((1..=summary.packets).contains(&frame), "{}: frame {frame}", folder.display());
        }
    }
    folders
}

#[test]
fn any_is_every_interface_and_seen_twice_it_is_judged_once() {
    let name = "nla-required-tls-client/client.pcapng";
    let triage = judged_by_triage(&golden::examine(&shipped(name), &[]));
    for twice in [false, true] {
        let Some(wire) = Wire::new() else { return };
        let mut arguments = vec!["-i", "any"];
        if twice {
            arguments.extend(["-i", &wire.far]);
        }
        let watch = Watch::start(&wire, &arguments);
        wire.send(&packets(&shipped(name)));
        let (code, lines) = watch.stop();
        assert_eq!((code, judged_live(&lines)), (Some(1), triage.clone()), "{arguments:?}");
    }
}

#[test]
fn a_verdict_falls_by_itself_and_a_port_scan_does_not_disturb_it() {
    let Some(wire) = Wire::new() else { return };
    let name = "inject-hello-other-ttl/between.pcapng";
    let mut watch = Watch::start(&wire, &["--all-tcp"]);
    let mut mixed = packets(&shipped(name));
    let middle = mixed.len() / 2;
    let at = mixed[middle].0;
    // It takes its time, so that those behind it keep their distances.
    let during = |port: u16| at.plus(Span::micros(250 * i64::from(port)));
    mixed[middle..].iter_mut().for_each(|(at, _)| *at = at.plus(Span::secs(2)));
    let scan = (1..=8_000_u16).map(|port| (during(port), syn([198, 51, 100, 7], [198, 51, 100, 8], 40_000, port + 10_000)));
    mixed.splice(middle..middle, scan);
    wire.send(&mixed);
    let told = watch.wait_for(|line| line["type"] == "attempt");
    let triage = golden::examine(&shipped(name), &[]);
    assert_eq!(told["verdict"]["cause"], triage.attempts[0].verdict.cause.slug);
    assert_eq!(told["verdict"]["summary"], triage.attempts[0].verdict.summary.as_str());
    let (code, lines) = watch.stop();
    assert_eq!(code, Some(1));
    assert_eq!(judged_live(&lines), judged_by_triage(&triage));
    let status = lines.iter().rev().find(|line| line["type"] == "status").unwrap();
    assert!(status["packets"].as_u64().unwrap() >= mixed.len() as u64, "{status}");
    assert_eq!(status["dropped_by_kernel"], 0, "{status}");
}

/// A SYN in an Ethernet frame.
fn syn(from: [u8; 4], to: [u8; 4], from_port: u16, to_port: u16) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(from, to, 64)
        .tcp(from_port, to_port, 1, 64_240)
        .syn();
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

#[test]
fn it_ends_when_it_has_what_was_asked_for_and_the_exit_code_says_what_there_was() {
    let Some(wire) = Wire::new() else { return };
    let refused = [
        (Timestamp(0), syn([10, 9, 0, 1], [10, 9, 1, 1], 50_000, 3389)),
        (Timestamp(0), refusal([10, 9, 1, 1], [10, 9, 0, 1], 50_000)),
    ];
    for (arguments, packets, expected) in [
        (["--until-failure", "--duration=1h"], &refused[..], 1),
        (["--count=1", "--duration=1h"], &refused[..], 1),
        (["--duration=1s", "--until-failure"], &[][..], 3),
    ] {
        let mut watch = Watch::start(&wire, &arguments);
        wire.send(packets);
        let (code, lines) = watch.end();
        assert_eq!(code, Some(expected), "{arguments:?}");
        assert_eq!(judged_live(&lines).len(), packets.len() / 2, "{arguments:?}");
        assert_eq!(lines.last().unwrap()["type"], "summary", "{arguments:?}");
    }
    let mut watch = Watch::start(&wire, &[]);
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.end().0, Some(3));
}

#[test]
fn evidence_comes_in_the_form_that_was_asked_for_and_redacted_it_names_nobody() {
    let name = "nla-required-tls-client/client.pcapng";
    let told = golden::examine(&shipped(name), &[]);
    let [attempt] = &told.attempts[..] else {
        panic!("{}", told.attempts.len())
    };
    let client = attempt.client.to_string();
    let user = told.connections.iter().find_map(|one| one.user.clone()).unwrap();
    for (form, suffix) in [("zip", ".zip"), ("slice", ".pcapng")] {
        let Some(wire) = Wire::new() else { return };
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().to_str().unwrap();
        let watch = Watch::start(&wire, &["--evidence", folder, "--evidence-form", form, "--redact"]);
        wire.send(&packets(&shipped(name)));
        let (code, lines) = watch.stop();
        assert_eq!(code, Some(1));
        let said = lines.iter().find_map(|line| line["kept"].as_str()).unwrap();
        assert!(said.ends_with(suffix) && !said.contains(&client), "{said}");
        let bytes = fs::read(said).unwrap();
        let slice = kept.path().join("slice");
        if form == "zip" {
            let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
            for place in 0..zip.len() {
                let mut inside = zip.by_index(place).unwrap();
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut inside, &mut bytes).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                let name = inside.name().unwrap();
                assert!(!text.contains(&client) && !text.contains(&user), "{name}");
                if name == "slice.pcapng" {
                    fs::write(&slice, &bytes).unwrap();
                }
            }
        } else {
            fs::write(&slice, &bytes).unwrap();
        }
        let again = golden::examine(&slice, &[]);
        assert_eq!(again.overall.cause.slug, told.overall.cause.slug, "{form}");
    }
}

#[test]
fn vlan_tags_hide_nothing() {
    let name = "nla-required-tls-client/client.pcapng";
    let triage = judged_by_triage(&golden::examine(&shipped(name), &[]));
    for (tags, interface) in [(1, None), (2, None), (1, Some("any"))] {
        let tag = |frame: &[u8]| {
            let outer = if tags == 2 { &[0x88, 0xa8, 0, 9][..] } else { &[] };
            [&frame[..12], outer, &[0x81, 0, 0, 7], &frame[12..]].concat()
        };
        let Some(wire) = Wire::new() else { return };
        let arguments: Vec<&str> = interface.iter().flat_map(|name| ["-i", name]).collect();
        let watch = Watch::start(&wire, &arguments);
        let tagged: Vec<_> = packets(&shipped(name))
            .into_iter()
            .map(|(at, frame)| (at, tag(&frame)))
            .collect();
        wire.send(&tagged);
        assert_eq!(judged_live(&watch.stop().1), triage, "{tags} tags, {interface:?}");
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_half_written() {
    let Some(wire) = Wire::new() else { return };
    let kept = tempfile::tempdir().unwrap();
    let log = kept.path().join("log");
    let arguments = ["--evidence", kept.path().to_str().unwrap(), "--log", log.to_str().unwrap()];
    // Refused connections, each from another client, so that each is an attempt of its own.
    let refused: Vec<(Timestamp, Vec<u8>)> = (0..40_u8)
        .flat_map(|n| {
            let (client, server) = ([10, 9, 0, n + 1], [10, 9, 1, 1]);
            let at = Timestamp(i64::from(n) * 100_000_000);
            [(at, syn(client, server, 50_000, 3389)), (at, refusal(server, client, 50_000))]
        })
        .collect();
    for told in [1, 3, 7] {
        let mut watch = Watch::start(&wire, &arguments);
        thread::scope(|scope| {
            scope.spawn(|| wire.send(&refused));
            for _ in 0..told {
                watch.wait_for(|line| line["type"] == "attempt");
            }
            watch.signal(Signal::SIGKILL);
        });
        let (code, lines) = watch.end();
        assert_eq!(code, None);
        let reported = lines.iter().filter(|line| line["type"] == "attempt").count();
        assert!(reported >= told);
        for line in fs::read_to_string(&log).unwrap().lines() {
            let _: Value = serde_json::from_str(line).unwrap();
        }
        assert!(complete_folders(kept.path()).len() >= told);
    }
    // The next one cleans up and goes on.
    let before = complete_folders(kept.path()).len();
    let watch = Watch::start(&wire, &arguments);
    assert!(
        fs::read_dir(kept.path())
            .unwrap()
            .all(|entry| !entry.unwrap().file_name().to_string_lossy().contains("part"))
    );
    let (code, _) = watch.stop();
    assert_eq!((code, complete_folders(kept.path()).len()), (Some(3), before));
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let Some(wire) = Wire::new() else { return };
    let Some(disk) = SmallDisk::new() else { return };
    let kept = disk.0.path();
    let log = kept.join("log");
    let mut watch = Watch::start(&wire, &["--evidence", kept.to_str().unwrap(), "--log", log.to_str().unwrap()]);
    let at = |n: u8| Timestamp(i64::from(n) * 20_000_000);
    let refused: Vec<(Timestamp, Vec<u8>)> = (0..50_u8)
        .flat_map(|n| {
            let (client, server) = ([10, 9, 0, n + 1], [10, 9, 1, 1]);
            [
                (at(n), syn(client, server, 50_000, 3389)),
                (at(n), refusal(server, client, 50_000)),
            ]
        })
        .collect();
    wire.send(&refused);
    let is_told =
        |line: &Value| line["type"] == "notice" && line["text"].as_str().is_some_and(|text| text.contains("could not be kept"));
    watch.wait_for(is_told);
    let (code, lines) = watch.stop();
    assert_eq!(code, Some(1));
    assert_eq!(lines.iter().filter(|line| line["type"] == "attempt").count(), 50);
    let status = lines.iter().rev().find(|line| line["type"] == "status").unwrap();
    assert!(status["evidence_failed"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(complete_folders(kept).len() as u64, status["evidence_kept"].as_u64().unwrap());
    assert!(
        fs::read_dir(kept)
            .unwrap()
            .all(|entry| !entry.unwrap().file_name().to_string_lossy().contains("part"))
    );
    for line in fs::read_to_string(&log).unwrap().lines() {
        let _: Value = serde_json::from_str(line).unwrap();
    }
}

/// A file system of half a megabyte, which is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: a full disk needs the right to mount one");
            return None;
        }
        Some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The RST with which a host refuses a SYN.
fn refusal(from: [u8; 4], to: [u8; 4], to_port: u16) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4(from, to, 128)
        .tcp(3389, to_port, 0, 0)
        .rst()
        .ack(2);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

#[test]
fn an_interface_may_go_and_come_back() {
    let Some(wire) = Wire::new() else { return };
    let is_notice = |words: &'static str| {
        move |line: &Value| line["type"] == "notice" && line["text"].as_str().is_some_and(|text| text.contains(words))
    };
    let mut watch = Watch::start(&wire, &["--run-as", "nobody"]);
    let status = fs::read_to_string(format!("/proc/{}/status", watch.child.id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // Nothing is left of root but CAP_NET_RAW, number 13, by which an interface can be opened again.
    assert!(of("Uid:").iter().all(|uid| uid != "0"), "{status}");
    for set in ["CapEff:", "CapPrm:"] {
        assert_eq!(of(set), [format!("{:016x}", 1 << 13)], "{set}");
    }
    wire.far_end(&["set", &wire.far, "down"]);
    watch.wait_for(is_notice("does not deliver"));
    wire.far_end(&["set", &wire.far, "up"]);
    watch.wait_for(is_notice("is back"));
    wire.far_end(&["del", &wire.far]);
    watch.wait_for(is_notice("does not deliver"));
    wire.connect();
    watch.wait_for(is_notice("is back"));
    let name = "nla-required-tls-client/client.pcapng";
    wire.send(&packets(&shipped(name)));
    let (code, lines) = watch.stop();
    assert_eq!(code, Some(1));
    assert_eq!(judged_live(&lines), judged_by_triage(&golden::examine(&shipped(name), &[])));
}
