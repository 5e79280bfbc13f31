//! Live interfaces in, frames out, by libpcap or Npcap: the only place of the library that looks at a clock.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pcap::{Active, Capture, Device, Linktype, Precision};

use super::{Frame, FrameNo, InterfaceSummary, LinkType, PacketOptions, Resolution, SourceSummary, Span, Timestamp};

mod clock;
mod filter;

use clock::Clock;
pub use filter::Wanted;

/// How long the kernel gathers packets before it hands them over, in milliseconds.
const GATHER: i32 = 20;
/// With several interfaces a packet waits so long for older ones of the others, so that all come out in order.
const HOLD: Span = Span::millis(2 * GATHER as i64);
/// How long to sleep where no interface has a packet. The block timer of TPACKET_V3 does not fire without packets, so that a read
/// that waits would wait for ever.
const NAP: Duration = Duration::from_millis(10);
/// How often an interface that is gone is looked for, and how often the clock is looked at.
const RETRY: Duration = Duration::from_secs(1);
/// The pseudo-device of Linux that sees every interface.
pub const ANY: &str = "any";

/// What to capture, and how.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// The interfaces by name.
    pub interfaces: Vec<String>,
    /// The kernel's filter in pcap-filter(7) syntax; empty for everything.
    pub filter: String,
    /// How many bytes of each packet are captured.
    pub snaplen: u32,
    /// The kernel's buffer for each interface, in bytes.
    pub buffer: u32,
    /// Whether packets come one by one at once instead of in blocks: less delay, and several times the work.
    pub immediate: bool,
    /// Whether packets for other hosts are wanted, too.
    pub promiscuous: bool,
}

/// Why live capture cannot begin, in words for the user.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Not allowed.
    #[error("no permission to capture on {interface}; {remedy}")]
    Permission {
        /// The interface.
        interface: String,
        /// What to do on this system.
        remedy: String,
    },
    /// There is no such interface.
    #[error("there is no interface {interface}; rdpwhy interfaces lists them ({known})")]
    NoInterface {
        /// The name that was given.
        interface: String,
        /// The interfaces that there are.
        known: String,
    },
    /// Anything else that libpcap says.
    #[error("{interface}: {text}")]
    Other {
        /// The interface.
        interface: String,
        /// What libpcap says.
        text: String,
    },
}

/// Something that happened to the capture itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An interface does not deliver any more.
    Lost {
        /// Its name.
        interface: String,
        /// Why, as libpcap says.
        why: String,
    },
    /// An interface delivers again.
    Back {
        /// Its name.
        interface: String,
    },
    /// An interface is there again and cannot be opened.
    Barred {
        /// Its name.
        interface: String,
        /// Why.
        why: String,
    },
    /// The machine slept so long.
    Slept(Span),
    /// The clock was set by so much; negative if backwards.
    ClockSet(Span),
}

impl std::fmt::Display for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            News::Lost { interface, why } => write!(
                f,
                "{interface} does not deliver any more ({why}); waiting for it to come back"
            ),
            News::Back { interface } => write!(f, "{interface} is back"),
            News::Barred { interface, why } => write!(f, "{interface} is there again and cannot be opened: {why}"),
            News::Slept(span) => write!(f, "the machine slept for {:.0} s", span.as_secs_f64()),
            News::ClockSet(span) => write!(
                f,
                "the clock was set {} by {:.3} s; what was open is judged by what was seen until then",
                if span.0 < 0 { "back" } else { "forward" },
                span.as_secs_f64().abs()
            ),
        }
    }
}

/// What [`Live::tick`] gives.
#[derive(Debug)]
pub enum Tick<'a> {
    /// A packet.
    Frame(Frame<'a>),
    /// No packet for a moment.
    Idle,
    /// Something happened to the capture.
    News(News),
}

/// What was counted as missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// By the kernel, because its buffer was full.
    pub kernel: u64,
    /// By the interface or its driver.
    pub interface: u64,
}

impl Drops {
    /// Both together.
    pub fn all(self) -> u64 {
        self.kernel + self.interface
    }
}

/// Live interfaces.
pub struct Live {
    options: LiveOptions,
    ports: Vec<Port>,
    clock: Clock,
    look_at: Instant,
    frames: u64,
    bytes: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// One interface.
struct Port {
    name: String,
    capture: Option<Capture<Active>>,
    /// The number of the interface in the system; another one under the same name is another interface.
    index: Option<u32>,
    is_down: bool,
    link: LinkType,
    retry_at: Instant,
    barred: bool,
    /// Drops of the handle at the last look, which wrap at 32 bits, and of all handles so far.
    counted: (u32, u32),
    drops: Drops,
    /// The packet that comes next, where one is waiting.
    pending: Option<(Timestamp, u32)>,
    bytes: Vec<u8>,
}

impl Live {
    /// Opens the interfaces.
    ///
    /// # Errors
    /// [`LiveError`], as it says.
    pub fn open(options: LiveOptions) -> Result<Live, LiveError> {
        let now = Instant::now();
        let mut ports = Vec::new();
        for name in &options.interfaces {
            let (capture, link) = open_port(name, &options)?;
            ports.push(Port {
                name: name.clone(),
                capture: Some(capture),
                index: state(name).map(|(index, _)| index),
                is_down: false,
                link,
                retry_at: now,
                barred: false,
                counted: (0, 0),
                drops: Drops::default(),
                pending: None,
                bytes: Vec::new(),
            });
        }
        Ok(Live {
            options,
            ports,
            clock: Clock::new(),
            look_at: now + RETRY,
            frames: 0,
            bytes: 0,
            first: None,
            last: None,
        })
    }

    /// The time of day by the clock of this machine, by which packets are stamped, too.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The next packet; returns after a moment where there is none.
    pub fn tick(&mut self) -> Tick<'_> {
        // Clocks cost more than packets: under load they are looked at now and then.
        if self.frames.is_multiple_of(256)
            && let Some(news) = self.look_around()
        {
            return Tick::News(news);
        }
        for place in 0..self.ports.len() {
            if let Some(news) = self.ports[place].fetch() {
                return Tick::News(news);
            }
        }
        let Some(place) = self.oldest() else {
            if let Some(news) = self.look_around() {
                return Tick::News(news);
            }
            thread::sleep(NAP);
            return Tick::Idle;
        };
        self.take(place)
    }

    /// The interface with the oldest packet, if that need not wait for those of others.
    fn oldest(&self) -> Option<usize> {
        let waiting = self.ports.iter().enumerate();
        let (place, at) = waiting
            .filter_map(|(place, port)| Some((place, port.pending?.0)))
            .min_by_key(|(_, at)| *at)?;
        let complete = self.ports.iter().all(|port| port.pending.is_some() || port.capture.is_none());
        let age = || Live::now().since(at);
        // A time in the future is the clock's fault, not a reason to wait.
        (complete || age() >= HOLD || age().0 < 0).then_some(place)
    }

    fn take(&mut self, place: usize) -> Tick<'_> {
        let Some((at, wire_len)) = self.ports.get_mut(place).and_then(|port| port.pending.take()) else {
            return Tick::Idle;
        };
        self.frames += 1;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        let port = &self.ports[place];
        self.bytes += port.bytes.len() as u64;
        Tick::Frame(Frame {
            no: FrameNo::new(self.frames),
            at,
            link: port.link,
            interface: u32::try_from(place).unwrap_or(u32::MAX),
            bytes: &port.bytes,
            wire_len,
            direction: None,
            options: PacketOptions::default(),
        })
    }

    /// Once a second: has the clock been set, has the machine slept, are interfaces back.
    fn look_around(&mut self) -> Option<News> {
        let now = Instant::now();
        if now < self.look_at {
            return None;
        }
        if let Some(news) = self.clock.look() {
            return Some(news);
        }
        for port in &mut self.ports {
            if port.capture.is_some() {
                port.count();
                if let Some(news) = port.look() {
                    return Some(news);
                }
                continue;
            }
            if now < port.retry_at {
                continue;
            }
            port.retry_at = now + RETRY;
            match open_port(&port.name, &self.options) {
                Ok((capture, link)) => {
                    (port.capture, port.link, port.counted, port.barred) = (Some(capture), link, (0, 0), false);
                    (port.index, port.is_down) = (state(&port.name).map(|(index, _)| index), false);
                    return Some(News::Back {
                        interface: port.name.clone(),
                    });
                }
                Err(error @ LiveError::Permission { .. }) if !port.barred => {
                    port.barred = true;
                    return Some(News::Barred {
                        interface: port.name.clone(),
                        why: error.to_string(),
                    });
                }
                // Not there yet, or not up.
                Err(_) => {}
            }
        }
        self.look_at = now + RETRY;
        None
    }

    /// What was missed so far, as counted at most a second ago.
    pub fn drops(&self) -> Drops {
        self.ports.iter().fold(Drops::default(), |sum, port| Drops {
            kernel: sum.kernel + port.drops.kernel,
            interface: sum.interface + port.drops.interface,
        })
    }

    /// How many packets came so far.
    pub fn packets(&self) -> u64 {
        self.frames
    }

    /// How many interfaces deliver at this moment.
    pub fn delivering(&self) -> usize {
        self.ports.iter().filter(|port| port.capture.is_some()).count()
    }

    /// What the capture is and what it missed so far.
    pub fn summary(&mut self) -> SourceSummary {
        self.ports.iter_mut().for_each(Port::count);
        let mut link_types = Vec::new();
        for port in &self.ports {
            if !link_types.contains(&port.link) {
                link_types.push(port.link);
            }
        }
        let filter = Some(self.options.filter.clone()).filter(|filter| !filter.is_empty());
        SourceSummary {
            path: self.options.interfaces.join(", ").into(),
            format: "live capture".to_owned(),
            link_types,
            packets: self.frames,
            bytes: self.bytes,
            first: self.first,
            last: self.last,
            interfaces: self
                .ports
                .iter()
                .map(|port| InterfaceSummary {
                    name: Some(port.name.clone()),
                    filter: filter.clone(),
                    link: port.link,
                    resolution: Resolution::NANOS,
                    snaplen: self.options.snaplen,
                    dropped: Some(port.drops.all()),
                    ..InterfaceSummary::default()
                })
                .collect(),
            ..SourceSummary::default()
        }
    }
}

impl Port {
    /// Sees to it that a packet is pending, if there is one.
    fn fetch(&mut self) -> Option<News> {
        if self.pending.is_some() {
            return None;
        }
        let capture = self.capture.as_mut()?;
        match capture.next_packet() {
            Ok(packet) => {
                self.bytes.clear();
                self.bytes.extend_from_slice(packet.data);
                let (seconds, nanos) = (wide(packet.header.ts.tv_sec), wide(packet.header.ts.tv_usec));
                let at = Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
                self.pending = Some((at, packet.header.len));
                None
            }
            Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => None,
            Err(error) => {
                self.close();
                Some(News::Lost {
                    interface: self.name.clone(),
                    why: error.to_string(),
                })
            }
        }
    }

    /// Whether the interface went down, came up, or is another one now. libpcap does not say so where it reads without waiting.
    fn look(&mut self) -> Option<News> {
        let known = self.index?;
        let interface = self.name.clone();
        match state(&self.name) {
            Some((index, up)) if index == known => {
                let was_down = std::mem::replace(&mut self.is_down, !up);
                match (was_down, self.is_down) {
                    (false, true) => Some(News::Lost {
                        interface,
                        why: "it is down".to_owned(),
                    }),
                    (true, false) => Some(News::Back { interface }),
                    _ => None,
                }
            }
            _ => {
                self.close();
                (!self.is_down).then(|| News::Lost {
                    interface,
                    why: "it is gone".to_owned(),
                })
            }
        }
    }

    fn close(&mut self) {
        self.count();
        self.capture = None;
        self.retry_at = Instant::now() + RETRY;
    }

    fn count(&mut self) {
        if let Some(Ok(stat)) = self.capture.as_mut().map(Capture::stats) {
            self.drops.kernel += u64::from(stat.dropped.wrapping_sub(self.counted.0));
            self.drops.interface += u64::from(stat.if_dropped.wrapping_sub(self.counted.1));
            self.counted = (stat.dropped, stat.if_dropped);
        }
    }
}

/// The number of an interface in the system, and whether it is up; `None` where there is none of that name.
fn state(name: &str) -> Option<(u32, bool)> {
    let found = pnet::datalink::interfaces()
        .into_iter()
        .find(|interface| interface.name == name)?;
    Some((found.index, found.is_up()))
}

/// Both parts of a `timeval` are of another width on every system.
fn wide(n: impl Into<i64>) -> i64 {
    n.into()
}

fn open_port(name: &str, options: &LiveOptions) -> Result<(Capture<Active>, LinkType), LiveError> {
    let failed = |error: pcap::Error| why(name, &error);
    let clamp = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let open = |precision: Precision| {
        Capture::from_device(name)?
            .snaplen(clamp(options.snaplen))
            .buffer_size(clamp(options.buffer))
            .timeout(GATHER)
            .immediate_mode(options.immediate)
            // The pseudo-device has no such mode.
            .promisc(options.promiscuous && name != ANY)
            .precision(precision)
            .open()
    };
    let mut capture = open(Precision::Nano).map_err(failed)?;
    if name == ANY {
        // The second version names the interface of each packet; libpcap before 1.10 has the first one only.
        let _ = capture.set_datalink(Linktype(i32::from(LinkType::LINUX_SLL2.0)));
    }
    let mut capture = capture.setnonblock().map_err(failed)?;
    let link = match LinkType(u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX)) {
        // What handles call it and what files call it are two numbers for tunnels.
        LinkType::RAW_BSD => LinkType::RAW,
        link => link,
    };
    capture
        .filter(&filter::on(link, &options.filter), true)
        .map_err(|error| LiveError::Other {
            interface: name.to_owned(),
            text: format!("the filter is not understood: {error}"),
        })?;
    Ok((capture, link))
}

/// What libpcap's error means for the user.
fn why(name: &str, error: &pcap::Error) -> LiveError {
    let text = error.to_string();
    let lower = text.to_lowercase();
    let interface = name.to_owned();
    if lower.contains("permission") || lower.contains("not permitted") || lower.contains("access is denied") {
        return LiveError::Permission {
            interface,
            remedy: permission_remedy().to_owned(),
        };
    }
    if lower.contains("no such device") {
        let known: Vec<String> = interfaces().unwrap_or_default().into_iter().map(|one| one.name).collect();
        return LiveError::NoInterface {
            interface,
            known: known.join(", "),
        };
    }
    LiveError::Other { interface, text }
}

/// What gives a user the right to capture on this system.
pub fn permission_remedy() -> &'static str {
    if cfg!(target_os = "linux") {
        "run it with sudo, or give it the right once: sudo setcap cap_net_raw,cap_net_admin=eip \"$(command -v rdpwhy)\""
    } else if cfg!(target_os = "macos") {
        "run it with sudo, or install Wireshark's ChmodBPF and join the group access_bpf"
    } else if cfg!(windows) {
        "run it as administrator, or install Npcap without its option to restrict access to administrators"
    } else {
        "run it as root"
    }
}

/// An interface that can be captured on, as libpcap lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name for `-i`.
    pub name: String,
    /// Its description, mostly on Windows.
    pub description: Option<String>,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Whether it is up.
    pub up: bool,
    /// Whether it has a link.
    pub running: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Whether it is a radio.
    pub wireless: bool,
}

/// The interfaces that can be captured on; without the buses and logs that libpcap lists, too.
///
/// # Errors
/// What libpcap says.
pub fn interfaces() -> Result<Vec<Listed>, LiveError> {
    let other = |error: pcap::Error| LiveError::Other {
        interface: "interfaces".to_owned(),
        text: error.to_string(),
    };
    let foreign = ["bluetooth", "nflog", "nfqueue", "usbmon", "dbus"];
    let listed = Device::list().map_err(other)?.into_iter();
    Ok(listed
        .filter(|device| !foreign.iter().any(|prefix| device.name.starts_with(prefix)))
        .map(|device| Listed {
            up: device.flags.is_up(),
            running: device.flags.is_running(),
            loopback: device.flags.is_loopback(),
            wireless: device.flags.is_wireless(),
            addresses: device.addresses.iter().map(|address| address.addr).collect(),
            description: device.desc,
            name: device.name,
        })
        .collect())
}
