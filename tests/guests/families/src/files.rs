//! Files to work with.
use crate::{Errno, Sys, c, must, sys, zeroed};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path, file or otherwise, for C.
///
/// # Panics
/// If it holds a NUL.
pub fn path(name: &str) -> CString {
    CString::new(name).expect("no NUL")
}

/// A new directory to work in, removed when this is dropped by the process that made it.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    owner: u32,
}

impl Scratch {
    /// Makes it and goes there.
    ///
    /// # Panics
    /// If it cannot.
    pub fn new() -> Self {
        let mut template = *b"/tmp/family-XXXXXX\0";
        let made = c!(libc::mkdtemp(template.as_mut_ptr().cast()));
        assert!(!made.is_null(), "mkdtemp: {}", crate::errno());
        let directory = PathBuf::from(std::ffi::OsStr::from_bytes(&template[..template.len() - 1]));
        std::env::set_current_dir(&directory).expect("the new directory");
        Self { directory, owner: std::process::id() }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::process::id() == self.owner {
            // What cannot be removed stays for whoever cleans /tmp.
            let _ = std::env::set_current_dir("/");
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// `open` with mode 0644.
pub fn open(name: &str, flags: i32) -> Sys {
    open_mode(name, flags, 0o644)
}

/// `open`.
pub fn open_mode(name: &str, flags: i32, mode: u32) -> Sys {
    let name = path(name);
    sys!(libc::open(name.as_ptr(), flags, mode))
}

/// Opens it and closes it again.
pub fn try_open(name: &str, flags: i32) -> Sys {
    let fd = open(name, flags)?;
    sys!(libc::close(must(Ok(fd))))
}

/// A new file with this content, open for reading and writing at its start.
pub fn file(name: &str, content: &[u8]) -> i32 {
    let fd = must(open(name, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC));
    must(write(fd, content));
    must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    fd
}

/// `close`.
pub fn close(fd: i32) -> Sys {
    sys!(libc::close(fd))
}

/// `write`.
pub fn write(fd: i32, bytes: &[u8]) -> Sys {
    sys!(libc::write(fd, bytes.as_ptr().cast(), bytes.len()))
}

/// `read` of at most `len` bytes, shown as text.
pub fn read(fd: i32, len: usize) -> String {
    let mut bytes = vec![0u8; len];
    match sys!(libc::read(fd, bytes.as_mut_ptr().cast(), len)) {
        Ok(got) => text(&bytes[..usize::try_from(got).unwrap_or(0)]),
        Err(errno) => errno.to_string(),
    }
}

/// `read` of at most `len` bytes, thrown away.
pub fn read_len(fd: i32, len: usize) -> Sys {
    let mut bytes = vec![0u8; len];
    sys!(libc::read(fd, bytes.as_mut_ptr().cast(), len))
}

/// Bytes as text, in quotes.
pub fn text(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// `pipe`.
pub fn pipe() -> (i32, i32) {
    pipe_with(0)
}

/// `pipe2`.
pub fn pipe_with(flags: i32) -> (i32, i32) {
    let mut ends = [0; 2];
    must(sys!(libc::pipe2(ends.as_mut_ptr(), flags)));
    (ends[0], ends[1])
}

/// `fstat`.
pub fn stat(fd: i32) -> libc::stat {
    let mut stat = zeroed!(libc::stat);
    must(sys!(libc::fstat(fd, &raw mut stat)));
    stat
}

/// Type and mode of a file in words.
pub fn mode_text(mode: u32) -> String {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFLNK => "link",
        libc::S_IFIFO => "fifo",
        libc::S_IFSOCK => "socket",
        libc::S_IFCHR => "character device",
        libc::S_IFBLK => "block device",
        _ => "nothing known",
    };
    format!("{kind} {:04o}", mode & 0o7777)
}

/// A file without a name that holds this, at its start.
pub fn file_in_memory(content: &[u8]) -> i32 {
    let fd = must(sys!(libc::memfd_create(c"family".as_ptr(), 0)));
    must(write(fd, content));
    must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    fd
}

/// `mkdir` with mode 0755.
pub fn mkdir(name: &str) -> Sys {
    sys!(libc::mkdir(path(name).as_ptr(), 0o755))
}

/// `symlink`.
pub fn symlink(target: &str, name: &str) -> Sys {
    sys!(libc::symlink(path(target).as_ptr(), path(name).as_ptr()))
}

/// `link`.
pub fn link(old: &str, new: &str) -> Sys {
    sys!(libc::link(path(old).as_ptr(), path(new).as_ptr()))
}

/// `rename`.
pub fn rename(old: &str, new: &str) -> Sys {
    sys!(libc::rename(path(old).as_ptr(), path(new).as_ptr()))
}

/// `unlink`.
pub fn unlink(name: &str) -> Sys {
    sys!(libc::unlink(path(name).as_ptr()))
}

/// `rmdir`.
pub fn rmdir(name: &str) -> Sys {
    sys!(libc::rmdir(path(name).as_ptr()))
}

/// `lstat`.
///
/// # Errors
/// Those of the call.
pub fn lstat(name: &str) -> Result<libc::stat, Errno> {
    let mut found = zeroed!(libc::stat);
    sys!(libc::lstat(path(name).as_ptr(), &raw mut found))?;
    Ok(found)
}

/// `lstat` in words.
pub fn what(name: &str) -> String {
    match lstat(name) {
        Ok(found) => format!(
            "{} links {} size {}",
            mode_text(found.st_mode),
            found.st_nlink,
            if found.st_mode & libc::S_IFMT == libc::S_IFDIR { -1 } else { found.st_size }
        ),
        Err(errno) => errno.to_string(),
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &str) -> String {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names.join(" ")
}
