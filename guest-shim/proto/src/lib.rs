//! What the guest-shim (ring 0 of a child partition) and the root partition say to each other.
//!
//! Everything here is plain data in pages of the child's memory that both can reach. The root treats all
//! of it as hostile: it copies once, bounds, validates, and keeps its own truth. The shim trusts the root.
//!
//! * [`BootInfo`]: root → shim, once, at start.
//! * [`GatePage`]: root → shim, a [`Grant`] for each system call that was allowed; shim → root, results for the trace.
//! * [`Copies`]: root → shim, what pointers of the granted call lead to, as far as a rule looked at it.
//! * [`ServiceRequest`]: shim → root, one request in the service page, then an OUT to [`DOORBELL_PORT`]. When the OUT
//!   instruction has completed, the reply is there. File requests are FUSE messages (Linux `uapi/linux/fuse.h`);
//!   the others are in [`op`].
//! * [`syscalls`]: names and numbers of the x86-64 calls.
#![no_std]
#![forbid(unsafe_code)]

pub mod layout;
pub mod op;
pub mod syscalls;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The port whose OUT (one byte, any value) hands [`ServiceRequest`] to the root. The root installs an
/// intercept on it; ring 3 has no I/O privilege and gets #GP.
pub const DOORBELL_PORT: u16 = 0xc0d0;

/// The interrupt that the root asserts when [`GatePage::alarm`] has come. It is held while the child has its interrupts off.
/// The shim has to look at its clock: the root may be a little early or late, and an alarm that was moved meanwhile may still be
/// on its way.
pub const ALARM_VECTOR: u8 = 0x20;

/// [`GatePage::alarm`]: never.
pub const NO_ALARM: u64 = u64::MAX;

/// [`BootInfo::magic`].
pub const BOOT_MAGIC: u64 = u64::from_le_bytes(*b"CORDONSH");
/// Version of everything in this crate; shim and root of one build agree.
pub const PROTO_VERSION: u32 = 9;

/// What the shim learns at start. Its virtual address is in RDI at the shim's entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BootInfo {
    /// [`BOOT_MAGIC`].
    pub magic: u64,
    /// [`PROTO_VERSION`].
    pub version: u32,
    /// [`boot_flags`].
    pub flags: u32,
    /// First child GPA that the shim may use as free memory (page aligned).
    pub free_start: u64,
    /// End of the free memory (page aligned, exclusive). Frames are backed with zeroed memory when first touched.
    pub free_end: u64,
    /// GPA of the page table that the VP starts with.
    pub boot_cr3: u64,
    /// GPA of the [`GatePage`].
    pub gate_gpa: u64,
    /// GPA of the service page ([`ServiceRequest`] at offset 0, message area behind it).
    pub service_gpa: u64,
    /// GPA that the shim gives to HV_X64_MSR_REFERENCE_TSC for its reference TSC page.
    pub tsc_page_gpa: u64,
    /// GPA of the program parameters ([`ProgramParams`] and what follows).
    pub params_gpa: u64,
    /// Their length in bytes.
    pub params_len: u64,
    /// CLOCK_REALTIME in ns at reference time 0 (add the partition's reference time × 100 ns).
    pub realtime_offset_ns: u64,
    /// Seed for AT_RANDOM and getrandom.
    pub random: [u8; 32],
    /// Real, effective and saved user id of the program.
    pub uid: u32,
    /// The same for the group.
    pub gid: u32,
    /// GPA where pages of files appear that FUSE_SETUPMAPPING asks for (aligned to [`layout::WINDOW_SLOT`]); `moffset` counts from
    /// here.
    pub window_gpa: u64,
    /// Bytes of that window, whole slots. 0: there is none.
    pub window_len: u64,
    /// GPA of the [`Copies`].
    pub copies_gpa: u64,
}

/// Bits of [`BootInfo::flags`].
pub mod boot_flags {
    /// Standard input is a terminal.
    pub const STDIN_TTY: u32 = 1 << 0;
    /// Standard output is a terminal.
    pub const STDOUT_TTY: u32 = 1 << 1;
    /// Standard error is a terminal.
    pub const STDERR_TTY: u32 = 1 << 2;
    /// The policy lets no program map memory that it can write to and execute: no program is started with such memory either.
    pub const WRITE_XOR_EXECUTE: u32 = 1 << 3;
    /// The first process has PR_SET_NO_NEW_PRIVS set.
    pub const NO_NEW_PRIVILEGES: u32 = 1 << 4;
    /// Beginnings and ends of threads and processes are recorded: the shim tells them ([`crate::op::THREAD_STARTED`], [`crate::op::EXECUTED`],
    /// [`crate::op::ENDED`]).
    pub const TELL_PROCESSES: u32 = 1 << 8;
}

/// Kinds of resource limits (RLIM_NLIMITS).
pub const LIMITS: usize = 16;

/// Head of the program parameters: what execve would be given, and what its process is like. The strings follow, each with its NUL:
/// path, then `argc` arguments, then `envc` environment strings, then the working directory, the host name and the domain name, and then for each folder of
/// the host that is shown its place, behind [`WRITABLE_FOLDER`] or [`READ_ONLY_FOLDER`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramParams {
    /// Number of arguments.
    pub argc: u32,
    /// Number of environment strings.
    pub envc: u32,
    /// Length of all strings together, NULs included.
    pub strings_len: u32,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// Number of [`Self::groups`], at most [`MAX_GROUPS`].
    pub group_count: u32,
    /// Bit N: the limit of kind N (RLIMIT_*) is that of [`Self::limits`], as far as the shim has so much; else it is the shim's.
    pub stated_limits: u32,
    /// Supplementary groups.
    pub groups: [u32; MAX_GROUPS],
    /// Soft and hard limit of each kind; `u64::MAX` is none.
    pub limits: [[u64; 2]; LIMITS],
}

/// Stands before the place of a folder of the host in which something may be changed.
pub const WRITABLE_FOLDER: u8 = b'w';
/// Stands before the place of one in which nothing may.
pub const READ_ONLY_FOLDER: u8 = b'r';

const _: () = assert!(size_of::<ProgramParams>() == 24 + 4 * MAX_GROUPS + 16 * LIMITS);

/// Number of entries in [`GatePage::results`].
pub const RESULT_SLOTS: usize = 64;

/// The page between the gate and the shim's system-call entry. Mapped supervisor-only in the child.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GatePage {
    /// What the gate allowed last.
    pub grant: Grant,
    /// Results that the shim has written so far (monotonic; entry `n` is at `results[n % RESULT_SLOTS]`).
    pub result_count: u64,
    /// Written by the shim: the child's reference time, in 100 ns, at which the program is to be interrupted by [`ALARM_VECTOR`].
    /// [`NO_ALARM`] (what the root puts there at the start) and 0: never. Each value interrupts once.
    pub alarm: u64,
    /// Written by the shim: the thread id of the running task. For the trace only.
    pub thread: u32,
    /// Written by the shim: the limits for which it has refused something, [`reached`]. For the trace only.
    pub reached: u32,
    /// Written by the root: the taints in force, a bit for each. Calls under way whose [`Grant::recall`] has one of them are to be judged once more.
    pub tainted: u64,
    /// What the sandbox may have, as of now.
    pub limits: Limits,
    /// Results, for the trace only: the shim is not trusted, and so neither are these.
    pub results: [CallResult; RESULT_SLOTS],
}

/// What a sandbox may have of what the shim keeps: the root says it, and the shim refuses more. `u64::MAX`: any number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Limits {
    /// Bytes of the free memory that the root will back. It keeps to that itself: a shim that touches more ends its sandbox.
    pub memory: u64,
    /// Processes, those that have ended and that nobody has waited for included.
    pub processes: u64,
    /// Threads of all processes.
    pub threads: u64,
    /// Descriptors of all processes.
    pub open_files: u64,
}

impl Limits {
    /// There are none.
    pub const NONE: Self = Self { memory: u64::MAX, processes: u64::MAX, threads: u64::MAX, open_files: u64::MAX };
}

/// Bits of [`GatePage::reached`].
pub mod reached {
    /// [`super::Limits::memory`].
    pub const MEMORY: u32 = 1 << 0;
    /// [`super::Limits::processes`].
    pub const PROCESSES: u32 = 1 << 1;
    /// [`super::Limits::threads`].
    pub const THREADS: u32 = 1 << 2;
    /// [`super::Limits::open_files`].
    pub const OPEN_FILES: u32 = 1 << 3;
}

/// One allowed system call. The shim carries out exactly this, whatever the registers say.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Grant {
    /// Grows by one with each grant, from 1; the shim refuses an entry without a new one.
    pub sequence: u64,
    /// The call's number (x86-64 table).
    pub number: u64,
    /// The judged arguments.
    pub args: [u64; 6],
    /// [`grant_flags`].
    pub flags: u64,
    /// With [`grant_flags::FETCH`]: the address that is to be brought in.
    pub fetch: u64,
    /// The taints by which the call may be denied yet, for what another task does meanwhile: if one of them is in [`GatePage::tainted`] when it would go on,
    /// it ends with what it has done so far, or, if that is nothing, is made again and judged once more.
    pub recall: u64,
}

/// Bits of [`Grant::flags`].
pub mod grant_flags {
    /// Report the result in [`super::GatePage::results`].
    pub const REPORT: u64 = 1 << 0;
    /// What some of the arguments point to was judged: the shim takes it from [`super::Copies`].
    pub const COPIES: u64 = 1 << 1;
    /// The call is not judged yet: the byte at [`super::Grant::fetch`] has to be readable for that. The shim brings its page in, if the
    /// program could read it, and lets the program make the call again. Nothing else is granted.
    pub const FETCH: u64 = 1 << 2;
    /// The call is refused: its thread ends, as does the process if it was the last one, with SIGSYS. Nothing else is granted.
    pub const KILL_THREAD: u64 = 1 << 3;
    /// The call is refused: its process ends with SIGSYS, whatever it does about signals. Nothing else is granted.
    pub const KILL_PROCESS: u64 = 1 << 4;
    /// The call is refused: its thread gets SIGSYS. Nothing else is granted.
    pub const TRAP: u64 = 1 << 5;
    /// The call waits until somebody has been asked about it: the shim asks with [`super::op::QUESTION`] what has become of that, and carries the
    /// call out only if it is allowed. Its thread waits meanwhile; no handler of a signal comes between.
    pub const ASK: u64 = 1 << 6;
}

/// Largest number of pieces of memory that are judged with a call.
pub const MAX_COPIES: usize = 4;
/// Most bytes of one: a path with its NUL (PATH_MAX).
pub const COPY_LEN: usize = 4096;
/// Pages of the [`Copies`], contiguous in GPA space. Mapped supervisor-only in the child.
pub const COPY_PAGES: usize = size_of::<Copies>().div_ceil(4096);

/// Root → shim: what the arguments of the call in [`GatePage::grant`] point to, as it was judged.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Copies {
    /// One for each of `bytes`.
    pub heads: [CopyHead; MAX_COPIES],
    /// The bytes.
    pub bytes: [[u8; COPY_LEN]; MAX_COPIES],
}

/// What one entry of [`Copies`] is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CopyHead {
    /// Where it was in the program's memory. 0: there is no such entry.
    pub address: u64,
    /// How many bytes; of a string all before its NUL.
    pub len: u64,
    /// What it is, one of [`copy_forms`]. A call may look at the same address as different things.
    pub form: u64,
}

/// In place of the address of a string that the policy has replaced by another one: this, and the argument's index. It is not canonical, so that nothing
/// of the program's can be there.
pub const REWRITTEN: u64 = 1 << 63;

/// Values of [`CopyHead::form`].
pub mod copy_forms {
    /// A string.
    pub const STRING: u64 = 0;
    /// A `struct sockaddr`.
    pub const ADDRESS: u64 = 1;
    /// A `struct msghdr`.
    pub const MESSAGE: u64 = 2;
    /// All that the call writes or sends, gathered from its ranges; its address is that of the argument that leads there.
    pub const CONTENT: u64 = 3;
    /// The beginning of what the call writes or sends: there is more, which was not judged.
    pub const CONTENT_CUT: u64 = 4;
    /// A structure of a fixed shape, all of it: what the call does not bring is 0.
    pub const STRUCTURE: u64 = 5;
}

/// One finished call, as the shim tells it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CallResult {
    /// [`Grant::sequence`] of the call.
    pub sequence: u64,
    /// What RAX got: a value, or −errno.
    pub value: i64,
    /// [`result_flags`].
    pub flags: u64,
}

/// Bits of [`CallResult::flags`].
pub mod result_flags {
    /// The personality does not carry this call out yet (value is −ENOSYS).
    pub const NOT_IMPLEMENTED: u64 = 1 << 0;
    /// This is not the result, which is still to come, but the bytes that the call has moved, of which its result says nothing.
    pub const MOVED: u64 = 1 << 1;
}

/// Largest number of supplementary groups that the first process starts with, and of those in one request: further ones give no rights to files.
pub const MAX_GROUPS: usize = 32;
/// Largest number of data segments in one request.
pub const MAX_SEGMENTS: usize = 64;
/// Largest number of handles that are closed with one request.
pub const MAX_CLOSED: usize = 16;
/// Offset of the message area in the service pages: request message first, reply message over it.
pub const MESSAGE_OFFSET: usize = 2048;
/// The service area is this many pages, contiguous in GPA space.
pub const SERVICE_PAGES: usize = 5;
/// Bytes of the message area: room for the longest path plus headers, and for 16 KiB of directory entries.
pub const MESSAGE_LEN: usize = SERVICE_PAGES * 4096 - MESSAGE_OFFSET;

/// A run of bytes in the child's memory; may not cross a page.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Segment {
    /// Guest physical address.
    pub gpa: u64,
    /// Length in bytes, 1 to 4096.
    pub len: u32,
    /// Zero.
    pub reserved: u32,
}

/// A request to the root's services, at offset 0 of the service pages.
///
/// The message (a FUSE header and its arguments, names included) stands at [`MESSAGE_OFFSET`] and is `message_len` bytes long.
/// Bulk data (of FUSE_READ, FUSE_WRITE and the console) never passes through the message: it is read from or
/// written to `segments`. The reply (`fuse_out_header` and its body) replaces the message; `reply_len` is its length.
///
/// Handles of files and directories that nobody uses any more need no request of their own (FUSE_RELEASE): `closed` has those that are closed
/// before the request is carried out, whatever it is and comes to. What is not open is passed over.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceRequest {
    /// Length of the message in bytes; at most [`MESSAGE_LEN`].
    pub message_len: u32,
    /// Set by the root: length of the reply in bytes. 0: the request could not even be parsed.
    pub reply_len: u32,
    /// How many of `segments` count.
    pub segment_count: u32,
    /// How many of `closed` count.
    pub closed_count: u32,
    /// Where the bulk data is or goes.
    pub segments: [Segment; MAX_SEGMENTS],
    /// Handles to close.
    pub closed: [u64; MAX_CLOSED],
}

const _: () = assert!(size_of::<GatePage>() <= 4096);
const _: () = assert!(size_of::<ServiceRequest>() <= MESSAGE_OFFSET);
const _: () = assert!(size_of::<BootInfo>() <= 4096);
