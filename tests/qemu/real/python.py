# python3 and much of its library that rests on the system.
import asyncio, concurrent.futures, ctypes, hashlib, json, mmap, os, queue, random, select, selectors, shutil, signal, socket
import sqlite3, subprocess, sys, tempfile, threading, time, zlib

def threads():
    lock, total = threading.Lock(), [0]
    def add():
        for _ in range(1000):
            with lock:
                total[0] += 1
    all_ = [threading.Thread(target=add) for _ in range(8)]
    [t.start() for t in all_], [t.join() for t in all_]
    q = queue.Queue()
    threading.Thread(target=lambda: [q.put(i) for i in range(5)]).start()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return total, [q.get() for _ in range(5)], list(pool.map(lambda x: x * x, range(6)))

def processes():
    r = subprocess.run(["cat"], input=b"through cat", stdout=subprocess.PIPE)
    p = subprocess.Popen("echo out; echo err >&2; exit 3", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = p.communicate()[0]
    slow = subprocess.Popen(["sleep", "10"]); slow.terminate()
    try:
        subprocess.run(["sleep", "5"], timeout=0.1); late = False
    except subprocess.TimeoutExpired:
        late = True
    try:
        subprocess.run(["no-such-program"]); missing = False
    except FileNotFoundError:
        missing = True
    pid = os.fork()
    if pid == 0:
        os._exit(11)
    return r.stdout, out, p.returncode, slow.wait(), late, missing, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def database():
    with sqlite3.connect("db") as c:
        c.execute("create table t (a, b)")
        c.executemany("insert into t values (?, ?)", [(i, str(i)) for i in range(100)])
    return c.execute("select sum(a), max(b) from t").fetchone()

async def tasks():
    async def handle(r, w):
        w.write((await r.readline()).upper()); await w.drain(); w.close()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    w.write(b"over asyncio\n"); line = await r.readline(); w.close()
    p = await asyncio.create_subprocess_exec("echo", "child", stdout=-1)
    out, _ = await p.communicate()
    return line, out, await asyncio.gather(*[asyncio.sleep(0.01, i) for i in range(3)]), await asyncio.to_thread(lambda: 5)

def sockets():
    a, b = socket.socketpair(); a.send(b"pair"); got = b.recv(9)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
    v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.sendto(b"datagram", u.getsockname())
    s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen()
    c = socket.socket(socket.AF_UNIX); c.connect("sock"); d, _ = s.accept()
    socket.send_fds(c, [b"x"], [os.open("/etc/hostname", os.O_RDONLY)])
    _, fds, _, _ = socket.recv_fds(d, 1, 1)
    sel = selectors.DefaultSelector(); sel.register(b, selectors.EVENT_READ); a.send(b"y")
    return got, u.recv(20), os.read(fds[0], 99), len(sel.select(1)), select.select([], [a], [], 0)[1] == [a]

def signals():
    got = []
    signal.signal(signal.SIGUSR1, lambda n, f: got.append(n)); os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGALRM, lambda n, f: got.append(n)); signal.setitimer(signal.ITIMER_REAL, 0.02); signal.pause()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); os.kill(os.getpid(), signal.SIGUSR2)
    return got, signal.sigpending(), signal.sigwait([signal.SIGUSR2])

def files():
    d = tempfile.mkdtemp(); p = os.path.join(d, "f")
    with open(p, "w+b") as f:
        f.write(b"a" * 8192); f.flush()
        m = mmap.mmap(f.fileno(), 0); m[:5] = b"hello"; m.flush(); m.close(); f.seek(0); head = f.read(8)
    os.link(p, p + "2"); os.symlink("f", p + "3"); os.truncate(p, 100); os.utime(p, (1, 2)); st = os.stat(p)
    shutil.copytree(d, d + "c"); names = sorted(os.listdir(d + "c")); shutil.rmtree(d + "c")
    r, w = os.pipe(); os.write(w, b"pipe"); s = mmap.mmap(-1, 4096)
    if os.fork() == 0:
        s[:5] = b"child"; os._exit(0)
    os.wait()
    return head, st.st_size, st.st_nlink, st.st_mtime, names, os.read(r, 9), s[:5], os.path.realpath(p + "3") == os.path.realpath(p)

print("threads", threads())
print("processes", processes())
print("database", database())
print("asyncio", asyncio.run(tasks()))
print("sockets", sockets())
print("signals", signals())
print("files", files())
print("rest", hashlib.sha256(b"x").hexdigest(), zlib.crc32(b"y"), json.dumps({"a": [1, None]}), random.Random(1).random(), ctypes.CDLL(None).abs(-5))
start = time.monotonic(); time.sleep(0.05); print("slept", 0.05 <= time.monotonic() - start < 5, os.cpu_count() >= 1, sys.platform)
sys.exit(4)
