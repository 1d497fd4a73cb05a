//! The records.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use policy::signature::{self, Signature};
use serde::{Deserialize, Serialize};

/// Something that happened in a sandbox. Times are since the sandbox' start, in 100 ns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A system call was judged.
    Call(CallRecord),
    /// A call that was carried out has come back.
    Result(ResultRecord),
    /// The processor refused an instruction: the program gets a signal, or handles it.
    Fault(FaultRecord),
    /// Another policy holds from now on.
    Policy(PolicyRecord),
    /// The file service refused something, by the paths that a request resolved to.
    Refusal(RefusalRecord),
    /// Something was done that taints: calls are denied from now on.
    Taint(TaintRecord),
    /// A limit of the sandbox has been reached, for the first time under this policy.
    Limit(LimitRecord),
    /// The file service granted something that it has not told of before.
    Grant(GrantRecord),
    /// Somebody is asked about a call that was recorded before.
    Question(QuestionRecord),
    /// A question is settled.
    Settled(SettledRecord),
    /// The file service has changed something.
    Change(ChangeRecord),
    /// A thread was made, of its process or of a new one.
    Started(StartedRecord),
    /// A process executes another program.
    Executed(ExecutedRecord),
    /// A thread or a process has ended.
    Ended(EndedRecord),
    /// Records are missing here, as the policy wants it.
    Dropped(DroppedRecord),
}

/// The kinds of records, as events are called; by [`Record::kind`].
pub const KINDS: [&str; 16] = [
    "call",
    "result",
    "fault",
    "policy",
    "file-refused",
    "file-changed",
    "process-started",
    "thread-started",
    "executed",
    "thread-ended",
    "process-ended",
    "taint",
    "limit",
    "file-granted",
    "question",
    "settled",
];

/// Records that were made and not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRecord {
    /// When the last of them was made.
    pub time: u64,
    /// When the first was.
    pub since: u64,
    /// How many of which of [`KINDS`].
    pub counts: Vec<(u8, u64)>,
}

/// Which table a call's number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abi {
    /// That of `syscall`.
    X86_64,
    /// That of `sysenter` and `int 0x80`.
    I386,
}

/// A call, as it was read and judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// When.
    pub time: u64,
    /// The thread, as the shim numbers them.
    pub thread: u32,
    /// Whose table its number is of.
    pub abi: Abi,
    /// Its number.
    pub number: u64,
    /// Its arguments, all bits of the registers.
    pub args: [u64; 6],
    /// What was read of the memory that they point to.
    pub data: Vec<Data>,
    /// What was decided.
    pub verdict: Verdict,
    /// What the program got.
    pub answer: Answer,
}

/// What some argument points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The argument, 0 to 5.
    pub argument: u8,
    /// What is there.
    pub content: Content,
}

/// The memory behind an argument, as far as it was readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A string without its NUL, or a buffer.
    Bytes(Piece),
    /// An array of strings.
    Strings(Vec<Piece>, End),
    /// A `struct sockaddr`, or that which a message names.
    Address(Piece),
    /// A structure whose fields are known, all of it: what the call does not bring is 0.
    Structure(Piece),
}

/// Bytes, or where they would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// The first ones.
    Read {
        /// Them.
        bytes: Vec<u8>,
        /// There are no more.
        whole: bool,
    },
    /// Nothing could be read at this address.
    Unreadable(u64),
}

/// How the record of an array ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With the array.
    Whole,
    /// There is more.
    More,
    /// The rest cannot be read.
    Unreadable,
}

/// What the policy said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What.
    pub judged: Judged,
    /// The rule that said it, with its place and reason.
    pub rule: String,
    /// The rule wants it to be written down, whoever else does.
    pub logged: bool,
    /// It was not done: the run only records verdicts.
    pub ignored: bool,
    /// Which policy this is by ([`PolicyRecord::generation`]).
    pub generation: u32,
}

/// What is to be done with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judged {
    /// It is carried out.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// It ends the sandbox.
    Kill,
    /// It is not carried out, and has this result.
    Fake(i64),
    /// It is carried out with other arguments.
    Rewrite(Vec<Change>),
    /// It ends its process, as by SIGSYS.
    KillProcess,
    /// It ends its thread.
    KillThread,
    /// Its thread gets SIGSYS.
    Trap,
    /// Somebody is asked, and this is done if nobody answers.
    Ask(Box<Judged>),
    /// The same, while the whole sandbox stands still.
    Stop(Box<Judged>),
}

/// What becomes of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Its number: the argument, the field if it is one of the structure that it points to, bits that are kept, bits that are set.
    Number(u8, Option<u8>, u64, u64),
    /// The path that it points to.
    Path(u8, Piece),
}

/// What a program got for a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is carried out: a [`ResultRecord`] with this number follows, unless the program ends before.
    Pending(u64),
    /// This result, at once.
    Value(i64),
    /// Its end, or a call that does not return.
    None,
    /// A signal, for there is nobody who carries such calls out.
    Refused(String),
    /// It waits for an answer: a [`QuestionRecord`] and a [`SettledRecord`] with this number follow, unless the program ends before.
    Asked(u64),
}

/// Somebody is asked about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionRecord {
    /// When.
    pub time: u64,
    /// Number of the call ([`Answer::Asked`]).
    pub sequence: u64,
    /// Who calls, or how all of them stand.
    pub about: About,
    /// How long an answer is waited for from the call on, in seconds.
    pub limit: u32,
}

/// What is told with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// Its thread waits, and the others go on. The shim's word.
    Thread {
        /// The process, as the shim numbers them.
        process: u32,
        /// The path of its program.
        program: Piece,
    },
    /// The sandbox stands still: the thread's registers.
    Stopped(Box<Registers>),
}

/// Registers of a thread at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    /// Address of the instruction.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
}

/// Names of [`Registers::general`].
pub const GENERAL: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledRecord {
    /// When.
    pub time: u64,
    /// Number of the call ([`Answer::Asked`]).
    pub sequence: u64,
    /// By whom.
    pub by: SettledBy,
    /// What is done.
    pub done: Judged,
    /// What the program gets.
    pub answer: Answer,
}

/// How a question was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettledBy {
    /// Somebody answered.
    Answer,
    /// Nobody did in time.
    Limit,
    /// Its thread is no more: nothing is done.
    End,
}

/// The end of a call. The shim's word, and nothing but what is shown hangs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// When.
    pub time: u64,
    /// Number of the call ([`Answer::Pending`]).
    pub sequence: u64,
    /// What it returned.
    pub value: i64,
    /// The personality does not carry it out.
    pub missing: bool,
}

/// A policy that has taken another's place between two calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// When.
    pub time: u64,
    /// Which one it is; the one that the sandbox was started with is 1.
    pub generation: u32,
    /// The name of its file.
    pub name: String,
}

/// What `[[files]]` of a policy refused, or would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// When.
    pub time: u64,
    /// The thread, as the shim numbers them.
    pub thread: u32,
    /// The rights that the path would have to have, in a policy's words; `look`: the path is hidden, and cannot even be seen.
    pub rights: String,
    /// The resolved path.
    pub path: Piece,
    /// Where what is linked or renamed to `path` was.
    pub from: Option<Piece>,
    /// The error that the program gets.
    pub errno: u16,
    /// The entry that says so, with its place and reason.
    pub entry: String,
    /// Which policy this is by ([`PolicyRecord::generation`]).
    pub generation: u32,
    /// It was done nevertheless: the run only records verdicts.
    pub ignored: bool,
}

/// Something after which `[[taint]]` of a policy denies calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintRecord {
    /// When.
    pub time: u64,
    /// The thread, as the shim numbers them.
    pub thread: u32,
    /// What was done.
    pub cause: Cause,
    /// The taint, with its place and reason.
    pub rule: String,
}

/// What has tainted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A file was used.
    File {
        /// The rights that the use took, in a policy's words.
        rights: String,
        /// The resolved path.
        path: Piece,
    },
    /// A call is carried out.
    Call {
        /// Its number (x86-64 table).
        number: u64,
        /// The number of its grant.
        sequence: u64,
    },
}

/// A limit of `[limits]` that has been reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRecord {
    /// When.
    pub time: u64,
    /// The thread that ran.
    pub thread: u32,
    /// Its key in the policy.
    pub limit: String,
    /// How much there may be: bytes, milliseconds, or a number of things.
    pub amount: u64,
    /// Where it stands.
    pub rule: String,
}

/// What a request needed of a path, and had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// When.
    pub time: u64,
    /// The thread, as the shim numbers them.
    pub thread: u32,
    /// The right, in a policy's words; `none` for another name of what there is.
    pub rights: String,
    /// The resolved path.
    pub path: Piece,
    /// Where what is linked or renamed to `path` was.
    pub from: Option<Piece>,
    /// It is a directory that was renamed.
    pub directory: bool,
}

/// What the file service has changed, as it saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// When.
    pub time: u64,
    /// The thread, as the shim numbers them.
    pub thread: u32,
    /// The resolved path.
    pub path: Piece,
    /// The file has no name any more, or none yet.
    pub nameless: bool,
    /// What.
    pub change: FileChange,
}

/// A thread that was made, as the shim tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedRecord {
    /// When.
    pub time: u64,
    /// The thread that made it.
    pub by: u32,
    /// The number of the call that made it ([`Answer::Pending`]); 0: it is the first one.
    pub call: u64,
    /// The thread.
    pub thread: u32,
    /// Its process: the same number if that is new.
    pub process: u32,
    /// The process' parent.
    pub parent: u32,
}

/// A program that takes another's place in a process, as the shim tells it; the path is the file service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedRecord {
    /// When.
    pub time: u64,
    /// The process.
    pub process: u32,
    /// The resolved path.
    pub path: Piece,
    /// The first of its arguments.
    pub arguments: Vec<Piece>,
    /// There are more.
    pub more: bool,
}

/// The end of a thread or of a process, as the shim tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRecord {
    /// When.
    pub time: u64,
    /// The process.
    pub process: u32,
    /// The thread that has ended; `None`: the process itself.
    pub thread: Option<u32>,
    /// Of a process: its status as wait(2) has it.
    pub status: u32,
}

/// What can change of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileChange {
    /// It was made.
    Create(FileKind),
    /// So many bytes were written into it while it was open once.
    Write(u64),
    /// It has this length now.
    Truncate(u64),
    /// This name of it was taken away.
    Delete(FileKind),
    /// It was at `from`.
    Rename {
        /// Its path until now.
        from: Piece,
        /// Something else was here, and is gone.
        replaced: bool,
        /// Something else was here, and is at `from` now.
        exchanged: bool,
    },
    /// This is a further name of what is at this path.
    Link(Piece),
    /// Those of its attributes that are not what they were.
    Attributes {
        /// Permission bits.
        mode: Option<u32>,
        /// Owner.
        uid: Option<u32>,
        /// Group.
        gid: Option<u32>,
        /// When it was read or written.
        times: bool,
    },
    /// Its extended attribute of this name was set or taken away.
    Xattr(Piece),
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Bytes.
    File,
    /// Names.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket with a path.
    Socket,
}

impl FileKind {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

impl Piece {
    /// The first `most` of these bytes.
    #[must_use]
    pub fn first_of(bytes: &[u8], most: usize) -> Self {
        Self::Read { bytes: bytes.get(..most).unwrap_or(bytes).into(), whole: bytes.len() <= most }
    }

    /// Whether there is no more than is recorded.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Read { whole: true, .. })
    }
}

/// An exception that is the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// When.
    pub time: u64,
    /// The thread.
    pub thread: u32,
    /// The exception's vector.
    pub vector: u8,
    /// Its error code.
    pub error_code: Option<u32>,
    /// Where.
    pub rip: u64,
}

impl Record {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> u64 {
        match self {
            Self::Call(CallRecord { time, .. })
            | Self::Result(ResultRecord { time, .. })
            | Self::Fault(FaultRecord { time, .. })
            | Self::Policy(PolicyRecord { time, .. })
            | Self::Refusal(RefusalRecord { time, .. })
            | Self::Taint(TaintRecord { time, .. })
            | Self::Limit(LimitRecord { time, .. })
            | Self::Grant(GrantRecord { time, .. })
            | Self::Question(QuestionRecord { time, .. })
            | Self::Settled(SettledRecord { time, .. })
            | Self::Change(ChangeRecord { time, .. })
            | Self::Started(StartedRecord { time, .. })
            | Self::Executed(ExecutedRecord { time, .. })
            | Self::Ended(EndedRecord { time, .. })
            | Self::Dropped(DroppedRecord { time, .. }) => *time,
        }
    }

    /// Which of [`KINDS`] it is; none of them: it says what is missing.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Call(_) => 0,
            Self::Result(_) => 1,
            Self::Fault(_) => 2,
            Self::Policy(_) => 3,
            Self::Refusal(_) => 4,
            Self::Change(_) => 5,
            Self::Started(started) if started.thread == started.process => 6,
            Self::Started(_) => 7,
            Self::Executed(_) => 8,
            Self::Ended(ended) if ended.thread.is_some() => 9,
            Self::Ended(_) => 10,
            Self::Taint(_) => 11,
            Self::Limit(_) => 12,
            Self::Grant(_) => 13,
            Self::Question(_) => 14,
            Self::Settled(_) => 15,
            Self::Dropped(_) => KINDS.len(),
        }
    }
}

impl CallRecord {
    /// What is known of such calls.
    #[must_use]
    pub fn signature(&self) -> Option<&'static Signature> {
        match self.abi {
            Abi::X86_64 => signature::of(self.number),
            Abi::I386 => None,
        }
    }

    /// What is sent by the message that an argument points to, if that was read.
    #[must_use]
    pub fn sent(&self, argument: usize) -> Option<&Piece> {
        self.data.iter().find_map(|data| match &data.content {
            Content::Bytes(piece) if usize::from(data.argument) == argument => Some(piece),
            _ => None,
        })
    }

    /// What an argument points to, if that was read; of a message its address, if it names one, and else what it sends.
    #[must_use]
    pub fn content(&self, argument: usize) -> Option<&Content> {
        self.data.iter().find(|data| usize::from(data.argument) == argument).map(|data| &data.content)
    }
}
