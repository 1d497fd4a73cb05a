# Connects, makes directories, listens and executes, before and after what taints; two threads wait meanwhile. One line for each thing.
import ctypes, errno, mmap, os, socket, subprocess, threading, time


def attempt(act):
    try:
        return act() or "ok"
    except OSError as why:
        return errno.errorcode[why.errno]


def connect(host):
    return attempt(lambda: socket.socket().connect((host, 1)))


def listen():
    return attempt(lambda: socket.create_server(("127.0.0.1", 0)).close())


made = iter("/tmp/%d" % number for number in range(9))
mkdir = lambda: attempt(lambda: os.mkdir(next(made)))

waits = []
pipes = [os.pipe(), os.pipe()]
threads = [
    threading.Thread(target=lambda: waits.append(attempt(lambda: os.readv(pipes[0][0], [bytearray(9)])))),
    threading.Thread(target=lambda: waits.append(os.read(pipes[1][0], 9))),
]
for thread in threads:
    thread.start()
time.sleep(0.3)
print("here", connect("127.0.0.1"), mkdir(), listen())
print("away", connect("127.0.0.2"), mkdir(), connect("127.0.0.1"), listen())
for thread, (_, end) in zip(threads, pipes):
    os.write(end, b"x")
    thread.join()
print("waited for what is denied:", waits[0])
print("waited for something else:", waits[1])

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
libc.mprotect(address, 4096, mmap.PROT_READ)
print("data", subprocess.run(["/bin/true"]).returncode == 0)
libc.mprotect(address, 4096, mmap.PROT_READ | 4)
print("code", attempt(lambda: subprocess.run(["/bin/true"])))
