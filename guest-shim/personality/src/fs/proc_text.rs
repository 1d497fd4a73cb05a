//! What the texts of `/proc` and `/sys` say (proc(5)).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Write;

use super::dentry::Dentry;
use super::proc::{Entry, ProcNode};
use super::proc_mounts::{mount_info, mounts};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mm::area::{Area, Backing, Prot};
use crate::mm::space::AddressSpace;
use crate::platform::{PAGE, Platform};
use crate::signal::SIG_IGN;
use crate::task::{Life, Process, State, Task};
use crate::time::{CLOCK_TICK, SECOND_TICKS};

/// Names and units of the resource limits, in the order of their numbers.
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

impl<P: Platform> Kernel<P> {
    /// The text of a node; empty when what it is about has gone.
    pub(crate) fn proc_text(&mut self, node: ProcNode) -> Vec<u8> {
        match node {
            ProcNode::Fixed(path) => self.fixed_text(path).into_bytes(),
            ProcNode::Entry(pid, tid, entry) => self.process_text(pid, tid, entry).unwrap_or_default(),
            ProcNode::DescriptorInfo(pid, number) => self.descriptor_text(pid, number).unwrap_or_default().into_bytes(),
            _ => Vec::new(),
        }
    }

    /// May the present process open the text for writing? User 0 may, even where a write then fails.
    pub(crate) fn may_write_proc(&self, node: ProcNode) -> bool {
        let about_process = matches!(node, ProcNode::Entry(..));
        node.is_writable() || (about_process && self.task.process.borrow().uid[1] == 0)
    }

    /// Writes to a node: the name of a thread, for it and the others of its process.
    ///
    /// # Errors
    /// EINVAL: another process' or not to be written. ESRCH: it has gone.
    pub(crate) fn write_proc(&mut self, node: ProcNode, bytes: &[u8]) -> Result<(), Errno> {
        let ProcNode::Entry(pid, tid, Entry::Comm) = node else { return Err(Errno::EINVAL) };
        if self.task.process.borrow().pid != pid {
            return Err(Errno::EINVAL);
        }
        let task = self.task_mut(tid.unwrap_or(pid)).ok_or(Errno::ESRCH)?;
        task.set_name(bytes);
        Ok(())
    }

    /// The thread that a node of a process is about: the one named, or the first. `None`: it has ended.
    pub(crate) fn proc_task(&self, pid: u32, tid: Option<u32>) -> Option<&Task> {
        self.task_of(tid.unwrap_or(pid))
    }

    fn process_text(&mut self, pid: u32, tid: Option<u32>, entry: Entry) -> Option<Vec<u8>> {
        let process = self.process(pid)?;
        if let Entry::Stat | Entry::Statm | Entry::Status | Entry::Comm | Entry::Limits = entry {
            self.account();
        }
        let task = self.proc_task(pid, tid);
        let space = task.map(|task| Rc::clone(&task.space));
        let process = process.borrow();
        let text = match entry {
            // They are in its memory, which is gone with its first thread.
            Entry::Cmdline | Entry::Environ if task.is_none() => return Some(Vec::new()),
            Entry::Cmdline => return Some(process.arguments.clone()),
            Entry::Environ => return Some(process.environment.clone()),
            Entry::Auxv => return Some(space.map_or_else(Vec::new, |space| space.borrow().auxiliary.to_vec())),
            Entry::Comm => {
                let mut name = task.map_or_else(Vec::new, |task| name_of(task).into());
                name.push(b'\n');
                return Some(name);
            }
            Entry::Maps => space.map_or_else(String::new, |space| maps(&space.borrow(), false)),
            Entry::Smaps => space.map_or_else(String::new, |space| maps(&space.borrow(), true)),
            Entry::SmapsRollup => space.map_or_else(String::new, |space| rollup(&space.borrow())),
            Entry::Stat => self.stat_text(&process, task, tid),
            Entry::Statm => statm(space.as_ref()),
            Entry::Status => self.status_text(&process, task, tid),
            Entry::Mounts => return Some(mounts(&self.folders)),
            Entry::Mountinfo => return Some(mount_info(&self.folders)),
            Entry::Limits => limits(&process),
            Entry::Io => String::from(
                "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
            ),
            Entry::Cgroup => String::from("0::/\n"),
            Entry::OomScore | Entry::OomScoreAdj | Entry::Wchan => String::from("0\n"),
            Entry::CoredumpFilter => String::from("00000033\n"),
            Entry::Loginuid | Entry::Sessionid => String::from("4294967295"),
            Entry::Personality => format!("{:08x}\n", process.persona),
            Entry::Schedstat => format!("{} 0 0\n", task.map_or(0, |task| task.time).saturating_mul(100)),
            Entry::Setgroups => String::from("allow\n"),
            Entry::TimerslackNs => format!("{}\n", task.map_or(0, |task| task.timer_slack)),
            Entry::UidMap | Entry::GidMap => String::from("         0          0 4294967295\n"),
            Entry::Cwd | Entry::Exe | Entry::Root => return None,
        };
        Some(text.into_bytes())
    }

    fn stat_text(&self, process: &Process, task: Option<&Task>, tid: Option<u32>) -> String {
        let (size, resident) = task.map_or((0, 0), |task| sizes(&task.space.borrow()));
        let time = match tid {
            Some(_) => task.map_or(0, |task| task.time),
            None => self.time_of(process),
        } / CLOCK_TICK;
        let name = task.map_or_else(|| last_name(process), |task| name_of(task).into());
        let name = String::from_utf8_lossy(&name).into_owned();
        let (ignored, caught) = task.map_or((0, 0), handled);
        let fields = [
            i128::from(process.parent),
            i128::from(process.group),
            i128::from(process.session),
            0,
            -1,
            0x0040_0000,
            0,
            0,
            0,
            0,
            i128::from(time),
            0,
            i128::from(process.children_time / CLOCK_TICK),
            0,
            i128::from(20 + process.nice),
            i128::from(process.nice),
            process.threads.len().max(1) as i128,
            0,
            i128::from(process.started / CLOCK_TICK),
            i128::from(size),
            i128::from(resident),
            i128::from(u64::MAX),
            0,
            0,
            0,
            0,
            0,
            i128::from(task.map_or(0, |task| task.pending.set()) & 0x7fff_ffff),
            i128::from(task.map_or(0, |task| task.blocked) & 0x7fff_ffff),
            i128::from(ignored & 0x7fff_ffff),
            i128::from(caught & 0x7fff_ffff),
            0,
            0,
            0,
            i128::from(process.exit_signal),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        let mut text = format!("{} ({name}) {}", tid.unwrap_or(process.pid), self.letter(process, task).0);
        for field in fields {
            let _ = write!(text, " {field}");
        }
        text.push('\n');
        text
    }

    /// Processor time of a process, in reference time.
    fn time_of(&self, process: &Process) -> u64 {
        let threads = process.threads.iter().filter_map(|&tid| self.task_of(tid)).map(|task| task.time);
        process.past_time + threads.sum::<u64>()
    }

    /// The state's letter and word.
    fn letter(&self, process: &Process, task: Option<&Task>) -> (char, &'static str) {
        match (process.life, task.map(|task| &task.state)) {
            (Life::Zombie(_), _) | (_, None | Some(State::Dead)) if process.pid != crate::lifecycle::INIT => {
                ('Z', "zombie")
            }
            (_, Some(State::Ready)) => ('R', "running"),
            (_, Some(State::Stopped)) => ('T', "stopped"),
            _ => ('S', "sleeping"),
        }
    }

    fn status_text(&self, process: &Process, task: Option<&Task>, tid: Option<u32>) -> String {
        let name = task.map_or_else(|| last_name(process), |task| name_of(task).into());
        let (letter, word) = self.letter(process, task);
        let [real, effective, saved] = process.uid;
        let [real_group, effective_group, saved_group] = process.gid;
        let [file, file_group] = process.file_ids;
        let umask = task.map_or(0o022, |task| task.directories.borrow().umask);
        let descriptors = task.map_or(0, |task| task.files.borrow().len().next_power_of_two().max(64));
        let mut text = format!(
            "Name:\t{}\nUmask:\t{umask:04o}\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\n\
             TracerPid:\t0\nUid:\t{real}\t{effective}\t{saved}\t{file}\n\
             Gid:\t{real_group}\t{effective_group}\t{saved_group}\t{file_group}\nFDSize:\t{descriptors}\nGroups:\t",
            String::from_utf8_lossy(&name),
            process.pid,
            tid.unwrap_or(process.pid),
            process.parent,
        );
        for group in process.groups.iter() {
            let _ = write!(text, "{group} ");
        }
        text.push('\n');
        if let Some(task) = task {
            memory_lines(&mut text, &task.space.borrow());
        }
        let (ignored, caught) = task.map_or((0, 0), handled);
        let capabilities = if effective == 0 { 0xa804_25fb_u64 } else { 0 };
        let _ = write!(
            text,
            "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{ignored:016x}\n\
             SigCgt:\t{caught:016x}\nCapInh:\t0000000000000000\nCapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n\
             CapBnd:\t{capabilities:016x}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\n\
             Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
             voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
            process.threads.len().max(1),
            process.pending.len(),
            crate::task::MAX_PENDING,
            task.map_or(0, |task| task.pending.set()),
            process.pending.set(),
            task.map_or(0, |task| task.blocked),
            u32::from(process.no_new_privileges),
        );
        text
    }

    fn descriptor_text(&self, pid: u32, number: u32) -> Option<String> {
        let file = self.descriptor_of(pid, number).ok()?;
        let inode = file.inode().map_or(0, |inode| inode.number());
        Some(format!("pos:\t{}\nflags:\t0{:o}\nmnt_id:\t1\nino:\t{inode}\n", file.offset(), file.status()))
    }
}

fn name_of(task: &Task) -> &[u8] {
    let len = task.name.iter().position(|&byte| byte == 0).unwrap_or(task.name.len());
    task.name.get(..len).unwrap_or(&[])
}

/// The name of a process that has no thread any more.
fn last_name(process: &Process) -> Vec<u8> {
    let path = process.executable.as_ref().map_or_else(|| b"init".to_vec(), Dentry::path);
    path.rsplit(|&byte| byte == b'/').next().map_or_else(Vec::new, |name| name.iter().copied().take(15).collect())
}

/// The sets of signals that are ignored, and that have a handler.
fn handled(task: &Task) -> (u64, u64) {
    let (mut ignored, mut caught) = (0, 0);
    for (bit, action) in task.actions.borrow().iter().enumerate() {
        match action.handler {
            0 => {}
            SIG_IGN => ignored |= 1 << bit,
            _ => caught |= 1 << bit,
        }
    }
    (ignored, caught)
}

/// Bytes that are mapped, and pages that are in memory.
fn sizes(space: &AddressSpace) -> (u64, u64) {
    let size = space.areas().iter().map(|area| area.end - area.start).sum();
    (size, space.resident_pages().0)
}

fn statm(space: Option<&Rc<RefCell<AddressSpace>>>) -> String {
    let (size, resident) = space.map_or((0, 0), |space| sizes(&space.borrow()));
    let data = space.map_or(0, |space| bytes_of(&space.borrow(), |area| area.prot.0 & Prot::WRITE != 0));
    format!("{} {resident} 0 0 0 {} 0\n", size / PAGE, data / PAGE)
}

fn bytes_of(space: &AddressSpace, wanted: impl Fn(&Area) -> bool) -> u64 {
    space.areas().iter().filter(|area| wanted(area)).map(|area| area.end - area.start).sum()
}

fn memory_lines(text: &mut String, space: &AddressSpace) {
    let (size, resident) = sizes(space);
    let (_, peak) = space.resident_pages();
    let stack = bytes_of(space, |area| area.grows_down);
    let code = bytes_of(space, |area| area.prot.0 & Prot::EXEC != 0);
    let data = bytes_of(space, |area| area.prot.0 & Prot::WRITE != 0).saturating_sub(stack);
    let rows = [
        ("VmPeak", size),
        ("VmSize", size),
        ("VmLck", 0),
        ("VmPin", 0),
        ("VmHWM", peak * PAGE),
        ("VmRSS", resident * PAGE),
        ("RssAnon", resident * PAGE),
        ("RssFile", 0),
        ("RssShmem", 0),
        ("VmData", data),
        ("VmStk", stack),
        ("VmExe", code),
        ("VmLib", 0),
        ("VmPTE", space.table_bytes()),
        ("VmSwap", 0),
    ];
    for (name, bytes) in rows {
        let _ = writeln!(text, "{name}:\t{:>8} kB", bytes / 1024);
    }
}

fn limits(process: &Process) -> String {
    let mut text = String::from("Limit                     Soft Limit           Hard Limit           Units     \n");
    let shown = |value: u64| if value == u64::MAX { String::from("unlimited") } else { format!("{value}") };
    for (limit, (name, unit)) in process.limits.iter().zip(LIMITS) {
        let (soft, hard) = (shown(limit.rlim_cur), shown(limit.rlim_max));
        let _ = writeln!(text, "{name:<25} {soft:<20} {hard:<20} {unit:<10}");
    }
    text
}

/// The areas, a line each; with `details`, what smaps says of each.
fn maps(space: &AddressSpace, details: bool) -> String {
    let mut text = String::new();
    for area in space.areas() {
        let letter = |right, letter| if area.prot.0 & right != 0 { letter } else { '-' };
        let (offset, name, inode) = match &area.backing {
            Backing::File { file, offset, .. } => {
                let name = file.place.as_ref().map_or(Vec::new(), Dentry::path);
                (*offset, String::from_utf8_lossy(&name).into_owned(), file.inode().map_or(0, |inode| inode.number()))
            }
            Backing::Object { object, offset, .. } => {
                (*offset, String::from_utf8_lossy(&object.name()).into_owned(), object.inode_number())
            }
            Backing::Fixed if area.prot.0 & Prot::EXEC != 0 => (0, String::from("[vdso]"), 0),
            Backing::Fixed => (0, String::from("[vvar]"), 0),
            Backing::Anonymous if area.grows_down => (0, String::from("[stack]"), 0),
            Backing::Anonymous if area.start < space.brk && area.end > space.brk_start => {
                (0, String::from("[heap]"), 0)
            }
            Backing::Anonymous => (0, String::new(), 0),
        };
        let device = if inode == 0 { 0 } else { crate::syscalls::FILE_DEVICE };
        let _ = writeln!(
            text,
            "{:08x}-{:08x} {}{}{}{} {offset:08x} 00:{device:02x} {inode:<26} {name}",
            area.start,
            area.end,
            letter(Prot::READ, 'r'),
            letter(Prot::WRITE, 'w'),
            letter(Prot::EXEC, 'x'),
            if area.shared { 's' } else { 'p' },
        );
        if details {
            let size = (area.end - area.start) / 1024;
            let _ = writeln!(
                text,
                "Size:           {size:>8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB"
            );
        }
    }
    text
}

fn rollup(space: &AddressSpace) -> String {
    let (start, end) = match (space.areas().first(), space.areas().last()) {
        (Some(first), Some(last)) => (first.start, last.end),
        _ => (0, 0),
    };
    let resident = space.resident_pages().0 * PAGE / 1024;
    format!(
        "{start:08x}-{end:08x} ---p 00000000 00:00 0                          [rollup]\nRss:            {resident:>8} kB\n\
         Pss:            {resident:>8} kB\nShared_Clean:          0 kB\nShared_Dirty:          0 kB\n\
         Private_Clean:         0 kB\nPrivate_Dirty:  {resident:>8} kB\nSwap:                  0 kB\n"
    )
}

const _: () = assert!(CLOCK_TICK * 100 == SECOND_TICKS);
