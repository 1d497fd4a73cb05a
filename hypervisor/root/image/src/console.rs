//! The way to the host: frames of the control protocol over a virtio console. It is looked at when it has interrupted, or, where it
//! has no interrupt ([`crate::msix`]), each tick.
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use control::answer::Answer;
use control::policy::{Gathered, Sent};
use control::{ExitReport, Inbox, Outbox, Outcome, RunStats, kind};
use policy::WhenFull;
use proto::op::wait_events;
use sandbox::HostConsole;
use services::{Console, ConsoleRead, Stream};
use trace::Account;
use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::PciRoot;

use crate::dma::IdentityHal;
use crate::pause::Pause;
use crate::pci::{self, ConfigPorts};
use crate::{apic, heap, msix};

/// Bytes of a sandbox' output that may wait before its program has to.
const CONGESTED: usize = 64 << 10;
/// The sandbox that has standard input and the terminal.
const TERMINAL_OWNER: u16 = 0;
/// Bytes of input that are asked for when a program waits for input without saying how much it will read.
const DEFAULT_WANT: u32 = 4096;

/// Answers that wait to be looked at: more than all sandboxes can ask for at a time.
const MAX_ANSWERS: usize = bundle::MAX_SANDBOXES * gate::MAX_QUESTIONS;

/// Why there is no way to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsoleError {
    /// No virtio console on any PCI bus.
    NotFound,
    /// It does not answer as one.
    Broken,
}

impl core::fmt::Display for ConsoleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no virtio console on the PCI bus (-device virtio-serial-pci -device virtconsole)",
            Self::Broken => "the virtio console cannot be set up",
        })
    }
}

/// The console, with what waits in both directions.
pub(crate) struct HostLink {
    device: VirtIOConsole<IdentityHal, PciTransport>,
    outbox: Outbox,
    inbox: Inbox,
    input: VecDeque<u8>,
    input_ended: bool,
    /// Bytes that the host was asked for and has not sent.
    wanted: u32,
    window: Option<(u16, u16)>,
    window_changed: bool,
    /// What there is of a new policy, and the last one that is whole.
    gathered: Gathered,
    sent: Option<Sent>,
    /// Answers to questions.
    answers: VecDeque<Answer>,
    /// The device interrupts when the host has sent something.
    interrupts: bool,
    /// The host sent what is no frame; it is not listened to any more.
    garbled: bool,
    /// What becomes of records that the host does not take.
    when_full: WhenFull,
    /// Of each sandbox.
    accounts: Vec<Account>,
    /// Frames that the host has sent.
    heard: u64,
}

impl HostLink {
    /// Finds the console and greets the host.
    pub(crate) fn open() -> Result<Self, ConsoleError> {
        let mut root = PciRoot::new(ConfigPorts);
        let function = pci::find(&mut root, DeviceType::Console).first().copied().ok_or(ConsoleError::NotFound)?;
        pci::enable(&mut root, function);
        let transport = PciTransport::new::<IdentityHal, _>(&mut root, function).map_err(|_| ConsoleError::Broken)?;
        let device = VirtIOConsole::new(transport).map_err(|_| ConsoleError::Broken)?;
        // Once the driver is done with the device's registers: setting it up takes all vectors from the queues.
        let interrupts = msix::route(&mut root, function, apic::CONSOLE);
        if !interrupts {
            log::warn!("the console does not interrupt: it is polled");
        }
        let mut link = Self {
            device,
            interrupts,
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            input: VecDeque::new(),
            input_ended: false,
            wanted: 0,
            window: None,
            window_changed: false,
            gathered: Gathered::default(),
            sent: None,
            answers: VecDeque::new(),
            garbled: false,
            when_full: WhenFull::default(),
            accounts: Vec::new(),
            heard: 0,
        };
        link.outbox.push_stream(0, kind::HELLO, env!("CARGO_PKG_VERSION").as_bytes());
        Ok(link)
    }

    /// The terminal's size: rows and columns, 0 if unknown.
    pub(crate) fn set_window(&mut self, window: [u16; 2]) {
        self.window = (window != [0, 0]).then_some((window[0], window[1]));
    }

    /// What becomes of records that the host does not take, from now on.
    pub(crate) fn set_when_full(&mut self, when_full: WhenFull) {
        self.when_full = when_full;
    }

    /// The way to the host as one sandbox has it.
    pub(crate) fn lane(&mut self, sandbox: u16) -> Lane<'_> {
        Lane { link: self, sandbox }
    }

    /// Takes what the host has sent, and sends what it takes.
    pub(crate) fn poll(&mut self) {
        while let Ok(Some(byte)) = self.device.recv(true) {
            self.inbox.feed(&[byte]);
        }
        while !self.garbled && self.take_frame() {}
        while let Some(frame) = self.outbox.take_frame() {
            let _ = self.device.send_bytes(&frame);
        }
    }

    /// A wait for the host.
    pub(crate) fn pause(&self) -> Pause {
        Pause::new(self.interrupts)
    }

    /// So much output of a sandbox waits that its program should, too.
    pub(crate) fn congested(&self, sandbox: u16) -> bool {
        let (queued, records) = (self.outbox.queued(sandbox), self.outbox.queued_trace(sandbox));
        match self.when_full {
            WhenFull::Slow => queued > CONGESTED,
            WhenFull::Drop => queued.saturating_sub(records) > CONGESTED || records > trace::MOST_WAITING,
        }
    }

    /// Takes a record, or counts it as missing.
    fn record(&mut self, sandbox: u16, record: &trace::Record) {
        let waiting = self.outbox.queued_trace(sandbox);
        let drops = self.when_full == WhenFull::Drop;
        let account = self.account(sandbox);
        account.made();
        if drops && account.drops(record, waiting) {
            return;
        }
        self.settle(sandbox);
        self.tell(sandbox, record);
    }

    /// Tells what is missing.
    fn settle(&mut self, sandbox: u16) {
        if let Some(missing) = self.account(sandbox).settle() {
            self.tell(sandbox, &missing);
        }
    }

    fn tell(&mut self, sandbox: u16, record: &trace::Record) {
        let mut bytes = Vec::new();
        trace::encode(record, &mut bytes);
        self.outbox.push_stream(sandbox, kind::TRACE, &bytes);
        let waiting = self.outbox.queued_trace(sandbox);
        self.account(sandbox).waits(waiting);
    }

    fn account(&mut self, sandbox: u16) -> &mut Account {
        let index = usize::from(sandbox);
        if self.accounts.len() <= index {
            self.accounts.resize_with(index + 1, Account::default);
        }
        &mut self.accounts[index]
    }

    /// Which of `events` are there for a sandbox.
    pub(crate) fn found(&self, sandbox: u16, events: u64) -> u64 {
        let is_owner = sandbox == TERMINAL_OWNER;
        // A read would bring something, or the end.
        let input = !is_owner || !self.input.is_empty() || self.input_ended;
        let window = is_owner && self.window_changed;
        let there = [(wait_events::CONSOLE_INPUT, input), (wait_events::WINDOW, window)];
        there.into_iter().filter(|(_, there)| *there).fold(0, |all, (event, _)| all | event & events)
    }

    /// A policy that the host has sent, and that holds from now on.
    pub(crate) fn take_policy(&mut self) -> Option<Sent> {
        self.sent.take()
    }

    /// Whether the host has answered a question.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// An answer that the host has sent.
    pub(crate) fn take_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// The same for one that waits: a change of the window is there once, and if there is no input, the host is asked for some.
    pub(crate) fn take_found(&mut self, sandbox: u16, events: u64) -> u64 {
        let found = self.found(sandbox, events);
        if found & wait_events::WINDOW != 0 {
            self.window_changed = false;
        }
        if events & !found & wait_events::CONSOLE_INPUT != 0 {
            self.want(DEFAULT_WANT);
        }
        found
    }

    /// A line for the user about a sandbox.
    pub(crate) fn log(&mut self, sandbox: u16, text: &str) {
        self.outbox.push_stream(sandbox, kind::LOG, format!("{text}\n").as_bytes());
    }

    /// Some of the records of what a sandbox changed.
    pub(crate) fn tell_changes(&mut self, sandbox: u16, records: &[u8]) {
        self.outbox.push_stream(sandbox, kind::DIFF, records);
    }

    /// Says that a sandbox runs no more, and why, before all that is still to be told of it.
    pub(crate) fn over(&mut self, sandbox: u16, outcome: &Outcome) {
        if let Ok(payload) = outcome.encode() {
            let _ = self.outbox.push_message(sandbox, kind::OVER, &payload);
        }
    }

    /// Says how a sandbox has ended.
    pub(crate) fn report(&mut self, sandbox: u16, report: &ExitReport) {
        self.settle(sandbox);
        let account = self.account(sandbox);
        let (records, dropped) = account.totals();
        let most_waiting = u64::try_from(account.most_waiting()).unwrap_or(u64::MAX);
        let root_heap_bytes = heap::size();
        let stats = RunStats { records, dropped, most_waiting, root_heap_bytes, ..report.stats.clone() };
        let report = ExitReport { outcome: report.outcome.clone(), stats };
        if let Ok(payload) = report.encode() {
            let _ = self.outbox.push_message(sandbox, kind::EXIT, &payload);
        }
    }

    /// Sends everything that waits, and that it was all, waiting for the host until it has said nothing for so long (in 100 ns).
    pub(crate) fn finish(&mut self, patience: u64, now: impl Fn() -> u64) {
        self.flush(patience, &now);
        let _ = self.outbox.push_message(0, kind::END, &[]);
        self.flush(patience, &now);
    }

    fn flush(&mut self, patience: u64, now: &impl Fn() -> u64) {
        self.poll();
        let mut pause = self.pause();
        let (mut heard, mut since) = (self.heard, now());
        while !self.outbox.is_empty() {
            let left = since.saturating_add(patience).saturating_sub(now());
            if left == 0 {
                return;
            }
            pause.rest(left);
            self.poll();
            if self.heard != heard {
                (heard, since) = (self.heard, now());
            }
        }
    }

    fn take_frame(&mut self) -> bool {
        let frame = match self.inbox.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(_) => {
                self.garbled = true;
                self.input_ended = true;
                return false;
            }
        };
        self.heard = self.heard.wrapping_add(1);
        match (frame.kind, number(&frame.payload)) {
            (kind::STDIN, _) => self.take_input(&frame.payload),
            (kind::STDIN_EOF, _) => self.input_ended = true,
            (kind::POLICY, _) => self.gathered.add(&frame.payload),
            (kind::POLICY_END, Some(generation)) => self.sent = Some(self.gathered.finish(generation)),
            (kind::ANSWER, _) => self.take_answers(&frame.payload),
            (kind::OUTPUT_CREDIT, Some(bytes)) => self.outbox.grant(bytes),
            (kind::TRACE_CREDIT, Some(bytes)) => self.outbox.grant_trace(bytes),
            (kind::WINDOW, Some(size)) => {
                let [low, high, columns_low, columns_high] = size.to_le_bytes();
                self.set_window([u16::from_le_bytes([low, high]), u16::from_le_bytes([columns_low, columns_high])]);
                self.window_changed = true;
            }
            _ => {}
        }
        true
    }

    /// An answer. A host that sends more of them than there are questions is not listened to.
    fn take_answers(&mut self, payload: &[u8]) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.extend(Answer::decode(payload));
        }
    }

    /// Input, no more of it than was asked for.
    fn take_input(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        self.input.extend(bytes.iter().take(room));
        self.wanted = self.wanted.saturating_sub(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }

    fn want(&mut self, bytes: u32) {
        if self.wanted == 0 && !self.input_ended {
            self.wanted = bytes;
            let _ = self.outbox.push_message(TERMINAL_OWNER, kind::STDIN_WANT, &bytes.to_le_bytes());
        }
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_le_bytes)
}

/// The console of one sandbox. Input is the first one's: for the others it has ended.
pub(crate) struct Lane<'l> {
    link: &'l mut HostLink,
    sandbox: u16,
}

impl Console for Lane<'_> {
    fn write(&mut self, stream: Stream, data: &[u8]) {
        let kind = match stream {
            Stream::Output => kind::STDOUT,
            Stream::Error => kind::STDERR,
        };
        self.link.outbox.push_stream(self.sandbox, kind, data);
    }

    fn read(&mut self, buf: &mut [u8]) -> ConsoleRead {
        if self.sandbox != TERMINAL_OWNER {
            return ConsoleRead::EndOfFile;
        }
        let link = &mut *self.link;
        if link.input.is_empty() && !buf.is_empty() {
            if link.input_ended {
                return ConsoleRead::EndOfFile;
            }
            link.want(u32::try_from(buf.len()).unwrap_or(DEFAULT_WANT));
            return ConsoleRead::NothingYet;
        }
        let len = buf.len().min(link.input.len());
        for (slot, byte) in buf.iter_mut().zip(link.input.drain(..len)) {
            *slot = byte;
        }
        ConsoleRead::Bytes(len)
    }

    fn window(&self) -> Option<(u16, u16)> {
        self.link.window.filter(|_| self.sandbox == TERMINAL_OWNER)
    }
}

impl HostConsole for Lane<'_> {
    fn record(&mut self, record: &trace::Record) {
        self.link.record(self.sandbox, record);
    }
}
