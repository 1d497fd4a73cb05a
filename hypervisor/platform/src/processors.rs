//! Whether this processor is the machine's only one.
//!
//! The hypervisor runs on one processor, and the root drives the local APIC: on a machine with another, the root
//! could start that one, outside of any partition. So such a machine is refused.
//!
//! Two ways to find out, neither of which reads the firmware's tables. CPUID tells of the processors of this package, for
//! certain, but as many as it has room for: a package that runs on one of its cores is refused as well. Processors of other
//! packages are told to start and to say so; one that took longer than the few milliseconds that it
//! is given would be missed.

use core::fmt;
use core::hint::spin_loop;

use engine::{BadAddress, PhysMem};
use tlfs::addr::{PAGE_SIZE, Spa};

use crate::apic::Apic;
use crate::clock::tsc;
use crate::handover;
use crate::memory::Ram;

const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;
/// CPUID 1 EDX: EBX tells a number of processors.
const SEVERAL: u32 = 1 << 28;
/// Levels of CPUID leaf 0xb that are looked at; no processor has more.
const MAX_LEVELS: u32 = 8;

/// There is more than one processor. The text is what the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several;

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine has more than one processor, which Cordon cannot guard yet")
    }
}

/// Processors of this package, as CPUID (leaf, subleaf; EAX, EBX, ECX, EDX) tells. At least 1.
#[must_use]
pub fn in_package(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> u32 {
    let basic = cpuid(1, 0);
    let told = if basic[EDX] & SEVERAL == 0 { 1 } else { basic[EBX] >> 16 & 0xff };
    let has = |leaf| cpuid(leaf & 0x8000_0000, 0)[0] >= leaf;
    let cores = if has(0x8000_0008) { (cpuid(0x8000_0008, 0)[ECX] & 0xff) + 1 } else { 1 };
    // Each level tells how many processors are below it; one of type 0 is behind the last.
    let levels = (0..MAX_LEVELS).filter(|_| has(0xb)).map(|level| cpuid(0xb, level));
    let below = levels.take_while(|level| level[ECX] & 0xff00 != 0).map(|level| level[EBX] & 0xffff).max();
    told.max(cores).max(below.unwrap_or(1)).max(1)
}

/// Where processors are started: the page that the root's start info is put into afterwards, which is kept free.
const START: Spa = Spa(handover::ADDRESS);
/// [`START`] as the command to start has it.
const START_PAGE: u8 = 7;
const _: () = assert!(START.0 == START_PAGE as u64 * PAGE_SIZE);
/// Counts in the word behind it, and halts: `lock inc dword ptr cs:[0x10]`, `cli`, `hlt`, back to `hlt`; 16-bit code.
const STARTED: [u8; 16] =
    [0xf0, 0x2e, 0x66, 0xff, 0x06, 0x10, 0x00, 0xfa, 0xf4, 0xeb, 0xfd, 0x90, 0x90, 0x90, 0x90, 0x90];
/// Where the code counts.
const COUNT: Spa = Spa(START.0 + STARTED.len() as u64);

/// Whether another processor answers when all others are started.
///
/// # Safety
/// Nothing else may run on another processor, and [`handover::ADDRESS`] must be free.
///
/// # Errors
/// There is no memory at [`handover::ADDRESS`].
pub unsafe fn another_answers(ram: &mut Ram, tsc_hz: u64) -> Result<bool, BadAddress> {
    let apic = Apic::find();
    ram.zero_page(START)?;
    ram.write(START, &STARTED)?;
    apic.init_others();
    wait(tsc_hz, 2);
    // The first command to start is lost on a processor that is not done with INIT; the second finds a
    // started one deaf.
    for milliseconds in [2, 4] {
        apic.start_others(START_PAGE);
        wait(tsc_hz, milliseconds);
    }
    let answers = ram.read_u64(COUNT)? != 0;
    ram.zero_page(START)?;
    Ok(answers)
}

fn wait(tsc_hz: u64, milliseconds: u64) {
    let start = tsc();
    while tsc().wrapping_sub(start) < tsc_hz / 1000 * milliseconds {
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CPUID with these leaves, and zero elsewhere.
    fn cpuid(leaves: &[(u32, u32, [u32; 4])]) -> impl Fn(u32, u32) -> [u32; 4] {
        |leaf, subleaf| {
            leaves.iter().find(|row| (row.0, row.1) == (leaf, subleaf)).map_or([0; 4], |(_, _, result)| *result)
        }
    }

    #[test]
    fn one_is_one() {
        assert_eq!(in_package(cpuid(&[])), 1);
        let one = [
            (0, 0, [0xd, 0, 0, 0]),
            (1, 0, [0, 0, 0, 0]),
            (0xb, 0, [0, 1, 0x100, 0]),
            (0xb, 1, [0, 1, 0x201, 0]),
            (0x8000_0000, 0, [0x8000_000a, 0, 0, 0]),
        ];
        assert_eq!(in_package(cpuid(&one)), 1);
        assert_eq!(in_package(cpuid(&[(1, 0, [0, 2 << 16, 0, 0])])), 1, "the number is told only with its flag");
        assert_eq!(in_package(cpuid(&[(1, 0, [0, 0, 0, SEVERAL])])), 1);
    }

    #[test]
    fn each_way_to_tell_counts() {
        assert_eq!(in_package(cpuid(&[(1, 0, [0, 2 << 16, 0, SEVERAL])])), 2);
        let cores = (0x8000_0008, 0, [0, 0, 3, 0]);
        assert_eq!(in_package(cpuid(&[(0x8000_0000, 0, [0x8000_0008, 0, 0, 0]), cores])), 4);
        assert_eq!(in_package(cpuid(&[(0x8000_0000, 0, [0x8000_0007, 0, 0, 0]), cores])), 1, "no such leaf");
        let levels = [(0, 0, [0xb, 0, 0, 0]), (0xb, 0, [1, 2, 0x100, 0]), (0xb, 1, [3, 6, 0x201, 0])];
        assert_eq!(in_package(cpuid(&levels)), 6);
    }

    #[test]
    fn levels_without_end_are_survived() {
        let endless = |leaf: u32, _: u32| if leaf == 1 { [0; 4] } else { [u32::MAX, 1, 0x100, 0] };
        assert_eq!(in_package(endless), 1);
    }
}
