//! The start: reads what the root left, sets the processor up, and hands over to the personality.

use alloc::vec::Vec;
use core::ptr;

use personality::platform::{PAGE, PAGE_SIZE};
use personality::vdso::Vdso;
use personality::{Kernel, Platform, Setting, Start, UserRegs};
use proto::layout::{DIRECT_MAP_VA, heap_len};
use proto::{BOOT_MAGIC, BootInfo, PROTO_VERSION, ProgramParams};
use zerocopy::FromBytes;

use crate::machine::{Machine, address, unmap_page};
use crate::panic::{fail, set_service};
use crate::{entry, heap, tables};

/// Entered by the root, on the stack of the header, with the virtual address of `BootInfo`.
pub(crate) extern "C" fn boot(info: *const BootInfo) -> ! {
    // SAFETY: the root's contract: `info` is mapped, and stays.
    let info = unsafe { info.read() };
    if info.magic != BOOT_MAGIC || info.version != PROTO_VERSION {
        fail(format_args!("the root speaks another version"));
    }
    set_service(info.service_gpa);
    // SAFETY: once, at boot; the guard page is what its name says.
    unsafe {
        tables::load(entry::stack_top());
        unmap_page(info.boot_cr3, entry::stack_guard());
    }
    let frames_start = info.free_start + heap_len(info.free_end.saturating_sub(info.free_start));
    // SAFETY: free memory, by the root's contract; the frames begin behind it.
    unsafe { heap::init(address(DIRECT_MAP_VA + info.free_start), address(DIRECT_MAP_VA + frames_start)) };
    // SAFETY: once; the addresses are the root's, and the heap ends before the frames.
    let mut machine = unsafe { Machine::new(&info, frames_start) };
    machine.enable_reference_tsc();
    let (vdso, frames_start) = prepare_vdso(&mut machine, &info, frames_start);
    let Some(start) = parameters(&info, frames_start, vdso) else {
        fail(format_args!("the program's parameters are not as they should be"));
    };
    let mut regs = UserRegs::default();
    match Kernel::start(machine, start, &mut regs) {
        Some(kernel) => entry::begin(kernel, &regs),
        None => fail(format_args!("running although the program could not be started")),
    }
}

/// The vDSO: an ELF shared object.
static VDSO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

/// Puts the vDSO and its facts into the first frames; where the frames begin that are left.
fn prepare_vdso(machine: &mut Machine, info: &BootInfo, frames_start: u64) -> (Vdso, u64) {
    let facts = frames_start;
    if let Some(word) = machine.frame_mut(facts).first_chunk_mut() {
        *word = info.realtime_offset_ns.to_le_bytes();
    }
    let mut next = facts + PAGE;
    let mut image = Vec::new();
    for piece in VDSO.chunks(PAGE_SIZE) {
        machine.frame_mut(next)[..piece.len()].copy_from_slice(piece);
        image.push(next);
        next += PAGE;
    }
    (Vdso { time: info.tsc_page_gpa, facts, image }, next)
}

/// What to run.
fn parameters(info: &BootInfo, frames_start: u64, vdso: Vdso) -> Option<Start> {
    let len = usize::try_from(info.params_len).ok()?;
    let base = ptr::with_exposed_provenance(address(DIRECT_MAP_VA + info.params_gpa));
    // SAFETY: the root's contract: so many bytes are there, and nobody writes to them.
    let bytes: &[u8] = unsafe { core::slice::from_raw_parts(base, len) };
    let (params, strings) = ProgramParams::read_from_prefix(bytes).ok()?;
    let strings = strings.get(..usize::try_from(params.strings_len).ok()?)?;
    let mut strings = strings.strip_suffix(&[0])?.split(|&byte| byte == 0).map(Vec::from);
    let path = strings.next()?;
    let mut list = |count| -> Option<Vec<Vec<u8>>> { (0..count).map(|_| strings.next()).collect() };
    let (arguments, environment) = (list(params.argc)?, list(params.envc)?);
    let directory = strings.next()?;
    let names = [strings.next()?, strings.next()?];
    let setting = Setting::new(&params, names, strings);
    Some(Start {
        frames_start,
        frames_end: info.free_end,
        window: (info.window_gpa, info.window_len),
        flags: info.flags,
        realtime_offset_ns: info.realtime_offset_ns,
        seed: info.random,
        uid: info.uid,
        gid: info.gid,
        vdso,
        path,
        arguments,
        environment,
        directory,
        setting,
    })
}
