//! ioctl: terminals, and the few requests that every descriptor has. Job control: who may read, write and change a terminal.

use alloc::rc::Rc;

use linux_raw_sys::general::{self, TOSTOP};
use linux_raw_sys::ioctl as raw;
use proto::op::{self, ConsoleIo, Count, WindowSize, wait_events};
use proto::{Segment, boot_flags};

use super::Args;
use crate::abi::{Termios, Termios2, Winsize};
use crate::errno::{Errno, Outcome, Stop};
use crate::fs::dentry::{Dentry, Node, Place};
use crate::fs::dev::{self, Device};
use crate::fs::file::{FileKind, OpenFile};
use crate::fs::special::Special;
use crate::fs::terminal::pty::Master;
use crate::fs::terminal::{Side, Target, Terminal, User};
use crate::kernel::Kernel;
use crate::net::socket::Socket;
use crate::num::{index, len32};
use crate::platform::{PAGE_SIZE, Platform};
use crate::signal::{Info, SIG_IGN, Signal};
use crate::wait::Wait;

/// What TCGETS2 says of the speed, which no terminal here has.
const SPEED: u32 = 38400;

pub(super) fn ioctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, request, argument) = (args.int(0), args.uint(1), args.get(2));
    let file = kernel.file(fd)?;
    match request {
        _ if matches!(file.kind, FileKind::Path) => return Err(Errno::EBADF.into()),
        raw::FIOCLEX | raw::FIONCLEX => {
            kernel.task.files.borrow_mut().get_mut(fd)?.close_on_exec = request == raw::FIOCLEX;
            return Ok(0);
        }
        raw::FIONBIO => {
            let on: i32 = kernel.get(argument)?;
            let flag = general::O_NONBLOCK;
            file.set_status(if on != 0 { file.status() | flag } else { file.status() & !flag });
            return Ok(0);
        }
        raw::FIOASYNC => {
            let on: i32 = kernel.get(argument)?;
            let turned = super::asynchronous::turn(kernel, &file, fd, on != 0);
            return if turned || on == 0 { Ok(0) } else { Err(Errno::ENOTTY.into()) };
        }
        _ => {}
    }
    match &file.kind {
        FileKind::Regular { inode, .. } if request == raw::FIONREAD => {
            let size = kernel.file_attributes(inode)?.size;
            put_count(kernel, argument, size.saturating_sub(file.offset()))
        }
        FileKind::Special(special) if request == raw::FIONREAD => {
            if let Some((terminal, Side::User)) = special.terminal() {
                kernel.hear_console(terminal);
            }
            let bytes = special.readable_bytes().ok_or(Errno::ENOTTY)?;
            put_count(kernel, argument, bytes as u64)
        }
        FileKind::Special(special) => match special.terminal() {
            Some((terminal, Side::Master)) => master(kernel, special, terminal, request, argument),
            Some((terminal, Side::User)) => user(kernel, &file, terminal, request, argument),
            None if special.as_any().is::<Socket>() => super::interface::ioctl(kernel, request, argument),
            None => Err(Errno::ENOTTY.into()),
        },
        FileKind::Console(_) if request == raw::FIONREAD => Err(Stop::NotImplemented),
        _ => Err(Errno::ENOTTY.into()),
    }
}

fn put_count<P: Platform>(kernel: &mut Kernel<P>, at: u64, count: u64) -> Outcome {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    kernel.put(at, &count)?;
    Ok(0)
}

/// What only a master is asked.
fn master<P: Platform>(
    kernel: &mut Kernel<P>,
    special: &Rc<dyn Special>,
    terminal: &Rc<Terminal>,
    request: u32,
    argument: u64,
) -> Outcome {
    let master: &Master = special.as_any().downcast_ref().ok_or(Errno::ENOTTY)?;
    match request {
        raw::TIOCGPTN => {
            let number = terminal.number().ok_or(Errno::ENOTTY)?;
            kernel.put(argument, &number)?;
        }
        raw::TIOCSPTLCK => master.lock(kernel.get::<i32>(argument)? != 0),
        raw::TIOCGPTLCK => kernel.put(argument, &i32::from(terminal.is_locked()))?,
        raw::TIOCPKT => master.set_packets(kernel.get::<i32>(argument)? != 0),
        raw::TIOCGPKT => kernel.put(argument, &i32::from(master.packets()))?,
        raw::TIOCGPTPEER => return open_peer(kernel, terminal, crate::num::low32(argument)),
        raw::TIOCSIG => {
            let signal = crate::kernel::int(argument);
            let allowed = [general::SIGINT, general::SIGQUIT, general::SIGTSTP].map(Signal);
            let signal = Signal::new(signal).filter(|signal| allowed.contains(signal)).ok_or(Errno::EINVAL)?;
            terminal.signal_foreground(signal);
        }
        raw::TIOCGPGRP => kernel.put(argument, &terminal.foreground())?,
        raw::TIOCGSID if terminal.session() != 0 => kernel.put(argument, &terminal.session())?,
        raw::TIOCGSID | raw::TIOCSCTTY | raw::TIOCNOTTY | raw::TIOCSPGRP => return Err(Errno::ENOTTY.into()),
        _ => return either_side(kernel, terminal, request, argument),
    }
    Ok(0)
}

/// TIOCGPTPEER: the other side, whatever its name leads to now.
fn open_peer<P: Platform>(kernel: &mut Kernel<P>, terminal: &Rc<Terminal>, flags: u32) -> Outcome {
    let place = kernel.terminal_place(terminal);
    let file = kernel.open_terminal(terminal, place, flags)?;
    kernel.install(file, flags & general::O_CLOEXEC != 0)
}

/// What a user of the terminal asks.
fn user<P: Platform>(
    kernel: &mut Kernel<P>,
    file: &OpenFile,
    terminal: &Rc<Terminal>,
    request: u32,
    argument: u64,
) -> Outcome {
    if terminal.is_hung_up() {
        return Err(Errno::EIO.into());
    }
    let changes = [raw::TCSETS, raw::TCSETSW, raw::TCSETSF, raw::TCSETS2, raw::TCSETSW2, raw::TCSETSF2]
        .contains(&request)
        || [raw::TCSBRK, raw::TCSBRKP, raw::TCXONC, raw::TCFLSH, raw::TIOCSPGRP].contains(&request);
    if changes {
        let checked = kernel.check_background(terminal, Signal(general::SIGTTOU));
        let orphan = request == raw::TIOCSPGRP && checked == Err(Errno::EIO.into());
        if orphan { Err(Errno::ENOTTY.into()) } else { checked }?;
    }
    let controls = kernel.own_terminal().is_some_and(|own| Rc::ptr_eq(&own, terminal));
    match request {
        raw::TIOCGPGRP | raw::TIOCSPGRP | raw::TIOCGSID | raw::TIOCNOTTY if !controls => {
            return Err(Errno::ENOTTY.into());
        }
        raw::TIOCGPGRP => kernel.put(argument, &terminal.foreground())?,
        raw::TIOCGSID => kernel.put(argument, &terminal.session())?,
        raw::TIOCSPGRP => {
            let group: i32 = kernel.get(argument)?;
            let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
            match kernel.session_of_group(group) {
                None => return Err(Errno::ESRCH.into()),
                Some(session) if session != terminal.session() => return Err(Errno::EPERM.into()),
                Some(session) => terminal.control(session, group),
            }
        }
        raw::TIOCSCTTY => kernel.take_terminal(file, terminal, argument == 1)?,
        raw::TIOCNOTTY if kernel.leads_session() => terminal.leader_ended(),
        raw::TIOCNOTTY => kernel.task.process.borrow_mut().without_terminal = true,
        raw::TIOCEXCL | raw::TIOCNXCL => terminal.set_exclusive(request == raw::TIOCEXCL),
        raw::TIOCGEXCL => kernel.put(argument, &i32::from(terminal.is_exclusive()))?,
        _ => return either_side(kernel, terminal, request, argument),
    }
    Ok(0)
}

/// What both sides are asked.
fn either_side<P: Platform>(kernel: &mut Kernel<P>, terminal: &Rc<Terminal>, request: u32, argument: u64) -> Outcome {
    match request {
        raw::TCGETS => kernel.put(argument, &terminal.termios())?,
        raw::TCGETS2 => {
            let settings = Termios2 { termios: terminal.termios(), c_ispeed: SPEED, c_ospeed: SPEED };
            kernel.put(argument, &settings)?;
        }
        raw::TCSETS | raw::TCSETSW | raw::TCSETSF => {
            let settings: Termios = kernel.get(argument)?;
            change(kernel, terminal, settings, request == raw::TCSETSF);
        }
        raw::TCSETS2 | raw::TCSETSW2 | raw::TCSETSF2 => {
            let settings: Termios2 = kernel.get(argument)?;
            change(kernel, terminal, settings.termios, request == raw::TCSETSF2);
        }
        raw::TCFLSH => {
            let which = crate::num::low32(argument);
            if which > general::TCIOFLUSH {
                return Err(Errno::EINVAL.into());
            }
            if which != general::TCOFLUSH {
                kernel.hear_console(terminal);
                terminal.flush_input();
            }
            if which != general::TCIFLUSH {
                terminal.flush_output();
            }
        }
        raw::TCXONC => match crate::num::low32(argument) {
            general::TCOOFF => terminal.stop(true),
            general::TCOON => terminal.stop(false),
            general::TCIOFF => terminal.send_key(general::VSTOP),
            general::TCION => terminal.send_key(general::VSTART),
            _ => return Err(Errno::EINVAL.into()),
        },
        raw::TCSBRK | raw::TCSBRKP => {}
        raw::TIOCOUTQ => return put_count(kernel, argument, terminal.shown_bytes() as u64),
        raw::TIOCGWINSZ => {
            let window = kernel.window(terminal)?;
            kernel.put(argument, &window)?;
        }
        raw::TIOCSWINSZ => terminal.set_window(kernel.get(argument)?),
        raw::TIOCSTI => return Err(Errno::EIO.into()),
        raw::TIOCGETD => kernel.put(argument, &0_i32)?,
        raw::TIOCSETD if kernel.get::<i32>(argument)? == 0 => {}
        raw::TIOCSETD => return Err(Errno::EINVAL.into()),
        _ => return Err(Errno::ENOTTY.into()),
    }
    Ok(0)
}

fn change<P: Platform>(kernel: &mut Kernel<P>, terminal: &Rc<Terminal>, settings: Termios, flush: bool) {
    // What was typed before is taken by the rules that held then.
    kernel.hear_console(terminal);
    if flush {
        terminal.flush_input();
    }
    terminal.set_termios(settings);
}

impl<P: Platform> Kernel<P> {
    /// The session of the present process.
    fn session(&self) -> u32 {
        self.task.process.borrow().session
    }

    fn leads_session(&self) -> bool {
        let process = self.task.process.borrow();
        process.pid == process.session
    }

    /// The session that a process group belongs to, or, like Linux, the process with that id; `None`: there is neither.
    fn session_of_group(&self, group: u32) -> Option<u32> {
        let mut members = self.processes.values().map(|process| process.borrow());
        let member = members.find(|process| process.group == group).map(|process| process.session);
        member.or_else(|| self.process(group).map(|process| process.borrow().session))
    }

    /// The leader of a session has ended, or gives the terminal up.
    pub(crate) fn leave_terminal(&mut self, session: u32) {
        if let Some(terminal) = self.terminals.controlling(session) {
            terminal.leader_ended();
        }
    }

    /// Does the present task block or ignore it?
    fn is_unheard(&self, signal: Signal) -> bool {
        self.task.blocked & signal.bit() != 0 || self.handler(self.task.tid, signal) == SIG_IGN
    }

    /// Job control: may the present process use its terminal in the way that `signal` stands for?
    ///
    /// # Errors
    /// EIO; or it waits, and its group has been sent the signal.
    pub(super) fn check_background(&mut self, terminal: &Terminal, signal: Signal) -> Result<(), Stop> {
        let (session, group) = {
            let process = self.task.process.borrow();
            (if process.without_terminal { 0 } else { process.session }, process.group)
        };
        let foreground = terminal.foreground();
        if terminal.session() != session || session == 0 || foreground == 0 || foreground == group {
            return Ok(());
        }
        if self.is_unheard(signal) {
            return if signal.0 == general::SIGTTIN { Err(Errno::EIO.into()) } else { Ok(()) };
        }
        if self.is_orphaned(group) {
            return Err(Errno::EIO.into());
        }
        self.signal_group(group, signal);
        // Made again once the signal has been dealt with.
        Err(Stop::Block(Wait::until(0)))
    }

    /// What a read or a write of `special` has to ask first, if it is a terminal.
    ///
    /// # Errors
    /// As for [`Kernel::check_background`].
    pub(super) fn before_terminal(&mut self, special: &dyn Special, reads: bool) -> Result<(), Stop> {
        let Some((terminal, Side::User)) = special.terminal() else { return Ok(()) };
        if terminal.is_hung_up() {
            return Ok(());
        }
        if reads {
            self.check_background(terminal, Signal(general::SIGTTIN))?;
        } else if terminal.termios().c_lflag & TOSTOP != 0 {
            self.check_background(terminal, Signal(general::SIGTTOU))?;
        }
        if reads || terminal.is_stopped() {
            self.hear_console(terminal);
        }
        Ok(())
    }

    /// What was written to the console goes out.
    pub(super) fn after_terminal(&mut self, special: &dyn Special) {
        if let Some(user) = special.as_any().downcast_ref::<User>()
            && user.terminal().number().is_none()
        {
            self.show_console(user.stream());
        }
    }

    /// The window of a terminal; that of the console is the host's, unless the program has said otherwise.
    fn window(&mut self, terminal: &Terminal) -> Result<Winsize, Errno> {
        if let Some(window) = terminal.window() {
            return Ok(window);
        }
        let size: WindowSize = match self.fuse.own(&mut self.platform, op::WINDOW_SIZE, &(), &[]) {
            // A terminal of unknown size.
            Err(Errno::ENOTTY) => WindowSize::default(),
            size => size?,
        };
        Ok(Winsize { ws_row: size.rows, ws_col: size.columns, ..Default::default() })
    }

    /// TIOCSCTTY: the terminal becomes that of the present session.
    fn take_terminal(&mut self, file: &OpenFile, terminal: &Terminal, steal: bool) -> Result<(), Errno> {
        let session = self.session();
        if self.leads_session() && terminal.session() == session {
            return Ok(());
        }
        let privileged = self.task.process.borrow().uid[1] == 0;
        let has_one = self.terminals.controlling(session).is_some();
        let taken = terminal.session() != 0 && !(steal && privileged);
        if !self.leads_session() || has_one || taken || !(file.readable() || privileged) {
            return Err(Errno::EPERM);
        }
        let group = self.task.process.borrow().group;
        terminal.control(session, group);
        Ok(())
    }

    /// Opens `/dev/ptmx`.
    pub(super) fn open_master(&mut self, place: Place, status: u32) -> Result<Rc<OpenFile>, Errno> {
        let owner = {
            let process = self.task.process.borrow();
            (process.uid[1], dev::TTY_GROUP)
        };
        let master = Master::new(self.terminals.make(owner)?);
        let kind = FileKind::Special(Rc::new(master));
        Ok(OpenFile::new(kind, Some(place), status, self.fuse.leftovers()))
    }

    /// Opens a terminal for a user; it may become the terminal of the session by that.
    pub(super) fn open_terminal(
        &mut self,
        terminal: &Rc<Terminal>,
        place: Place,
        flags: u32,
    ) -> Result<Rc<OpenFile>, Errno> {
        if terminal.is_hung_up() {
            return Err(Errno::EIO);
        }
        if terminal.is_exclusive() && self.task.process.borrow().uid[1] != 0 {
            return Err(Errno::EBUSY);
        }
        let user = User::open(terminal, self.terminal_stream());
        let kind = FileKind::Special(Rc::new(user));
        let status = flags & !(general::O_NOCTTY | general::O_CLOEXEC);
        let file = OpenFile::new(kind, Some(place), status, self.fuse.leftovers());
        if flags & general::O_NOCTTY == 0 && file.readable() && terminal.session() == 0 {
            // It stays without one when it may not.
            let _ = self.take_terminal(&file, terminal, false);
        }
        Ok(file)
    }

    /// Where a terminal stands in `/dev`.
    pub(crate) fn terminal_place(&self, terminal: &Terminal) -> Place {
        let [(_, devices), ..] = &self.mounts;
        match terminal.number() {
            None => Dentry::new(Some(Rc::clone(devices)), b"console", Node::Device(Device::Console)),
            Some(number) => {
                let directory = Dentry::new(Some(Rc::clone(devices)), b"pts", Node::Device(Device::Terminals));
                let name = alloc::format!("{number}");
                Dentry::new(Some(directory), name.as_bytes(), Node::Device(Device::Terminal(number)))
            }
        }
    }

    /// The terminal of the present session: what `/dev/tty` is.
    pub(super) fn own_terminal(&self) -> Option<Rc<Terminal>> {
        let given_up = self.task.process.borrow().without_terminal;
        if given_up { None } else { self.terminals.controlling(self.session()) }
    }

    /// The console stream that the console's terminal shows its output on; 0: none is a terminal.
    pub(crate) fn terminal_stream(&self) -> u32 {
        (1..=2).find(|&stream| self.is_terminal(stream)).unwrap_or(0)
    }

    /// What ends a wait so that the console's terminal is heard: typing may be for somebody else than who waits.
    pub(crate) fn console_events(&self) -> u64 {
        let Some(console) = self.terminals.console() else { return 0 };
        let heard = self.flags & boot_flags::STDIN_TTY != 0 && console.has_room() && !console.has_ended();
        wait_events::WINDOW | if heard { wait_events::CONSOLE_INPUT } else { 0 }
    }

    /// Takes what was typed on the console, if `terminal` is that.
    pub(crate) fn hear_console(&mut self, terminal: &Rc<Terminal>) {
        if terminal.number().is_some() {
            return;
        }
        let Ok(frame) = self.frames.take(&mut self.platform) else { return };
        while self.console_events() & wait_events::CONSOLE_INPUT != 0 {
            let len = terminal.room().min(PAGE_SIZE);
            let segment = Segment { gpa: frame, len: len32(len), reserved: 0 };
            let args = ConsoleIo { stream: 0, reserved: 0 };
            let read = self.fuse.own(&mut self.platform, op::CONSOLE_READ, &args, &[segment]);
            match read {
                Ok(Count { bytes: 0 }) => terminal.end_input(),
                Ok(Count { bytes }) => {
                    let now = self.platform.reference_time();
                    let typed = self.platform.frame(frame).get(..index(bytes).min(len)).unwrap_or(&[]);
                    terminal.type_in(typed, now);
                }
                Err(_) => break,
            }
        }
        self.frames.give(&mut self.platform, frame);
        self.show_console(self.terminal_stream());
    }

    /// Sends what is to be seen on the console.
    fn show_console(&mut self, stream: u32) {
        let Some(console) = self.terminals.console().filter(|console| console.shown_bytes() > 0).cloned() else {
            return;
        };
        if stream == 0 {
            // Nobody looks.
            console.take_shown(usize::MAX);
            return;
        }
        let Ok(frame) = self.frames.take(&mut self.platform) else { return };
        let args = ConsoleIo { stream, reserved: 0 };
        loop {
            let bytes = console.take_shown(PAGE_SIZE);
            if bytes.is_empty() {
                break;
            }
            if let Some(place) = self.platform.frame_mut(frame).get_mut(..bytes.len()) {
                place.copy_from_slice(&bytes);
            }
            self.send(frame, len32(bytes.len()), &args);
        }
        self.frames.give(&mut self.platform, frame);
    }

    /// Writes a part of a frame to the console. What it refuses is lost: whoever wrote it has gone on.
    fn send(&mut self, frame: u64, len: u32, args: &ConsoleIo) {
        let mut done = 0;
        while done < len {
            let segment = Segment { gpa: frame + u64::from(done), len: len - done, reserved: 0 };
            match self.fuse.own(&mut self.platform, op::CONSOLE_WRITE, args, &[segment]) {
                Ok(Count { bytes }) if bytes > 0 => done += len32(index(bytes)),
                _ => break,
            }
        }
    }

    /// What terminals have left to do at the end of a call: output, and signals.
    pub(crate) fn settle_terminals(&mut self) {
        self.show_console(self.terminal_stream());
        while self.terminals.has_signals() {
            for (target, signal) in self.terminals.take_signals() {
                match target {
                    Target::Group(group) => self.signal_group(group, signal),
                    // Who has ended needs no signal.
                    Target::Process(pid) => drop(self.signal_process(pid, Info::kernel(signal))),
                }
            }
        }
    }

    /// Asks whether there is something on the console, whoever it is for: it may be a signal.
    pub(crate) fn listen(&mut self) {
        let events = self.console_events();
        if events != 0 {
            let found = self.fuse.wait(&mut self.platform, 0, events);
            self.attend_console(found);
        }
    }

    /// These events were found: what was typed is taken, and a new size is told.
    pub(crate) fn attend_console(&mut self, found: u64) {
        let Some(console) = self.terminals.console().cloned() else { return };
        if found & wait_events::WINDOW != 0 {
            console.forget_window();
        }
        if found & wait_events::CONSOLE_INPUT != 0 {
            self.hear_console(&console);
        }
        self.settle_terminals();
    }
}
