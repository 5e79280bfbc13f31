//! Lines in, every place where they are wanted out: standard output, a file that is rotated, the system's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anstream::AutoStream;

/// A file that is rotated by size: `FILE`, `FILE.1`, `FILE.2`, the youngest first.
#[derive(Debug)]
pub struct Rotated {
    path: PathBuf,
    file: File,
    bytes: u64,
    most_bytes: u64,
    keep: u32,
}

impl Rotated {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path, most_mib: u64, keep: u32) -> io::Result<Rotated> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Rotated {
            path: path.to_owned(),
            file,
            bytes,
            most_bytes: most_mib << 20,
            keep,
        })
    }

    /// Writes one line, whole, into one file.
    ///
    /// # Errors
    /// Where the disk is full or gone.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.most_bytes {
            self.rotate()?;
        }
        // A write that came only half through, on a full disk, is taken back: no line is half.
        if let Err(error) = self.file.write_all(line) {
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..self.keep).rev() {
            match fs::rename(numbered(n), numbered(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

/// The system's log, by the socket that syslog and journald both listen to (RFC 3164, as the C library writes it).
#[cfg(unix)]
#[derive(Debug)]
pub struct Syslog(UnixDatagram);

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A failure.
    Warning = 4,
    /// Something about the capture.
    Notice = 5,
    /// Anything else.
    Info = 6,
}

#[cfg(unix)]
impl Syslog {
    /// Connects to the log.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open() -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        let places = ["/dev/log", "/var/run/syslog", "/var/run/log"];
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for place in places {
            match socket.connect(place) {
                Ok(()) => {
                    socket.set_nonblocking(true)?;
                    return Ok(Syslog(socket));
                }
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    fn line(&mut self, urgency: Urgency, line: &str) -> io::Result<()> {
        /// Messages of daemons.
        const DAEMON: u32 = 3;
        let priority = DAEMON * 8 + urgency as u32;
        let text = format!("<{priority}>rdpwhy[{}]: {line}", std::process::id());
        match self.0.send(text.as_bytes()) {
            Ok(_) => Ok(()),
            // It is busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // The log may have been started anew since.
            Err(_) => {
                *self = Syslog::open()?;
                self.0.send(text.as_bytes()).map(drop)
            }
        }
    }
}

/// Where lines go.
#[derive(Debug, Default)]
pub struct Sinks {
    /// Whether standard output takes them; not while a view has the terminal.
    pub stdout: bool,
    /// Whether standard output is coloured.
    pub color: bool,
    /// The file.
    pub log: Option<Rotated>,
    /// The system's log.
    #[cfg(unix)]
    pub syslog: Option<Syslog>,
    /// Lines that could not be written to the file or the system's log.
    pub lost: u64,
    /// Whether the last line could not.
    pub failing: bool,
}

/// What became of a line.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Nobody reads standard output any more.
    pub reader_left: bool,
    /// The first failure of a file or log after it had worked, in words.
    pub trouble: Option<String>,
}

impl Sinks {
    /// Sends a line, which ends with a line feed, to everybody. Colour goes to standard output only.
    pub fn line(&mut self, urgency: Urgency, line: &str) -> Delivered {
        let mut delivered = Delivered::default();
        if self.stdout {
            let choice = if self.color {
                anstream::ColorChoice::Always
            } else {
                anstream::ColorChoice::Never
            };
            let mut out = AutoStream::new(io::stdout().lock(), choice);
            if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                delivered.reader_left = true;
            }
        }
        let plain = anstream::adapter::strip_str(line).to_string();
        let mut failures = Vec::new();
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.line(plain.as_bytes())) {
            failures.push(format!("the log file: {error}"));
        }
        #[cfg(unix)]
        if let Some(log) = &mut self.syslog
            && let Some(error) = plain.lines().find_map(|line| log.line(urgency, line).err())
        {
            failures.push(format!("the system's log: {error}"));
        }
        #[cfg(not(unix))]
        let _ = urgency;
        let was_failing = std::mem::replace(&mut self.failing, !failures.is_empty());
        if self.failing && !was_failing {
            delivered.trouble = Some(format!("a line could not be written to {}", failures.join("; ")));
        }
        self.lost += failures.len() as u64;
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_rotated_and_no_line_is_split() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Rotated::open(&path, 1, 2).unwrap();
        let line = [b'x'; 400 << 10];
        for _ in 0..7 {
            log.line(&line).unwrap();
        }
        let size = |name: &str| {
            fs::metadata(folder.path().join(name))
                .map(|about| about.len() / line.len() as u64)
                .ok()
        };
        assert_eq!(
            [size("log"), size("log.1"), size("log.2"), size("log.3")],
            [Some(1), Some(2), Some(2), None]
        );
        let again = Rotated::open(&path, 1, 2).unwrap();
        assert_eq!(again.bytes, line.len() as u64);
    }
}
