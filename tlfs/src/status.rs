//! What a hypercall says of its end (TLFS "Hypercall Status Codes").

macro_rules! statuses {
    ($( $konst:ident = $value:literal, $spec:literal, $text:literal; )*) => {
        open_enum! {
            /// `HV_STATUS`: the low 16 bits of a hypercall's result.
            pub struct HvStatus(u16) {
                $( #[doc = concat!($text, ".")] $konst = $value, $spec; )*
            }
        }

        impl HvStatus {
            /// What the status means, in words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $( Self::$konst => $text, )*
                    _ => "the hypervisor answered with a status that has no name",
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0x0000, "HV_STATUS_SUCCESS", "the call succeeded";
    INVALID_HYPERCALL_CODE = 0x0002, "HV_STATUS_INVALID_HYPERCALL_CODE", "the hypervisor does not know this call";
    INVALID_HYPERCALL_INPUT = 0x0003, "HV_STATUS_INVALID_HYPERCALL_INPUT", "the control word is wrong for this call (rep count, variable header or reserved bits)";
    INVALID_ALIGNMENT = 0x0004, "HV_STATUS_INVALID_ALIGNMENT", "the input or output address is not aligned to 8 bytes, or the block crosses a page";
    INVALID_PARAMETER = 0x0005, "HV_STATUS_INVALID_PARAMETER", "a parameter is outside of what the call takes";
    ACCESS_DENIED = 0x0006, "HV_STATUS_ACCESS_DENIED", "the caller's partition lacks the privilege for this call or target";
    INVALID_PARTITION_STATE = 0x0007, "HV_STATUS_INVALID_PARTITION_STATE", "the target partition is not in a state in which this can be done";
    OPERATION_DENIED = 0x0008, "HV_STATUS_OPERATION_DENIED", "the operation is not allowed now";
    UNKNOWN_PROPERTY = 0x0009, "HV_STATUS_UNKNOWN_PROPERTY", "the hypervisor does not know this property";
    PROPERTY_VALUE_OUT_OF_RANGE = 0x000a, "HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE", "the property cannot have this value";
    INSUFFICIENT_MEMORY = 0x000b, "HV_STATUS_INSUFFICIENT_MEMORY", "the memory deposited for the partition does not suffice: deposit more and try again";
    PARTITION_TOO_DEEP = 0x000c, "HV_STATUS_PARTITION_TOO_DEEP", "partitions are nested too deeply";
    INVALID_PARTITION_ID = 0x000d, "HV_STATUS_INVALID_PARTITION_ID", "there is no such partition";
    INVALID_VP_INDEX = 0x000e, "HV_STATUS_INVALID_VP_INDEX", "the partition has no virtual processor with this index";
    NOT_FOUND = 0x0010, "HV_STATUS_NOT_FOUND", "what was asked for is not there";
    INVALID_PORT_ID = 0x0011, "HV_STATUS_INVALID_PORT_ID", "there is no such port";
    INVALID_CONNECTION_ID = 0x0012, "HV_STATUS_INVALID_CONNECTION_ID", "there is no such connection";
    INSUFFICIENT_BUFFERS = 0x0013, "HV_STATUS_INSUFFICIENT_BUFFERS", "no message buffer is free: try again later";
    NOT_ACKNOWLEDGED = 0x0014, "HV_STATUS_NOT_ACKNOWLEDGED", "an earlier interrupt has not been acknowledged";
    INVALID_VP_STATE = 0x0015, "HV_STATUS_INVALID_VP_STATE", "the virtual processor is not in a state in which this can be done";
    ACKNOWLEDGED = 0x0016, "HV_STATUS_ACKNOWLEDGED", "the interrupt has already been acknowledged";
    INVALID_SAVE_RESTORE_STATE = 0x0017, "HV_STATUS_INVALID_SAVE_RESTORE_STATE", "the partition is not being saved or restored";
    INVALID_SYNIC_STATE = 0x0018, "HV_STATUS_INVALID_SYNIC_STATE", "the synthetic interrupt controller is not enabled";
    OBJECT_IN_USE = 0x0019, "HV_STATUS_OBJECT_IN_USE", "the object is in use";
    INVALID_PROXIMITY_DOMAIN_INFO = 0x001a, "HV_STATUS_INVALID_PROXIMITY_DOMAIN_INFO", "there is no such proximity domain";
    NO_DATA = 0x001b, "HV_STATUS_NO_DATA", "there is no data";
    INACTIVE = 0x001c, "HV_STATUS_INACTIVE", "the object is not active";
    NO_RESOURCES = 0x001d, "HV_STATUS_NO_RESOURCES", "the hypervisor has none of what was asked for left";
    FEATURE_UNAVAILABLE = 0x001e, "HV_STATUS_FEATURE_UNAVAILABLE", "the feature is not available";
    PARTIAL_PACKET = 0x001f, "HV_STATUS_PARTIAL_PACKET", "only part of the data was transferred";
    PROCESSOR_FEATURE_NOT_SUPPORTED = 0x0020, "HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED", "the processor lacks a feature that was asked for";
    INVALID_LP_INDEX = 0x0041, "HV_STATUS_INVALID_LP_INDEX", "there is no such logical processor";
    INVALID_REGISTER_VALUE = 0x0050, "HV_STATUS_INVALID_REGISTER_VALUE", "the register cannot have this value";
    OPERATION_FAILED = 0x0071, "HV_STATUS_OPERATION_FAILED", "the operation failed";
    TIME_OUT = 0x0078, "HV_STATUS_TIME_OUT", "the operation took too long: try again";
    CALL_PENDING = 0x0079, "HV_STATUS_CALL_PENDING", "the call goes on in the background";
    VTL_ALREADY_ENABLED = 0x0086, "HV_STATUS_VTL_ALREADY_ENABLED", "the virtual trust level is enabled already";
}
