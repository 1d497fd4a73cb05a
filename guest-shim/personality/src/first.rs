//! What a sandbox' first process is before it has started.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::boot_flags;

use crate::abi::{AltStack, SigAction};
use crate::fs::dentry::Place;
use crate::fs::table::{Count, FdTable};
use crate::kernel::Start;
use crate::lifecycle::{FIRST, INIT};
use crate::mm::space::AddressSpace;
use crate::regs::UserRegs;
use crate::signal::{Pending, Signal};
use crate::task::{Directories, FPU_STATE, FpuState, Life, Process, SIGNALS, State, TIMER_SLACK, Task};
use crate::timers::Timers;
use crate::wait::Hub;

/// The first thread of the first process.
pub(crate) fn first_task(
    start: &Start,
    hub: &Hub,
    space: AddressSpace,
    root: Place,
    count: Rc<Count>,
    started: u64,
) -> Task {
    let process = empty_process(FIRST, start, hub, started);
    let directories = Directories { current: Rc::clone(&root), root, umask: start.setting.umask };
    Task {
        tid: FIRST,
        process: Rc::new(RefCell::new(Process { threads: vec![FIRST], ..process })),
        space: Rc::new(RefCell::new(space)),
        files: Rc::new(RefCell::new(FdTable::new(count))),
        directories: Rc::new(RefCell::new(directories)),
        actions: Rc::new(RefCell::new([SigAction::default(); SIGNALS])),
        blocked: 0,
        saved_mask: None,
        pending: Pending::default(),
        alternate_stack: AltStack { ss_flags: 2, ..Default::default() },
        clear_tid: 0,
        robust_list: (0, 0),
        fs_base: 0,
        gs_base: 0,
        name: [0; 16],
        wait_until: None,
        progress: 0,
        opening: None,
        call: None,
        vfork_child: None,
        vfork_done: None,
        ipc_wait: None,
        timer_slack: TIMER_SLACK,
        policy: 0,
        futex: None,
        copies: Vec::new(),
        strings: None,
        last_fault: (0, 0, 0),
        state: State::Ready,
        regs: UserRegs::default(),
        fpu: FpuState([0; FPU_STATE]),
        time: 0,
    }
}

/// A child of INIT in its group and session, as if a shell without job control had started it.
pub(crate) fn empty_process(pid: u32, start: &Start, hub: &Hub, started: u64) -> Process {
    Process {
        pid,
        parent: if pid == INIT { 0 } else { INIT },
        group: INIT,
        session: INIT,
        without_terminal: false,
        uid: [start.uid; 3],
        gid: [start.gid; 3],
        file_ids: [start.uid, start.gid],
        groups: start.setting.groups.as_slice().into(),
        limits: start.setting.limits,
        executable: None,
        running: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        started,
        dumpable: 1,
        threads: Vec::new(),
        children: Vec::new(),
        ended: hub.channel(),
        children_changed: hub.channel(),
        life: Life::Alive,
        stopped: None,
        change: None,
        pending: Pending::default(),
        signalled: hub.channel(),
        exit_signal: Signal::CHLD.0,
        subreaper: false,
        parent_death_signal: 0,
        no_new_privileges: start.flags & boot_flags::NO_NEW_PRIVILEGES != 0,
        has_executed: false,
        persona: 0,
        timers: Timers::default(),
        past_time: 0,
        children_time: 0,
        children_peak: 0,
        peak: 0,
        fault: (0, 0),
        nice: 0,
    }
}
