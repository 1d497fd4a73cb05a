//! Addresses and identifiers, each its own type so that one cannot be passed for another.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The size of a page, in bytes. Every page number in the TLFS counts pages of this size, also where a
/// flag asks for large pages.
pub const PAGE_SIZE: u64 = 4096;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// The size of a 2 MiB large page, in bytes.
pub const LARGE_PAGE_SIZE: u64 = 2 << 20;

/// 4 KiB pages in one large page.
pub const PAGES_PER_LARGE_PAGE: u64 = LARGE_PAGE_SIZE / PAGE_SIZE;

macro_rules! address {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address of the first byte of a 4 KiB page. Page numbers have 52 bits: higher ones are lost.
            #[must_use]
            pub const fn from_page_number(number: u64) -> Self {
                Self(number << PAGE_SHIFT)
            }

            /// The number of the 4 KiB page that holds this address.
            #[must_use]
            pub const fn page_number(self) -> u64 {
                self.0 >> PAGE_SHIFT
            }

            /// The offset of this address in its page, below [`PAGE_SIZE`].
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }

            /// Whether this is the first byte of a page.
            #[must_use]
            pub const fn is_page_aligned(self) -> bool {
                self.page_offset() == 0
            }

            /// The first byte of the page that holds this address.
            #[must_use]
            pub const fn page_base(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }

            /// The address `bytes` further on, or nothing if it passes the end of the 64-bit space.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A guest physical address (`HV_GPA`): what a partition takes for physical memory.
    Gpa
}

address! {
    /// A guest virtual address (`HV_GVA`): what the guest's own page tables translate.
    Gva
}

address! {
    /// A system physical address (`HV_SPA`): memory as the machine addresses it. Only the hypervisor has these.
    Spa
}

/// `HV_PARTITION_ID`: names a partition in a hypercall. Identifiers are the hypervisor's to choose.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PartitionId(pub u64);

impl PartitionId {
    /// `HV_PARTITION_ID_SELF`: the partition that makes the call.
    pub const SELF: Self = Self(u64::MAX);
    /// `HV_PARTITION_ID_INVALID`: no partition.
    pub const INVALID: Self = Self(0);

    /// Whether this is [`SELF`](Self::SELF).
    #[must_use]
    pub const fn is_self(self) -> bool {
        self.0 == u64::MAX
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SELF => f.write_str("PartitionId(SELF)"),
            Self::INVALID => f.write_str("PartitionId(INVALID)"),
            Self(id) => write!(f, "PartitionId({id:#x})"),
        }
    }
}

/// `HV_VP_INDEX`: a virtual processor of a partition.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct VpIndex(pub u32);

impl VpIndex {
    /// `HV_VP_INDEX_SELF`: the virtual processor that makes the call.
    pub const SELF: Self = Self(0xffff_fffe);
    /// `HV_ANY_VP`: any virtual processor of the partition.
    pub const ANY: Self = Self(0xffff_ffff);

    /// Whether this is [`SELF`](Self::SELF).
    #[must_use]
    pub const fn is_self(self) -> bool {
        self.0 == Self::SELF.0
    }
}

impl fmt::Debug for VpIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SELF => f.write_str("VpIndex(SELF)"),
            Self::ANY => f.write_str("VpIndex(ANY)"),
            Self(index) => write!(f, "VpIndex({index})"),
        }
    }
}

bit_register! {
    /// `HV_INPUT_VTL`: the virtual trust level that a call is about, in one byte. Zero, the only value that a
    /// hypervisor without VTLs takes, means the caller's own.
    pub struct HvInputVtl(u8) {
        /// `TargetVtl`: the level, if [`use_target_vtl`](Self::use_target_vtl).
        target_vtl, with_target_vtl: u8 @ 0..=3;
        /// `UseTargetVtl`: whether the level given counts.
        use_target_vtl, with_use_target_vtl: 4;
        /// Must be zero.
        reserved, with_reserved: u8 @ 5..=7;
    }
}

impl HvInputVtl {
    /// The level that the caller runs at.
    pub const CURRENT: Self = Self(0);
}
