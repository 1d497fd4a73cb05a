//! Reference time: the counter and the reference TSC page agree, go on, and go at the right speed.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::machine::Clock;
use kernels::cpu::{self, Trap, read_msr, write_synthetic_msr as write_msr};
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, ensure, ensure_eq};
use tlfs::msr::{HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TSC_FREQUENCY, ReferenceTscMsr};
use tlfs::time::REFERENCE_TICKS_PER_SECOND;

kernels::kernel!(run);

const ROUNDS: usize = 200;

fn counter() -> Outcome<u64> {
    read_msr(HV_X64_MSR_TIME_REF_COUNT).map_err(|_| "TIME_REF_COUNT cannot be read".into())
}

fn run(kernel: &mut Kernel) {
    kernel.case("the counter counts and cannot be written", |_| {
        ensure_eq!(write_msr(HV_X64_MSR_TIME_REF_COUNT, 5), Err(Trap::GP), "write");
        let mut last = counter()?;
        let start = last;
        for _ in 0..ROUNDS {
            let now = counter()?;
            ensure!(now >= last, "it went from {last} back to {now}");
            last = now;
        }
        ensure!(last > start, "it stands at {start}");
        Ok(())
    });
    kernel.case("the page is disabled at the start, where the hypervisor has placed it", |_| {
        let msr = ReferenceTscMsr(read_msr(HV_X64_MSR_REFERENCE_TSC).unwrap_or(0));
        ensure!(!msr.enabled() && msr.gpa_page() != 0, "{msr:?}");
        Ok(())
    });
    kernel.case("page and counter agree", |kernel| {
        let _parent = Parent::connect(&mut kernel.memory)?;
        // SAFETY: ring 0, all of memory is mapped one to one, and this is a partition with the privilege.
        let clock = unsafe { Clock::enable() }.map_err(|_| "the page cannot be enabled")?;
        for _ in 0..ROUNDS {
            let (before, between, after) = (clock.now(), counter()?, clock.now());
            // The two are rounded apart.
            ensure!(before <= between + 1 && between <= after + 1, "{before}, {between}, {after}");
        }
        Ok(())
    });
    kernel.case("the page cannot be written", |_| {
        let msr = ReferenceTscMsr(read_msr(HV_X64_MSR_REFERENCE_TSC).unwrap_or(0));
        // SAFETY: the page is the hypervisor's overlay, no memory of this image.
        let result = unsafe { cpu::write_byte((msr.gpa_page() << 12) + 0x100, 1) };
        ensure_eq!(result, Err(Trap::GP), "write");
        Ok(())
    });
    kernel.case("time goes as the TSC frequency says", |_| {
        let hz = read_msr(HV_X64_MSR_TSC_FREQUENCY).unwrap_or(0);
        ensure!(hz > 0, "no TSC frequency");
        let (time, tsc) = (counter()?, cpu::tsc());
        while cpu::tsc() - tsc < hz / 20 {}
        let (time, tsc) = (counter()? - time, cpu::tsc() - tsc);
        let expected = u128::from(tsc) * u128::from(REFERENCE_TICKS_PER_SECOND) / u128::from(hz);
        let wrong = expected.abs_diff(u128::from(time));
        ensure!(wrong * 100 <= expected, "{time} ticks of 100 ns instead of {expected}");
        Ok(())
    });
}
