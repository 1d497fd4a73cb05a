//! The line discipline: what becomes of the bytes between a terminal and the programs that use it.
//!
//! It knows nothing of files or tasks: bytes typed go in, and what comes out is input for a reader, bytes to show, and
//! signals. The rules are those of Linux' N_TTY.

use alloc::collections::VecDeque;

use linux_raw_sys::general as raw;

use crate::abi::Termios;
use crate::fs::special::Sink;
use crate::signal::Signal;
use crate::time::{SECOND_NS, TICK_NS};

/// Bytes of input that wait to be read, at most (Linux N_TTY_BUF_SIZE).
pub const INPUT: usize = 4096;
/// Time units of VTIME in reference time: tenths of a second.
const TENTH: u64 = SECOND_NS / 10 / TICK_NS;

/// A terminal in its usual state: what `stty sane` sets (Linux `tty_std_termios`).
pub const SANE: Termios = Termios {
    c_iflag: raw::ICRNL | raw::IXON,
    c_oflag: raw::OPOST | raw::ONLCR,
    c_cflag: raw::B38400 | raw::CS8 | raw::CREAD,
    c_lflag: raw::ISIG | raw::ICANON | raw::ECHO | raw::ECHOE | raw::ECHOK | raw::ECHOCTL | raw::ECHOKE | raw::IEXTEN,
    c_line: 0,
    c_cc: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
};

/// A byte of input, or an end without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A byte.
    Byte(u8),
    /// A byte that ends a line.
    End(u8),
    /// VEOF: a line ends here, and no byte stands for that.
    Eof,
}

/// How far erasing goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

/// What a byte of input did beside becoming input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// The foreground group gets this signal.
    pub signal: Option<Signal>,
    /// What waits to be shown is thrown away.
    pub flushed: bool,
}

/// When a read of nothing yet gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Never.
    Endless,
    /// So many ns after it began, with nothing (VMIN 0).
    Call(u64),
    /// At this reference time, with what there is then (VTIME between bytes).
    At(u64),
}

/// The state of a line.
pub struct Line {
    termios: Termios,
    input: VecDeque<Unit>,
    /// How many of them belong to lines that are complete.
    complete: usize,
    /// VLNEXT: the next byte is taken as it is.
    literal: bool,
    /// VSTOP: nothing is shown.
    stopped: bool,
    /// Where the cursor is.
    column: usize,
    /// Where it was when the line under editing began.
    line_column: usize,
    /// Reference time of the last byte.
    last_input: u64,
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_' || lower(byte) != byte || upper(byte) != byte || byte == 0xdf || byte == 0xff
}

/// Lower case by Latin-1, as Linux has it.
fn lower(byte: u8) -> u8 {
    if matches!(byte, b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde) { byte + 0x20 } else { byte }
}

/// Upper case by Latin-1, as Linux has it.
fn upper(byte: u8) -> u8 {
    if matches!(byte, b'a'..=b'z' | 0xe0..=0xf6 | 0xf8..=0xfe) { byte - 0x20 } else { byte }
}

/// The column after a tab in `column`.
fn tab_stop(column: usize) -> usize {
    (column | 7) + 1
}

impl Line {
    /// An empty line in the usual state.
    #[must_use]
    pub fn new() -> Self {
        Self {
            termios: SANE,
            input: VecDeque::new(),
            complete: 0,
            literal: false,
            stopped: false,
            column: 0,
            line_column: 0,
            last_input: 0,
        }
    }

    /// Its settings.
    #[must_use]
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes its settings. Input that waits already stays.
    pub fn set(&mut self, termios: Termios) {
        let (before, now) = (self.canonical(), termios.c_lflag & raw::ICANON != 0);
        self.termios = termios;
        if now && !before {
            // What came in raw mode counts as a line, complete as it is.
            self.complete = self.input.len();
        } else if before && !now {
            self.input.retain(|unit| *unit != Unit::Eof);
        }
        if !self.has_input_flag(raw::IXON) {
            self.stopped = false;
        }
    }

    fn canonical(&self) -> bool {
        self.local(raw::ICANON)
    }

    fn local(&self, flag: u32) -> bool {
        self.termios.c_lflag & flag != 0
    }

    fn has_input_flag(&self, flag: u32) -> bool {
        self.termios.c_iflag & flag != 0
    }

    /// Is `byte` the control character `which`? NUL in the settings: there is none.
    fn is_key(&self, byte: u8, which: u32) -> bool {
        byte != 0 && self.key(which) == byte
    }

    /// The control character `which`; NUL: there is none.
    #[must_use]
    pub fn key(&self, which: u32) -> u8 {
        self.termios.c_cc.get(which as usize).copied().unwrap_or(0)
    }

    /// Output is held back by VSTOP.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Holds output back, or lets it go on (TCXONC).
    pub fn stop(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// How many bytes can be typed for certain. A line that has grown too long takes (and loses) everything until it ends.
    #[must_use]
    pub fn room(&self) -> usize {
        let endless = self.canonical() && self.complete == 0;
        (INPUT - 1).saturating_sub(self.input.len()).max(usize::from(endless))
    }

    /// Bytes that could be read now.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        let count = if self.canonical() { self.complete } else { self.input.len() };
        self.input.iter().take(count).filter(|unit| **unit != Unit::Eof).count()
    }

    /// Throws input away that waits to be read.
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.literal = false;
    }

    /// Takes a byte that was typed at reference time `now`, and puts into `shown` what is to be seen of it.
    pub fn receive(&mut self, mut byte: u8, now: u64, shown: &mut VecDeque<u8>) -> Typed {
        self.last_input = now;
        if self.has_input_flag(raw::ISTRIP) {
            byte &= 0x7f;
        }
        if self.has_input_flag(raw::IUCLC) && self.local(raw::IEXTEN) {
            byte = lower(byte);
        }
        if self.literal {
            self.literal = false;
            self.take(byte, true, shown);
            return Typed::default();
        }
        if self.has_input_flag(raw::IXON) && self.flow(byte) {
            return Typed::default();
        }
        if let Some(signal) = self.signal_key(byte) {
            return self.interrupt(byte, signal, shown);
        }
        match byte {
            b'\r' if self.has_input_flag(raw::IGNCR) => return Typed::default(),
            b'\r' if self.has_input_flag(raw::ICRNL) => byte = b'\n',
            b'\n' if self.has_input_flag(raw::INLCR) => byte = b'\r',
            _ => {}
        }
        if !(self.canonical() && self.edit(byte, shown)) {
            self.take(byte, false, shown);
        }
        Typed::default()
    }

    /// VSTART and VSTOP. True: that was all.
    fn flow(&mut self, byte: u8) -> bool {
        if self.is_key(byte, raw::VSTART) {
            self.stopped = false;
        } else if self.is_key(byte, raw::VSTOP) {
            self.stopped = true;
        } else {
            self.stopped = self.stopped && !self.has_input_flag(raw::IXANY);
            return false;
        }
        true
    }

    fn signal_key(&self, byte: u8) -> Option<Signal> {
        if !self.local(raw::ISIG) {
            return None;
        }
        let keys = [(raw::VINTR, raw::SIGINT), (raw::VQUIT, raw::SIGQUIT), (raw::VSUSP, raw::SIGTSTP)];
        keys.into_iter().find(|&(key, _)| self.is_key(byte, key)).map(|(_, signal)| Signal(signal))
    }

    fn interrupt(&mut self, byte: u8, signal: Signal, shown: &mut VecDeque<u8>) -> Typed {
        let flushed = !self.local(raw::NOFLSH);
        if flushed {
            self.flush_input();
            shown.clear();
        }
        self.stopped = false;
        if self.local(raw::ECHO) {
            self.echo(byte, shown);
        }
        Typed { signal: Some(signal), flushed }
    }

    /// Editing, in canonical mode. False: an ordinary byte.
    fn edit(&mut self, byte: u8, shown: &mut VecDeque<u8>) -> bool {
        let extended = self.local(raw::IEXTEN);
        let echo = self.local(raw::ECHO);
        if self.is_key(byte, raw::VERASE) {
            self.erase(Erase::Character, shown);
        } else if self.is_key(byte, raw::VKILL) {
            self.erase(Erase::Line, shown);
        } else if extended && self.is_key(byte, raw::VWERASE) {
            self.erase(Erase::Word, shown);
        } else if extended && self.is_key(byte, raw::VLNEXT) {
            self.literal = true;
            if echo && self.local(raw::ECHOCTL) {
                shown.extend(b"^\x08");
            }
        } else if extended && echo && self.is_key(byte, raw::VREPRINT) {
            self.reprint(byte, shown);
        } else if byte == b'\n' {
            if echo || self.local(raw::ECHONL) {
                self.show(byte, shown);
            }
            self.end_line(Unit::End(byte), shown);
        } else if self.is_key(byte, raw::VEOF) {
            self.end_line(Unit::Eof, shown);
        } else if self.is_key(byte, raw::VEOL) || (extended && self.is_key(byte, raw::VEOL2)) {
            if echo {
                self.echo(byte, shown);
            }
            self.end_line(Unit::End(byte), shown);
        } else {
            return false;
        }
        true
    }

    /// An ordinary byte becomes input.
    fn take(&mut self, byte: u8, literal: bool, shown: &mut VecDeque<u8>) {
        if self.input.len() >= INPUT - 1 {
            self.bell(shown);
            return;
        }
        if self.local(raw::ECHO) {
            if self.input.len() == self.complete {
                self.line_column = self.column;
            }
            if byte == b'\n' && !literal {
                self.show(byte, shown);
            } else {
                self.echo(byte, shown);
            }
        }
        self.input.push_back(Unit::Byte(byte));
    }

    fn end_line(&mut self, end: Unit, shown: &mut VecDeque<u8>) {
        if self.input.len() >= INPUT {
            self.bell(shown);
            return;
        }
        self.input.push_back(end);
        self.complete = self.input.len();
    }

    fn bell(&self, shown: &mut VecDeque<u8>) {
        if self.has_input_flag(raw::IMAXBEL) {
            shown.push_back(7);
        }
    }

    /// The last byte of the line under editing.
    fn last(&self, back: usize) -> Option<u8> {
        let at = self.input.len().checked_sub(back)?;
        match self.input.get(at) {
            Some(&Unit::Byte(byte)) if at >= self.complete => Some(byte),
            _ => None,
        }
    }

    /// The last character: its first byte and how many there are. `None`: there is none, or only a part of one.
    fn last_character(&self) -> Option<(u8, usize)> {
        let utf8 = self.has_input_flag(raw::IUTF8);
        let mut len = 1;
        loop {
            let byte = self.last(len)?;
            if !(utf8 && is_continuation(byte)) {
                return Some((byte, len));
            }
            len += 1;
        }
    }

    fn erase(&mut self, how: Erase, shown: &mut VecDeque<u8>) {
        if self.input.len() == self.complete {
            return;
        }
        let echo = self.local(raw::ECHO);
        let all = raw::ECHOK | raw::ECHOKE | raw::ECHOE;
        if how == Erase::Line && (!echo || self.termios.c_lflag & all != all) {
            self.input.truncate(self.complete);
            if echo {
                self.echo(self.key(raw::VKILL), shown);
                if self.local(raw::ECHOK) {
                    self.show(b'\n', shown);
                }
            }
            return;
        }
        let mut in_word = false;
        while let Some((first, len)) = self.last_character() {
            if how == Erase::Word {
                if !is_word(first) && in_word {
                    break;
                }
                in_word |= is_word(first);
            }
            let before = self.width();
            self.input.truncate(self.input.len() - len);
            if echo && how == Erase::Character && !self.local(raw::ECHOE) {
                self.echo(self.key(raw::VERASE), shown);
            } else if echo {
                self.rub_out(before.saturating_sub(self.width()), first == b'\t', shown);
            }
            if how == Erase::Character {
                break;
            }
        }
    }

    /// Takes columns off the screen.
    fn rub_out(&mut self, columns: usize, blank: bool, shown: &mut VecDeque<u8>) {
        for _ in 0..columns {
            shown.extend(if blank { &b"\x08"[..] } else { b"\x08 \x08" });
        }
        self.column = self.column.saturating_sub(columns);
    }

    /// The column after the line under editing.
    fn width(&self) -> usize {
        let utf8 = self.has_input_flag(raw::IUTF8);
        self.input.range(self.complete..).fold(self.line_column, |column, unit| match *unit {
            Unit::Byte(b'\t') => tab_stop(column),
            Unit::Byte(byte) if is_control(byte) => column + if self.local(raw::ECHOCTL) { 2 } else { 0 },
            Unit::Byte(byte) if utf8 && is_continuation(byte) => column,
            Unit::Byte(_) => column + 1,
            Unit::End(_) | Unit::Eof => column,
        })
    }

    fn reprint(&mut self, byte: u8, shown: &mut VecDeque<u8>) {
        self.echo(byte, shown);
        self.show(b'\n', shown);
        self.line_column = self.column;
        for at in self.complete..self.input.len() {
            if let Some(&Unit::Byte(byte)) = self.input.get(at) {
                self.echo(byte, shown);
            }
        }
    }

    /// Shows a typed byte, a control character as `^X`.
    fn echo(&mut self, byte: u8, shown: &mut VecDeque<u8>) {
        if self.local(raw::ECHOCTL) && is_control(byte) && byte != b'\t' {
            shown.extend([b'^', byte ^ 0x40]);
            self.column += 2;
        } else {
            self.show(byte, shown);
        }
    }

    /// Shows a byte as a program's output.
    pub fn show(&mut self, byte: u8, shown: &mut VecDeque<u8>) {
        let flag = |flag| self.termios.c_oflag & flag != 0;
        if !flag(raw::OPOST) {
            shown.push_back(byte);
            return;
        }
        match byte {
            b'\n' => {
                if flag(raw::ONLCR) {
                    shown.push_back(b'\r');
                }
                if flag(raw::ONLCR) || flag(raw::ONLRET) {
                    self.column = 0;
                }
                self.line_column = self.column;
                shown.push_back(b'\n');
            }
            b'\r' if flag(raw::ONOCR) && self.column == 0 => {}
            b'\r' => {
                let new_line = flag(raw::OCRNL);
                if !new_line || flag(raw::ONLRET) {
                    (self.column, self.line_column) = (0, 0);
                }
                shown.push_back(if new_line { b'\n' } else { byte });
            }
            b'\t' => {
                let stop = tab_stop(self.column);
                if self.termios.c_oflag & raw::TABDLY == raw::XTABS {
                    shown.extend(core::iter::repeat_n(b' ', stop - self.column));
                } else {
                    shown.push_back(byte);
                }
                self.column = stop;
            }
            b'\x08' => {
                self.column = self.column.saturating_sub(1);
                shown.push_back(byte);
            }
            _ => {
                let byte = if flag(raw::OLCUC) { upper(byte) } else { byte };
                let continues = self.has_input_flag(raw::IUTF8) && is_continuation(byte);
                if !is_control(byte) && !continues {
                    self.column = self.column.wrapping_add(1);
                }
                shown.push_back(byte);
            }
        }
    }

    /// VMIN and VTIME.
    fn least(&self) -> (usize, u64) {
        (usize::from(self.key(raw::VMIN)), u64::from(self.key(raw::VTIME)))
    }

    /// A read would give something.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self.least() {
            _ if self.canonical() => self.complete > 0,
            (least, 0) => self.input.len() >= least.max(1),
            _ => !self.input.is_empty(),
        }
    }

    /// When a read that has found too little gives up.
    #[must_use]
    pub fn patience(&self) -> Patience {
        match self.least() {
            _ if self.canonical() => Patience::Endless,
            (_, 0) => Patience::Endless,
            (0, time) => Patience::Call(time * SECOND_NS / 10),
            (_, _) if self.input.is_empty() => Patience::Endless,
            (_, time) => Patience::At(self.last_input.saturating_add(time * TENTH)),
        }
    }

    /// Reads a line, or what there is in raw mode. `None`: not yet.
    pub fn read(&mut self, now: u64, out: &mut dyn Sink) -> Option<usize> {
        if self.canonical() { self.read_line(out) } else { self.read_raw(now, out) }
    }

    fn read_line(&mut self, out: &mut dyn Sink) -> Option<usize> {
        if self.complete == 0 {
            return None;
        }
        let mut done = 0;
        while self.complete > 0 {
            let (byte, ends) = match self.input.front() {
                Some(&Unit::Byte(byte)) => (byte, false),
                Some(&Unit::End(byte)) => (byte, true),
                // An end right behind a full buffer belongs to what was read.
                Some(Unit::Eof) | None => {
                    self.drop_front();
                    break;
                }
            };
            if out.put(&[byte]) == 0 {
                break;
            }
            self.drop_front();
            done += 1;
            if ends {
                break;
            }
        }
        Some(done)
    }

    fn drop_front(&mut self) {
        self.input.pop_front();
        self.complete = self.complete.saturating_sub(1);
    }

    fn read_raw(&mut self, now: u64, out: &mut dyn Sink) -> Option<usize> {
        let (least, time) = self.least();
        let waited = match self.patience() {
            Patience::At(until) => now >= until,
            _ => false,
        };
        let enough = least.min(out.room()).max(1);
        if self.input.len() < enough && !waited {
            return (least == 0 && time == 0).then_some(0);
        }
        let mut done = 0;
        while let Some(&unit) = self.input.front() {
            if let Unit::Byte(byte) | Unit::End(byte) = unit {
                if out.put(&[byte]) == 0 {
                    break;
                }
                done += 1;
            }
            self.drop_front();
        }
        Some(done)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}
