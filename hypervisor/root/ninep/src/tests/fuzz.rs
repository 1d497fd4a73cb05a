//! Answers of all kinds, spoiled in all ways, to all requests.
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use seeded::Random;

use super::sample;
use crate::double::Folder;
use crate::{Client, Error, Fid, Lost, MESSAGE_MAX, NAME_MAX, SetStat, SetTime, Time, Transport, open};

/// Type of `Rreaddir`.
const READDIR_REPLY: u8 = 41;

/// A byte: often one that means something.
fn byte(random: &mut Random) -> u8 {
    let any = random.next().to_le_bytes()[0];
    [0, 1, 2, 7, 0x7f, 0x80, 0xff, b'/', b'.', any][random.below(10)]
}

/// A message that is spoiled: mostly in one way. Nothing: it is not sent.
fn spoil(random: &mut Random, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let at = random.below(message.len());
    match random.below(20) {
        10.. if random.below(10) != 0 => {}
        4 | 5 => {
            for _ in 0..=random.below(3) {
                let at = random.below(message.len());
                message[at] = byte(random);
            }
        }
        6 => message.truncate(at),
        7 => {
            let extreme =
                [[0xff; 8], [0; 8], [0, 0, 0, 0, 0, 0, 0, 0x80], [0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]][random.below(4)];
            let width = [2, 4, 8][random.below(3)].min(message.len() - at);
            message[at..at + width].copy_from_slice(&extreme[..width]);
        }
        8 => {
            message[4] = [7, 9, 13, READDIR_REPLY, 101, 111, 117, 119, 121, 0][random.below(10)];
        }
        9 => message[5 + random.below(2)] ^= 1 << random.below(8),
        0 => {
            message.truncate(7);
            let most = [4, 40, 400, 70_000][random.below(4)];
            let len = random.below(most);
            message.extend((0..len).map(|_| byte(random)));
        }
        1 => {
            message.truncate(7);
            message[4] = 7;
            message.extend_from_slice(&u32::try_from(random.next() % 5000).unwrap().to_le_bytes());
        }
        2 if message[4] == READDIR_REPLY => list(random, &mut message),
        2 => message.extend_from_slice(&[0; 3]),
        _ => return None,
    }
    if random.below(8) != 0 {
        let len = u32::try_from(message.len()).unwrap();
        if let Some(size) = message.first_chunk_mut() {
            *size = len.to_le_bytes();
        }
    }
    Some(message)
}

/// A listing of names that are none, that come twice, that reach behind the end.
fn list(random: &mut Random, message: &mut Vec<u8>) {
    message.truncate(11);
    for _ in 0..random.below(12) {
        message.push(byte(random));
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&(random.next() % 4).to_le_bytes());
        message.extend_from_slice(&[byte(random), 0, 0, 0, 0, 0, 0, 0, byte(random)]);
        let name = [&b".."[..], b".", b"", b"a/b", b"a\0", b"same", b"same", &[b'n'; 300]][random.below(8)];
        let len = if random.below(6) == 0 { usize::from(byte(random)) } else { name.len() };
        message.extend_from_slice(&u16::try_from(len).unwrap().to_le_bytes());
        message.extend_from_slice(name);
    }
    let count = u32::try_from(message.len() - 11).unwrap();
    message[7..11].copy_from_slice(&count.to_le_bytes());
}

/// A device that now and then says another length than it has written.
#[derive(Debug)]
struct Lying {
    folder: Folder,
    random: Random,
    /// How many answers are as they should be before that.
    good: u32,
}

impl Transport for Lying {
    fn exchange(&mut self, request: &[u8], answer: &mut [u8]) -> Result<usize, Lost> {
        let len = self.folder.exchange(request, answer)?;
        if self.good > 0 {
            self.good -= 1;
            return Ok(len);
        }
        Ok(if self.random.below(60) == 0 { self.random.below(2 * MESSAGE_MAX) } else { len })
    }
}

/// One request, whose result keeps to what it promises.
fn ask(client: &mut Client<Lying>, random: &mut Random, fids: &mut Vec<Fid>) -> Result<(), Error> {
    if fids.len() > 8 {
        client.clunk(fids.swap_remove(random.below(8) + 1));
    }
    let other = random.below(fids.len());
    let fid = &fids[random.below(fids.len())];
    let name = [&b"file"[..], b"dir", b"link", b"new", b"none"][random.below(5)];
    match random.below(20) {
        0 => client
            .stat(fid)
            .map(|stat| assert!(i64::try_from(stat.size).is_ok() && stat.mtime.nanoseconds < 1_000_000_000)),
        1 => client.read_link(fid).map(|target| assert!((1..4096).contains(&target.len()) && !target.contains(&0))),
        2 => client.open(fid, open::READ).map(drop),
        3 => client.read(fid, random.next(), 100).map(|bytes| assert!(bytes.len() <= 100)),
        4 => client.write(fid, random.next() % 5000, b"abc").map(|written| assert!(written <= 3)),
        5 => {
            let at = SetTime::At(Time { seconds: -1, nanoseconds: 5 });
            client.set_stat(fid, &SetStat { size: Some(random.next() % 5000), mtime: Some(at), ..SetStat::default() })
        }
        6 => client.stat_fs(fid).and_then(|_| client.identify(fid)).map(drop),
        7 => client.sync(fid),
        8 | 9 => {
            let mut listing = client.read_dir(fid, random.next() % 8)?;
            let mut bytes = 0;
            for item in listing.by_ref() {
                let name = item?.name;
                assert!((1..=NAME_MAX).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
                bytes += name.len();
            }
            assert!(bytes <= MESSAGE_MAX);
            Ok(())
        }
        10 => client.make_directory(fid, name, 0o755),
        11 => client.make_node(fid, name, 0o010_644),
        12 => client.make_symlink(fid, name, b"target"),
        13 => client.link(fid, &fids[other], name),
        14 => client.rename((fid, name), (&fids[other], b"moved")),
        15 => client.remove(fid, name, random.below(2) == 0),
        16 => client.attach().map(|(fid, _)| fids.push(fid)),
        17 => client.duplicate(fid).map(|fid| fids.push(fid)),
        18 => {
            let directory = client.duplicate(fid)?;
            client.create(directory, name, 0o600).map(|(fid, _)| fids.push(fid))
        }
        _ => client.walk(fid, name).map(|(fid, _)| fids.push(fid)),
    }
}

/// Any answer to any request ends in a result. How many requests were made.
fn fuzz(sessions: u64) -> u64 {
    let (mut begun, mut good, mut host, mut nonsense, mut silent) = (0, 0, 0, 0, 0);
    let mut random = Random(1);
    for _ in 0..sessions {
        let folder = sample();
        let mut bad = Random(random.next());
        // The first messages of a session are spoiled, too, but not of each.
        let mut good_ones = if random.below(4) == 0 { 0 } else { 2 };
        let lying = Lying { folder: folder.clone(), random: Random(random.next()), good: good_ones };
        folder.spoil(Box::new(move |message| {
            if good_ones > 0 {
                good_ones -= 1;
                return Some(message);
            }
            spoil(&mut bad, message)
        }));
        let Ok(mut client) = Client::connect(lying) else { continue };
        let mut fids = match client.attach() {
            Ok((root, _)) => vec![root],
            Err(_) => continue,
        };
        begun += 1;
        let mut told = 0;
        for _ in 0..60 {
            match ask(&mut client, &mut random, &mut fids) {
                Ok(()) => good += 1,
                Err(Error::Host(number)) => host += u64::from((1..4096).contains(&number)),
                Err(Error::Nonsense(_)) => nonsense += 1,
                Err(Error::NoAnswer) => silent += 1,
                Err(Error::TooManyFids) => panic!("of so few files"),
            }
            told += u32::from(client.take_complaint().is_some());
        }
        assert!(told <= 16);
    }
    assert!(begun > sessions / 2 && [good, host, nonsense, silent].iter().all(|kind| *kind > begun));
    good + host + nonsense + silent
}

#[test]
fn any_answer_ends_in_a_result() {
    fuzz(300);
}

#[test]
#[ignore = "long: minutes; `cargo test --release -p ninep -- --ignored --nocapture`"]
fn any_answer_ends_in_a_result_for_long() {
    std::println!("{} requests", fuzz(300_000));
}
