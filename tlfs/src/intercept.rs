//! Intercepts that a parent installs on a child (TLFS "Intercepts").

open_enum! {
    /// `HV_INTERCEPT_TYPE`. Values 0x0d and above follow the specification, which differs from mshv-bindings in 0x0d.
    pub struct HvInterceptType(u32) {
        X64_IO_PORT = 0x00, "HvInterceptTypeX64IoPort";
        X64_MSR = 0x01, "HvInterceptTypeX64Msr";
        X64_CPUID = 0x02, "HvInterceptTypeX64Cpuid";
        EXCEPTION = 0x03, "HvInterceptTypeException";
        X64_GLOBAL_CPUID = 0x06, "HvInterceptTypeX64GlobalCpuid";
        X64_APIC_SMI = 0x07, "HvInterceptTypeX64ApicSmi";
        HYPERCALL = 0x08, "HvInterceptTypeHypercall";
        X64_APIC_INIT_SIPI = 0x09, "HvInterceptTypeX64ApicInitSipi";
        X64_APIC_WRITE = 0x0b, "HvInterceptTypeX64ApicWrite";
        UNKNOWN_SYNIC_CONNECTION = 0x0d, "HvInterceptTypeUnknownSynicConnection";
        X64_APIC_EOI = 0x0e, "HvInterceptTypeX64ApicEoi";
        X64_EXCEPTION_TRAP = 0x10, "HvInterceptTypeX64ExceptionTrap";
        X64_IO_PORT_RANGE = 0x11, "HvInterceptTypeX64IoPortRange";
        REGISTER = 0x12, "HvInterceptTypeRegister";
    }
}

open_enum! {
    /// `HV_INTERCEPT_ACCESS_TYPE`: how a message says what kind of access it was.
    pub struct HvInterceptAccessType(u8) {
        READ = 0, "HV_INTERCEPT_ACCESS_READ";
        WRITE = 1, "HV_INTERCEPT_ACCESS_WRITE";
        EXECUTE = 2, "HV_INTERCEPT_ACCESS_EXECUTE";
    }
}

wire_flags! {
    /// `HV_INTERCEPT_ACCESS_TYPE_MASK`: how HvCallInstallIntercept says which accesses it wants. None: the intercept is removed.
    pub struct HvInterceptAccessTypeMask(u32) {
        /// `HV_INTERCEPT_ACCESS_MASK_READ`
        READ = 1;
        /// `HV_INTERCEPT_ACCESS_MASK_WRITE`
        WRITE = 2;
        /// `HV_INTERCEPT_ACCESS_MASK_EXECUTE`
        EXECUTE = 4;
    }
}
