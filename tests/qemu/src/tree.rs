//! A program of a tree of Debian's packages on plain Linux: in namespaces of its own, with the tree as its root, over which it may
//! write without changing it.
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Lays a file system in memory over the tree, puts a small /dev and /proc into it, starts the loopback interface and goes in.
/// `$0` is the tree; what follows is the program.
const ENTER: &str = r#"
set -e
top=/tmp
cd "$0" # the tree may be below the directory that is hidden now
mount -t tmpfs -o mode=755 cordon "$top"
mkdir "$top/upper" "$top/work" "$top/root"
chmod 755 "$top/upper"
root=$top/root
mount -t overlay -o "lowerdir=.,upperdir=$top/upper,workdir=$top/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
    : > "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
busybox ifconfig lo up
exec unshare "--root=$root" --wd=/tmp -- "$@"
"#;

/// Shows a whole tree, from its root on: kind, mode, owner, names, size, seconds, target and path of each file, and digests. What `run` adds
/// of its own accord is left out.
pub const SHOW_TREE: &str = r"own='-path ./dev -o -path ./proc -o -path ./sys -o -path ./etc/ld.so.cache'
find . \( $own \) -prune -o -type d -printf '%y %m %U %G %T@ %p\n' -o -printf '%y %m %U %G %n %s %T@ %l %p\n' | sed 's/\.[0-9]* / /' | sort
find . \( $own \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum";

/// A command that runs its further arguments with no signal ignored, whatever this process was started with: the first process of a sandbox
/// ignores none either.
pub(crate) fn with_default_signals() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal");
    command
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|me| me.uid() == 0)
}

/// A command that runs its further arguments in `root`.
pub(crate) fn enter(root: &Path) -> Result<Command, String> {
    if !root.is_dir() {
        return Err(format!("{} is missing: cargo xtask tree makes it", root.display()));
    }
    let mut command = with_default_signals();
    command.arg("unshare");
    // Whoever is not root is made root of a user namespace, where mounting is allowed.
    command.args((!is_root()).then_some("--map-root-user"));
    command.args(["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--"]);
    command.args(["/bin/sh", "-c", ENTER]).arg(root);
    Ok(command)
}
