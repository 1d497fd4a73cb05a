//! Terminals: the line discipline with what hangs on it, pseudoterminals, and the console as far as it is a terminal.
//!
//! Nothing in here sends a signal or talks to the root. Signals that typing causes wait in the [`Outbox`], and what is to be
//! seen on the console waits in its terminal, until the kernel takes them at the end of the call (`Kernel::settle_terminals`).

pub mod line;
pub mod pty;

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use linux_raw_sys::general as raw;

use super::special::{Caller, Sink, Special, Supply, ready};
use crate::abi::{Termios, Winsize, mode};
use crate::errno::Errno;
use crate::signal::Signal;
use crate::wait::{Channel, Hub};
use line::{Line, Patience};

/// Bytes that were written and not taken yet, at most.
const OUTPUT: usize = 16 << 10;
/// What echo may add to that before it is lost.
const ECHO: usize = 4 << 10;
/// Bytes that are looked at in one go.
const PIECE: usize = 256;
/// Pseudoterminals at a time (Linux' default).
const MAX_TERMINALS: usize = 4096;

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process group.
    Group(u32),
    /// A process.
    Process(u32),
}

/// Signals that terminals have caused.
pub type Outbox = Rc<RefCell<Vec<(Target, Signal)>>>;

/// A terminal: both sides of it.
pub struct Terminal {
    line: RefCell<Line>,
    /// What is to be seen and has not been taken by the other side.
    shown: RefCell<VecDeque<u8>>,
    window: Cell<Option<Winsize>>,
    session: Cell<u32>,
    foreground: Cell<u32>,
    /// Woken for those who use the terminal.
    channel: Channel,
    /// Woken for the other side: the master of a pseudoterminal.
    other: Channel,
    /// Open files of the terminal's own side; `None`: it was never opened.
    users: Cell<Option<u32>>,
    hung_up: Cell<bool>,
    ended: Cell<bool>,
    locked: Cell<bool>,
    exclusive: Cell<bool>,
    /// TIOCPKT, and what there is to tell.
    packets: Cell<bool>,
    news: Cell<u8>,
    /// N in `/dev/pts/N`; `None`: the console.
    number: Option<u32>,
    owner: (u32, u32),
    outbox: Outbox,
}

impl Terminal {
    fn new(hub: &Hub, outbox: &Outbox, number: Option<u32>, owner: (u32, u32)) -> Rc<Self> {
        Rc::new(Self {
            line: RefCell::default(),
            shown: RefCell::default(),
            window: Cell::new(number.map(|_| Winsize::default())),
            session: Cell::new(0),
            foreground: Cell::new(0),
            channel: hub.channel(),
            other: hub.channel(),
            users: Cell::new(None),
            hung_up: Cell::new(false),
            ended: Cell::new(false),
            locked: Cell::new(number.is_some()),
            exclusive: Cell::new(false),
            packets: Cell::new(false),
            news: Cell::new(0),
            number,
            owner,
            outbox: Rc::clone(outbox),
        })
    }

    /// N in `/dev/pts/N`; `None`: the console.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.number
    }

    /// User and group of its node.
    #[must_use]
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// The session that it controls, or 0.
    #[must_use]
    pub fn session(&self) -> u32 {
        self.session.get()
    }

    /// It controls this session from now on, with this group in the foreground.
    pub fn control(&self, session: u32, group: u32) {
        self.session.set(session);
        self.foreground.set(group);
    }

    /// The group in the foreground, or 0.
    #[must_use]
    pub fn foreground(&self) -> u32 {
        self.foreground.get()
    }

    /// Its settings.
    #[must_use]
    pub fn termios(&self) -> Termios {
        self.line.borrow().termios()
    }

    /// Changes its settings.
    pub fn set_termios(&self, termios: Termios) {
        self.line.borrow_mut().set(termios);
        self.channel.wake();
        self.other.wake_for(ready::OUT);
    }

    /// Its window, if somebody has said how large it is.
    #[must_use]
    pub fn window(&self) -> Option<Winsize> {
        self.window.get()
    }

    /// Changes its window: the foreground hears of it.
    pub fn set_window(&self, window: Winsize) {
        if self.window.replace(Some(window)) != Some(window) {
            self.signal_foreground(Signal(raw::SIGWINCH));
        }
    }

    /// The host's window is what counts, and it has another size.
    pub fn forget_window(&self) {
        self.window.set(None);
        self.signal_foreground(Signal(raw::SIGWINCH));
    }

    /// The foreground group gets a signal.
    pub fn signal_foreground(&self, signal: Signal) {
        let post = (Target::Group(self.foreground.get()), signal);
        let mut outbox = self.outbox.borrow_mut();
        // The same signal twice is one.
        if self.foreground.get() != 0 && !outbox.contains(&post) {
            outbox.push(post);
        }
    }

    /// Throws away what was typed and not read (TCIFLUSH).
    pub fn flush_input(&self) {
        self.line.borrow_mut().flush_input();
        self.tell(raw::TIOCPKT_FLUSHREAD);
        self.other.wake_for(ready::OUT);
    }

    /// Throws away what was written and not taken (TCOFLUSH).
    pub fn flush_output(&self) {
        self.shown.borrow_mut().clear();
        self.tell(raw::TIOCPKT_FLUSHWRITE);
        self.channel.wake_for(ready::OUT);
    }

    /// Holds output back, or lets it go on.
    pub fn stop(&self, stopped: bool) {
        if self.line.borrow().is_stopped() != stopped {
            self.line.borrow_mut().stop(stopped);
            self.tell(if stopped { raw::TIOCPKT_STOP } else { raw::TIOCPKT_START });
            self.channel.wake_for(ready::OUT);
        }
    }

    /// A master in packet mode hears of it.
    fn tell(&self, news: u32) {
        if self.packets.get() {
            let [news, ..] = news.to_le_bytes();
            self.news.set(self.news.get() | news);
            self.other.wake_for(ready::PRI | ready::IN);
        }
    }

    /// Only root may open it once more (TIOCEXCL).
    pub fn set_exclusive(&self, exclusive: bool) {
        self.exclusive.set(exclusive);
    }

    /// Only root may open it once more.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive.get()
    }

    /// Nobody types any more, and nobody looks.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.hung_up.get()
    }

    /// The line goes: whoever uses the terminal finds its end, and its session hears of it.
    pub fn hang_up(&self) {
        self.hung_up.set(true);
        let leader = Target::Process(self.session.get());
        let foreground = Target::Group(self.foreground.get());
        let mut outbox = self.outbox.borrow_mut();
        if self.session.get() != 0 {
            outbox.extend([(leader, Signal(raw::SIGHUP)), (leader, Signal(raw::SIGCONT))]);
        }
        if self.foreground.get() != 0 && foreground != Target::Group(self.session.get()) {
            outbox.extend([(foreground, Signal(raw::SIGHUP)), (foreground, Signal(raw::SIGCONT))]);
        }
        self.control(0, 0);
        self.line.borrow_mut().flush_input();
        self.channel.wake();
    }

    /// The leader of its session has ended: the session has no terminal any more, and the foreground hears of it.
    pub fn leader_ended(&self) {
        self.signal_foreground(Signal(raw::SIGHUP));
        self.signal_foreground(Signal(raw::SIGCONT));
        self.control(0, 0);
    }

    /// More can be typed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// How many bytes can be typed for certain.
    #[must_use]
    pub fn room(&self) -> usize {
        self.line.borrow().room()
    }

    /// Nothing more will be typed.
    pub fn end_input(&self) {
        self.ended.set(true);
        self.channel.wake();
    }

    /// Nothing more will be typed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Output is held back.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.line.borrow().is_stopped()
    }

    /// Sends one of the terminal's control characters to the other side.
    pub fn send_key(&self, which: u32) {
        let key = self.line.borrow().key(which);
        if key != 0 && self.shown.borrow().len() < OUTPUT {
            self.shown.borrow_mut().push_back(key);
            self.other.wake_for(ready::IN);
        }
    }

    /// Takes bytes that were typed at reference time `now`, as many as go in; how many.
    pub fn type_in(&self, bytes: &[u8], now: u64) -> usize {
        let mut done = 0;
        for &byte in bytes {
            if !self.has_room() {
                break;
            }
            self.type_byte(byte, now);
            done += 1;
        }
        if self.line.borrow().is_readable() {
            self.channel.wake_for(ready::IN);
        }
        self.other.wake_for(ready::IN);
        done
    }

    fn type_byte(&self, byte: u8, now: u64) {
        let mut shown = self.shown.borrow_mut();
        let full = shown.len() >= OUTPUT + ECHO;
        let mut lost = VecDeque::new();
        let was_stopped = self.line.borrow().is_stopped();
        let typed = self.line.borrow_mut().receive(byte, now, if full { &mut lost } else { &mut shown });
        drop(shown);
        if typed.flushed {
            self.tell(raw::TIOCPKT_FLUSHREAD | raw::TIOCPKT_FLUSHWRITE);
        }
        if let Some(signal) = typed.signal {
            self.signal_foreground(signal);
        }
        let is_stopped = self.line.borrow().is_stopped();
        if typed.flushed || is_stopped != was_stopped {
            self.channel.wake_for(ready::OUT);
        }
        if is_stopped != was_stopped {
            self.tell(if is_stopped { raw::TIOCPKT_STOP } else { raw::TIOCPKT_START });
        }
    }

    /// Takes up to `most` bytes of what is to be seen.
    pub fn take_shown(&self, most: usize) -> Vec<u8> {
        let mut shown = self.shown.borrow_mut();
        let count = shown.len().min(most);
        let taken = shown.drain(..count).collect();
        drop(shown);
        self.channel.wake_for(ready::OUT);
        taken
    }

    /// Bytes that wait to be seen (TIOCOUTQ).
    #[must_use]
    pub fn shown_bytes(&self) -> usize {
        self.shown.borrow().len()
    }

    /// Reads what was typed, as a user of the terminal.
    ///
    /// # Errors
    /// EAGAIN.
    fn read(&self, now: u64, out: &mut dyn Sink) -> Result<usize, Errno> {
        if self.hung_up.get() || out.room() == 0 {
            return Ok(0);
        }
        let Some(done) = self.line.borrow_mut().read(now, out) else {
            return if self.ended.get() { Ok(0) } else { Err(Errno::EAGAIN) };
        };
        self.other.wake_for(ready::OUT);
        Ok(done)
    }

    /// Shows bytes, as a user of the terminal.
    ///
    /// # Errors
    /// EAGAIN, EIO.
    fn write(&self, data: &mut dyn Supply) -> Result<usize, Errno> {
        if self.hung_up.get() {
            return Err(Errno::EIO);
        }
        let mut line = self.line.borrow_mut();
        let mut shown = self.shown.borrow_mut();
        if line.is_stopped() || (shown.len() >= OUTPUT && data.left() > 0) {
            return Err(Errno::EAGAIN);
        }
        let mut done = 0;
        while shown.len() < OUTPUT {
            let run = data.next(PIECE);
            if run.is_empty() {
                break;
            }
            // A byte becomes eight at most (a tab).
            shown.try_reserve(run.len().saturating_mul(8)).map_err(|_| Errno::ENOMEM)?;
            for &byte in run {
                line.show(byte, &mut shown);
            }
            done += run.len();
        }
        drop((line, shown));
        self.other.wake_for(ready::IN);
        Ok(done)
    }

    /// What its users can do.
    fn poll(&self) -> i16 {
        if self.hung_up.get() {
            return ready::IN | ready::OUT | ready::ERR | ready::HUP;
        }
        let line = self.line.borrow();
        let readable = if line.is_readable() || self.ended.get() { ready::IN } else { 0 };
        let writable = !line.is_stopped() && self.shown.borrow().len() < OUTPUT;
        readable | if writable { ready::OUT } else { 0 }
    }

    /// Bytes that its users could read now (FIONREAD).
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.line.borrow().readable_bytes()
    }

    fn patience(&self) -> Patience {
        self.line.borrow().patience()
    }

    /// A user comes or goes.
    fn count_users(&self, comes: bool) {
        let before = self.users.get().unwrap_or(0);
        self.users.set(Some(if comes { before.saturating_add(1) } else { before.saturating_sub(1) }));
        self.other.wake();
    }

    /// It was opened, and nobody has it open any more.
    fn is_left(&self) -> bool {
        self.users.get() == Some(0)
    }
}

/// Which side of a terminal an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that programs use as their terminal.
    User,
    /// The one that types and looks: the master of a pseudoterminal.
    Master,
}

/// A user's open file of a terminal.
pub struct User {
    terminal: Rc<Terminal>,
    /// The console stream that output goes to.
    stream: u32,
}

impl User {
    /// Opens the terminal's own side. `stream`: where output goes, if it is the console.
    #[must_use]
    pub fn open(terminal: &Rc<Terminal>, stream: u32) -> Self {
        terminal.count_users(true);
        Self { terminal: Rc::clone(terminal), stream }
    }

    /// The terminal.
    #[must_use]
    pub fn terminal(&self) -> &Rc<Terminal> {
        &self.terminal
    }

    /// The console stream that output goes to.
    #[must_use]
    pub fn stream(&self) -> u32 {
        self.stream
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.terminal.count_users(false);
    }
}

impl Special for User {
    fn read(&self, caller: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        self.terminal.read(caller.now, out)
    }

    fn write(&self, _: &Caller, data: &mut dyn Supply) -> Result<usize, Errno> {
        self.terminal.write(data)
    }

    fn poll(&self, _: &Caller) -> i16 {
        self.terminal.poll()
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.terminal.channel.clone());
    }

    fn deadline(&self) -> u64 {
        match self.terminal.patience() {
            Patience::At(time) if !self.terminal.is_hung_up() => time,
            _ => u64::MAX,
        }
    }

    fn patience(&self) -> Option<u64> {
        match self.terminal.patience() {
            Patience::Call(ns) => Some(ns),
            _ => None,
        }
    }

    fn mode(&self) -> u32 {
        mode::S_IFCHR | 0o620
    }

    fn inode(&self) -> u64 {
        u64::from(self.terminal.number.unwrap_or(0)) + 3
    }

    fn link(&self) -> Vec<u8> {
        match self.terminal.number {
            Some(number) => alloc::format!("/dev/pts/{number}").into_bytes(),
            None => b"/dev/console".into(),
        }
    }

    fn readable_bytes(&self) -> Option<usize> {
        Some(self.terminal.readable_bytes())
    }

    fn terminal(&self) -> Option<(&Rc<Terminal>, Side)> {
        Some((&self.terminal, Side::User))
    }

    fn signals(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// All terminals of a sandbox.
pub struct Terminals {
    /// Pseudoterminals by number.
    numbered: Vec<Weak<Terminal>>,
    console: Option<Rc<Terminal>>,
    outbox: Outbox,
    hub: Hub,
}

impl Terminals {
    /// None yet.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        Self { numbered: Vec::new(), console: None, outbox: Outbox::default(), hub: hub.clone() }
    }

    /// The console is a terminal, and controls `session`.
    pub fn open_console(&mut self, session: u32) -> &Rc<Terminal> {
        let (hub, outbox) = (&self.hub, &self.outbox);
        self.console.get_or_insert_with(|| {
            let terminal = Terminal::new(hub, outbox, None, (0, 0));
            terminal.control(session, session);
            terminal
        })
    }

    /// The console, if it is a terminal.
    #[must_use]
    pub fn console(&self) -> Option<&Rc<Terminal>> {
        self.console.as_ref()
    }

    /// A new pseudoterminal with the lowest free number.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn make(&mut self, owner: (u32, u32)) -> Result<Rc<Terminal>, Errno> {
        let free = self.numbered.iter().position(|known| known.strong_count() == 0);
        let slot = free.unwrap_or(self.numbered.len());
        let number = u32::try_from(slot).ok().filter(|_| slot < MAX_TERMINALS).ok_or(Errno::ENOSPC)?;
        let terminal = Terminal::new(&self.hub, &self.outbox, Some(number), owner);
        match self.numbered.get_mut(slot) {
            Some(place) => *place = Rc::downgrade(&terminal),
            None => self.numbered.push(Rc::downgrade(&terminal)),
        }
        Ok(terminal)
    }

    /// The pseudoterminal with this number, while its master is open.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<Rc<Terminal>> {
        let slot = usize::try_from(number).ok()?;
        self.numbered.get(slot).and_then(Weak::upgrade).filter(|terminal| !terminal.is_hung_up())
    }

    /// The numbers in use.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.numbered).map(|(number, _)| number).filter(|&number| self.find(number).is_some())
    }

    /// The terminal that controls a session.
    #[must_use]
    pub fn controlling(&self, session: u32) -> Option<Rc<Terminal>> {
        let numbered = self.numbered.iter().filter_map(Weak::upgrade);
        let mut all = self.console.iter().cloned().chain(numbered);
        all.find(|terminal| session != 0 && terminal.session() == session)
    }

    /// The signals that terminals have caused since the last time.
    #[must_use]
    pub fn take_signals(&self) -> Vec<(Target, Signal)> {
        core::mem::take(&mut *self.outbox.borrow_mut())
    }

    /// There are such signals.
    #[must_use]
    pub fn has_signals(&self) -> bool {
        !self.outbox.borrow().is_empty()
    }
}
