//! Making processes, waiting for them, and catching signals.
use crate::{Sys, c, must, signal_name, sys, zeroed};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

/// Runs `body` in a child; its value is the exit code.
pub fn child(body: impl FnOnce() -> i32) -> i32 {
    match must(sys!(libc::fork())) {
        0 => {
            let code = body();
            c!(libc::_exit(code))
        }
        pid => pid,
    }
}

/// Waits for a child and says how it ended.
pub fn wait(pid: i32) -> String {
    match wait_with(pid, 0) {
        Ok((_, status)) => status_text(status),
        Err(errno) => errno.to_string(),
    }
}

/// `waitpid`: the process and its status.
///
/// # Errors
/// Those of the call.
pub fn wait_with(pid: i32, options: i32) -> Result<(i32, i32), crate::Errno> {
    let mut status = 0;
    let found = sys!(libc::waitpid(pid, &raw mut status, options))?;
    Ok((i32::try_from(found).unwrap_or(-1), status))
}

/// A child that runs `body`, from start to end, in words.
pub fn ending(body: impl FnOnce() -> i32) -> String {
    wait(child(body))
}

/// A wait status in words, without the core bit: whether a core is written is the system's setting.
pub fn status_text(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("exit {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        format!("killed by {}", signal_name(libc::WTERMSIG(status)))
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by {}", signal_name(libc::WSTOPSIG(status)))
    } else if libc::WIFCONTINUED(status) {
        "continued".to_owned()
    } else {
        format!("status {status:#x}")
    }
}

/// Sleeps.
pub fn pause_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Waits until `done` or, with `false`, until ten seconds have passed.
pub fn until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..2000 {
        if done() {
            return true;
        }
        pause_ms(5);
    }
    false
}

/// Signals that the handlers below have seen.
pub static SEEN: AtomicU32 = AtomicU32::new(0);
/// The last of them.
pub static LAST: AtomicI32 = AtomicI32::new(0);

/// A handler that counts.
pub extern "C" fn count(signal: i32) {
    LAST.store(signal, Ordering::SeqCst);
    SEEN.fetch_add(1, Ordering::SeqCst);
}

/// How many signals were counted since the last time.
pub fn seen() -> u32 {
    SEEN.swap(0, Ordering::SeqCst)
}

/// Sets a handler of one argument.
pub fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) -> Sys {
    action(signal, handler as *const () as usize, flags)
}

/// Sets a handler of three arguments.
pub fn handle_info(
    signal: i32,
    handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
    flags: i32,
) -> Sys {
    action(signal, handler as *const () as usize, flags | libc::SA_SIGINFO)
}

/// Sets an action: a handler's address, SIG_IGN or SIG_DFL.
pub fn action(signal: i32, handler: usize, flags: i32) -> Sys {
    let mut new = zeroed!(libc::sigaction);
    new.sa_sigaction = handler;
    new.sa_flags = flags;
    sys!(libc::sigaction(signal, &raw const new, std::ptr::null_mut()))
}

/// A set of signals.
pub fn set(signals: &[i32]) -> libc::sigset_t {
    let mut set = zeroed!(libc::sigset_t);
    c!(libc::sigemptyset(&raw mut set));
    for signal in signals {
        c!(libc::sigaddset(&raw mut set, *signal));
    }
    set
}

/// The standard signals in a set, and the real-time ones.
pub fn names(set: &libc::sigset_t) -> String {
    let in_set = |signal: &i32| c!(libc::sigismember(set, *signal)) == 1;
    let names: Vec<String> = (1..=64).filter(in_set).map(signal_name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// Blocks signals for this thread.
pub fn block(signals: &[i32]) {
    let set = set(signals);
    c!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()));
}

/// Unblocks signals for this thread.
pub fn unblock(signals: &[i32]) {
    let set = set(signals);
    c!(libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()));
}

/// SIGALRM each 20 ms, so that a call that waits is interrupted however late it begins to; 0 ends it.
pub fn tick(ms: i64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: ms * 1000 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    must(sys!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut())));
}

/// A pipe over which two tasks tell each other how far they are.
#[derive(Clone, Copy, Debug)]
pub struct Baton {
    from: i32,
    to: i32,
}

impl Default for Baton {
    fn default() -> Self {
        let (from, to) = crate::files::pipe();
        Self { from, to }
    }
}

impl Baton {
    /// Lets the other side go on.
    pub fn pass(&self) {
        must(sys!(libc::write(self.to, b"x".as_ptr().cast(), 1)));
    }

    /// Waits for the other side.
    pub fn take(&self) {
        let mut byte = 0u8;
        while sys!(libc::read(self.from, (&raw mut byte).cast(), 1)) == Err(crate::Errno(libc::EINTR)) {}
    }
}

/// The state letter of a process in /proc.
pub fn state(pid: i32) -> char {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}
