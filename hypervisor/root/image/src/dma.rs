//! Memory that virtio devices read and write.
use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::memory;

/// Memory for a device: identity-mapped, so that addresses are the same on both sides.
pub(crate) struct IdentityHal;

// SAFETY: DMA memory is whole frames that are allocated for it and never freed, zeroed, and at the same address for the device
// (GPA = virtual address; the root partition's devices see its GPA space as it is). Buffers lie in the heap or in the image,
// which are identity-mapped as well. MMIO ranges come from BARs, below the end of the boot page table.
unsafe impl Hal for IdentityHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let address = memory::frames_for_device(pages).unwrap_or(0);
        // Address 0 tells the caller that there is none.
        let pointer = NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling());
        (address as u64, pointer)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Devices live as long as the root: nothing to win.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        let address = usize::try_from(address).unwrap_or(0);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
