//! Interrupts of the devices: the first queue of one (the console's that receives, the only one of a shared folder) signals the local
//! APIC by MSI-X, so that nobody need ask whether the host has sent something. Other queues and the configuration signal nothing.
//!
//! Structures: PCI Local Bus Specification 3.0, 6.8.2 (capability and table), and Virtio 1.2, 4.1.4 (common configuration).
use core::ptr;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};

use crate::pci::ConfigPorts;

/// Capabilities by their ids.
const MSI_X: u8 = 0x11;
const VENDOR: u8 = 0x09;
/// `cfg_type` of the common configuration.
const COMMON: u32 = 1;

const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;
/// Low bits of the table's place that say which BAR.
const BAR_MASK: u32 = 7;

/// Where messages go: the local APIC with id 0, physical destination, edge-triggered, fixed (Intel SDM volume 3, 11.11.1).
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;
const ENTRY_LEN: u64 = 16;

/// Places in the common configuration.
const QUEUE_SELECT: usize = 22;
const QUEUE_VECTOR: usize = 26;
const COMMON_LEN: u64 = 56;
const FIRST_QUEUE: u16 = 0;
/// The table's entry that is used.
const ENTRY: u16 = 0;

/// Lets the first queue of a device that is set up raise `vector`. False: the device has no MSI-X, or does not take it.
pub(crate) fn route(root: &mut PciRoot<ConfigPorts>, function: DeviceFunction, vector: u8) -> bool {
    let Some((capability, table)) = find_table(root, function) else { return false };
    let Some(common) = find_common(root, function) else { return false };
    for (word, value) in [MESSAGE_ADDRESS, 0, u32::from(vector), 0].into_iter().enumerate() {
        // SAFETY: the first entry of the device's MSI-X table, by its own capability; nobody else touches it.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(table + 4 * word).write_volatile(value) };
    }
    let control = ConfigPorts.read_word(function, capability);
    ConfigPorts.write_word(function, capability, (control | ENABLE) & !MASK_ALL);
    let register = |offset| ptr::with_exposed_provenance_mut::<u16>(common + offset);
    // SAFETY: registers of the device's common configuration, by its own capability. The driver selects a queue each time that it
    // uses one, and is not in the middle of that.
    unsafe {
        register(QUEUE_SELECT).write_volatile(FIRST_QUEUE);
        register(QUEUE_VECTOR).write_volatile(ENTRY);
        register(QUEUE_VECTOR).read_volatile() == ENTRY
    }
}

/// The place of the MSI-X capability and the address of the table's first entry.
fn find_table(root: &mut PciRoot<ConfigPorts>, function: DeviceFunction) -> Option<(u8, usize)> {
    let capability = root.capabilities(function).find(|found| found.id == MSI_X)?.offset;
    let place = ConfigPorts.read_word(function, capability.checked_add(4)?);
    let table = address(root, function, place & BAR_MASK, place & !BAR_MASK, ENTRY_LEN)?;
    Some((capability, table))
}

/// The address of the common configuration.
fn find_common(root: &mut PciRoot<ConfigPorts>, function: DeviceFunction) -> Option<usize> {
    let word = |capability: u8, index: u8| Some(ConfigPorts.read_word(function, capability.checked_add(4 * index)?));
    let mut capabilities = root.capabilities(function).filter(|found| found.id == VENDOR);
    let capability = capabilities.find(|found| word(found.offset, 0).is_some_and(|head| head >> 24 == COMMON))?.offset;
    let (bar, offset) = (word(capability, 1)? & 0xff, word(capability, 2)?);
    address(root, function, bar, offset, COMMON_LEN)
}

/// The address `offset` bytes into a BAR, if `len` bytes are there.
fn address(
    root: &mut PciRoot<ConfigPorts>,
    function: DeviceFunction,
    bar: u32,
    offset: u32,
    len: u64,
) -> Option<usize> {
    let info = root.bar_info(function, u8::try_from(bar).ok().filter(|bar| *bar < 6)?).ok()??;
    let (address, size) = info.memory_address_size()?;
    let offset = u64::from(offset);
    if offset.checked_add(len)? > size {
        return None;
    }
    usize::try_from(address.checked_add(offset)?).ok()
}
