# Changes of files in the ways that programs make them.
import ctypes, mmap, os, shutil, socket, sqlite3, tempfile, zipfile

os.chdir("/tmp")
for n in range(10):
    with tempfile.NamedTemporaryFile(dir=".", delete=False) as new:
        new.write(b"x" * n)
    os.replace(new.name, "settled" if n < 5 else "settled%d" % n)
base = sqlite3.connect("data.db")
base.execute("create table t (n)")
base.executemany("insert into t values (?)", [(n,) for n in range(1000)])
base.commit()
base.execute("delete from t where n % 2")
base.commit()
base.close()

# A file that gets its name at the end.
fd = os.open("/var", os.O_TMPFILE | os.O_RDWR, 0o644)
os.write(fd, b"late")
os.link("/proc/self/fd/%d" % fd, "late", dst_dir_fd=os.open("/var", os.O_RDONLY))
os.close(fd)
fd = os.open("/var", os.O_TMPFILE | os.O_RDWR, 0o644)
os.write(fd, b"never")
os.close(fd)

# Written through a mapping.
with open("/etc/mapped", "wb+") as file:
    file.truncate(8192)
    with mmap.mmap(file.fileno(), 8192) as view:
        view[4096:4100] = b"page"

with open("/etc/passwd", "a") as file:
    file.write("more\n")
os.truncate("/etc/group", 3)
os.chmod("/etc/shadow" if os.path.exists("/etc/shadow") else "/etc/hosts", 0o600)
os.utime("/etc/host.conf", (1, 2))
os.setxattr("/etc/fstab" if os.path.exists("/etc/fstab") else "/etc/debian_version", "user.a", b"b")
os.posix_fallocate(os.open("/var/room", os.O_CREAT | os.O_WRONLY), 0, 10000)

# Trees that are copied, moved, exchanged and deleted.
shutil.copytree("/usr/lib/python3.11/json", "/var/json")
shutil.move("/var/json", "/var/moved")
os.makedirs("/var/a/b/c")
os.makedirs("/var/x/y")
open("/var/a/b/file", "w").close()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.renameat2(-100, b"/var/a/b", -100, b"/var/x/y", 2) == 0
shutil.rmtree("/usr/lib/python3.11/json")
os.rename("/etc/alternatives", "/etc/others") if os.path.exists("/etc/alternatives") else None
os.symlink("others", "/etc/alternatives")
os.unlink("/etc/alternatives")
with zipfile.ZipFile("/var/all.zip", "w") as archive:
    archive.write("/etc/mapped")
os.link("/var/all.zip", "/var/again.zip")
os.unlink("/var/all.zip")
server = socket.socket(socket.AF_UNIX)
server.bind("/var/socket")
os.mkfifo("/var/pipe")

# What comes to nothing.
for call in [
    lambda: os.mkdir("/var"),
    lambda: os.unlink("/no"),
    lambda: os.rename("/no", "/other"),
    lambda: os.link("/etc/passwd", "/etc/group"),
    lambda: open("/etc"),
]:
    try:
        call()
    except OSError:
        pass
os.rename("/etc/passwd", "/etc/passwd")
