"""Takes of one thing until it is refused, in every way that there is, and says how much it got."""
import errno, mmap, os, select, signal, socket, sys, threading, time

def until(take):
    """How often it could be done, and what came in the end."""
    for count in range(3000):
        try:
            take()
        except (OSError, RuntimeError) as error:
            return count, errno.errorcode.get(getattr(error, "errno", 0), error)
    return 3000, "no end"

def sleeper():
    child = os.fork()
    if child == 0:
        time.sleep(1000)
    return child

def thread():
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()

def processes():
    children = []
    print("children", *until(lambda: children.append(sleeper())))
    os.kill(children[0], signal.SIGKILL)
    os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOWAIT)
    print("one has ended", *until(sleeper))
    os.waitpid(children[0], 0)
    print("and is waited for", *until(sleeper))
    thread()
    print("a thread is none")

def threads():
    threading.stack_size(64 << 10)
    print("threads", *until(thread))
    print("a process is one", *until(sleeper))

def drop(fds):
    for fd in fds:
        os.close(fd)

def open_fds():
    """How many there are, found out without opening one."""
    def is_open(fd):
        try:
            return bool(os.fstat(fd))
        except OSError:
            return False
    return sum(map(is_open, range(300)))

def files():
    kept, alive = [], []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    def connect():
        kept.append(socket.create_connection(listener.getsockname()).detach())
        kept.append(listener.accept()[0].detach())
    ways = {
        "open": lambda: kept.append(os.open("/tmp/x", os.O_RDWR | os.O_CREAT)),
        "dup": lambda: kept.append(os.dup(0)),
        "dup2": lambda: kept.append(os.dup2(0, 100 + len(kept))),
        "pipe": lambda: kept.extend(os.pipe()),
        "socket": lambda: kept.append(socket.socket().detach()),
        "socketpair": lambda: kept.extend(end.detach() for end in socket.socketpair()),
        "connect, accept": connect,
        "epoll": lambda: alive.append(select.epoll()),
        "eventfd": lambda: kept.append(os.eventfd(0)),
        "memfd": lambda: kept.append(os.memfd_create("x")),
        "directory": lambda: kept.append(os.open("/tmp", os.O_DIRECTORY)),
        "pidfd": lambda: kept.append(os.pidfd_open(os.getpid())),
    }
    for what, take in ways.items():
        _, why = until(take)
        print(what, open_fds(), why)
        drop(kept)
        kept.clear()
        alive.clear()
    left, right = socket.socketpair()
    before = open_fds()
    sent, why = until(lambda: socket.send_fds(left, [b"x"], [0]))
    print("on their way", before + sent, why)
    print("dup", *until(lambda: os.dup(0)))
    drop([fd for _ in range(sent) for fd in socket.recv_fds(right, 1, 1)[1]])
    before = open_fds()
    print("children with", before, *until(sleeper))

def written():
    """Bytes into files, by every call that there is: as many as may be, and no more. Nothing can be said: the exit code tells."""
    step, total = 4000, 0
    source, pipe = os.open("/usr/bin/python3", os.O_RDONLY), os.pipe()
    def splice(fd):
        os.write(pipe[1], b"p" * step)
        os.splice(pipe[0], fd, step)
    ways = [
        lambda fd: os.write(fd, b"w" * step),
        lambda fd: os.writev(fd, [b"v" * 1000] * 4),
        lambda fd: os.pwrite(fd, b"w" * step, os.fstat(fd).st_size),
        lambda fd: os.sendfile(fd, source, 0, step),
        lambda fd: os.copy_file_range(source, fd, step, 0),
        splice,
        lambda fd: [os.write(fd, b"w" * step) for _ in range(100)],
        lambda fd: os.write(fd, b"w"),
    ]
    for number, write in enumerate(ways):
        fd = os.open(f"/tmp/{number}", os.O_RDWR | os.O_CREAT)
        try:
            write(fd)
        except OSError as error:
            if error.errno != errno.EDQUOT or number < 6:
                return 2
        total += os.fstat(fd).st_size
    os.ftruncate(fd, step)
    with mmap.mmap(fd, step) as memory:
        memory[:] = b"m" * step
        try:
            memory.flush()
            return 3
        except OSError as error:
            if error.errno != errno.EDQUOT:
                return 4
        try:
            os.write(1, b"not to be seen\n")
            return 5
        except OSError as error:
            return 0 if error.errno == errno.EDQUOT and total == int(sys.argv[2]) else 6

def changed():
    """Another policy lets there be more."""
    print("children", *until(sleeper), flush=True)
    while until(sleeper)[0] == 0:
        time.sleep(0.05)
    print("more", flush=True)
    time.sleep(100)

def calls():
    """How long many calls take, or much work without any."""
    start = time.monotonic()
    if sys.argv[2] == "many":
        for _ in range(600):
            os.getppid()
    else:
        sum(range(300_000))
    took = time.monotonic() - start
    print("took", "seconds" if took > 2.5 else "a moment")

what = {"processes": processes, "threads": threads, "files": files, "written": written, "changed": changed, "calls": calls}[sys.argv[1]]
code = what() or 0
if what != written:
    sys.stdout.flush()
os._exit(code)
