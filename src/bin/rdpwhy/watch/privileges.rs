//! The rights of root in, those of an ordinary user out, with the one right kept that opens an interface again.

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

/// Who gets to run the rest where nobody was named and nobody called sudo.
const NOBODY: &str = "nobody";

/// Drops the rights of root; says to whom, or nothing where there was nothing to drop. Called before any thread is started: on
/// Linux capabilities belong to threads.
///
/// # Errors
/// Where there is no such user, or the system refuses.
pub fn drop_to(named: Option<&str>) -> anyhow::Result<Option<String>> {
    if !Uid::effective().is_root() {
        #[cfg(target_os = "linux")]
        keep_what_captures().context("dropping the rights that are not needed any more")?;
        return Ok(None);
    }
    let user = match named {
        Some(name) => by_name(name)?,
        None => match by_sudo()? {
            Some(user) => user,
            None => by_name(NOBODY)?,
        },
    };
    if user.uid.is_root() {
        return Ok(None);
    }
    become_user(user.uid, user.gid).with_context(|| format!("dropping the rights of root to {}", user.name))?;
    Ok(Some(user.name))
}

fn by_name(name: &str) -> anyhow::Result<User> {
    match User::from_name(name)? {
        Some(user) => Ok(user),
        None => bail!("there is no user {name}; --run-as names another, and --run-as root keeps the rights of root"),
    }
}

/// The user who called sudo, as sudo itself says.
fn by_sudo() -> anyhow::Result<Option<User>> {
    let uid = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    Ok(match uid {
        Some(uid) => User::from_uid(Uid::from_raw(uid))?.filter(|user| !user.uid.is_root()),
        None => None,
    })
}

/// Leaves at most the right to capture, also to a program that `setcap` gave more.
#[cfg(target_os = "linux")]
fn keep_what_captures() -> rustix::io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let has = capabilities(None)?.permitted;
    let capture = has & CapabilitySet::NET_RAW;
    if has == capture {
        // A sandbox may not even let it ask.
        return Ok(());
    }
    let sets = CapabilitySets {
        effective: capture,
        permitted: capture,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}

fn become_user(uid: Uid, gid: Gid) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::thread::set_keep_capabilities(true)?;
    #[cfg(not(any(target_os = "macos", target_os = "ios")))]
    setgroups(&[gid])?;
    setgid(gid)?;
    setuid(uid)?;
    #[cfg(target_os = "linux")]
    keep_what_captures()?;
    if setuid(Uid::from_raw(0)).is_ok() {
        bail!("the rights of root came back");
    }
    Ok(())
}
