//! `cargo xtask run`: programs, each in its own partition.
mod binds;
mod diff;
mod launch;
mod obey;
mod outputs;
mod places;
mod report;
mod session;
mod terminal;
mod watch;

use crate::cli::{Accel, RunOptions};
use crate::events::{self, Asker, Observers, Way};
use crate::exit::Failure;
use crate::images::{self, Images};
use crate::pack::{self, Contents, Packed, Request, Tree};
use crate::policy::{Container, PolicyFiles};
use crate::qemu::{self, Machine};
use crate::workspace;
use anyhow::Context;
pub(crate) use binds::BindOption;
use binds::Binds;
pub(crate) use binds::device;
use bundle::{MAX_SANDBOXES, PolicyFile, Program, RunConfig};
use launch::Launch;
use policy::Policy;
use policy::quotas::Quota;
pub(crate) use report::{printable, say};
use rustix::termios;
use session::Session;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
pub(crate) use watch::Digests;
use watch::Watch;

/// The policy that holds when none is given.
const DEFAULT_POLICY: &str = "policies/default.toml";
/// Memory beside the sandboxes' and the bundle's: hypervisor, root and what the firmware keeps.
const OVERHEAD: u64 = 96 << 20;
/// What the root and the hypervisor keep of each sandbox, at most.
const OVERHEAD_EACH: u64 = 4 << 20;

/// Runs a program as the options say; the exit code is the program's or says what became of it.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Failure> {
    if options.sandboxes() > MAX_SANDBOXES {
        return Err(Failure::early(format!("{} sandboxes are too many: at most {MAX_SANDBOXES}", options.sandboxes())));
    }
    let policy = read_policy(options)?;
    places::check(options, &policy)?;
    let qemu = qemu::require()?;
    let compiled = policy.compiled()?;
    let (launch, tree) = Launch::new(options, &compiled, &policy)?;
    let mut packed =
        pack_program(options, &launch, tree).map_err(|failure| failure.or_not_found(|| file_of_trace(options)))?;
    let of_policy = compiled.mounts().binds.iter().map(|bind| BindOption::of_policy(bind, policy.on_host(&bind.host)));
    let binds: Vec<BindOption> = of_policy.chain(options.binds.iter().cloned()).collect();
    let binds = Binds::new(&binds, &mut packed.tree)?;
    let images = images::prepare(options.no_build, options.verbose, options.shim.as_deref())?;
    let accel = qemu::choose(options.accel);
    if accel != Accel::Tcg && options.accel == Accel::Auto {
        eprintln!("cordon: using {}", report::accel_name(accel));
    }
    let asker = asker(options, &policy, compiled.asks())?;
    let (binds_config, ask) = (binds.config(), asker.way() != Way::Nobody);
    let config = RunConfig { binds: binds_config, ask, ..configuration(options, &launch, &packed, &compiled)? };
    let directory = Directory::new(options.keep)?;
    // From here on signals are ours to handle: the directory is removed whatever comes.
    let run = events::Run {
        commands: &launch.commands,
        policy_name: policy.name(),
        policy: &policy.text(),
        limits: compiled.quotas(),
    };
    let watched = options.policy.as_deref().filter(|_| options.watch_policy);
    let watch = watched.map(|path| Watch::new(path, Container::with(&options.container), &policy)).transpose()?;
    let digests = watch.as_ref().map(Watch::digests).unwrap_or_default();
    let observers = Observers::new(options, &run, digests, &asker)?;
    let session = Session::new(options, directory.path(), observers, watch, asker)?;
    // Who keeps the directory wants the bundle in it.
    let cache = (!options.keep).then(|| workspace::target_dir("bundles"));
    let policy_files = policy.packed();
    let contents = contents(&images, &policy_files, &config, &packed);
    let bundle = pack::write(directory.path(), cache.as_deref(), &contents)?;
    let machine = Machine {
        accel,
        kernel: &images.hypervisor,
        module: Some(&bundle.path),
        command_line: &options.append,
        memory_mib: machine_memory(config.memory, options.sandboxes(), bundle.len).div_ceil(1 << 20),
        directory: directory.path(),
        extra: &binds.devices().chain(options.qemu_args.iter().cloned()).collect::<Vec<_>>(),
    };
    let command = machine.command(&qemu);
    if options.verbose {
        eprintln!("cordon: bundle of {} bytes; {command:?}", bundle.len);
    }
    let ended = session.run(command)?;
    Ok(report::report(&ended, options, accel, directory.path()))
}

/// What goes into the bundle.
fn contents<'a>(images: &'a Images, policy: &'a [PolicyFile], run: &'a RunConfig, packed: &'a Packed) -> Contents<'a> {
    Contents { root: &images.root, shim: &images.shim, policy, run, tree: &packed.tree }
}

/// Most memory that the files which a program writes get beside the sandbox's own, in bytes.
const MAX_FILES: u64 = 1 << 30;

/// Memory of the whole machine: each sandbox's with half as much for the files that it writes and something for what the root and the
/// hypervisor keep of it, the bundle's, an index of whose files the root makes, and the rest. QEMU takes what is touched only.
fn machine_memory(sandbox: u64, sandboxes: usize, bundle: u64) -> u64 {
    let each = sandbox + (sandbox / 2).min(MAX_FILES) + OVERHEAD_EACH;
    each.saturating_mul(sandboxes as u64) + bundle + bundle / 4 + OVERHEAD
}

/// Who answers the questions of rules that ask. `asks`: the policy has such rules.
fn asker(options: &RunOptions, policy: &PolicyFiles, asks: bool) -> Result<Asker, Failure> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let way = match &options.answers {
        _ if Observers::dry_run(options) => Way::Nobody,
        Some(_) => Way::File,
        None if is_terminal => Way::Terminal,
        None => Way::Nobody,
    };
    if way == Way::Nobody && asks && !Observers::dry_run(options) {
        eprintln!(
            "cordon: nobody is there to be asked (no terminal, and no --answers): rules that ask do what they say for that"
        );
    }
    let asker = Asker::new(way);
    if let Some(file) = &options.remember {
        asker.remember(file, policy.clone())?;
    }
    Ok(asker)
}

/// Reads and checks the policy; the root will read its text again.
fn read_policy(options: &RunOptions) -> Result<PolicyFiles, Failure> {
    let file = options.policy.as_deref();
    let default = workspace::root().join(DEFAULT_POLICY);
    let name = file.unwrap_or(Path::new(DEFAULT_POLICY)).display().to_string();
    PolicyFiles::read(file.unwrap_or(&default), &name, &Container::with(&options.container))
}

/// What to tell who wrote `--trace FILE`, which is a program called FILE.
fn file_of_trace(options: &RunOptions) -> Option<String> {
    let (trace, [first, _, ..]) = (options.trace.as_ref()?, options.command.as_slice()) else { return None };
    let name = first.display();
    (trace.as_os_str() == "-").then(|| format!("; if that is the file for the trace, write --trace={name}"))
}

/// Packs the program and its files.
fn pack_program(options: &RunOptions, launch: &Launch, tree: Tree) -> Result<Packed, Failure> {
    let commands: Vec<&[OsString]> = launch.commands.iter().map(Vec::as_slice).collect();
    let library_path = launch.variable(b"LD_LIBRARY_PATH=");
    let request = Request {
        commands: &commands,
        cwd: &launch.cwd,
        search_path: &launch.search_path,
        library_path: library_path.map(OsStr::from_bytes),
        arg_files: !options.no_arg_files && tree.has_host(),
    };
    pack::pack(tree, &request)
}

/// What the root is told to run.
fn configuration(
    options: &RunOptions,
    launch: &Launch,
    packed: &Packed,
    policy: &Policy,
) -> Result<RunConfig, Failure> {
    let tty = [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
    let program = |path: &Path, command: &[OsString], tty: [bool; 3]| Program {
        path: path.as_os_str().as_bytes().to_vec(),
        args: command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: launch.environment(tty[0]),
        cwd: launch.cwd.as_os_str().as_bytes().to_vec(),
        tty,
    };
    // The terminal is the first one's.
    let ttys = std::iter::once(tty).chain(std::iter::repeat([false; 3]));
    let programs = packed.programs.iter().zip(&launch.commands).zip(ttys);
    Ok(RunConfig {
        programs: programs.map(|((path, command), tty)| program(path, command, tty)).collect(),
        memory: policy.quotas().get(Quota::Memory).map_or(options.memory(), |limit| limit.min(options.memory())),
        timeout_ms: options.timeout.unwrap_or(0),
        record: Observers::wanted(options),
        dry_run: Observers::dry_run(options),
        learn: options.learn.is_some(),
        ask: false,
        diff: options.diff.is_some(),
        window: window(),
        realtime_ns: obey::clock(policy.process(), SystemTime::now())?,
        seed: seed()?,
        uid: launch.user.0,
        gid: launch.user.1,
        setting: obey::setting(policy.process()),
        binds: Vec::new(),
    })
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
    use crate::exit;

    #[test]
    fn who_takes_the_file_of_the_trace_for_an_argument_is_told() {
        let said = |words: &[&str], code: u8| {
            let options = crate::cli::parsed_run(words.iter().map(ToString::to_string));
            Failure::new(code, "x: no such file").or_not_found(|| file_of_trace(&options)).to_string()
        };
        let told = "x: no such file; if that is the file for the trace, write --trace=x";
        assert_eq!(said(&["--trace", "x", "--", "true"], exit::NOT_FOUND), told);
        for (words, code) in [
            (&["--trace", "x", "true"][..], exit::CANNOT_EXECUTE),
            (&["--trace", "x"], exit::NOT_FOUND),
            (&["--trace=y", "x", "true"], exit::NOT_FOUND),
            (&["x", "true"], exit::NOT_FOUND),
        ] {
            assert_eq!(said(words, code), "x: no such file", "{words:?}");
        }
    }
}
