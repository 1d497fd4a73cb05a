//! A shim that is not on our side: the root loads it in place of the real one, and it does everything that a shim which has
//! been taken over could do.
//!
//! The program's first argument names a case, its second one may choose a variant ([`cases`]). Most cases try things that must be
//! refused and then go on: they say `PASS name` or `FAIL name: why` on standard output, and exit with 0 or 1. The
//! cases named `end` do one thing after which the root must take the sandbox down; the runner knows the reason to expect.
//!
//! [`cpu`] has the instructions and the way back from a fault, [`memory`] the child's own memory, [`service`] the way to the
//! root's services. All else is safe code.
#![no_std]
#![no_main]

mod cases;
mod cpu;
mod memory;
mod report;
mod rng;
mod service;

use core::fmt::Write as _;

use proto::BootInfo;
use proto::op::{Exit, SHIM_PANIC};
use service::Service;

use report::Text;

/// What every case works with.
pub(crate) struct Shim {
    pub(crate) info: BootInfo,
    pub(crate) service: Service,
    pub(crate) free: memory::Free,
    /// Holds text on its way to the console.
    console_page: u64,
    failures: u32,
}

/// The first Rust code: `boot_info` is the virtual address that the root put into RDI.
extern "C" fn start(boot_info: u64) -> ! {
    cpu::install_tables();
    let info = memory::boot_info(boot_info);
    let mut free = memory::Free::new(&info);
    let console_page = free.take_page();
    let service = Service::new(info.service_gpa);
    let mut shim = Shim { info, service, free, console_page, failures: 0 };
    let arguments = memory::Arguments::read(&info);
    cases::run(&mut shim, arguments.get(1), arguments.get(2));
    let status = u32::from(shim.failures > 0);
    shim.service.exit(&Exit { status, ..Exit::default() });
    panic!("the root went on after EXIT");
}

/// An exception where none was expected.
extern "C" fn unexpected_trap() -> ! {
    let trap = cpu::last_trap();
    panic!("{trap}");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut text = Text::<512>::new();
    // What does not fit is left out.
    let _ = write!(text, "hostile shim: {info}");
    Service::of_layout().last_words(SHIM_PANIC, text.as_bytes());
    rt::halt()
}
