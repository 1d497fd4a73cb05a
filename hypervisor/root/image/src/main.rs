//! The root partition: owns the machine's devices and memory, the policy, and the sandboxes.
//!
//! It is entered by the PVH boot protocol, by the hypervisor or, to say what is missing, by any loader. In order:
//! [`uart_log`] on COM2, the search for the hypervisor, [`memory`] and [`heap`], interrupts ([`apic`], [`fault`]), the way to the
//! host ([`console`] on [`pci`], with its interrupt by [`msix`]), and then [`run`], with the host's [`folders`] if there are any. It ends the machine with a value of [`exit`].
//!
//! This crate is the wiring: what a sandbox is stands in the crate `sandbox`.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

extern crate alloc;

mod apic;
mod console;
mod dma;
mod exit;
mod fault;
mod folders;
mod heap;
mod memory;
mod msix;
mod pause;
mod pci;
mod policies;
mod random;
mod run;
mod uart_log;

use alloc::string::ToString;
use core::fmt::Display;

use bundle::payload::Payload;
use hvclient::Client;
use hvclient::machine::{Clock, HypercallPage, ThisCpu, apic_frequency};
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

use console::HostLink;
use run::Machine;

/// Interrupts of the timer a second: how long output and an expired time limit may go unnoticed.
const TICKS_PER_SECOND: u64 = 100;
/// How long the end waits for the host, which has yet to take the last output, to say something, in 100 ns.
const FAREWELL: u64 = 10 * REFERENCE_TICKS_PER_SECOND;

/// Entered in 64-bit mode on the boot stack (see [`rt`]).
#[unsafe(no_mangle)]
extern "C" fn boot_main(start_info: u64) -> ! {
    uart_log::init();
    let hypervisor = match hvclient::discovery::discover(&ThisCpu) {
        Ok(found) => found,
        Err(e) => refuse(&e),
    };
    // SAFETY: once, on the boot processor, in ring 0, interrupts off.
    unsafe { rt::exceptions::install() };
    // SAFETY: once, with what the boot protocol gave.
    let payload = match unsafe { memory::init(start_info) } {
        Ok(payload) => payload,
        Err(e) => refuse(&e),
    };
    let (major, minor) = hypervisor.version;
    log::info!("root of \"{}\" {major}.{minor} build {}", hypervisor.vendor, hypervisor.build);
    // SAFETY: in the root partition that `discover` found, once; everything is identity-mapped.
    let (calls, clock) = match unsafe { (HypercallPage::enable(), Clock::enable()) } {
        (Ok(calls), Ok(clock)) => (calls, clock),
        (Err(e), _) | (_, Err(e)) => refuse(&e),
    };
    // SAFETY: in the root partition that `discover` found.
    apic::start(unsafe { apic_frequency() }, TICKS_PER_SECOND);
    let link = match HostLink::open() {
        Ok(link) => link,
        Err(e) => refuse(&e),
    };
    let mut machine = Machine { client: Client::new(calls), clock, link };
    end(&mut machine, payload)
}

/// Runs the payload, tells the host that it has ended, and ends the machine.
fn end(machine: &mut Machine, payload: &'static [u8]) -> ! {
    let ran = match Payload::parse(payload) {
        Ok(payload) => run::run(machine, payload),
        Err(e) => {
            run::fail(machine, 0, e.to_string());
            Err(run::SomeFailed)
        }
    };
    let code = if ran.is_ok() { exit::DONE } else { exit::FAILED };
    let clock = machine.clock;
    machine.link.finish(FAREWELL, || clock.now());
    apic::stop();
    rt::stop(code)
}

/// Says what is missing, wherever someone may read it, and ends the machine.
fn refuse(why: &dyn Display) -> ! {
    uart_log::complain(format_args!("{why}"));
    rt::stop(exit::FAILED)
}
