//! Folders of the host that the program sees: `--bind HOST:GUEST[:ro|cow|rw][:merge][:except=PATH]…`.
//!
//! A single file can be bound with `:cow`: the program sees a copy that is made at the start.
//!
//! Each folder is served by QEMU's own 9P server, which follows no link that leads out of the folder; one that the program must not change is
//! served read-only by QEMU as well.
use crate::exit::Failure;
use crate::pack::Tree;
use anyhow::Context;
use bundle::{BindMode, MAX_BINDS};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Directories that are the sandbox's own: what is bound there would not be seen.
const OWN_TREES: [&str; 2] = ["/dev", "/proc"];

/// One `--bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindOption {
    host: PathBuf,
    guest: PathBuf,
    mode: BindMode,
    merge: bool,
    except: Vec<Vec<u8>>,
}

impl BindOption {
    /// A bind of the policy's, of this folder.
    pub(crate) fn of_policy(bind: &policy::mounts::Bind, host: PathBuf) -> Self {
        use policy::mounts::BindMode as Mode;
        let mode = match bind.mode {
            Mode::ReadOnly => BindMode::ReadOnly,
            Mode::CopyOnWrite => BindMode::CopyOnWrite,
            Mode::ReadWrite => BindMode::ReadWrite,
        };
        let except = bind.except.iter().map(|path| path.as_bytes().to_vec()).collect();
        Self { host, guest: PathBuf::from(&bind.at), mode, merge: bind.merge, except }
    }

    /// Reads the option's value.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, String> {
        let mut fields = text.as_bytes().split(|byte| *byte == b':');
        let path = |field: Option<&[u8]>| {
            field.filter(|field| !field.is_empty()).map(|field| PathBuf::from(OsStr::from_bytes(field)))
        };
        let (Some(host), Some(guest)) = (path(fields.next()), path(fields.next())) else {
            return Err("write HOST:GUEST, with :ro, :cow or :rw, :merge and :except=PATH behind it as wanted".into());
        };
        if guest.components().any(|part| !matches!(part, Component::RootDir | Component::Normal(_)))
            || !guest.is_absolute()
        {
            return Err(format!("{}: the place in the sandbox must be an absolute path without `..`", guest.display()));
        }
        if guest.parent().is_none() || OWN_TREES.iter().any(|own| guest.starts_with(own)) {
            return Err(format!("{}: nothing can be bound over /, /dev and /proc", guest.display()));
        }
        let mut bind = Self { host, guest, mode: BindMode::ReadOnly, merge: false, except: Vec::new() };
        let mut mode = None;
        for field in fields {
            bind.merge |= field == b"merge";
            match field {
                b"ro" | b"cow" | b"rw" if mode.is_some() => return Err("one of ro, cow and rw is enough".into()),
                b"ro" => mode = Some(BindMode::ReadOnly),
                b"cow" => mode = Some(BindMode::CopyOnWrite),
                b"rw" => mode = Some(BindMode::ReadWrite),
                b"merge" => {}
                _ => bind.except.push(exception(field)?),
            }
        }
        bind.mode = mode.unwrap_or_default();
        Ok(bind)
    }
}

/// The path in `except=PATH`, without slashes at its ends.
fn exception(field: &[u8]) -> Result<Vec<u8>, String> {
    let shown = String::from_utf8_lossy(field);
    let Some(path) = field.strip_prefix(b"except=") else {
        return Err(format!("`{shown}` is none of ro, cow, rw, merge and except=PATH"));
    };
    let path = Path::new(OsStr::from_bytes(path));
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.as_bytes()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("`{shown}`: write a path in the folder, without `..`"));
            }
        }
    }
    if names.is_empty() { Err(format!("`{shown}`: the folder itself cannot be hidden")) } else { Ok(names.join(&b'/')) }
}

/// All folders of a run.
#[derive(Debug, Default)]
pub(crate) struct Binds(Vec<(PathBuf, bundle::Bind)>);

impl Binds {
    /// Finds the folders, and makes the directories in the tree that they cover.
    pub(crate) fn new(options: &[BindOption], tree: &mut Tree) -> Result<Self, Failure> {
        if options.len() > MAX_BINDS {
            return Err(Failure::early(format!("{} binds are too many: at most {MAX_BINDS}", options.len())));
        }
        let mut binds: Vec<(PathBuf, bundle::Bind)> = Vec::new();
        let (files, folders): (Vec<&BindOption>, Vec<&BindOption>) =
            options.iter().partition(|option| option.host.is_file());
        for (number, option) in folders.into_iter().enumerate() {
            let host = folder(&option.host)?;
            let at = tree.ensure_directory(&option.guest)?;
            apart(&binds, &host, &at)?;
            let bind = bundle::Bind {
                tag: format!("bind{number}"),
                at: at.into_os_string().into_vec(),
                mode: option.mode,
                merge: option.merge,
                except: option.except.clone(),
            };
            binds.push((host, bind));
        }
        for option in files {
            copy(&binds, option, tree)?;
        }
        Ok(Self(binds))
    }

    /// What the root is told.
    pub(crate) fn config(&self) -> Vec<bundle::Bind> {
        self.0.iter().map(|(_, bind)| bind.clone()).collect()
    }

    /// QEMU's devices. Without binds there are none.
    pub(crate) fn devices(&self) -> impl Iterator<Item = OsString> {
        self.0.iter().flat_map(|(host, bind)| device(host, &bind.tag, bind.mode != BindMode::ReadWrite))
    }
}

/// QEMU's server for a folder, and the device by which a machine comes to it.
pub(crate) fn device(host: &Path, tag: &str, read_only: bool) -> [OsString; 4] {
    let mut server = OsString::from("local,security_model=none,multidevs=remap");
    if read_only {
        server.push(",readonly=on");
    }
    server.push(format!(",id={tag},path="));
    // QEMU's options end at a comma that is not doubled.
    server.push(OsString::from_vec(host.as_os_str().as_bytes().iter().flat_map(|byte| doubled(*byte)).collect()));
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}");
    ["-fsdev".into(), server, "-device".into(), device.into()]
}

/// Binds cannot be nested.
fn apart(binds: &[(PathBuf, bundle::Bind)], host: &Path, at: &Path) -> Result<(), Failure> {
    let meets = |(_, other): &&(PathBuf, bundle::Bind)| {
        let other = Path::new(OsStr::from_bytes(&other.at));
        at.starts_with(other) || other.starts_with(at)
    };
    let Some((other, _)) = binds.iter().find(meets) else { return Ok(()) };
    let (host, other, at) = (host.display(), other.display(), at.display());
    Err(Failure::early(format!("--bind {host}: at {at} it would meet {other}: binds cannot be nested")))
}

/// Puts a file of the host in its place in the tree.
fn copy(binds: &[(PathBuf, bundle::Bind)], option: &BindOption, tree: &mut Tree) -> Result<(), Failure> {
    let shown = option.host.display();
    if option.mode != BindMode::CopyOnWrite || option.merge || !option.except.is_empty() {
        let why = "a single file can only be bound with `cow`, as a copy that is made at the start";
        return Err(Failure::early(format!("--bind {shown}: {why}")));
    }
    let (Some(parent), Some(name)) = (option.guest.parent(), option.guest.file_name()) else {
        return Err(Failure::early(format!("--bind {shown}: it has no place")));
    };
    let at = tree.ensure_directory(parent)?.join(name);
    apart(binds, &option.host, &at)?;
    tree.place_host_file(&option.host, &at).map_err(|error| Failure::early(format!("--bind {shown}: {error:#}")))
}

fn doubled(byte: u8) -> impl Iterator<Item = u8> {
    std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 })
}

/// The folder itself, links followed once and for all.
fn folder(path: &Path) -> Result<PathBuf, Failure> {
    let why = match path.metadata() {
        // QEMU has to open it, and would say later, and less well, that it cannot.
        Ok(metadata) if metadata.is_dir() => path.read_dir().err().map(|error| error.to_string()),
        Ok(_) => Some("not a directory".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("no such directory".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    match why {
        Some(why) => Err(Failure::early(format!("--bind {}: {why}", path.display()))),
        None => Ok(path.canonicalize().with_context(|| format!("--bind {}", path.display()))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BindOption, String> {
        BindOption::parse(OsStr::new(text))
    }

    #[test]
    fn binds_are_read_only_unless_said_otherwise() {
        let plain = parse("a:/b").unwrap();
        assert_eq!((plain.host.as_path(), plain.guest.as_path()), (Path::new("a"), Path::new("/b")));
        assert_eq!((plain.mode, plain.merge, plain.except.len()), (BindMode::ReadOnly, false, 0));
        let all = parse("/x y:/b/c/:merge:except=/d//e/:rw:except=./f").unwrap();
        assert_eq!((all.mode, all.merge), (BindMode::ReadWrite, true));
        assert_eq!(all.except, [b"d/e".as_slice(), b"f"]);
        assert_eq!(parse("a:/b:cow").unwrap().mode, BindMode::CopyOnWrite);
    }

    #[test]
    fn bad_binds_are_refused() {
        let bad = [
            "",
            "a",
            "a:",
            ":/b",
            "a:b",
            "a:/b/../c",
            "a:/",
            "a:/dev",
            "a:/proc/x",
            "a:/b:",
            "a:/b:RO",
            "a:/b:ro:rw",
            "a:/b:except=",
            "a:/b:except=/",
            "a:/b:except=../c",
            "a:/b:merged",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    fn bound(options: &[(&Path, &str)]) -> Result<Binds, Failure> {
        let options: Vec<BindOption> = options
            .iter()
            .map(|(host, rest)| BindOption::parse(&[host.as_os_str(), OsStr::new(rest)].join(OsStr::new(":"))).unwrap())
            .collect();
        Binds::new(&options, &mut Tree::new())
    }

    #[test]
    fn folders_must_be_there_and_places_apart() {
        let directory = tempfile::tempdir().unwrap();
        let (here, file) = (directory.path(), directory.path().join("file"));
        std::fs::write(&file, "").unwrap();
        for bad in [[(here, "/a"), (here, "/a")], [(here, "/a/b"), (here, "/a")], [(here, "/a"), (here, "/a/b/c")]] {
            assert_eq!(bound(&bad).unwrap_err().code(), 2, "{bad:?}");
        }
        for bad in ["/a", "/a:rw", "/a:cow:except=x"] {
            assert_eq!(bound(&[(&file, bad)]).unwrap_err().code(), 2, "{bad}");
        }
        assert_eq!(bound(&[(&file, "/a/b:cow"), (here, "/a")]).unwrap_err().code(), 2, "nobody would see it");
        let option = BindOption::parse(&[file.as_os_str(), OsStr::new("/a/b:cow")].join(OsStr::new(":"))).unwrap();
        let mut tree = Tree::new();
        assert!(Binds::new(&[option], &mut tree).unwrap().config().is_empty());
        assert!(tree.contains(Path::new("/a/b")));
        assert_eq!(bound(&[(&here.join("none"), "/a")]).unwrap_err().code(), 2);
        assert_eq!(bound(&[(here, "/a/b"), (here, "/a/c"), (here, "/ab")]).unwrap().config().len(), 3);
        let many: Vec<String> = (0..=MAX_BINDS).map(|number| format!("/{number}")).collect();
        let many: Vec<(&Path, &str)> = many.iter().map(|place| (here, place.as_str())).collect();
        assert_eq!(bound(&many).unwrap_err().code(), 2);
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        let directory = tempfile::tempdir().unwrap();
        let comma = directory.path().join("a,b");
        std::fs::create_dir(&comma).unwrap();
        let devices: Vec<OsString> = bound(&[(&comma, "/a:rw"), (&comma, "/b:cow")]).unwrap().devices().collect();
        let text = |at: usize| devices[at].to_str().unwrap();
        assert!(text(1).ends_with("/a,,b") && !text(1).contains("readonly"), "{}", text(1));
        assert!(text(5).contains("readonly=on"), "the host's folder is safe from QEMU, too: {}", text(5));
        assert_eq!((devices.len(), text(7)), (8, "virtio-9p-pci,fsdev=bind1,mount_tag=bind1"));
    }
}
