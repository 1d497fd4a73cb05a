//! PCI configuration space by ports 0xcf8 and 0xcfc, and the search for virtio devices.
use alloc::vec::Vec;

use rt::port;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::virtio_device_type;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// The configuration ports. The root runs on one processor and never touches them in an interrupt.
pub(crate) struct ConfigPorts;

impl ConfigPorts {
    fn select(function: DeviceFunction, register: u8) {
        let address = ENABLE
            | u32::from(function.bus) << 16
            | u32::from(function.device) << 11
            | u32::from(function.function) << 8
            | u32::from(register & 0xfc);
        // SAFETY: selects a configuration register; devices belong to the root.
        unsafe { port::write_u32(ADDRESS, address) };
    }
}

impl ConfigurationAccess for ConfigPorts {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        Self::select(function, register);
        // SAFETY: configuration reads have no effect on the devices that the root looks at.
        unsafe { port::read_u32(DATA) }
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        Self::select(function, register);
        // SAFETY: written only by the code that drives the device (`virtio_drivers`, `enable`).
        unsafe { port::write_u32(DATA, data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// The virtio devices of a type, in the order of the buses.
pub(crate) fn find(root: &mut PciRoot<ConfigPorts>, wanted: DeviceType) -> Vec<DeviceFunction> {
    let on_bus = |bus| root.enumerate_bus(bus).filter(|(_, info)| virtio_device_type(info) == Some(wanted));
    (0..=u8::MAX).flat_map(on_bus).map(|(function, _)| function).collect()
}

/// Switches a device on as bus master, its interrupt line off.
pub(crate) fn enable(root: &mut PciRoot<ConfigPorts>, function: DeviceFunction) {
    let on = Command::IO_SPACE | Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
    root.set_command(function, on);
}
