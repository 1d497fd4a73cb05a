//! The whole personality over a scripted machine: memory in a vector, files in a small FUSE server.

mod advice;
mod asked;
mod calls;
mod events;
mod files;
mod fork;
mod ipc;
mod judged;
mod limits;
mod locks;
mod machine;
mod memory;
mod requests;
mod robustness;
mod server;
mod shared;
mod sockets;
mod start;
mod tasks;
mod terminals;
mod watches;
mod window;

use alloc::vec;
use alloc::vec::Vec;

use fuse_abi::linux::fuse_opcode;
use linux_raw_sys::general as raw;
use proto::{Grant, grant_flags};

use crate::kernel::{Fault, Flow};
use crate::platform::Platform;
use crate::regs::SYSCALL_VECTOR;
use crate::vdso::Vdso;
use crate::{Kernel, Start, UserRegs};
use machine::Machine;
use server::Server;

/// How often a random test does something; under Miri, which is a thousand times slower, a hundredth of it.
pub(crate) const fn rounds(usual: u32) -> u32 {
    if cfg!(miri) { usual / 100 } else { usual }
}

/// Frames of the scripted machine.
const FRAMES_START: u64 = 0x10_0000;
const FRAMES_END: u64 = 0x90_0000;
/// Slots of its window.
const WINDOW_SLOTS: u64 = 4;

/// A personality with a program that does nothing, and a way to make its system calls.
struct Sandbox {
    kernel: Kernel<Machine>,
    regs: UserRegs,
    sequence: u64,
    /// Memory for arguments.
    scratch: u64,
}

fn start_parameters(path: &[u8]) -> Start {
    Start {
        frames_start: FRAMES_START,
        frames_end: FRAMES_END,
        window: (machine::WINDOW_START, WINDOW_SLOTS * proto::layout::WINDOW_SLOT),
        flags: 0,
        realtime_offset_ns: 1_700_000_000_000_000_000,
        seed: [3; 32],
        uid: 0,
        gid: 0,
        vdso: Vdso::default(),
        path: path.to_vec(),
        arguments: vec![path.to_vec(), b"argument".to_vec()],
        environment: vec![b"KEY=value".to_vec()],
        directory: b"/".to_vec(),
        setting: crate::Setting::default(),
    }
}

/// A static program of one page: enough to be loaded, never run.
fn tiny_program() -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &2_u16.to_le_bytes());
    put(18, &62_u16.to_le_bytes());
    put(20, &1_u32.to_le_bytes());
    put(24, &0x40_0100_u64.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &1_u16.to_le_bytes());
    put(64, &1_u32.to_le_bytes());
    put(68, &7_u32.to_le_bytes());
    put(80, &0x40_0000_u64.to_le_bytes());
    put(96, &0x1000_u64.to_le_bytes());
    put(104, &0x3000_u64.to_le_bytes());
    put(112, &0x1000_u64.to_le_bytes());
    file
}

fn ordinary_server() -> Server {
    let mut server = Server::new();
    server.directory("/bin");
    server.file("/bin/tiny", &tiny_program(), 0o755);
    server.directory("/etc");
    server.file("/etc/text", b"some text\n", 0o644);
    server.link("/etc/link", "text");
    server.link("/loop", "loop");
    server.directory("/tmp");
    server
}

impl Sandbox {
    fn new() -> Self {
        Self::with(ordinary_server())
    }

    fn with(server: Server) -> Self {
        Self::with_flags(server, 0)
    }

    /// With a terminal for the console.
    fn with_terminal() -> Self {
        use proto::boot_flags::{STDERR_TTY, STDIN_TTY, STDOUT_TTY};
        let mut sandbox = Self::with_flags(ordinary_server(), STDIN_TTY | STDOUT_TTY | STDERR_TTY);
        sandbox.kernel.platform.input_ended = false;
        sandbox
    }

    fn with_flags(server: Server, flags: u32) -> Self {
        let machine = Machine::new(FRAMES_START, FRAMES_END, server);
        let mut regs = UserRegs::default();
        let start = Start { flags, ..start_parameters(b"/bin/tiny") };
        let kernel = Kernel::start(machine, start, &mut regs).expect("the program starts");
        let mut sandbox = Self { kernel, regs, sequence: 0, scratch: 0 };
        let flags = u64::from(raw::MAP_PRIVATE | raw::MAP_ANONYMOUS);
        let scratch = sandbox.call(9, [0, 0x4_0000, 3, flags, u64::MAX, 0]);
        sandbox.scratch = scratch.cast_unsigned();
        sandbox
    }

    /// Makes a call; RAX.
    fn call(&mut self, number: u64, args: [u64; 6]) -> i64 {
        assert_eq!(self.enter(number, args), Flow::Resume);
        self.regs.rax.cast_signed()
    }

    fn enter(&mut self, number: u64, args: [u64; 6]) -> Flow {
        self.sequence += 1;
        self.kernel.platform.grant =
            Grant { sequence: self.sequence, number, args, flags: grant_flags::REPORT, fetch: 0, recall: 0 };
        self.regs.vector = SYSCALL_VECTOR;
        self.kernel.system_call(&mut self.regs)
    }

    fn fault(&mut self, vector: u64, error_code: u64, address: u64) -> Flow {
        self.kernel.fault(&mut self.regs, Fault { vector, error_code, address })
    }

    /// Puts a string with a NUL into the program's memory, `slot` × 4 KiB into the scratch area.
    fn string(&mut self, slot: u64, text: &[u8]) -> u64 {
        let at = self.scratch + slot * 0x1000;
        self.kernel.copy_out(at, text).expect("scratch memory");
        self.kernel.copy_out(at + text.len() as u64, &[0]).expect("scratch memory");
        at
    }

    fn bytes(&mut self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.kernel.copy_in(at, &mut bytes).expect("readable memory");
        bytes
    }

    fn open(&mut self, path: &[u8], flags: u32, mode: u32) -> i64 {
        let path = self.string(0, path);
        let here = i64::from(raw::AT_FDCWD).cast_unsigned();
        self.call(257, [here, path, u64::from(flags), u64::from(mode), 0, 0])
    }

    fn close(&mut self, fd: i64) {
        assert_eq!(self.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    }

    fn write(&mut self, fd: i64, data: &[u8]) -> i64 {
        let at = self.string(1, data);
        self.call(1, [fd.cast_unsigned(), at, data.len() as u64, 0, 0, 0])
    }

    /// Reads up to 4096 bytes.
    fn read(&mut self, fd: i64, len: usize) -> Result<Vec<u8>, i64> {
        let at = self.scratch + 0x2000;
        let count = self.call(0, [fd.cast_unsigned(), at, len as u64, 0, 0, 0]);
        usize::try_from(count).map(|count| self.bytes(at, count)).map_err(|_| count)
    }

    /// Asks the root something that changes nothing.
    fn ask_something(&mut self) {
        let Kernel { fuse, platform, .. } = &mut self.kernel;
        assert!(fuse.request(platform, fuse_opcode::FUSE_STATFS as u32, 1, &(), &[], &[]).is_ok());
    }

    /// Makes a call whose first argument is a path.
    fn path_call(&mut self, number: u64, path: &[u8], more: [u64; 2]) -> i64 {
        let path = self.string(0, path);
        self.call(number, [path, more[0], more[1], 0, 0, 0])
    }
}

/// −errno as RAX shows it.
fn error(errno: crate::errno::Errno) -> i64 {
    -i64::from(errno.0)
}
