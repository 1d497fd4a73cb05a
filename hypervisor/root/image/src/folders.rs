//! Folders of the host: a virtio-9p device for each, found by its mount tag, as the transport of a [`ninep::Client`].
//!
//! One request is under way at a time. While the host works on it the processor halts, and no sandbox runs; so there is an end to
//! that ([`PATIENCE`]). A device that has not answered by then keeps the two buffers of its request until it does; what it
//! says then is thrown away, and until then whatever is asked of it fails at once.
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::hint::spin_loop;
use core::mem::ManuallyDrop;

use bitflags::bitflags;
use files::Server;
use hvclient::machine::Clock;
use ninep::{Client, Lost, MESSAGE_MAX};
use tlfs::time::REFERENCE_TICKS_PER_SECOND;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::PciRoot;
use virtio_drivers::transport::{DeviceType, Transport};

use crate::dma::IdentityHal;
use crate::pause::Pause;
use crate::pci::{self, ConfigPorts};
use crate::{apic, msix};

/// How long the host may take for one request, in 100 ns.
const PATIENCE: u64 = 30 * REFERENCE_TICKS_PER_SECOND;
/// How long an answer is awaited without halting, in 100 ns: most come at once.
const BUSY: u64 = REFERENCE_TICKS_PER_SECOND / 20_000;
/// The device's only queue.
const QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 2;
/// Longest mount tag in bytes.
const TAG_MAX: u16 = 32;

bitflags! {
    /// Features of a device that are of use here (Virtio 1.2, 6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const VERSION_1 = 1 << 32;
    }
}

/// A device.
struct Device {
    transport: PciTransport,
    queue: VirtQueue<IdentityHal, QUEUE_SIZE>,
    request: Box<[u8]>,
    answer: Box<[u8]>,
    /// The request that the device has not answered yet: its token, and the length of its message.
    pending: Option<(u16, usize)>,
    clock: Clock,
    interrupts: bool,
}

impl Device {
    /// Gives the buffers to the device.
    fn send(&mut self, request: &[u8]) -> Result<(), Lost> {
        let message = self.request.get_mut(..request.len()).ok_or(Lost)?;
        message.copy_from_slice(request);
        // SAFETY: both buffers are the device's own, live as long as it does, and are not touched before `take` has had them back:
        // `pending` keeps `exchange` from coming here again.
        let token = unsafe { self.queue.add(&[message], &mut [&mut self.answer]) }.map_err(|_| Lost)?;
        self.pending = Some((token, request.len()));
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
        Ok(())
    }

    /// Takes the buffers back, if the device has answered: the length of what it wrote, as it says.
    fn take(&mut self) -> Option<usize> {
        let (token, len) = self.pending.filter(|_| self.queue.can_pop())?;
        let message = self.request.get(..len)?;
        // SAFETY: the buffers that were added when the queue gave this token.
        let written = unsafe { self.queue.pop_used(token, &[message], &mut [&mut self.answer]) }.ok()?;
        self.pending = None;
        usize::try_from(written).ok()
    }

    /// Waits for the answer.
    fn wait(&mut self) -> Option<usize> {
        let start = self.clock.now();
        let mut pause = Pause::new(self.interrupts);
        loop {
            if let Some(len) = self.take() {
                return Some(len);
            }
            let waited = self.clock.now().saturating_sub(start);
            match waited {
                0..BUSY => spin_loop(),
                BUSY..PATIENCE => pause.rest(PATIENCE - waited),
                _ => return None,
            }
        }
    }
}

/// A device that is never given up. One that has not answered has its buffers still; and it would have to be reset, in which QEMU waits for
/// what the device is at, and does nothing else: the end of the run would never be told.
struct Lasting(ManuallyDrop<Device>);

impl ninep::Transport for Lasting {
    fn exchange(&mut self, request: &[u8], answer: &mut [u8]) -> Result<usize, Lost> {
        let device = &mut *self.0;
        if device.pending.is_some() {
            // Late, and of no use to anybody any more.
            device.take().ok_or(Lost)?;
        }
        device.send(request)?;
        let len = device.wait().ok_or(Lost)?;
        let (from, to) = (device.answer.get(..len).ok_or(Lost)?, answer.get_mut(..len).ok_or(Lost)?);
        to.copy_from_slice(from);
        Ok(len)
    }
}

impl fmt::Debug for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("pending", &self.0.pending).finish_non_exhaustive()
    }
}

/// The folders of a run.
pub(crate) struct Folders(Vec<Folder>);

struct Folder {
    place: String,
    server: Server,
}

impl Folders {
    /// Starts a session with the device of each bind. Without binds no device is looked for.
    pub(crate) fn open(binds: &[bundle::Bind], clock: Clock) -> Result<Self, String> {
        if binds.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut devices = devices(clock);
        let open = |bind: &bundle::Bind| {
            let place = String::from_utf8_lossy(&bind.at).into_owned();
            let failed = |why: &dyn fmt::Display| format!("the folder at {place} cannot be bound: {why}");
            let found = devices.iter().position(|(tag, _)| *tag == bind.tag.as_bytes());
            let device = devices.swap_remove(found.ok_or_else(|| failed(&"the machine has no 9P device for it"))?).1;
            let device: Box<dyn ninep::Transport> = Box::new(Lasting(ManuallyDrop::new(device)));
            let client = Client::connect(device).map_err(|e| failed(&e))?;
            Ok(Folder { place, server: Rc::new(RefCell::new(client)) })
        };
        binds.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The server of each, in the order of the binds.
    pub(crate) fn servers(&self) -> impl Iterator<Item = Server> {
        self.0.iter().map(|folder| Rc::clone(&folder.server))
    }

    /// What there is to say of them since the last time.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        let complaint = |folder: &Folder| {
            let what = folder.server.borrow_mut().take_complaint()?;
            Some(format!("the folder at {}: {what}", folder.place))
        };
        self.0.iter().filter_map(complaint)
    }
}

/// All 9P devices of the machine that can be set up, by their mount tags.
fn devices(clock: Clock) -> Vec<(Vec<u8>, Device)> {
    let mut root = PciRoot::new(ConfigPorts);
    let mut found = Vec::new();
    for function in pci::find(&mut root, DeviceType::_9P) {
        pci::enable(&mut root, function);
        let device = PciTransport::new::<IdentityHal, _>(&mut root, function).ok().and_then(|transport| {
            let (tag, mut device) = set_up(transport, clock)?;
            // Once the device's registers are left alone: setting it up takes all vectors from the queue.
            device.interrupts = msix::route(&mut root, function, apic::FOLDER);
            Some((tag, device))
        });
        found.extend(device);
    }
    found
}

fn set_up(mut transport: PciTransport, clock: Clock) -> Option<(Vec<u8>, Device)> {
    transport.begin_init(Features::VERSION_1);
    let queue = VirtQueue::new(&mut transport, QUEUE, false, false).ok()?;
    transport.finish_init();
    let len = transport.read_config_space::<u16>(0).ok().filter(|len| *len <= TAG_MAX)?;
    let tag = (0..usize::from(len)).map(|at| transport.read_config_space::<u8>(size_of::<u16>() + at).ok());
    let tag = tag.collect::<Option<Vec<u8>>>()?;
    let buffer = || vec![0; MESSAGE_MAX].into_boxed_slice();
    let device =
        Device { transport, queue, request: buffer(), answer: buffer(), pending: None, clock, interrupts: false };
    Some((tag, device))
}
