//! One dispatch is one exit of the child: no more, whatever the parent does through the mapped pages. The hypervisor's count, which
//! it logs at the end, has to be the number expected here.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::child::{Child, RAX, RCX};
use kernels::parent::Parent;
use kernels::{Kernel, code, ensure_eq};
use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::message::{HvMessageType, HvX64ExceptionInterceptMessage, HvX64IoPortInterceptMessage};

kernels::kernel!(run);

const ROUNDS: u64 = 1000;

code!(ports: "mov edx, 0x5001", "2:", "out dx, al", "inc ecx", "jmp 2b");
code!(exceptions: "2:", "ud2", "inc ecx", "jmp 2b");
code!(quiet: "mov ecx, 1000000", "2:", "dec ecx", "jnz 2b", "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        kernel.case("port intercepts", |kernel| {
            let mut child = Child::new(kernel, parent, ports())?;
            parent.client.install_intercept(child.id, HvInterceptType::X64_IO_PORT, Mask::WRITE, 0x5001)?;
            for round in 0..ROUNDS {
                let message: HvX64IoPortInterceptMessage =
                    child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
                ensure_eq!(child.gpr(RCX), round, "turns");
                child.set_gpr(RAX, round);
                child.set_rip(message.header.rip + 1);
            }
            child.delete(parent)?;
            Ok(())
        });
        kernel.case("exception intercepts", |kernel| {
            let mut child = Child::new(kernel, parent, exceptions())?;
            child.intercept_exceptions(parent, &[6])?;
            for round in 0..ROUNDS {
                let message: HvX64ExceptionInterceptMessage =
                    child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
                ensure_eq!(child.gpr(RCX), round, "turns");
                child.set_rip(message.header.rip + 2);
            }
            child.delete(parent)?;
            Ok(())
        });
        kernel.case("a child that computes does not exit", |kernel| {
            let mut child = Child::new(kernel, parent, quiet())?;
            child.run_to_halt(parent)?;
            child.delete(parent)?;
            Ok(())
        });
        // One for each message, and the HLT.
        kernel.say(format_args!("expect exits child={}", 2 * ROUNDS + 1));
    });
}
