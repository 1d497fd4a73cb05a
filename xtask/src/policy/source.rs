//! The bytes of a policy file, whatever stands in its place.
use policy::limits::MAX_TEXT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How long a pipe may have nothing, in seconds: somebody may still have to begin to write.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The bytes: one more, if there are more than a policy may have, whose reader says so.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    bytes_within(path, PATIENCE)
}

fn bytes_within(path: &Path, patience: Timespec) -> io::Result<Vec<u8>> {
    // To open a pipe that nobody writes to would take for ever, and so would to read it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    while bytes.len() <= MAX_TEXT {
        match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&patience)) {
            Ok(0) => {
                let why = format!("it is a pipe, and nobody has written to it for {} s", patience.tv_sec);
                return Err(io::Error::new(ErrorKind::TimedOut, why));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(MAX_TEXT + 1);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let short = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        assert_eq!(bytes_within(&path, short).unwrap_err().kind(), ErrorKind::TimedOut);
        let to = path.clone();
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            fs::write(to, "x".repeat(100_000)).unwrap();
        });
        assert_eq!(bytes(&path).unwrap(), "x".repeat(100_000).as_bytes());
        writer.join().unwrap();
    }

    #[test]
    fn what_has_no_end_is_read_to_the_limit() {
        assert_eq!(bytes(Path::new("/dev/zero")).unwrap().len(), MAX_TEXT + 1);
        assert!(bytes(Path::new("/")).is_err() && bytes(Path::new("/dev/null")).unwrap().is_empty());
    }
}
