//! The three freestanding images: building them, and turning two of them from ELF into flat memory images.
use crate::{apt, workspace};
use anyhow::{Context, Result, anyhow, bail, ensure};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use proto::layout::{SHIM_BASE_VA, SHIM_MAGIC, ShimHeader};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use zerocopy::FromBytes;

/// The packages of the images. Each group is built by itself: packages built together share the features of their
/// dependencies, and the shim must not get the boot code of `rt`.
const GROUPS: [&[&str]; 2] = [&["hv-image", "root-image"], &["shim-image"]];
/// Cargo's profile of what is to be fast.
const RELEASE: &str = "release";
/// The profile of programs that are tested in sandboxes.
pub(crate) const PROGRAMS: &str = "programs";
/// Type of the ELF note that holds the 32-bit PVH entry (XEN_ELFNOTE_PHYS32_ENTRY of Xen's elfnote.h).
const PVH_NOTE: u64 = 18;
/// Largest flat image: a nonsensical link address must not make us allocate everything.
const MAX_IMAGE: u64 = 64 << 20;
/// A build that takes longer than this is announced.
const PATIENCE: Duration = Duration::from_secs(1);

/// The built images.
#[derive(Debug)]
pub(crate) struct Images {
    /// The hypervisor's ELF file, as QEMU takes it.
    pub(crate) hypervisor: PathBuf,
    /// The root partition's image.
    pub(crate) root: RootImage,
    /// The flat shim.
    pub(crate) shim: Vec<u8>,
}

/// The root image, flat, and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RootImage {
    /// Guest physical address of the first byte.
    pub(crate) gpa: u64,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Length in memory, with .bss.
    pub(crate) mem_len: u64,
    /// PVH entry.
    pub(crate) entry: u64,
}

/// Builds the images (unless `no_build`) and reads them. `shim`: another shim than ours.
pub(crate) fn prepare(no_build: bool, verbose: bool, shim: Option<&Path>) -> Result<Images> {
    if !no_build {
        build_all(verbose)?;
    }
    let own = built("cordon-shim");
    Ok(Images {
        hypervisor: hypervisor()?,
        root: root_image(&built("cordon-root"))?,
        shim: shim_image(shim.unwrap_or(&own))?,
    })
}

/// Builds the images.
pub(crate) fn build_all(verbose: bool) -> Result<()> {
    GROUPS.iter().try_for_each(|group| build(group, verbose))
}

/// The hypervisor's ELF file.
pub(crate) fn hypervisor() -> Result<PathBuf> {
    let path = built("cordon-hypervisor");
    ensure!(path.is_file(), "{} is not there; run once without --no-build", path.display());
    Ok(path)
}

/// Where the built image `name` is.
pub(crate) fn built(name: &str) -> PathBuf {
    built_by(RELEASE, name)
}

/// Where what [`build_by`] has built of this profile is called `name`.
pub(crate) fn built_by(profile: &str, name: &str) -> PathBuf {
    workspace::target_dir("images").join(profile).join(name)
}

/// Builds packages that belong together into the images' directory.
pub(crate) fn build(packages: &[&str], verbose: bool) -> Result<()> {
    build_by(RELEASE, packages, verbose)
}

/// The same by another of cargo's profiles.
pub(crate) fn build_by(profile: &str, packages: &[&str], verbose: bool) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--profile", profile, "--target-dir"]);
    cargo.arg(workspace::target_dir("images"));
    for package in packages {
        cargo.args(["--package", package]);
    }
    if !verbose {
        cargo.arg("--quiet");
    }
    let (done, finished) = mpsc::channel::<()>();
    let what = packages.join(", ");
    let announcer = std::thread::spawn(move || {
        if finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("cordon: building {what}");
        }
    });
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status().context("cargo cannot be started")?;
    drop(done);
    announcer.join().map_err(|_| anyhow!("the announcing thread failed"))?;
    if !status.success() {
        let hint = match apt::find_program("cc") {
            Some(_) => "",
            None => " (there is no `cc` to link with: on Debian, apt-get install gcc libc6-dev)",
        };
        bail!("{} could not be built{hint}", packages.join(", "));
    }
    Ok(())
}

/// Reads the root's ELF file, or that of a test kernel in its place.
pub(crate) fn root_image(path: &Path) -> Result<RootImage> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_root(&bytes).with_context(|| format!("{} is no root image", path.display()))
}

fn parse_root(bytes: &[u8]) -> Result<RootImage> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let flat = flatten(&elf, bytes, |segment| segment.p_paddr)?;
    let entry = pvh_entry(&elf)?;
    ensure!(flat.base % bundle::ALIGN == 0, "it starts at {:#x}, which is not page aligned", flat.base);
    ensure!(entry >= flat.base && entry - flat.base < flat.mem_len, "its PVH entry {entry:#x} lies outside of it");
    Ok(RootImage { gpa: flat.base, bytes: flat.bytes, mem_len: flat.mem_len, entry })
}

/// Reads the shim's ELF file.
fn shim_image(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_shim(&bytes).with_context(|| format!("{} is no shim image", path.display()))
}

fn parse_shim(bytes: &[u8]) -> Result<Vec<u8>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let flat = flatten(&elf, bytes, |segment| segment.p_vaddr)?;
    ensure!(flat.base == SHIM_BASE_VA, "it is linked at {:#x} instead of {SHIM_BASE_VA:#x}", flat.base);
    let (header, _) =
        ShimHeader::read_from_prefix(&flat.bytes).map_err(|_| anyhow!("it is shorter than its header"))?;
    ensure!(header.magic == SHIM_MAGIC, "its header is not at its start");
    ensure!(
        header.version == proto::PROTO_VERSION,
        "it speaks version {} of the protocol, not {}",
        header.version,
        proto::PROTO_VERSION
    );
    let len = flat.bytes.len() as u64;
    ensure!(
        header.text_end <= len && header.rodata_end <= len && header.data_end <= len,
        "its header names bytes behind its end"
    );
    Ok(flat.bytes)
}

/// The loadable segments laid out as in memory.
struct Flat {
    base: u64,
    bytes: Vec<u8>,
    mem_len: u64,
}

/// Lays the loadable segments out at the addresses that `address` picks.
fn flatten(
    elf: &ElfBytes<'_, LittleEndian>,
    file: &[u8],
    address: fn(&elf::segment::ProgramHeader) -> u64,
) -> Result<Flat> {
    let segments: Vec<_> =
        elf.segments().context("no program headers")?.iter().filter(|s| s.p_type == PT_LOAD && s.p_memsz > 0).collect();
    let base = segments.iter().map(address).min().context("no loadable segment")?;
    let mut flat = Flat { base, bytes: Vec::new(), mem_len: 0 };
    for segment in &segments {
        let start = address(segment) - base;
        let mem_end = start.checked_add(segment.p_memsz).filter(|e| *e <= MAX_IMAGE);
        flat.mem_len = flat.mem_len.max(mem_end.context("the image is too large")?);
        ensure!(segment.p_filesz <= segment.p_memsz, "a segment is larger in the file than in memory");
        let from = usize::try_from(segment.p_offset)?;
        let len = usize::try_from(segment.p_filesz)?;
        let data = from
            .checked_add(len)
            .and_then(|end| file.get(from..end))
            .context("a segment lies behind the end of the file")?;
        let start = usize::try_from(start)?;
        if flat.bytes.len() < start + len {
            // Not by `resize`, which sets byte by byte without optimisation: most of what a start would do here.
            let mut longer = vec![0; start + len];
            longer[..flat.bytes.len()].copy_from_slice(&flat.bytes);
            flat.bytes = longer;
        }
        flat.bytes[start..start + len].copy_from_slice(data);
    }
    Ok(flat)
}

/// The 32-bit entry of the PVH note.
fn pvh_entry(elf: &ElfBytes<'_, LittleEndian>) -> Result<u64> {
    let segments = elf.segments().context("no program headers")?;
    for segment in segments.iter().filter(|s| s.p_type == elf::abi::PT_NOTE) {
        for note in elf.segment_data_as_notes(&segment)? {
            let elf::note::Note::Unknown(note) = note else {
                continue;
            };
            let name = note.name.split(|b| *b == 0).next();
            if note.n_type != PVH_NOTE || name != Some(b"Xen".as_slice()) {
                continue;
            }
            return match *note.desc {
                [a, b, c, d] | [a, b, c, d, 0, 0, 0, 0] => Ok(u64::from(u32::from_le_bytes([a, b, c, d]))),
                _ => bail!("its PVH note is not an address"),
            };
        }
    }
    bail!("it has no PVH note")
}
