//! The types against the specification's own tables (`vectors/`). The vectors drive: every call, field and name
//! in them is looked up here, and every place where Cordon differs on purpose is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{offset_of, size_of};

use serde_json::Value;
use tlfs::addr::PartitionId;
use tlfs::calls::*;
use tlfs::hypercall::{CallCode, CallForm};
use tlfs::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::message::HvMessageType;
use tlfs::partition::{HvPartitionPropertyCode, PrivilegeMask};
use tlfs::register::HvRegisterName;
use tlfs::vp_page::HvVpStatePageType;

const HYPERCALLS: &str = include_str!("vectors/hypercalls.json");
const DATATYPES: &str = include_str!("vectors/datatypes.json");

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a vector file is JSON")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn rows(value: &Value) -> Vec<(&str, u64)> {
    let rows = value.as_array().unwrap_or_else(|| panic!("not rows: {value}"));
    rows.iter().map(|row| (row[0].as_str().expect("a name"), number(&row[1]))).collect()
}

/// The specification's name in the form in which names that differ in case and underscores are equal.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_uppercase()).collect()
}

// --- Layouts -------------------------------------------------------------------------------------------------

/// One of our structures, by the specification's names.
struct Layout {
    call: &'static str,
    part: &'static str,
    size: usize,
    /// Name, offset, size.
    fields: Vec<(&'static str, usize, usize)>,
}

fn field_size<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// `"call" part Structure { "name in the specification": field, … }`
macro_rules! layouts {
    ($( $call:literal $part:literal $ty:ty { $( $spec:literal: $($field:ident).+ ),* $(,)? } )*) => {
        vec![ $( Layout {
            call: $call,
            part: $part,
            size: size_of::<$ty>(),
            fields: vec![ $( (
                $spec,
                offset_of!($ty, $($field).+),
                field_size(|whole: &$ty| &whole.$($field).+),
            ), )* ],
        }, )* ]
    };
}

fn our_layouts() -> Vec<Layout> {
    layouts! {
        "HvCallCreatePartition" "input" CreatePartitionInput {
            "Flags": flags,
            "ProximityDomainInfo": proximity_domain_info,
            "CompatibilityVersion": compatibility_version,
            "Padding (should be zero)": padding,
            "Properties.DisabledProcessorFeatures": properties.disabled_processor_features,
            "Properties.DisabledProcessorXsaveFeatures": properties.disabled_processor_xsave_features,
            "ReservedZ0": reserved,
        }
        "HvCallCreatePartition" "output" CreatePartitionOutput { "NewPartitionId": partition_id }
        "HvCallInitializePartition" "input" PartitionInput { "PartitionId": partition_id }
        "HvCallFinalizePartition" "input" PartitionInput { "PartitionId": partition_id }
        "HvCallDeletePartition" "input" PartitionInput { "PartitionId": partition_id }
        "HvCallGetPartitionProperty" "input" GetPartitionPropertyInput {
            "PartitionId": partition_id,
            "PropertyCode": property_code,
            "RsvdZ": padding,
        }
        "HvCallGetPartitionProperty" "output" GetPartitionPropertyOutput { "PropertyValue": property_value }
        "HvCallDepositMemory" "input" DepositMemoryHeader { "PartitionId": partition_id }
        "HvCallWithdrawMemory" "input" WithdrawMemoryHeader {
            "PartitionId": partition_id,
            "ProximityDomainInfo": proximity_domain_info,
        }
        "HvCallGetMemoryBalance" "input" GetMemoryBalanceInput {
            "PartitionId": partition_id,
            "ProximityDomainInfo": proximity_domain_info,
        }
        "HvCallGetMemoryBalance" "output" GetMemoryBalanceOutput {
            "PagesAvailable": pages_available,
            "PagesInUse": pages_in_use,
        }
        "HvCallCreateVp" "input" CreateVpInput {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "ReservedZ0": reserved,
            "SubnodeType": subnode_type,
            "SubnodeId": subnode_id,
            "ProximityDomainInfo": proximity_domain_info,
            "Flags": flags,
        }
        "HvCallDeleteVp" "input" DeleteVpInput { "PartitionId": partition_id, "VpIndex": vp_index }
        "HvCallGetVpRegisters" "input" VpRegistersHeader {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "TargetVtl": target_vtl,
            "RsvdZ": reserved,
        }
        "HvCallSetVpRegisters" "input" VpRegistersHeader {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "TargetVtl": target_vtl,
            "RsvdZ": reserved,
        }
        "HvCallSetVpRegisters" "input_element" SetVpRegistersElement {
            "RegisterName": name,
            "RsvdZ": reserved,
            "RegisterValue": value,
        }
        "HvCallMapGpaPages" "input" MapGpaPagesHeader {
            "TargetPartitionId": target_partition_id,
            "TargetGpaBase": target_gpa_base,
            "MapFlags": map_flags,
        }
        "HvCallUnmapGpaPages" "input" UnmapGpaPagesHeader {
            "TargetPartitionId": target_partition_id,
            "TargetGpaBase": target_gpa_base,
            "UnmapFlags": unmap_flags,
        }
        "HvCallInstallIntercept" "input" InstallInterceptInput {
            "PartitionId": partition_id,
            "AccessType": access_type,
            "InterceptType": intercept_type,
            "InterceptParameter": intercept_parameter,
        }
        "HvCallMapVpStatePage" "input" MapVpStatePageInput {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "Type": page_type,
            "InputVtl": input_vtl,
            "Flags": flags,
            "RequestedMapLocation": requested_map_location,
        }
        "HvCallMapVpStatePage" "output" MapVpStatePageOutput { "MapLocation": map_location }
        "HvCallUnmapVpStatePage" "input" UnmapVpStatePageInput {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "Type": page_type,
            "InputVtl": input_vtl,
            "Reserved0": reserved,
        }
        "HvCallTranslateVirtualAddress" "input" TranslateVirtualAddressInput {
            "PartitionId": partition_id,
            "VpIndex": vp_index,
            "ControlFlags": control_flags,
            "GvaPage": gva_page,
        }
        "HvCallTranslateVirtualAddress" "output" TranslateVirtualAddressOutput {
            "TranslationResult": result_code,
            "GpaPage": gpa_page,
        }
        "HvCallAssertVirtualInterrupt" "input" AssertVirtualInterruptInput {
            "TargetPartition": target_partition,
            "InterruptControl": interrupt_control,
            "DestinationAddress": destination_address,
            "RequestedVector": requested_vector,
            "TargetVtl": target_vtl,
            "ReservedZ0": reserved0,
            "ReservedZ1": reserved1,
        }
    }
}

/// Parts that are one number, for which there is no structure.
fn our_scalars() -> Vec<(&'static str, &'static str, &'static str, usize)> {
    vec![
        ("HvCallGetVpRegisters", "input_element", "RegisterName", size_of::<HvRegisterName>()),
        ("HvCallGetVpRegisters", "output", "RegisterValue", size_of::<tlfs::register::HvRegisterValue>()),
    ]
}

/// A field whose offset or size differs from the specification's table.
struct Difference {
    call: &'static str,
    part: &'static str,
    field: &'static str,
    /// Offset and size in the table.
    theirs: (usize, usize),
    /// Offset and size here.
    ours: (usize, usize),
}

const LAYOUT_DIFFERENCES: [Difference; 3] = [
    // The page gives both fields offset 0; two numbers cannot share it.
    Difference { call: "HvCallGetMemoryBalance", part: "output", field: "PagesInUse", theirs: (0, 8), ours: (8, 8) },
    // HV_MAP_GPA_FLAGS has 32 bits; the other four bytes are padding (Linux hvhdk.h).
    Difference { call: "HvCallMapGpaPages", part: "input", field: "MapFlags", theirs: (16, 8), ours: (16, 4) },
    // HV_TRANSLATE_GVA_RESULT: the code, and then a word with cache type and overlay bit.
    Difference {
        call: "HvCallTranslateVirtualAddress",
        part: "output",
        field: "TranslationResult",
        theirs: (0, 8),
        ours: (0, 4),
    },
];

/// Served calls whose page has no table of inputs: their layouts follow Linux and openvmm.
const WITHOUT_TABLE: &[&str] = &["HvCallDispatchVp", "HvCallGetPartitionId", "HvCallSetPartitionProperty"];

const PARTS: [&str; 3] = ["input", "input_element", "output"];

#[test]
fn every_served_call_has_the_layout_of_its_page() {
    let vectors = parse(HYPERCALLS);
    let pages: BTreeMap<&str, &Value> =
        vectors["calls"].as_array().expect("calls").iter().map(|call| (text(call, "name"), call)).collect();
    let ours = our_layouts();
    let mut differences = BTreeSet::new();
    let mut compared = 0;
    for code in SERVED {
        let name = code.name().expect("a served call has a name");
        let page = pages.get(name).filter(|page| PARTS.iter().any(|part| !page[*part].is_null()));
        let Some(page) = page else {
            assert!(WITHOUT_TABLE.contains(&name), "{name}: no table, and not listed as such");
            continue;
        };
        assert!(!WITHOUT_TABLE.contains(&name), "{name}: listed as without a table, but there is one");
        for part in PARTS.into_iter().filter(|part| !page[*part].is_null()) {
            compared += compare_part(name, part, &page[part], &ours, &mut differences);
        }
    }
    assert!(compared >= 70, "only {compared} fields were compared");
    assert_eq!(differences.len(), LAYOUT_DIFFERENCES.len(), "stale LAYOUT_DIFFERENCES; seen: {differences:?}");
}

fn compare_part(
    call: &'static str,
    part: &'static str,
    table: &Value,
    ours: &[Layout],
    differences: &mut BTreeSet<(String, String)>,
) -> usize {
    let rows = table.as_array().expect("rows");
    let layout = ours.iter().find(|layout| layout.call == call && layout.part == part);
    let mut compared = 0;
    let mut end = 0;
    for row in rows {
        let name = row[0].as_str().expect("a name");
        let offset = usize::try_from(number(&row[1])).expect("small");
        let Some(size) = row[2].as_u64().map(|size| usize::try_from(size).expect("small")) else {
            let header = layout.map_or(0, |layout| layout.size);
            assert_eq!(header, offset, "{call} {part}: the list {name} begins behind the header");
            continue;
        };
        end = end.max(offset + size);
        compared += 1;
        let found = match layout {
            Some(layout) => layout.fields.iter().find(|field| field.0 == name).map(|field| (field.1, field.2)),
            None => our_scalars().iter().find(|s| (s.0, s.1, s.2) == (call, part, name)).map(|scalar| (0, scalar.3)),
        };
        let found = found.unwrap_or_else(|| panic!("{call} {part}: no field for {name}"));
        if found == (offset, size) {
            continue;
        }
        let listed = LAYOUT_DIFFERENCES
            .iter()
            .any(|d| (d.call, d.part, d.field, d.theirs, d.ours) == (call, part, name, (offset, size), found));
        assert!(listed, "{call} {part} {name}: the specification has {offset}+{size}, we have {found:?}");
        differences.insert((call.to_owned(), name.to_owned()));
    }
    if let Some(layout) = layout {
        assert_eq!(layout.fields.len(), compared, "{call} {part}: a field of ours is not in the table");
        let last = layout.fields.iter().map(|field| field.1 + field.2).max().unwrap_or(0);
        assert_eq!(layout.size, last.max(end).next_multiple_of(8), "{call} {part}: size");
    }
    compared
}

#[test]
fn every_layout_of_ours_belongs_to_a_page() {
    let vectors = parse(HYPERCALLS);
    for layout in our_layouts() {
        let page = vectors["calls"].as_array().expect("calls").iter().find(|call| text(call, "name") == layout.call);
        let page = page.unwrap_or_else(|| panic!("no page for {}", layout.call));
        assert!(!page[layout.part].is_null(), "{} has no {}", layout.call, layout.part);
    }
}

// --- Call codes ----------------------------------------------------------------------------------------------

/// Call codes of the specification that have no name here: hints about memory heat, of no use to anyone yet.
const UNNAMED_CALLS: &[&str] = &["HvExtCallMemoryHeatHint", "HvExtCallEpfSetup", "HvExtCallMemoryHeatHintAsync"];

/// Named calls of which the specification says nothing: Linux `hvgdk_mini.h`.
const CALLS_FROM_LINUX: &[&str] = &[
    "HvCallGetLogicalProcessorRunTime",
    "HvCallGetPartitionId",
    "HvCallReadGpa",
    "HvCallWriteGpa",
    "HvCallClearVirtualInterrupt",
    "HvCallMapStatsPage",
    "HvCallAddLogicalProcessor",
    "HvCallGetSystemProperty",
    "HvCallMapDeviceInterrupt",
    "HvCallUnmapDeviceInterrupt",
    "HvCallDispatchVp",
    "HvCallGetGpaPagesAccessStates",
    "HvCallGetVpState",
    "HvCallSetVpState",
];

#[test]
fn call_codes_and_forms() {
    let vectors = parse(HYPERCALLS);
    let ours: BTreeMap<&str, CallCode> = CallCode::NAMED.iter().map(|(code, name)| (*name, *code)).collect();
    let mut seen = BTreeSet::new();
    for list in ["calls", "overview"] {
        for call in vectors[list].as_array().expect("a list") {
            let name = text(call, "name");
            let Some(code) = ours.get(name) else {
                assert!(UNNAMED_CALLS.contains(&name), "{name} has no name in tlfs");
                continue;
            };
            assert_eq!(u64::from(code.0), number(&call["code"]), "{name}");
            let form = match text(call, "form") {
                "Simple" => CallForm::Simple,
                "Rep" => CallForm::Rep,
                other => panic!("{name}: form {other}"),
            };
            assert_eq!(code.form(), Some(form), "{name}");
            seen.insert(name);
        }
    }
    for name in ours.keys() {
        assert_ne!(seen.contains(name), CALLS_FROM_LINUX.contains(name), "{name}");
    }
}

#[test]
fn served_calls_are_named_once() {
    let unique: BTreeSet<u16> = SERVED.iter().map(|code| code.0).collect();
    assert_eq!(unique.len(), SERVED.len());
    assert_eq!(SERVED.len(), 22);
    assert!(SERVED.iter().all(|code| code.form().is_some()));
}

// --- Names and values ----------------------------------------------------------------------------------------

/// Compares an open enumeration with its page, both ways. `renamed`: our name, and the specification's for the
/// same value, or nothing where it has no such value.
fn compare_names(ty: &str, ours: &[(u64, &str)], renamed: &[(&str, Option<&str>)]) {
    let vectors = parse(DATATYPES);
    let page: BTreeMap<&str, u64> = rows(&vectors["names"][ty]).into_iter().collect();
    assert!(!page.is_empty(), "{ty}");
    let mut used = 0;
    for (value, name) in ours {
        if let Some((_, theirs)) = renamed.iter().find(|entry| entry.0 == *name) {
            used += 1;
            let named: Vec<&str> = page.iter().filter(|entry| entry.1 == value).map(|entry| *entry.0).collect();
            assert_eq!(named, theirs.iter().copied().collect::<Vec<_>>(), "{ty}: {name} ({value:#x})");
            continue;
        }
        assert_eq!(page.get(name), Some(value), "{ty}: {name} ({value:#x})");
    }
    assert_eq!(used, renamed.len(), "{ty}: an entry of the list of renamed values is stale");
}

macro_rules! named {
    ($ty:ty) => {
        &<$ty>::NAMED.iter().map(|(value, name)| (u64::from(value.0), *name)).collect::<Vec<_>>()
    };
}

#[test]
fn register_names() {
    compare_names(
        "HV_REGISTER_NAME",
        named!(HvRegisterName),
        &[
            // mshv-bindings' names; the specification calls the value something else …
            ("HvRegisterSvmFeaturesInfo", Some("HvRegisterPasidFeaturesInfo")),
            ("HvX64RegisterUXss", Some("HvX64RegisterXss")),
            ("HvRegisterSiefp", Some("HvRegisterSifp")),
            ("HvRegisterSimp", Some("HvRegisterSipp")),
            // … or does not list it.
            ("HvRegisterSkipLevelFeaturesInfo", None),
            ("HvX64RegisterIntermediateCr3", None),
            ("HvX64RegisterRegPage", None),
        ],
    );
}

#[test]
fn message_types() {
    compare_names(
        "HV_MESSAGE_TYPE",
        named!(HvMessageType),
        &[
            ("HvMessageTypeX64MsrIntercept", Some("HvMessageTypeMsrIntercept")),
            ("HvMessageTypeX64ExceptionIntercept", Some("HvMessageTypeExceptionIntercept")),
            // Two values where mshv-bindings and Linux disagree with the specification; we follow the former.
            ("HvMessageTypeX64LegacyFpError", None),
            ("HvMessageTypeX64IommuPrq", Some("HvMessageTypeRegisterIntercept")),
        ],
    );
}

#[test]
fn intercept_types() {
    compare_names("HV_INTERCEPT_TYPE", named!(HvInterceptType), &[]);
}

#[test]
fn partition_properties() {
    compare_names("HV_PARTITION_PROPERTY_CODE", named!(HvPartitionPropertyCode), &[]);
}

#[test]
fn state_pages_and_translation_results() {
    compare_names("HV_VP_STATE_PAGE_TYPE", named!(HvVpStatePageType), &[]);
    compare_names("HV_TRANSLATE_GVA_RESULT_CODE", named!(TranslateGvaResultCode), &[]);
    compare_names("HV_CACHE_TYPE", &[(u64::from(CACHE_TYPE_WRITE_BACK), "HvCacheTypeWriteBack")], &[]);
    compare_names("HV_INTERRUPT_TYPE", &[(u64::from(InterruptControl::FIXED), "HvX64InterruptTypeFixed")], &[]);
    compare_names(
        "HV_PARTITION_ID",
        &[(PartitionId::SELF.0, "HV_PARTITION_ID_SELF"), (PartitionId::INVALID.0, "HV_PARTITION_ID_INVALID")],
        &[],
    );
}

/// Compares a set of flags with its page. `extra`: flags of ours that the page does not have.
fn compare_flags(ty: &str, prefix: &str, ours: &[(String, u64)], extra: &[&str]) {
    let vectors = parse(DATATYPES);
    let page: BTreeMap<&str, u64> = rows(&vectors["names"][ty]).into_iter().collect();
    for (name, value) in ours {
        let full = format!("{prefix}{name}");
        if extra.contains(&name.as_str()) {
            assert!(!page.contains_key(full.as_str()), "{full} is in the page after all");
            continue;
        }
        assert_eq!(page.get(full.as_str()), Some(value), "{full}");
    }
}

macro_rules! flags {
    ($ty:ty) => {{
        use bitflags::Flags;
        <$ty>::FLAGS
            .iter()
            .map(|flag| (flag.name().to_owned(), u64::from(flag.value().bits())))
            .collect::<Vec<(String, u64)>>()
    }};
}

#[test]
fn flags_have_the_values_of_their_pages() {
    compare_flags("HV_MAP_GPA_FLAGS", "HV_MAP_GPA_", &flags!(MapGpaFlags), &["ADJUSTABLE"]);
    compare_flags("HV_TRANSLATE_GVA_CONTROL_FLAGS", "HV_TRANSLATE_GVA_", &flags!(TranslateGvaFlags), &[]);
    compare_flags(
        "HV_INTERCEPT_ACCESS_TYPE_MASK",
        "HV_INTERCEPT_ACCESS_MASK_",
        &flags!(HvInterceptAccessTypeMask),
        &[],
    );
}

// --- Bit fields ----------------------------------------------------------------------------------------------

/// Bit positions from the widths of a page, low to high.
fn positions(widths: &[(&str, u64)]) -> BTreeMap<String, (u64, u64)> {
    let mut low = 0;
    let mut out = BTreeMap::new();
    for (name, width) in widths {
        out.insert(plain(name), (low, *width));
        low += width;
    }
    out
}

/// The page of HV_PARTITION_PRIVILEGE_MASK adds up to 62 bits: it lost one reserved bit before CreatePartitions (which is bit 0
/// of EBX of CPUID leaf 0x40000003, so bit 32) and one before AccessVSM (bit 16 of EBX). Bits lost, and
/// the field in front of which they are missing.
const LOST_PRIVILEGE_BITS: &[(&str, u64)] = &[("CreatePartitions", 1), ("AccessVSM", 1)];

#[test]
fn privileges_have_the_bits_of_their_page() {
    let vectors = parse(DATATYPES);
    let mut widths = Vec::new();
    for (name, width) in rows(&vectors["bit_fields"]["HV_PARTITION_PRIVILEGE_MASK"]) {
        if let Some((_, lost)) = LOST_PRIVILEGE_BITS.iter().find(|lost| lost.0 == name) {
            widths.push(("Reserved", *lost));
        }
        widths.push((name, width));
    }
    assert_eq!(widths.iter().map(|field| field.1).sum::<u64>(), 64);
    let page = positions(&widths);
    let ours: BTreeMap<String, u64> =
        flags!(PrivilegeMask).into_iter().map(|(name, bits)| (plain(&name), bits)).collect();
    for (name, (low, width)) in &page {
        if name.starts_with("RESERVED") {
            continue;
        }
        assert_eq!(*width, 1, "{name}");
        assert_eq!(ours.get(name), Some(&(1 << low)), "{name}");
    }
    assert_eq!(ours.len(), page.keys().filter(|name| !name.starts_with("RESERVED")).count());
}

/// Sets each field of a page to all ones through our setter and compares with the bits of the page.
fn compare_bits(ty: &str, ours: &[(&str, u64)]) {
    let vectors = parse(DATATYPES);
    let page = positions(&rows(&vectors["bit_fields"][ty]));
    let named: Vec<&String> = page.keys().filter(|name| !name.starts_with("RESERVED")).collect();
    assert_eq!(named.len(), ours.len(), "{ty}: {named:?}");
    for (name, bits) in ours {
        let (low, width) = page[&plain(name)];
        let mask = (u64::MAX >> (64 - width)) << low;
        assert_eq!(*bits, mask, "{ty}.{name}");
    }
}

#[test]
fn bit_registers_have_the_bits_of_their_pages() {
    use tlfs::addr::HvInputVtl;
    use tlfs::register::HvX64SegmentAttributes as Attributes;
    let a = Attributes(0);
    compare_bits(
        "HV_X64_SEGMENT_REGISTER.Attributes",
        &[
            ("SegmentType", a.with_segment_type(0xff).0.into()),
            ("NonSystemSegment", a.with_non_system(true).0.into()),
            ("DescriptorPrivilegeLevel", a.with_dpl(0xff).0.into()),
            ("Present", a.with_present(true).0.into()),
            ("Available", a.with_available(true).0.into()),
            ("Long", a.with_long(true).0.into()),
            ("Default", a.with_default(true).0.into()),
            ("Granularity", a.with_granularity(true).0.into()),
        ],
    );
    let v = HvInputVtl(0);
    compare_bits(
        "HV_INPUT_VTL",
        &[("TargetVtl", v.with_target_vtl(0xff).0.into()), ("UseTargetVtl", v.with_use_target_vtl(true).0.into())],
    );
    let c = InterruptControl(0);
    compare_bits(
        "HV_INTERRUPT_CONTROL",
        &[
            ("InterruptType", c.with_interrupt_type(u32::MAX).0),
            ("LevelTriggered", c.with_level_triggered(true).0),
            ("LogicalDestinationMode", c.with_logical_destination_mode(true).0),
        ],
    );
}
