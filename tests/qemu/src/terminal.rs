//! Running a program on a terminal: somebody looks at the screen and types.
use crate::{Sandbox, Verdict};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time until something that is waited for is on the screen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long somebody looks at the screen before typing.
const READING: Duration = Duration::from_millis(600);

/// What is waited for on the screen, and what is typed then.
pub(crate) type Step = (&'static str, &'static str);

impl Sandbox {
    /// Runs it on a terminal both ways and wants the same screen and exit code.
    pub(crate) fn same_on_terminal(&self, steps: &[Step]) -> Verdict {
        let here = play(self.command_here()?, steps, Duration::ZERO)?;
        let inside = play(self.command_inside(), steps, Duration::ZERO)?;
        if inside == here {
            return Ok(());
        }
        Err(format!("in the sandbox: {} {:?}\non plain Linux: {} {:?}", inside.0, inside.1, here.0, here.1))
    }

    /// Runs it on a terminal in a sandbox; its exit code and the screen.
    pub(crate) fn on_terminal(&self, steps: &[Step]) -> Result<(i32, String), String> {
        play(self.command_inside(), steps, Duration::ZERO)
    }

    /// The same for somebody who reads before typing.
    pub(crate) fn read_on_terminal(&self, steps: &[Step]) -> Result<(i32, String), String> {
        play(self.command_inside(), steps, READING)
    }
}

/// Starts `command` as the leader of a session with a terminal, and plays the steps, each after a pause. Exit code and screen.
fn play(command: Command, steps: &[Step], pause: Duration) -> Result<(i32, String), String> {
    let text = |error: rustix::io::Errno| format!("no terminal: {error}");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(text)?;
    unlockpt(&master).map_err(text)?;
    let name = ptsname(&master, Vec::new()).map_err(text)?;
    let slave = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .map_err(text)?;
    tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).map_err(text)?;
    let slave = File::from(slave);
    let again = || slave.try_clone().map_err(|error| error.to_string());
    let mut leader = Command::new("setsid");
    leader.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        leader.current_dir(directory);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => leader.env(key, value),
            None => leader.env_remove(key),
        };
    }
    let child = leader.stdin(again()?).stdout(again()?).stderr(again()?).spawn();
    let mut child = child.map_err(|error| format!("{leader:?} cannot be started: {error}"))?;
    // The terminal ends when the last of its users does.
    drop((leader, slave));
    let master = File::from(master);
    let output = watch(master.try_clone().map_err(|error| error.to_string())?);
    let screen = type_in(master, &output, steps, pause);
    if screen.is_err() {
        let _ = child.kill();
    }
    let code = super::sandbox::wait(&mut child, PATIENCE)?;
    Ok((code, screen?))
}

/// Reads the screen in a thread.
fn watch(mut master: File) -> Receiver<Vec<u8>> {
    let (sender, output) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The last user's end is an error here.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    output
}

fn type_in(mut master: File, output: &Receiver<Vec<u8>>, steps: &[Step], pause: Duration) -> Result<String, String> {
    let mut screen = Vec::new();
    let mut seen = 0;
    for (wanted, keys) in steps {
        let deadline = Instant::now() + PATIENCE;
        seen = loop {
            let unseen = String::from_utf8_lossy(&screen[seen..]).into_owned();
            if let Some(at) = unseen.find(wanted) {
                break seen + at + wanted.len();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match output.recv_timeout(left) {
                Ok(bytes) => screen.extend(bytes),
                Err(_) => {
                    return Err(format!("{wanted:?} is not on the screen: {:?}", String::from_utf8_lossy(&screen)));
                }
            }
        };
        thread::sleep(pause);
        master.write_all(keys.as_bytes()).map_err(|error| error.to_string())?;
    }
    let deadline = Instant::now() + PATIENCE;
    while let Ok(bytes) = output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        screen.extend(bytes);
    }
    Ok(String::from_utf8_lossy(&screen).into_owned())
}
