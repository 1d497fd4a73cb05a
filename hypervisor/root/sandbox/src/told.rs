//! What a request comes to beside its reply, as records: what was refused, granted and changed of files, and what the shim tells of its threads.
use alloc::string::ToString;

use files::Kind;
use hvclient::Transport;
use proto::op::{Ended, Executed, MAX_TOLD, ThreadStarted};
use services::{Changed, Grant, Told};
use trace::{
    ChangeRecord, EndedRecord, ExecutedRecord, FileChange, FileKind, GrantRecord, MAX_CHANGED_PATH, MAX_PATH,
    MAX_RESOLVED, Piece, Record, RefusalRecord, StartedRecord,
};

use crate::World;
use crate::memory::RootMemory;
use crate::run::Sandbox;

impl<R: RootMemory> Sandbox<'_, R> {
    /// Records what the last request came to.
    pub(crate) fn tell_request<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        self.tell_refusal(now, world);
        self.tell_grants(now, world);
        self.tell_changes(now, world);
        self.tell_task(now, world);
    }

    fn tell_task<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        let Some(told) = self.services.take_told().filter(|_| self.gate.mode().record) else { return };
        let time = now.saturating_sub(self.parts.created);
        let record = match told {
            Told::Started(ThreadStarted { thread, process, parent, .. }) => {
                let (by, call) = (self.thread, self.gate.last_granted());
                Record::Started(StartedRecord { time, by, call, thread, process, parent })
            }
            Told::Executed { executed: Executed { process, argc }, path, arguments } => {
                let path = Piece::first_of(&path, MAX_CHANGED_PATH);
                let more = usize::try_from(argc).is_ok_and(|argc| argc > arguments.len());
                let arguments = arguments.iter().map(|argument| Piece::first_of(argument, MAX_TOLD)).collect();
                Record::Executed(ExecutedRecord { time, process, path, arguments, more })
            }
            Told::Ended(Ended { process, thread, status, .. }) => {
                let thread = (thread != 0).then_some(thread);
                Record::Ended(EndedRecord { time, process, thread, status })
            }
        };
        world.console.record(&record);
    }

    fn tell_refusal<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        let Some(refusal) = self.services.authority_mut().take_refusal() else { return };
        let mode = self.gate.mode();
        self.stats.files_refused = self.stats.files_refused.saturating_add(u64::from(!mode.dry_run));
        if mode.record {
            world.console.record(&Record::Refusal(RefusalRecord {
                time: now.saturating_sub(self.parts.created),
                thread: self.thread,
                rights: refusal.wanted(),
                path: Piece::first_of(&refusal.path, MAX_PATH),
                from: refusal.from.map(|from| Piece::first_of(&from, MAX_PATH)),
                errno: refusal.errno.number(),
                entry: refusal.entry,
                generation: self.gate.generation(),
                ignored: mode.dry_run,
            }));
        }
    }

    /// Records what they have granted, if that is wanted.
    fn tell_grants<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        for Grant { rights, path, from, directory } in self.services.authority_mut().take_grants() {
            world.console.record(&Record::Grant(GrantRecord {
                time: now.saturating_sub(self.parts.created),
                thread: self.thread,
                rights: rights.to_string(),
                path: Piece::first_of(&path, MAX_RESOLVED),
                from: from.map(|from| Piece::first_of(&from, MAX_RESOLVED)),
                directory,
            }));
        }
    }

    /// Records what was changed. There is nothing if nobody wants records.
    pub(crate) fn tell_changes<T: Transport>(&mut self, now: u64, world: &mut World<'_, T, R>) {
        let (time, thread) = (now.saturating_sub(self.parts.created), self.thread);
        for services::Change { path, nameless, what } in self.services.take_changes() {
            let (path, change) = (changed_path(&path), change(what));
            world.console.record(&Record::Change(ChangeRecord { time, thread, path, nameless, change }));
        }
    }
}

fn changed_path(path: &[u8]) -> Piece {
    Piece::first_of(path, MAX_CHANGED_PATH)
}

fn change(what: Changed) -> FileChange {
    match what {
        Changed::Created(kind) => FileChange::Create(file_kind(kind)),
        Changed::Written(bytes) => FileChange::Write(bytes),
        Changed::Truncated(size) => FileChange::Truncate(size),
        Changed::Deleted(kind) => FileChange::Delete(file_kind(kind)),
        Changed::Renamed { from, replaced, exchanged } => {
            FileChange::Rename { from: changed_path(&from), replaced, exchanged }
        }
        Changed::Linked { from } => FileChange::Link(changed_path(&from)),
        Changed::Attributes { mode, uid, gid, times } => FileChange::Attributes { mode, uid, gid, times },
        Changed::Xattr(name) => FileChange::Xattr(Piece::first_of(&name, MAX_PATH)),
    }
}

fn file_kind(kind: Kind) -> FileKind {
    match kind {
        Kind::File => FileKind::File,
        Kind::Directory => FileKind::Directory,
        Kind::Symlink => FileKind::Symlink,
        Kind::Fifo => FileKind::Fifo,
        Kind::Socket => FileKind::Socket,
    }
}
