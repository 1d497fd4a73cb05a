//! The program and its files: what was named on the command line, found on the host and packed for the machine.
mod apply;
mod bundle_file;
mod cache;
mod ld_cache;
mod libraries;
mod program;
mod tree;

pub(crate) use apply::Source as LayerSource;
pub(crate) use bundle_file::{Contents, write};
pub(crate) use tree::{Content, HostFile, Kind, Node, Tree};

use tree::Found;

use crate::apt;
use crate::exit::{CANNOT_EXECUTE, Failure, NOT_FOUND};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What to pack.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The programs and their arguments, as on the command line.
    pub(crate) commands: &'a [&'a [OsString]],
    /// Working directory: what relative names start from.
    pub(crate) cwd: &'a Path,
    /// `PATH`, for a program named without a slash.
    pub(crate) search_path: &'a OsStr,
    /// `LD_LIBRARY_PATH` that the program will see.
    pub(crate) library_path: Option<&'a OsStr>,
    /// Pack the files that arguments name.
    pub(crate) arg_files: bool,
}

/// What was packed.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The tree.
    pub(crate) tree: Tree,
    /// The path to execute of each command: as it was named if that was a path, so that the program sees no other name than on a host.
    pub(crate) programs: Vec<PathBuf>,
}

/// Trees of the host that are no files but windows into its kernel: arguments never pack from them.
const KERNEL_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Files left out of a layer that are named one by one.
const MAX_WARNINGS: usize = 5;

/// Lays a directory of the host over a tree. Warnings go to standard error.
pub(crate) fn lay_directory(tree: &mut Tree, directory: &Path) -> Result<(), Failure> {
    let left_out = tree.lay_over(directory)?;
    for path in left_out.iter().take(MAX_WARNINGS) {
        warn(&format!("{} is a device or socket: left out", path.display()));
    }
    if left_out.len() > MAX_WARNINGS {
        warn(&format!("and so are {} more of {}", left_out.len() - MAX_WARNINGS, directory.display()));
    }
    Ok(())
}

/// Packs into a tree, of an image or of layers or an empty one. Warnings go to standard error.
pub(crate) fn pack(mut tree: Tree, request: &Request<'_>) -> Result<Packed, Failure> {
    let library_path = request.library_path.map(|list| program::split_colons(list.as_bytes())).unwrap_or_default();
    let mut programs: Vec<PathBuf> = Vec::new();
    let mut packed = None;
    for &command in request.commands {
        // Copies of a command need nothing more.
        if let (true, Some(last)) = (packed == Some(command), programs.last()) {
            programs.push(last.clone());
            continue;
        }
        packed = Some(command);
        programs.push(import_command(&mut tree, command, request, &library_path)?);
    }
    // The working directory exists, whatever it holds; where it cannot be looked at, the program starts without it.
    if let Err(error) = tree.import(request.cwd) {
        warn(&format!("{error:#}"));
    }
    Ok(Packed { tree, programs })
}

/// Takes a command's program in, and the files that its arguments name. The path to execute.
fn import_command(
    tree: &mut Tree,
    command: &[OsString],
    request: &Request<'_>,
    library_path: &[Vec<u8>],
) -> Result<PathBuf, Failure> {
    let (program, arguments) = command.split_first().ok_or_else(|| Failure::early("no program was named"))?;
    let program = locate(tree, program, request)?;
    import_program(tree, &request.cwd.join(&program), library_path)?;
    if request.arg_files {
        for argument in arguments {
            import_argument(tree, argument, request.cwd, library_path);
        }
    }
    Ok(program)
}

/// Finds the program as a shell does: by its path, or by name in `PATH`.
fn locate(tree: &Tree, name: &OsStr, request: &Request<'_>) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let mut refused = None;
    for directory in std::env::split_paths(request.search_path) {
        let path = request.cwd.join(directory).join(name);
        if let Ok(Found::File { meta, .. }) = tree.find(&path) {
            if meta.mode & 0o111 != 0 {
                return Ok(path);
            }
            refused.get_or_insert(path);
        }
    }
    refused.ok_or_else(|| not_found(tree, Path::new(name), "command not found"))
}

/// There is no such program; where it would be one of this machine's, how to come by it.
fn not_found(tree: &Tree, program: &Path, why: &str) -> Failure {
    let advice = if tree.has_host() { apt::advice(program) } else { String::new() };
    Failure::new(NOT_FOUND, format!("{}: {why}{advice}", program.display()))
}

/// Takes the program in, with all that it needs to start.
fn import_program(tree: &mut Tree, path: &Path, library_path: &[Vec<u8>]) -> Result<(), Failure> {
    let cannot = |why: &str| Failure::new(CANNOT_EXECUTE, format!("{}: {why}", path.display()));
    let (file, meta, real) = match tree.import(path)? {
        Found::File { file, meta, path } => (file, meta, path),
        Found::Directory => return Err(cannot("is a directory")),
        Found::Special => return Err(cannot("is not a regular file")),
        Found::Missing => return Err(not_found(tree, path, "no such file")),
    };
    if meta.mode & 0o111 == 0 {
        return Err(cannot("permission denied (it is not executable)"));
    }
    if let Err(error) = std::fs::File::open(&file.path) {
        return Err(cannot(&format!("cannot be read: {error}")));
    }
    if !tree.has_host() {
        return Ok(());
    }
    for name in libraries::import_needs(tree, &file, &real, library_path)? {
        warn(&format!("{}, which {} needs, was not found", name, path.display()));
    }
    Ok(libraries::import_script_interpreter(tree, &file, library_path)?)
}

/// Takes in the regular file that an argument names, if it names one; an executable comes with its libraries.
fn import_argument(tree: &mut Tree, argument: &OsStr, cwd: &Path, library_path: &[Vec<u8>]) {
    if argument.is_empty() || argument.as_bytes().starts_with(b"-") {
        return;
    }
    let path = cwd.join(argument);
    let Ok(Found::File { file, meta, path: real }) = tree.find(&path) else {
        return;
    };
    if KERNEL_TREES.iter().any(|top| real.starts_with(top)) {
        return;
    }
    if let Err(error) = std::fs::File::open(&file.path) {
        warn(&format!("{} is not packed: {error}", path.display()));
        return;
    }
    let imported = tree.import(&path).and_then(|_| {
        if meta.mode & 0o111 != 0 {
            libraries::import_needs(tree, &file, &real, library_path)?;
        }
        Ok(())
    });
    if let Err(error) = imported {
        warn(&format!("{} is not packed: {error:#}", path.display()));
    }
}

/// A line for the user that does not stop anything.
fn warn(message: &str) {
    eprintln!("cordon: warning: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn request<'a>(commands: &'a [&'a [OsString]], cwd: &'a Path) -> Request<'a> {
        Request { commands, cwd, search_path: OsStr::new("/usr/bin:/bin"), library_path: None, arg_files: true }
    }

    /// Whether the path leads to a file of the tree alone.
    fn holds(tree: &Tree, path: &str) -> bool {
        tree.contains(Path::new(path))
    }

    #[test]
    fn a_dynamic_program_brings_its_interpreter_and_libc() {
        let command = ["/bin/cat".into(), "/etc/os-release".into()];
        let packed = pack(Tree::new(), &request(&[&command], Path::new("/"))).unwrap();
        assert_eq!(packed.programs, [Path::new("/bin/cat")]);
        for path in ["/bin/cat", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/etc/os-release"] {
            assert!(holds(&packed.tree, path), "{path}");
        }
        assert!(!holds(&packed.tree, "/etc/passwd"));
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let command = ["cat".into()];
        let packed = pack(Tree::new(), &request(&[&command], Path::new("/"))).unwrap();
        assert_eq!(packed.programs, [Path::new("/usr/bin/cat")]);
        let code = |command: &str| {
            let command = [command.into()];
            pack(Tree::new(), &request(&[&command], Path::new("/"))).unwrap_err().code()
        };
        assert_eq!(code("no-such-program"), NOT_FOUND);
        assert_eq!(code("/no/such/program"), NOT_FOUND);
        assert_eq!(code("/etc/passwd"), CANNOT_EXECUTE);
        assert_eq!(code("/usr"), CANNOT_EXECUTE);
        assert_eq!(code("/dev/null"), CANNOT_EXECUTE);
    }

    #[test]
    fn layers_hide_the_host_and_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        for layer in [&one, &two] {
            fs::create_dir_all(layer.join("app")).unwrap();
            fs::write(layer.join("app/run"), layer.as_os_str().as_bytes()).unwrap();
            fs::set_permissions(layer.join("app/run"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(one.join("only"), "").unwrap();
        symlink("app", one.join("alias")).unwrap();
        fs::create_dir(two.join("alias")).unwrap();
        fs::write(two.join("alias/more"), "").unwrap();
        let mut tree = Tree::new();
        lay_directory(&mut tree, &one).unwrap();
        lay_directory(&mut tree, &two).unwrap();
        let command = ["/app/run".into()];
        let packed = pack(tree, &request(&[&command], Path::new("/"))).unwrap();
        let Found::File { file, .. } = packed.tree.find(Path::new("/app/run")).unwrap() else {
            panic!("not there");
        };
        assert_eq!(file.path, two.join("app/run"));
        assert!(holds(&packed.tree, "/only") && holds(&packed.tree, "/app/more"));
    }

    #[test]
    fn links_that_lead_through_one_directory_twice() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/file"), "").unwrap();
        symlink(top.join("a/file"), top.join("a/b/link")).unwrap();
        let mut tree = Tree::new();
        let path = top.join("a/b/link");
        assert!(matches!(tree.import(&path).unwrap(), Found::File { .. }));
        assert!(tree.contains(&path) && tree.contains(&top.join("a/file")));
    }

    #[test]
    fn arguments_of_the_kernels_trees_are_not_packed() {
        let command = ["/bin/cat".into(), "/proc/version".into(), "/usr".into()];
        let packed = pack(Tree::new(), &request(&[&command], Path::new("/"))).unwrap();
        assert!(!holds(&packed.tree, "/proc/version"));
    }
}
