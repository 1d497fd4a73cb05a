//! The client against a server that answers well, badly, or not at all.
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::double::Folder;
use crate::{Client, Error, open};

mod fuzz;

fn sample() -> Folder {
    let folder = Folder::new();
    folder.file("file", b"some bytes");
    folder.directory("dir");
    folder.link("link", "file");
    for number in 0..10 {
        folder.file(&std::format!("dir/{number}"), b"");
    }
    folder
}

#[test]
fn a_folder_is_read() {
    let folder = sample();
    let mut client = Client::connect(folder.clone()).unwrap();
    let (root, qid) = client.attach().unwrap();
    assert!(qid.is_directory());
    let (file, _) = client.walk(&root, b"file").unwrap();
    let stat = client.stat(&file).unwrap();
    assert_eq!((stat.size, stat.mode), (10, 0o100_644));
    client.open(&file, open::READ).unwrap();
    assert_eq!(client.read(&file, 5, 100), Ok(&b"bytes"[..]));
    assert_eq!(client.read(&file, 10, 100), Ok(&b""[..]));
    let (link, _) = client.walk(&root, b"link").unwrap();
    assert_eq!(client.read_link(&link).unwrap(), b"file");
    assert_eq!(client.walk(&root, b"none"), Err(Error::Host(2)));
    let (dir, _) = client.walk(&root, b"dir").unwrap();
    client.open(&dir, open::READ | open::DIRECTORY).unwrap();
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let before = names.len();
        let mut answer = client.read_dir(&dir, offset).unwrap();
        names.extend(answer.by_ref().map(|item| item.unwrap().name.to_vec()));
        offset = answer.next;
        if names.len() == before {
            break;
        }
    }
    assert_eq!(names, (0..10).map(|number| std::format!("{number}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(folder.fids(), 4);
    [root, file, link, dir].into_iter().for_each(|fid| client.clunk(fid));
    assert_eq!((folder.fids(), client.take_complaint()), (0, None));
}

#[test]
fn what_is_written_is_there() {
    let folder = sample();
    let mut client = Client::connect(folder.clone()).unwrap();
    let (root, _) = client.attach().unwrap();
    let directory = client.duplicate(&root).unwrap();
    let (file, qid) = client.create(directory, b"new", 0o600).unwrap();
    assert_eq!(client.write(&file, 3, b"abc"), Ok(3));
    assert_eq!((folder.bytes("new").unwrap().as_slice(), qid.is_directory()), (&b"\0\0\0abc"[..], false));
    let directory = client.duplicate(&root).unwrap();
    assert_eq!(client.create(directory, b"new", 0o600), Err(Error::Host(17)));
    client.remove(&root, b"new", false).unwrap();
    assert!(folder.bytes("new").is_none());
}

/// An answer, bent by `bend`, as a lookup takes it.
fn walked(bend: impl FnMut(&mut Vec<u8>) + 'static) -> Result<(), Error> {
    let folder = sample();
    let mut client = Client::connect(folder.clone()).unwrap();
    let (root, _) = client.attach().unwrap();
    let mut bend = bend;
    folder.spoil(Box::new(move |mut message| {
        bend(&mut message);
        Some(message)
    }));
    client.walk(&root, b"file").map(drop)
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(walked(|_| {}), Ok(()));
    let bends: [fn(&mut Vec<u8>); 9] = [
        |message| message.clear(),
        |message| message.truncate(6),
        |message| message.push(0),
        |message| message[0] ^= 1,
        |message| message[4] = 1,
        |message| message[5] ^= 1,
        |message| message[7] = 2,
        |message| {
            message.pop();
            message[0] -= 1;
        },
        |message| {
            *message = [11, 0, 0, 0, 7, message[5], message[6], 0, 0, 0, 0].to_vec();
        },
    ];
    for (number, bend) in bends.into_iter().enumerate() {
        assert!(matches!(walked(bend), Err(Error::Nonsense(_))), "{number}");
    }
}

#[test]
fn names_are_names() {
    for bad in [&b"a/b"[..], b"", b"a\0", &[b'x'; 256]] {
        assert!(!crate::wire::is_entry(bad), "{bad:?}");
    }
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    assert!(crate::wire::is_entry(&all));
}

#[test]
fn complaints_are_few_and_numbers_in_doubt_are_not_used_again() {
    let folder = sample();
    let mut client = Client::connect(folder.clone()).unwrap();
    let (root, _) = client.attach().unwrap();
    for (silent, most) in [(true, 1), (false, 15)] {
        folder.spoil(Box::new(move |message| (!silent).then(|| message[1..].to_vec())));
        let mut told = 0;
        for _ in 0..100 {
            assert!(matches!(client.walk(&root, b"file"), Err(Error::NoAnswer | Error::Nonsense(_))));
            told += usize::from(client.take_complaint().is_some());
        }
        assert_eq!(told, most);
    }
    let held = folder.fids();
    folder.behave();
    client.walk(&root, b"file").unwrap();
    assert_eq!(folder.fids(), held + 1, "a number that the server may know was used for something else");
}
