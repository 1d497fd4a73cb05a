# Tries to get at files that `[[files]]` keeps, by every way there is to a name. One line for each try.
import errno, mmap, os, sys, threading

SECRET, CLOSED, LOCKED, TOOL = "/vault/secret", "/vault/closed", "/vault/locked", "/vault/tool"


def tell(what, act):
    try:
        result = act()
    except OSError as why:
        result = errno.errorcode[why.errno]
    print(what + ":", result)


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def at(directory, name):
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    return os.read(os.open(name, os.O_RDONLY, dir_fd=handle), 99)


def by_number(path):
    return read(f"/proc/self/fd/{os.open(path, os.O_PATH)}")


def execute(path):
    os.waitpid(os.posix_spawn(path, [path], {}), 0)


def mapped(path, how):
    handle = os.open(path, os.O_RDONLY)
    return mmap.mmap(handle, 0, mmap.MAP_SHARED, how)[:6]


os.symlink(SECRET, "/tmp/link")
os.symlink("/vault", "/tmp/folder")
write("/tmp/plain", "plain")
write("/tmp/script", "#!/usr/bin/python3\n")
os.chmod("/tmp/script", 0o755)
for way in [SECRET, "/tmp/link", "/tmp/folder/secret", "/tmp/../vault/./secret", "/proc/self/root/vault/secret"]:
    tell(way, lambda: read(way))
    tell("stat " + way, lambda: os.stat(way))
tell("from its folder", lambda: at("/tmp/folder", "secret"))
tell("by number", lambda: by_number(SECRET))
tell("link", lambda: os.link(SECRET, "/tmp/hard"))
tell("rename", lambda: os.rename(SECRET, "/tmp/moved"))
tell("rename the folder", lambda: os.rename("/vault", "/tmp/vault"))
tell("rename to it", lambda: os.rename("/tmp/plain", SECRET))
tell("make it", lambda: write(SECRET, "mine"))
tell("list", lambda: sorted(os.listdir("/vault")))
tell("closed", lambda: read(CLOSED))
tell("closed, by number", lambda: by_number(CLOSED))
tell("closed, linked", lambda: os.link(CLOSED, "/tmp/hard"))
tell("closed, executed", lambda: execute(CLOSED))
tell("locked", lambda: read(LOCKED))
tell("locked, written", lambda: write(LOCKED, "mine"))
tell("locked, cut", lambda: os.truncate(LOCKED, 0))
tell("locked, touched", lambda: os.utime(LOCKED, (1, 1)))
tell("locked, replaced", lambda: os.rename("/tmp/plain", LOCKED))
tell("locked, removed", lambda: os.unlink(LOCKED))
tell("locked, linked", lambda: os.link(LOCKED, "/tmp/hard"))
tell("locked, shown", lambda: mapped(LOCKED, mmap.PROT_READ))
tell("locked, written to where it is shown", lambda: mapped(LOCKED, mmap.PROT_READ | mmap.PROT_WRITE))
tell("tool", lambda: read(TOOL))
tell("tool, executed", lambda: execute(TOOL))
tell("own script, executed", lambda: execute("/tmp/script"))
tell("in /etc", lambda: write("/etc/new", "mine"))

# Another thread makes a link lead to the secret and away from it.
over = threading.Event()
seen = {"plain": 0, "secret": 0, "nothing": 0}


def flip():
    while not over.is_set():
        for target in [SECRET, "/tmp/plain"]:
            os.symlink(target, "/tmp/next")
            os.rename("/tmp/next", "/tmp/flip")


os.symlink("/tmp/plain", "/tmp/flip")
flipper = threading.Thread(target=flip)
flipper.start()
for attempt in range(int(sys.argv[1])):
    try:
        seen[read("/tmp/flip")] += 1
    except FileNotFoundError:
        seen["nothing"] += 1
over.set()
flipper.join()
print("secrets:", seen["secret"], "- both outcomes:", min(seen["plain"], seen["nothing"]) > 0)
