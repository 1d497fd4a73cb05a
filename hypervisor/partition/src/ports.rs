//! The ports that the root does not have: the hypervisor's log, the machine's end and the A20 gate.

use engine::{Engine, Platform, RAX, VpKind};

use crate::END_PORTS;
use crate::hypervisor::{End, Hypervisor, ROOT_VP};

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// An access by the root to a reserved port (string accesses too, which move nothing).
    pub(crate) fn root_port(&mut self, port: u16, size: u8, write: bool, string: bool, next_rip: u64) -> Option<End> {
        if write && END_PORTS.contains(&port) {
            let code = if string { crate::stop_code::HYPERVISOR } else { self.low_byte(ROOT_VP) };
            let (root, child) = (self.engine.exits(VpKind::Root), self.engine.exits(VpKind::Child));
            self.platform.log(format_args!("cordon-hv: exits root={root} child={child}"));
            return Some(End::Stop(code));
        }
        if !write && !string {
            self.read_as_ones(ROOT_VP, size);
        }
        self.jump(ROOT_VP, next_rip);
        None
    }

    #[allow(clippy::cast_possible_truncation, reason = "AL is the low byte")]
    fn low_byte(&self, slot: u16) -> u8 {
        self.core(slot).gprs[RAX] as u8
    }

    /// What IN gives where there is no device.
    pub(crate) fn read_as_ones(&mut self, slot: u16, size: u8) {
        let rax = &mut self.core_mut(slot).gprs[RAX];
        *rax = match size {
            1 => *rax | 0xff,
            2 => *rax | 0xffff,
            // Writing a 32-bit register clears its upper half.
            _ => 0xffff_ffff,
        };
    }
}
