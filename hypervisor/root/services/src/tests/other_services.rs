//! Console, random bytes, waiting, ending.
use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::errno as e;
use proto::op;
use zerocopy::FromBytes;

use super::{SERVICE, Shim, bytes_of, message, with_shim};
use crate::Served;

fn code(error: u32) -> i32 {
    error.cast_signed()
}

fn console(shim: &mut Shim<'_>, opcode: u32, stream: u32) -> Result<u64, i32> {
    shim.ask::<op::Count>(opcode, 0, &bytes_of(&op::ConsoleIo { stream, reserved: 0 })).map(|count| count.bytes)
}

#[test]
fn output_goes_to_its_stream() {
    with_shim(|shim| {
        shim.use_segments(&[5, 4096, 4096]);
        shim.fill_page(0, b"hello");
        shim.fill_page(1, &[b'1'; 4096]);
        shim.fill_page(2, &[b'2'; 4096]);
        assert_eq!(console(shim, op::CONSOLE_WRITE, 1), Ok(8197));
        assert_eq!(shim.console.output, [&b"hello"[..], &[b'1'; 4096], &[b'2'; 4096]].concat());
        shim.use_segments(&[3]);
        assert_eq!(console(shim, op::CONSOLE_WRITE, 2), Ok(3));
        assert_eq!(shim.console.error, b"hel");
        assert_eq!(console(shim, op::CONSOLE_WRITE, 0), Err(code(e::EINVAL)));
        assert_eq!(console(shim, op::CONSOLE_WRITE, 3), Err(code(e::EINVAL)));
        shim.segments[0].gpa = 1 << 50;
        assert_eq!(console(shim, op::CONSOLE_WRITE, 1), Err(code(e::EFAULT)));
        shim.segments.clear();
        assert_eq!(console(shim, op::CONSOLE_WRITE, 1), Ok(0));
    });
}

#[test]
fn files_and_streams_share_what_may_be_written() {
    with_shim(|shim| {
        let file = shim.node("dir/file");
        let fh = shim.open(file, linux_raw_sys::general::O_RDWR).unwrap();
        shim.use_segments(&[10]);
        shim.services.allow_written(25);
        assert_eq!(console(shim, op::CONSOLE_WRITE, 1), Ok(10));
        assert_eq!((shim.write(fh, 0, 10, 0), shim.services.take_written_up()), (Ok(10), false));
        assert_eq!((shim.write(fh, 10_000, 10, 0), shim.services.take_written_up()), (Ok(5), true));
        let spent = Err(code(e::EDQUOT));
        assert_eq!((shim.write(fh, 0, 1, 0).map(u64::from), console(shim, op::CONSOLE_WRITE, 2)), (spent, spent));
        assert_eq!((shim.console.output.len(), shim.console.error.len()), (10, 0));
        // Reading goes on, and another policy counts what was written.
        assert_eq!(shim.read(fh, 10_000, 10), Ok(5));
        shim.services.allow_written(32);
        assert_eq!(console(shim, op::CONSOLE_WRITE, 2), Ok(7));
    });
}

#[test]
fn input_comes_as_it_is_there() {
    with_shim(|shim| {
        shim.use_segments(&[4, 4096]);
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Err(code(e::EAGAIN)));
        shim.console.input = vec![b'i'; 6];
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Ok(6));
        assert_eq!((shim.page(0, 5), shim.page(1, 3)), (b"iiii\0".to_vec(), b"ii\0".to_vec()));
        shim.console.input = vec![b'j'; 5000];
        shim.console.closed = true;
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Ok(4100));
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Ok(900));
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Ok(0));
        assert_eq!(console(shim, op::CONSOLE_READ, 1), Err(code(e::EINVAL)));
        shim.segments.clear();
        assert_eq!(console(shim, op::CONSOLE_READ, 0), Err(code(e::EINVAL)));
    });
}

#[test]
fn the_window_of_a_terminal() {
    with_shim(|shim| {
        assert_eq!(shim.call(op::WINDOW_SIZE, 0, &[]), Err(code(e::ENOTTY)));
        shim.console.window = Some((24, 80));
        let size: op::WindowSize = shim.ask(op::WINDOW_SIZE, 0, &[]).unwrap();
        assert_eq!((size.rows, size.columns), (24, 80));
        assert_eq!(shim.call(op::WINDOW_SIZE, 0, &[0]), Err(code(e::EINVAL)));
    });
}

#[test]
fn random_bytes_fill_the_segments() {
    with_shim(|shim| {
        shim.use_segments(&[3, 300]);
        let count: op::Count = shim.ask(op::RANDOM, 0, &[]).unwrap();
        assert_eq!(count.bytes, 303);
        assert_eq!(shim.page(0, 4), [1, 2, 3, 0]);
        let expected: Vec<u8> = (4..=255).chain(0..=47).chain([0]).collect();
        assert_eq!(shim.page(1, 301), expected);
    });
}

#[test]
fn a_wait_is_answered_later() {
    with_shim(|shim| {
        let wait = op::Wait { deadline: 77, events: op::wait_events::CONSOLE_INPUT };
        shim.put(op::WAIT, 0, &bytes_of(&wait));
        let served = shim.ring();
        assert!(matches!(served, Served::Wait(op::Wait { deadline: 77, events: 1 })), "{served:?}");
        assert_eq!(shim.reply_len(), 0);
        shim.services.finish_wait(SERVICE, &mut shim.memory, op::Woken { events: 1 });
        let woken = op::Woken::read_from_bytes(&shim.reply().unwrap()).unwrap();
        assert_eq!(woken.events, 1);
        let unknown = op::Wait { events: 8, ..wait };
        assert_eq!(shim.call(op::WAIT, 0, &bytes_of(&unknown)), Err(code(e::EINVAL)));
        let before = shim.memory.clone();
        shim.services.finish_wait(SERVICE, &mut shim.memory, op::Woken { events: 1 });
        assert_eq!(shim.memory.bytes(), before.bytes(), "there is no wait to answer");
    });
}

#[test]
fn starting_and_ending() {
    with_shim(|shim| {
        shim.put(op::STARTED, 0, &[]);
        assert!(matches!(shim.ring(), Served::Started));
        assert_eq!(shim.reply(), Ok(Vec::new()));
        let exit = op::Exit { status: 3, program_bytes: 4096, ..Default::default() };
        shim.put(op::EXIT, 0, &bytes_of(&exit));
        assert!(matches!(shim.ring(), Served::Exited(op::Exit { status: 3, signal: 0, program_bytes: 4096, .. })));
        for exit in [op::Exit { status: 256, ..exit }, op::Exit { signal: 65, ..exit }] {
            assert_eq!(shim.call(op::EXIT, 0, &bytes_of(&exit)), Err(code(e::EINVAL)));
        }
        let failed = op::NotStarted { code: 126, errno: 8 };
        shim.put(op::NOT_STARTED, 0, &message!(failed, *b"not an ELF\0"));
        let Served::NotStarted { code: 126, errno: 8, reason } = shim.ring() else { panic!("not understood") };
        assert_eq!(reason, "not an ELF");
        let elsewhere = op::NotStarted { code: 2, errno: 2 };
        shim.put(op::NOT_STARTED, 0, &message!(elsewhere, *b"no directory"));
        assert!(matches!(shim.ring(), Served::NotStarted { code: 2, errno: 2, .. }));
        let success = op::NotStarted { code: 0, errno: 0 };
        assert_eq!(shim.call(op::NOT_STARTED, 0, &bytes_of(&success)), Err(code(e::EINVAL)));
    });
}

#[test]
fn a_panic_is_cleaned_and_cut() {
    with_shim(|shim| {
        shim.put(op::SHIM_PANIC, 0, b"bad\x1b[2Jthing \xff\xfe\n");
        let Served::ShimPanic { text } = shim.ring() else { panic!("not understood") };
        assert_eq!(text, "bad\u{fffd}[2Jthing \u{fffd}\u{fffd}");
        shim.put(op::SHIM_PANIC, 0, &[b'x'; 10_000]);
        let Served::ShimPanic { text } = shim.ring() else { panic!("not understood") };
        assert_eq!(text.len(), 1024);
    });
}

#[test]
fn a_question_is_answered_by_the_caller() {
    with_shim(|shim| {
        let listen = |len| bytes_of(&op::Listen { address: [7; 128], len, reserved: 0 });
        assert_eq!(shim.call(op::LISTEN, 0, &listen(129)), Err(code(e::EINVAL)));
        assert_eq!(shim.call(op::LISTEN, 0, &[0; 4]), Err(code(e::EINVAL)));
        shim.put(op::LISTEN, 0, &listen(16));
        let Served::Listens(asked) = shim.ring() else { panic!("not asked") };
        assert_eq!((asked.len, asked.address), (16, [7; 128]));
        shim.services.finish_listen(SERVICE, &mut shim.memory, Err(files::Errno::EACCES));
        assert_eq!(shim.reply(), Err(code(e::EACCES)));
    });
}

#[test]
fn what_becomes_of_a_question_is_said_by_the_caller() {
    with_shim(|shim| {
        let question = op::Question { sequence: 9, process: 3, reserved: 0 };
        assert_eq!(shim.call(op::QUESTION, 0, &[0; 4]), Err(code(e::EINVAL)));
        shim.put(op::QUESTION, 0, &[bytes_of(&question), b"/bin/app".to_vec()].concat());
        let Served::Asks(asked, program) = shim.ring() else { panic!("not asked") };
        assert_eq!((asked.sequence, asked.process, program.as_slice()), (9, 3, &b"/bin/app"[..]));
        let settled = op::Settled { state: op::settled::FAILED, errno: 13 };
        shim.services.finish_question(SERVICE, &mut shim.memory, settled);
        assert_eq!(shim.reply(), Ok(bytes_of(&settled)));
        shim.put(op::WITHDRAW, 0, &bytes_of(&question));
        let Served::Withdraws(gone) = shim.ring() else { panic!("not withdrawn") };
        assert_eq!((gone.sequence, shim.reply()), (9, Ok(Vec::new())));
        assert_eq!(shim.call(op::WITHDRAW, 0, &[0; 3]), Err(code(e::EINVAL)));
    });
}
