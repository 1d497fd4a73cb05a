//! Requests beside FUSE's own. They use FUSE's headers (`fuse_in_header`, `fuse_out_header`) with these
//! opcodes, far above any that FUSE defines; the arguments follow the header.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First opcode that is Cordon's own.
pub const FIRST: u32 = 0x4300_0000;
/// Writes the segments' bytes to a console stream. [`ConsoleIo`] in; the count written is in [`Count`] out.
pub const CONSOLE_WRITE: u32 = FIRST + 1;
/// Reads what is there from standard input, never waiting. [`ConsoleIo`] in; [`Count`] out (0 is end of file);
/// error −EAGAIN when nothing is there yet.
pub const CONSOLE_READ: u32 = FIRST + 2;
/// Gives up the processor until something happens. [`Wait`] in; [`Woken`] out.
pub const WAIT: u32 = FIRST + 3;
/// The program has ended. [`Exit`] in; the VP is never run again.
pub const EXIT: u32 = FIRST + 4;
/// The shim itself failed (a bug or worse); the message's remaining bytes are UTF-8 text. The VP is never run again.
pub const SHIM_PANIC: u32 = FIRST + 5;
/// Window size of the terminal. No arguments; [`WindowSize`] out; error −ENOTTY without a terminal.
pub const WINDOW_SIZE: u32 = FIRST + 6;
/// Fresh random bytes: fills the segments. No arguments; [`Count`] out.
pub const RANDOM: u32 = FIRST + 7;

/// The program's first instruction comes next: for the start-up figure and the trace. No arguments, no reply body.
pub const STARTED: u32 = FIRST + 8;
/// The program cannot be started. [`NotStarted`] in, then UTF-8 text that says why; the VP is never run again.
pub const NOT_STARTED: u32 = FIRST + 9;

/// May a socket listen at the address in [`Listen`]? Asked before every socket listens, for the policy can change. No reply body; the policy's error if not.
pub const LISTEN: u32 = FIRST + 16;

/// Arguments of [`LISTEN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Listen {
    /// A `struct sockaddr`.
    pub address: [u8; 128],
    /// How many bytes of it count.
    pub len: u32,
    /// Zero.
    pub reserved: u32,
}

/// What has become of the question about a call that was granted with `proto::grant_flags::ASK`? [`Question`] in, then the path of the program that makes the call; [`Settled`]
/// out. The first such request poses the question.
pub const QUESTION: u32 = FIRST + 17;
/// The thread of such a call is no more. [`Question`] in; no reply body.
pub const WITHDRAW: u32 = FIRST + 18;

/// Arguments of [`QUESTION`] and [`WITHDRAW`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Question {
    /// `sequence` of the call's grant.
    pub sequence: u64,
    /// The process that makes it. For the question's text only.
    pub process: u32,
    /// Zero.
    pub reserved: u32,
}

/// Reply to [`QUESTION`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Settled {
    /// One of [`settled`].
    pub state: u32,
    /// With [`settled::FAILED`]: the error.
    pub errno: u32,
}

/// Values of [`Settled::state`].
pub mod settled {
    /// It is open. Wait for [`super::wait_events::ANSWER`], and ask again.
    pub const OPEN: u32 = 0;
    /// Nobody was asked, for there were too many questions. Now there are fewer: let the program make the call again.
    pub const AGAIN: u32 = 1;
    /// The call is to be carried out as it was granted.
    pub const ALLOWED: u32 = 2;
    /// It fails.
    pub const FAILED: u32 = 3;
    /// Its thread ends, as with `proto::grant_flags::KILL_THREAD`.
    pub const KILL_THREAD: u32 = 4;
    /// Its process ends, as with `proto::grant_flags::KILL_PROCESS`.
    pub const KILL_PROCESS: u32 = 5;
}

/// Arguments of [`NOT_STARTED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NotStarted {
    /// What the run exits with: as a shell, 127 (not found) or 126 (cannot be executed); 2 if its working directory is none.
    pub code: u32,
    /// The positive errno that execve would have given.
    pub errno: u32,
}

/// Arguments of the console requests.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ConsoleIo {
    /// 0 input, 1 output, 2 error.
    pub stream: u32,
    /// Zero.
    pub reserved: u32,
}

/// A number of bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Count {
    /// Bytes.
    pub bytes: u64,
}

/// Arguments of [`WAIT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Wait {
    /// Latest reference time (100 ns units) at which to return; `u64::MAX`: no limit.
    pub deadline: u64,
    /// Bits of [`wait_events`] that end the wait.
    pub events: u64,
}

/// What a wait can be for, and what ended it (no bit: the deadline).
pub mod wait_events {
    /// Standard input has bytes or has ended.
    pub const CONSOLE_INPUT: u64 = 1 << 0;
    /// The terminal has another size. Told once for each change.
    pub const WINDOW: u64 = 1 << 1;
    /// A question about a call has been settled, or one that was turned away can be posed. Told once for each time.
    pub const ANSWER: u64 = 1 << 2;
}

/// Reply to [`WAIT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Woken {
    /// Bits of [`wait_events`].
    pub events: u64,
}

/// Arguments of [`EXIT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Exit {
    /// Exit status 0 to 255, if `signal` is 0.
    pub status: u32,
    /// The signal that ended the program, or 0.
    pub signal: u32,
    /// For a fault: its address (CR2) or the RIP; 0 otherwise. For the message to the user.
    pub address: u64,
    /// For a fault: the RIP; 0 otherwise.
    pub rip: u64,
    /// The most bytes of memory that all programs together have had in pages of their own, for the figures.
    pub program_bytes: u64,
}

/// Reply to [`WINDOW_SIZE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// Zero.
    pub reserved: u32,
}

/// A thread begins, of its own process or of a new one. [`ThreadStarted`] in. This and the two that follow are for the trace only, and sent with
/// [`crate::boot_flags::TELL_PROCESSES`]; no reply body.
pub const THREAD_STARTED: u32 = FIRST + 32;
/// A process executes another program. [`Executed`] in, then its first arguments, each with its NUL, of one that is longer than [`MAX_TOLD`]
/// one byte more; the header's node is the file.
pub const EXECUTED: u32 = FIRST + 33;
/// A thread has ended, or a process. [`Ended`] in.
pub const ENDED: u32 = FIRST + 34;

/// Most arguments that [`EXECUTED`] tells.
pub const MAX_TOLD_ARGUMENTS: usize = 32;
/// Most bytes of each.
pub const MAX_TOLD: usize = 256;

/// Arguments of [`THREAD_STARTED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ThreadStarted {
    /// Its id.
    pub thread: u32,
    /// Its process: the same if that is new.
    pub process: u32,
    /// The process' parent.
    pub parent: u32,
    /// Zero.
    pub reserved: u32,
}

/// Arguments of [`EXECUTED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Executed {
    /// The process.
    pub process: u32,
    /// How many arguments there are, told or not.
    pub argc: u32,
}

/// Arguments of [`ENDED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ended {
    /// The process.
    pub process: u32,
    /// The thread; 0: the process itself.
    pub thread: u32,
    /// Of a process: its status as wait(2) has it.
    pub status: u32,
    /// Zero.
    pub reserved: u32,
}
