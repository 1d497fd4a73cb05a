//! The scripted machine.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fuse_abi::linux::{fuse_opcode, fuse_removemapping_one, fuse_setupmapping_in};
use proto::layout::WINDOW_SLOT;
use proto::op::{self, NotStarted};
use proto::{CallResult, Grant, Limits, MESSAGE_OFFSET, SERVICE_PAGES, Segment, ServiceRequest};
use zerocopy::{FromBytes, IntoBytes};

use super::server::{Reply, Server};
use crate::platform::{Copied, PAGE, PAGE_SIZE, Platform, SpareHeap};
use crate::task::{FPU_STATE, FpuState};

/// Where files are shown.
pub(super) const WINDOW_START: u64 = 0x100_0000;

/// The panic of a wait that nothing can end.
pub(super) const FOR_EVER: &str = "the program waits for ever";

/// Memory, time and files, and what was asked of them.
pub(super) struct Machine {
    start: u64,
    frames: Vec<Option<Box<[u8; PAGE_SIZE]>>>,
    /// Pages that are shown in the window, by address.
    pub(super) window: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
    /// Files may be shown.
    pub(super) shows: bool,
    service: Vec<u8>,
    /// The files.
    pub(super) server: Server,
    /// What the gate allowed.
    pub(super) grant: Grant,
    /// What was judged of its memory.
    pub(super) copies: Vec<Copied>,
    /// What the sandbox may have.
    pub(super) limits: Limits,
    /// For which limits something was refused.
    pub(super) reached: u32,
    /// What was reported.
    pub(super) reports: Vec<CallResult>,
    /// Reference time; each reading takes a tick.
    pub(super) time: u64,
    /// What was written to the console, by stream.
    pub(super) output: [Vec<u8>; 3],
    /// What can be read from the console.
    pub(super) input: Vec<u8>,
    /// Nothing more will come.
    pub(super) input_ended: bool,
    /// The terminal has another size.
    pub(super) window_changed: bool,
    /// The end, if it came.
    pub(super) exit: Option<op::Exit>,
    /// Why nothing started.
    pub(super) not_started: Option<(NotStarted, String)>,
    /// What was told of threads and processes: opcode and arguments.
    pub(super) told: Vec<(u32, Vec<u8>)>,
    /// Opcodes of all requests.
    pub(super) requests: Vec<u32>,
    /// Waits: deadline and events.
    pub(super) waits: Vec<(u64, u64)>,
    /// Pages and address spaces whose translations were dropped.
    pub(super) flushes: u64,
    /// FS base.
    pub(super) fs_base: u64,
    /// The program's x87 and SSE state.
    pub(super) fpu: FpuState,
    /// Where sockets may listen, if the policy says so.
    pub(super) may_listen: Option<Vec<Vec<u8>>>,
    /// What has become of each question, told one after the other; what was asked and withdrawn.
    pub(super) settled: Vec<op::Settled>,
    pub(super) questions: Vec<(op::Question, Vec<u8>)>,
    pub(super) withdrawn: Vec<u64>,
    /// The alarm that was set.
    pub(super) alarm: u64,
    /// The thread that was said to run.
    pub(super) thread: u32,
    /// What the personality is told of its heap.
    pub(super) heap_left: usize,
    /// How often calls were to be judged once more.
    pub(super) tainted: u64,
}

impl Machine {
    pub(super) fn new(start: u64, end: u64, server: Server) -> Self {
        let count = usize::try_from((end - start) / PAGE).expect("a small machine");
        Self {
            start,
            frames: vec![None; count],
            window: BTreeMap::new(),
            shows: true,
            service: vec![0; SERVICE_PAGES * PAGE_SIZE],
            server,
            grant: Grant::default(),
            copies: Vec::new(),
            limits: Limits::NONE,
            reached: 0,
            reports: Vec::new(),
            time: 1000,
            output: [Vec::new(), Vec::new(), Vec::new()],
            input: Vec::new(),
            input_ended: true,
            window_changed: false,
            exit: None,
            not_started: None,
            told: Vec::new(),
            requests: Vec::new(),
            waits: Vec::new(),
            flushes: 0,
            fs_base: 0,
            fpu: FpuState([0; FPU_STATE]),
            may_listen: None,
            settled: Vec::new(),
            questions: Vec::new(),
            withdrawn: Vec::new(),
            alarm: proto::NO_ALARM,
            thread: 0,
            heap_left: 1 << 20,
            tainted: 0,
        }
    }

    fn slot(&self, gpa: u64) -> usize {
        assert_eq!(gpa % PAGE, 0, "not a frame");
        usize::try_from((gpa - self.start) / PAGE).expect("a frame")
    }

    /// How often a request was made.
    pub(super) fn count(&self, opcode: fuse_abi::linux::fuse_opcode) -> usize {
        self.requests.iter().filter(|&&made| made == opcode as u32).count()
    }

    fn gather(&self, segments: &[Segment]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for segment in segments {
            let at = usize::try_from(segment.gpa % PAGE).expect("small");
            let frame = self.frame(segment.gpa / PAGE * PAGE);
            bytes.extend_from_slice(&frame[at..at + segment.len as usize]);
        }
        bytes
    }

    fn scatter(&mut self, segments: &[Segment], mut data: &[u8]) {
        for segment in segments {
            let at = usize::try_from(segment.gpa % PAGE).expect("small");
            let len = data.len().min(segment.len as usize);
            let (now, later) = data.split_at(len);
            self.frame_mut(segment.gpa / PAGE * PAGE)[at..at + len].copy_from_slice(now);
            data = later;
        }
    }

    /// Shows a file as the root would: whole pages of what nobody has written to.
    fn show(&mut self, node: u64, asked: &fuse_setupmapping_in) -> Reply {
        let Some(data) = self.server.untouched(node).filter(|_| self.shows) else { return Reply::Error(95) };
        let (start, len) = (asked.foffset, asked.len);
        assert!(asked.flags == 2 && asked.moffset.is_multiple_of(WINDOW_SLOT) && len <= WINDOW_SLOT && len > 0);
        assert!(start.is_multiple_of(PAGE) && len.is_multiple_of(PAGE), "whole pages");
        assert!(start + len <= (data.len() as u64).next_multiple_of(PAGE), "within the file");
        for page in (0..len).step_by(PAGE_SIZE) {
            let mut bytes = Box::new([0; PAGE_SIZE]);
            let rest = data.get(usize::try_from(start + page).expect("small")..).expect("within the file");
            let count = rest.len().min(PAGE_SIZE);
            bytes[..count].copy_from_slice(&rest[..count]);
            let old = self.window.insert(WINDOW_START + asked.moffset + page, bytes);
            assert!(old.is_none(), "the slot is in use");
        }
        Reply::Body(Vec::new())
    }

    fn serve(&mut self, opcode: u32, body: &[u8], segments: &[Segment]) -> Option<Reply> {
        Some(match opcode {
            op::CONSOLE_WRITE => {
                let data = self.gather(segments);
                let io = op::ConsoleIo::read_from_bytes(body).expect("ConsoleIo");
                self.output[io.stream as usize].extend_from_slice(&data);
                Reply::body(&op::Count { bytes: data.len() as u64 })
            }
            op::CONSOLE_READ if self.input.is_empty() && !self.input_ended => Reply::Error(11),
            op::CONSOLE_READ => {
                let room: u32 = segments.iter().map(|segment| segment.len).sum();
                let len = self.input.len().min(room as usize);
                let data: Vec<u8> = self.input.drain(..len).collect();
                self.scatter(segments, &data);
                Reply::body(&op::Count { bytes: len as u64 })
            }
            op::WAIT => {
                let wait = op::Wait::read_from_bytes(body).expect("Wait");
                self.waits.push((wait.deadline, wait.events));
                let input = wait.events & op::wait_events::CONSOLE_INPUT;
                let mut events = 0;
                if wait.events & op::wait_events::WINDOW != 0 && core::mem::take(&mut self.window_changed) {
                    events = op::wait_events::WINDOW;
                } else if input != 0 && (!self.input.is_empty() || self.input_ended) {
                    events = input;
                } else if wait.events & op::wait_events::ANSWER != 0 && !self.settled.is_empty() {
                    events = op::wait_events::ANSWER;
                } else if wait.deadline == u64::MAX {
                    // Whoever waits for ever is given what it waits for, or the test would not end.
                    assert_ne!(input, 0, "{FOR_EVER}");
                    self.input_ended = true;
                    events = input;
                } else {
                    self.time = self.time.max(wait.deadline);
                }
                Reply::body(&op::Woken { events })
            }
            op::EXIT => {
                self.exit = Some(op::Exit::read_from_bytes(body).expect("Exit"));
                return None;
            }
            op::NOT_STARTED => {
                let (head, text) = NotStarted::read_from_prefix(body).expect("NotStarted");
                self.not_started = Some((head, String::from_utf8_lossy(text).into_owned()));
                return None;
            }
            op::THREAD_STARTED | op::EXECUTED | op::ENDED => {
                self.told.push((opcode, body.to_vec()));
                Reply::Body(Vec::new())
            }
            op::STARTED => Reply::Body(Vec::new()),
            op::LISTEN => {
                let listen = op::Listen::read_from_bytes(body).expect("Listen");
                let address = listen.address[..usize::try_from(listen.len).expect("small")].to_vec();
                let allowed = self.may_listen.as_ref().is_none_or(|list| list.contains(&address));
                if allowed { Reply::Body(Vec::new()) } else { Reply::Error(13) }
            }
            op::QUESTION => {
                let (question, program) = op::Question::read_from_prefix(body).expect("Question");
                self.questions.push((question, program.to_vec()));
                Reply::body(&if self.settled.is_empty() { op::Settled::default() } else { self.settled.remove(0) })
            }
            op::WITHDRAW => {
                self.withdrawn.push(op::Question::read_from_bytes(body).expect("Question").sequence);
                Reply::Body(Vec::new())
            }
            op::WINDOW_SIZE => Reply::body(&op::WindowSize { rows: 24, columns: 80, reserved: 0 }),
            _ => return None,
        })
    }
}

impl Platform for Machine {
    fn frame(&self, gpa: u64) -> &[u8; PAGE_SIZE] {
        if gpa >= WINDOW_START {
            return self.window.get(&gpa).expect("a page that is shown");
        }
        static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        self.frames[self.slot(gpa)].as_deref().unwrap_or(&ZEROS)
    }

    fn frame_mut(&mut self, gpa: u64) -> &mut [u8; PAGE_SIZE] {
        let slot = self.slot(gpa);
        self.frames[slot].get_or_insert_with(|| Box::new([0; PAGE_SIZE]))
    }

    fn service(&mut self) -> &mut [u8] {
        &mut self.service
    }

    fn doorbell(&mut self) {
        let (request, _) = ServiceRequest::read_from_prefix(&self.service).expect("a request");
        let message = self.service[MESSAGE_OFFSET..][..request.message_len as usize].to_vec();
        let segments = &request.segments[..request.segment_count as usize];
        for segment in segments {
            assert!(segment.len > 0 && segment.gpa % PAGE + u64::from(segment.len) <= PAGE, "a bad segment");
        }
        let (header, body) = fuse_abi::linux::fuse_in_header::read_from_prefix(&message).expect("a FUSE header");
        assert_eq!(header.len, request.message_len);
        self.requests.push(header.opcode);
        for &handle in &request.closed[..request.closed_count as usize] {
            self.server.close(handle);
        }
        let reply = if header.opcode >= op::FIRST {
            match self.serve(header.opcode, body, segments) {
                Some(reply) => reply,
                None => return,
            }
        } else if header.opcode == fuse_opcode::FUSE_SETUPMAPPING as u32 {
            self.show(header.nodeid, &fuse_setupmapping_in::read_from_bytes(body).expect("its arguments"))
        } else if header.opcode == fuse_opcode::FUSE_REMOVEMAPPING as u32 {
            let (count, list) = u32::read_from_prefix(body).expect("a count");
            let one = fuse_removemapping_one::read_from_bytes(list).expect("one slot");
            assert_eq!(count, 1);
            for page in (0..one.len).step_by(PAGE_SIZE) {
                self.window.remove(&(WINDOW_START + one.moffset + page)).expect("a page that is shown");
            }
            Reply::Body(Vec::new())
        } else {
            let written = self.gather(segments);
            let (reply, read) = self.server.serve(&header, body, &written);
            self.scatter(segments, &read);
            reply
        };
        let (error, body) = match reply {
            Reply::Body(body) => (0, body),
            Reply::Error(errno) => (-errno, Vec::new()),
        };
        let len = u32::try_from(16 + body.len()).expect("a short reply");
        let out = fuse_abi::linux::fuse_out_header { len, error, unique: header.unique };
        self.service[MESSAGE_OFFSET..MESSAGE_OFFSET + 16].copy_from_slice(out.as_bytes());
        self.service[MESSAGE_OFFSET + 16..MESSAGE_OFFSET + 16 + body.len()].copy_from_slice(&body);
        self.service[4..8].copy_from_slice(&len.to_le_bytes());
    }

    fn grant(&self) -> Grant {
        self.grant
    }

    fn tainted(&self) -> u64 {
        self.tainted
    }

    fn copies(&self) -> Vec<Copied> {
        self.copies.clone()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn reached(&mut self, limits: u32) {
        self.reached |= limits;
    }

    fn report(&mut self, result: CallResult) {
        self.reports.push(result);
    }

    fn kernel_entry(&self, index: usize) -> u64 {
        (0x1000 * index as u64) | 3
    }

    fn activate(&mut self, root: u64) {
        assert_eq!(root % PAGE, 0);
    }

    fn flush_page(&mut self, _: u64) {
        self.flushes += 1;
    }

    fn flush_all(&mut self) {
        self.flushes += 1;
    }

    fn set_fs_base(&mut self, base: u64) {
        self.fs_base = base;
    }

    fn set_gs_base(&mut self, _: u64) {}

    fn fpu(&mut self) -> &mut FpuState {
        &mut self.fpu
    }

    fn set_alarm(&mut self, at: u64) {
        self.alarm = at;
    }

    fn set_thread(&mut self, tid: u32) {
        self.thread = tid;
    }

    fn reset_fpu(&mut self) {
        self.fpu = FpuState([0; FPU_STATE]);
    }

    fn reference_time(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn hardware_capabilities(&self) -> u64 {
        0x0789_abcd
    }

    fn spare_heap(&self) -> SpareHeap {
        SpareHeap { left: self.heap_left, total: 1 << 20 }
    }

    fn fail(&mut self, reason: &str) -> ! {
        panic!("the shim gave up: {reason}");
    }
}
