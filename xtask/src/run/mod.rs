//! `cargo xtask run`: one program in its own partition.
mod outputs;
mod report;
mod session;
mod terminal;

use crate::cli::{Accel, RunOptions};
use crate::exit::Failure;
use crate::images::{self, Images};
use crate::pack::{self, Contents, Packed, Request};
use crate::qemu::{self, Machine};
use crate::workspace;
use anyhow::{Context, anyhow};
use bundle::{MAX_SANDBOXES, Program, RunConfig};
use rustix::termios;
use session::Session;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The policy that holds when none is given.
const DEFAULT_POLICY: &str = "policies/default.toml";
/// The program's `PATH` unless `--env` says otherwise.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Its `HOME`.
const DEFAULT_HOME: &str = "HOME=/tmp";
/// Memory beside the sandboxes' and the bundle's: hypervisor, root and what the firmware keeps.
const OVERHEAD: u64 = 96 << 20;
/// What the root and the hypervisor keep of each sandbox, at most.
const OVERHEAD_EACH: u64 = 4 << 20;

/// Runs a program as the options say; the exit code is the program's or says what became of it.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Failure> {
    if options.sandboxes() > MAX_SANDBOXES {
        return Err(Failure::early(format!("{} sandboxes are too many: at most {MAX_SANDBOXES}", options.sandboxes())));
    }
    let policy = Policy::read(options.policy.as_deref())?;
    let qemu = qemu::require()?;
    let cwd = working_directory(options)?;
    let packed = pack_program(options, &cwd)?;
    let images = images::prepare(options.no_build, options.verbose, options.shim.as_deref())?;
    let accel = qemu::choose(options.accel);
    if accel != Accel::Tcg && options.accel == Accel::Auto {
        eprintln!("cordon: using {}", report::accel_name(accel));
    }
    let config = configuration(options, &packed, &policy, &cwd)?;
    let directory = Directory::new(options.keep)?;
    // From here on signals are ours to handle: the directory is removed whatever comes.
    let session = Session::new(options, directory.path())?;
    // Who keeps the directory wants the bundle in it.
    let cache = (!options.keep).then(|| workspace::target_dir("bundles"));
    let contents = contents(&images, &policy, &config, &packed);
    let bundle = pack::write(directory.path(), cache.as_deref(), &contents)?;
    let machine = Machine {
        accel,
        kernel: &images.hypervisor,
        module: Some(&bundle.path),
        command_line: &options.append,
        memory_mib: machine_memory(options.memory(), options.sandboxes(), bundle.len).div_ceil(1 << 20),
        directory: directory.path(),
        extra: &options.qemu_args,
    };
    let command = machine.command(&qemu);
    if options.verbose {
        eprintln!("cordon: bundle of {} bytes; {command:?}", bundle.len);
    }
    let ended = session.run(command)?;
    Ok(report::report(&ended, options, accel, directory.path()))
}

/// What goes into the bundle.
fn contents<'a>(images: &'a Images, policy: &'a Policy, run: &'a RunConfig, packed: &'a Packed) -> Contents<'a> {
    Contents { root: &images.root, shim: &images.shim, policy: &policy.text, run, tree: &packed.tree }
}

/// Most memory that the files which a program writes get beside the sandbox's own, in bytes.
const MAX_FILES: u64 = 1 << 30;

/// Memory of the whole machine: each sandbox's with half as much for the files that it writes and something for what the root and the
/// hypervisor keep of it, the bundle's, an index of whose files the root makes, and the rest. QEMU takes what is touched only.
fn machine_memory(sandbox: u64, sandboxes: usize, bundle: u64) -> u64 {
    let each = sandbox + (sandbox / 2).min(MAX_FILES) + OVERHEAD_EACH;
    each.saturating_mul(sandboxes as u64) + bundle + bundle / 4 + OVERHEAD
}

/// A policy that has been found good.
struct Policy {
    name: String,
    text: String,
}

impl Policy {
    /// Reads and checks the policy file; the root will read the same text again.
    fn read(file: Option<&Path>) -> Result<Self, Failure> {
        let default = workspace::root().join(DEFAULT_POLICY);
        let path = file.unwrap_or(&default);
        let name = file.unwrap_or(Path::new(DEFAULT_POLICY)).display();
        let name = name.to_string();
        // One byte more than a policy may have: its reader says so.
        let most = policy::limits::MAX_TEXT as u64 + 1;
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .map_err(|error| Failure::early(format!("cannot read the policy {name}: {error}")))?;
        policy::parse_bytes(&name, &bytes).map_err(|error| Failure::early(error.to_string()))?;
        let text = String::from_utf8(bytes).context("the policy is no text")?;
        Ok(Self { name, text })
    }
}

/// The program's working directory.
fn working_directory(options: &RunOptions) -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().context("the working directory is gone")?;
    Ok(match &options.cwd {
        Some(directory) => here.join(directory),
        None => here,
    })
}

/// Packs the program and its files.
fn pack_program(options: &RunOptions, cwd: &Path) -> Result<Packed, Failure> {
    for layer in &options.layers {
        if !layer.is_dir() {
            let why = if layer.exists() { "not a directory" } else { "no such directory" };
            return Err(Failure::early(format!("--layer {}: {why}", layer.display())));
        }
    }
    let search_path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let commands: Vec<&[OsString]> = options.commands().collect();
    let library_path = options.env.iter().rev().find_map(|pair| pair.as_bytes().strip_prefix(b"LD_LIBRARY_PATH="));
    pack::pack(&Request {
        commands: &commands,
        layers: &options.layers,
        cwd,
        search_path: &search_path,
        library_path: library_path.map(OsStr::from_bytes),
        arg_files: !options.no_arg_files,
    })
}

/// What the root is told to run.
fn configuration(options: &RunOptions, packed: &Packed, policy: &Policy, cwd: &Path) -> Result<RunConfig, Failure> {
    let tty = [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| anyhow!("the clock of this machine stands before 1970"))?;
    let program = |path: &PathBuf, command: &[OsString], tty: [bool; 3]| -> Result<Program, Failure> {
        Ok(Program {
            path: path.as_os_str().as_bytes().to_vec(),
            args: command.iter().map(|word| word.as_bytes().to_vec()).collect(),
            env: environment(&options.env, tty[0])?,
            cwd: cwd.as_os_str().as_bytes().to_vec(),
            tty,
        })
    };
    // The terminal is the first one's.
    let ttys = std::iter::once(tty).chain(std::iter::repeat([false; 3]));
    let programs = packed.programs.iter().zip(options.commands()).zip(ttys);
    Ok(RunConfig {
        programs: programs.map(|((path, command), tty)| program(path, command, tty)).collect::<Result<_, _>>()?,
        policy_name: policy.name.clone(),
        memory: options.memory(),
        timeout_ms: options.timeout.unwrap_or(0),
        trace: options.trace.is_some(),
        window: window(),
        realtime_ns: u64::try_from(now.as_nanos()).context("the clock stands too late")?,
        seed: seed()?,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    })
}

/// The program's environment: little by default, so that nothing of this one leaks in; then what was asked for.
fn environment(asked: &[OsString], terminal: bool) -> Result<Vec<Vec<u8>>, Failure> {
    let mut all: Vec<Vec<u8>> = vec![DEFAULT_HOME.into(), DEFAULT_PATH.into()];
    if let (true, Some(term)) = (terminal, std::env::var_os("TERM")) {
        all.push([b"TERM=", term.as_bytes()].concat());
    }
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

/// Rows and columns of the terminal, if one of the streams is one.
pub(crate) fn window() -> [u16; 2] {
    let size = termios::tcgetwinsize(std::io::stdin())
        .or_else(|_| termios::tcgetwinsize(std::io::stdout()))
        .or_else(|_| termios::tcgetwinsize(std::io::stderr()));
    size.map_or([0, 0], |size| [size.ws_row, size.ws_col])
}

/// Fresh random bytes.
fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).context("cannot read /dev/urandom")?;
    Ok(seed)
}

/// The directory of a run: removed at the end unless it is to be kept.
struct Directory {
    path: PathBuf,
    _removed_on_drop: Option<tempfile::TempDir>,
}

impl Directory {
    fn new(keep: bool) -> Result<Self, Failure> {
        let temporary =
            tempfile::Builder::new().prefix("cordon-").tempdir().context("cannot make a temporary directory")?;
        if keep {
            let path = temporary.keep();
            eprintln!("cordon: keeping {}", path.display());
            return Ok(Self { path, _removed_on_drop: None });
        }
        Ok(Self { path: temporary.path().to_owned(), _removed_on_drop: Some(temporary) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_small_and_can_be_overridden() {
        let asked = ["A=1".into(), "PATH=/x".into(), "A=2".into()];
        let env = environment(&asked, false).unwrap();
        assert_eq!(env, [DEFAULT_HOME.into(), b"PATH=/x".to_vec(), b"A=2".to_vec()]);
        assert!(environment(&["A".into()], false).is_err());
        assert!(environment(&["=x".into()], false).is_err());
    }
}
