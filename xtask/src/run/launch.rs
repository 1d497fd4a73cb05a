//! What is run and as what: the command line's program from the host's files, or an image's.
use super::obey;
use crate::cli::RunOptions;
use crate::exit::Failure;
use crate::layer;
use crate::pack::{Content, HostFile, Kind, Node, Tree};
use crate::policy::PolicyFiles;
use anyhow::Context;
use layers::image::Settings;
use policy::Policy;
use policy::process::Process;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The program's `PATH` unless something else says otherwise.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Its `HOME`.
const DEFAULT_HOME: &str = "HOME=/tmp";
/// Its `HOME` in an image that does not know its user.
const IMAGE_HOME: &str = "HOME=/";
/// Most bytes of an image's `/etc/passwd` or `/etc/group` that are read.
const MAX_USERS: u64 = 1 << 20;

/// Why nothing can be run.
const NO_PROGRAM: &str = "no program was named, neither on the command line nor in the policy (`args` in `[process]`)";

/// What is run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The command of each sandbox.
    pub(crate) commands: Vec<Vec<OsString>>,
    /// Working directory.
    pub(crate) cwd: PathBuf,
    /// Where a program without a slash is looked for.
    pub(crate) search_path: OsString,
    /// User and group.
    pub(crate) user: (u32, u32),
    /// At a terminal the environment says of what type it is.
    pub(super) terminal_type: bool,
    /// The environment, but for what a terminal adds.
    pub(super) env: Vec<Vec<u8>>,
}

impl Launch {
    /// What the options ask for, as far as the policy leaves it to them, and the tree that it starts from.
    pub(crate) fn new(options: &RunOptions, policy: &Policy, files: &PolicyFiles) -> Result<(Self, Tree), Failure> {
        let process = policy.process();
        let root = policy.mounts().root.as_ref().map(|root| files.on_host(root));
        let image = match (&options.image, root) {
            (None, None) => return Self::of_host(options, process),
            (None, Some(root)) => return Self::of_folder(options, process, &root),
            (Some(image), None) => image,
            (Some(image), Some(root)) => {
                let (image, root) = (image.display(), root.display());
                return Err(Failure::early(format!(
                    "--image {image}: the program's files are in {root} by the policy"
                )));
            }
        };
        let store = layer::store();
        let (stored, is_new) = layer::image(&store, image)?;
        if is_new && options.verbose {
            eprintln!("cordon: imported {}", stored.id);
        }
        let mut tree = layer::tree(&store, &stored)?;
        layer::lay_all(&mut tree, &store, &options.layers)?;
        let launch = Self::of_image(options, process, &stored.settings()?, &tree)?;
        launch.make_directory(&mut tree, process)?;
        Ok((launch, tree))
    }

    /// With the files of a folder, as those of an image that says nothing of itself.
    fn of_folder(options: &RunOptions, process: &Process, root: &Path) -> Result<(Self, Tree), Failure> {
        if !root.is_dir() {
            return Err(Failure::early(format!("{}: the policy's root is no directory", root.display())));
        }
        let mut tree = Tree::without_host();
        for left_out in tree.lay_over(root)? {
            eprintln!("cordon: warning: {} is a device or socket: left out", left_out.display());
        }
        let launch = Self::of_image(options, process, &Settings::default(), &tree)?;
        launch.make_directory(&mut tree, process)?;
        Ok((launch, tree))
    }

    fn of_host(options: &RunOptions, process: &Process) -> Result<(Self, Tree), Failure> {
        let here = std::env::current_dir().context("the working directory is gone")?;
        obey::contradictions(options, process, &here)?;
        let command = own_command(options, process).ok_or_else(|| Failure::early(NO_PROGRAM))?;
        let mut launch = Self {
            commands: commands(options, command),
            cwd: options.cwd.as_ref().map_or_else(|| here.clone(), |directory| here.join(directory)),
            search_path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
            user: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            terminal_type: true,
            env: environment([DEFAULT_HOME.into(), DEFAULT_PATH.into()].into(), process, &options.env)?,
        };
        obey::obey(&mut launch, process);
        let mut tree = Tree::new();
        layer::lay_all(&mut tree, &layer::store(), &options.layers)?;
        if process.cwd.is_some() {
            launch.make_directory(&mut tree, process)?;
        }
        Ok((launch, tree))
    }

    /// As Docker starts an image: the entry point with the image's arguments or those of the command line.
    fn of_image(options: &RunOptions, process: &Process, settings: &Settings, tree: &Tree) -> Result<Self, Failure> {
        let words = |list: &Option<Vec<String>>| list.iter().flatten().map(OsString::from).collect::<Vec<_>>();
        let command = match own_command(options, process) {
            Some(command) if options.command.is_empty() => command,
            arguments => {
                let mut command = words(&settings.entrypoint);
                command.extend(arguments.unwrap_or_else(|| words(&settings.cmd)));
                command
            }
        };
        if command.is_empty() {
            return Err(Failure::early("the image has no program of its own: name one"));
        }
        let user = User::find(settings.user.as_deref().unwrap_or_default(), tree)?;
        let home = user.home.map_or(IMAGE_HOME.into(), |home| [b"HOME=", home.as_slice()].concat());
        let defaults = vec![home, DEFAULT_PATH.into()];
        let of_image: Vec<OsString> = settings.env.iter().flatten().map(OsString::from).collect();
        let env = environment(overridden(defaults, &of_image)?, process, &options.env)?;
        let directory = Path::new("/").join(settings.working_dir.as_deref().unwrap_or_default());
        obey::contradictions(options, process, &directory)?;
        let mut launch = Self {
            commands: commands(options, command),
            cwd: directory.join(options.cwd.as_deref().unwrap_or(Path::new(""))),
            search_path: OsString::new(),
            user: (user.uid, user.gid),
            terminal_type: true,
            env,
        };
        obey::obey(&mut launch, process);
        launch.search_path = OsString::from_vec(launch.variable(b"PATH=").unwrap_or_default().to_vec());
        Ok(launch)
    }

    /// Sees to it that there is the working directory.
    fn make_directory(&self, tree: &mut Tree, process: &Process) -> Result<(), Failure> {
        match (tree.ensure_directory(&self.cwd), process.place("cwd")) {
            (Ok(_), _) => Ok(()),
            (Err(why), Some(place)) => Err(Failure::early(format!("{place}: the working directory {why}"))),
            (Err(why), None) => Err(why.into()),
        }
    }

    /// The value of the variable whose name, with its `=`, this is.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.env.iter().find_map(|pair| pair.strip_prefix(name))
    }

    /// The program's environment.
    pub(crate) fn environment(&self, terminal: bool) -> Vec<Vec<u8>> {
        let mut env = self.env.clone();
        if let (true, Some(term)) = (
            terminal && self.terminal_type && !env.iter().any(|pair| pair.starts_with(b"TERM=")),
            std::env::var_os("TERM"),
        ) {
            env.push([b"TERM=", term.as_bytes()].concat());
        }
        env
    }
}

/// What is run if neither the image nor anybody else says something: the command line's program, or else the policy's.
fn own_command(options: &RunOptions, process: &Process) -> Option<Vec<OsString>> {
    if !options.command.is_empty() {
        return Some(options.command.clone());
    }
    process.args.as_ref().map(|args| args.iter().map(OsString::from).collect())
}

/// The command of each sandbox, of which the first ones run `command`.
fn commands(options: &RunOptions, command: Vec<OsString>) -> Vec<Vec<OsString>> {
    let mut commands = vec![command; options.copies.into()];
    commands.extend(options.beside.iter().map(|words| words.0.clone()));
    commands
}

/// An environment, little by default so that nothing of this one leaks in, with what the policy passes on and then what was asked for over it.
fn environment(defaults: Vec<Vec<u8>>, process: &Process, asked: &[OsString]) -> Result<Vec<Vec<u8>>, Failure> {
    overridden(overridden(defaults, &obey::passed(process, std::env::vars_os()))?, asked)
}

/// Variables with others over them.
fn overridden(mut all: Vec<Vec<u8>>, asked: &[OsString]) -> Result<Vec<Vec<u8>>, Failure> {
    for pair in asked {
        let pair = pair.as_bytes();
        let name_len = match pair.iter().position(|b| *b == b'=') {
            Some(len) if len > 0 => len,
            _ => {
                return Err(Failure::early(format!("--env {}: write NAME=VALUE", String::from_utf8_lossy(pair))));
            }
        };
        let name = &pair[..=name_len];
        match all.iter_mut().find(|known| known.starts_with(name)) {
            Some(known) => *known = pair.to_vec(),
            None => all.push(pair.to_vec()),
        }
    }
    Ok(all)
}

/// Who runs an image's program.
struct User {
    uid: u32,
    gid: u32,
    home: Option<Vec<u8>>,
}

impl User {
    /// Finds `user`, `user:group`, or numbers in their places, in the image's own files (passwd(5), group(5)). Without any: root.
    fn find(wanted: &str, tree: &Tree) -> Result<Self, Failure> {
        let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        let user = if user.is_empty() { "0" } else { user };
        let unknown = |what: &str, name: &str| Failure::early(format!("the image has no {what} {name:?}"));
        let passwd = lines(tree, "/etc/passwd");
        let entry = passwd.iter().map(|line| fields(line)).find(|entry| is_named(entry, user));
        let entry = entry.unwrap_or_default();
        let number =
            |entry: &[&[u8]], at: usize| entry.get(at).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let uid = user.parse().ok().or_else(|| number(&entry, 2)).ok_or_else(|| unknown("user", user))?;
        let gid = match group {
            Some(group) => {
                let groups = lines(tree, "/etc/group");
                let entry =
                    groups.iter().map(|line| fields(line)).find(|entry| is_named(entry, group)).unwrap_or_default();
                group.parse().ok().or_else(|| number(&entry, 2)).ok_or_else(|| unknown("group", group))?
            }
            None => number(&entry, 3).unwrap_or(0),
        };
        Ok(Self { uid, gid, home: entry.get(5).filter(|home| !home.is_empty()).map(|home| home.to_vec()) })
    }
}

/// Whether an entry of passwd or group is of this name or number.
fn is_named(entry: &[&[u8]], name: &str) -> bool {
    entry.first() == Some(&name.as_bytes()) || entry.get(2) == Some(&name.as_bytes())
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b':').collect()
}

/// The lines of a file of the tree; none if it is not there or cannot be read.
fn lines(tree: &Tree, path: &str) -> Vec<Vec<u8>> {
    let Some(Node { kind: Kind::File(Content::Host(file)), .. }) = tree.node(Path::new(path)) else {
        return Vec::new();
    };
    let text = read(file).unwrap_or_default();
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn read(file: &HostFile) -> std::io::Result<Vec<u8>> {
    let mut from = File::open(&file.path)?;
    from.seek(SeekFrom::Start(file.offset))?;
    let mut bytes = Vec::new();
    from.take(file.len.min(MAX_USERS)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_small_and_can_be_overridden() {
        let defaults = || vec![DEFAULT_HOME.into(), DEFAULT_PATH.into()];
        let asked = ["A=1".into(), "PATH=/x".into(), "A=2".into()];
        let env = overridden(defaults(), &asked).unwrap();
        assert_eq!(env, [DEFAULT_HOME.into(), b"PATH=/x".to_vec(), b"A=2".to_vec()]);
        assert!(overridden(defaults(), &["A".into()]).is_err());
        assert!(overridden(defaults(), &["=x".into()]).is_err());
    }

    fn launch(options: &[&str], settings: &Settings, tree: &Tree) -> Result<Launch, Failure> {
        let options = crate::cli::parsed_run(["--image", "x"].iter().chain(options).map(ToString::to_string));
        Launch::of_image(&options, &Process::default(), settings, tree)
    }

    /// A tree with an /etc/passwd and an /etc/group.
    fn with_users(directory: &Path) -> Tree {
        let etc = directory.join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n").unwrap();
        std::fs::write(etc.join("group"), "root:x:0:\nweb:x:44:\nadm:x:4:\n").unwrap();
        let mut tree = Tree::without_host();
        tree.lay_over(directory).unwrap();
        tree
    }

    #[test]
    fn an_image_starts_as_docker_starts_it() {
        let directory = tempfile::tempdir().unwrap();
        let tree = with_users(directory.path());
        let settings = Settings {
            user: Some("web".into()),
            env: Some(vec!["PATH=/opt".into(), "A=1".into()]),
            entrypoint: Some(vec!["/bin/app".into()]),
            cmd: Some(vec!["serve".into()]),
            working_dir: Some("/srv".into()),
        };
        let own = launch(&[], &settings, &tree).unwrap();
        assert_eq!((own.commands, own.user), (vec![vec!["/bin/app".into(), "serve".into()]], (33, 44)));
        assert_eq!((own.cwd.as_path(), own.search_path.as_os_str()), (Path::new("/srv"), "/opt".as_ref()));
        assert_eq!(own.env, [b"HOME=/srv".as_slice(), b"PATH=/opt", b"A=1"]);
        let other = launch(&["--env", "A=2", "--cwd", "sub", "--copies", "2", "--", "-x"], &settings, &tree).unwrap();
        assert_eq!(other.commands, vec![vec![OsString::from("/bin/app"), "-x".into()]; 2]);
        assert_eq!((other.cwd.as_path(), &other.env[2]), (Path::new("/srv/sub"), &b"A=2".to_vec()));
        assert!(launch(&[], &Settings::default(), &tree).is_err(), "there is nothing to run");
    }

    #[test]
    fn users_are_the_images_own() {
        let directory = tempfile::tempdir().unwrap();
        let tree = with_users(directory.path());
        let user = |name: &str| User::find(name, &tree).map(|user| (user.uid, user.gid)).ok();
        assert_eq!((user(""), user("web"), user("33")), (Some((0, 0)), Some((33, 44)), Some((33, 44))));
        assert_eq!((user("web:adm"), user("5:6"), user("77")), (Some((33, 4)), Some((5, 6)), Some((77, 0))));
        assert_eq!((user("nobody"), user("web:none")), (None, None));
    }
}
