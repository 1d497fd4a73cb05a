# What becomes of those whose calls are refused. On plain Linux a seccomp filter refuses them, in the sandbox the policy does, which answers
# the attempt to set the filter with 0.
import ctypes, os, signal, struct, threading, time

libc = ctypes.CDLL(None, use_errno=True)
GETPPID, GETPGID, GETSID = 110, 121, 124
KILL_PROCESS, KILL_THREAD, TRAP, ALLOW = 0x80000000, 0, 0x30000, 0x7FFF0000


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


code = struct.pack("<HBBI", 0x20, 0, 0, 0)
for number, verdict in (GETPPID, KILL_PROCESS), (GETPGID, KILL_THREAD), (GETSID, TRAP):
    code += struct.pack("<HBBI", 0x15, 0, 1, number) + struct.pack("<HBBI", 6, 0, 0, verdict)
code += struct.pack("<HBBI", 6, 0, 0, ALLOW)
buffer = ctypes.create_string_buffer(code, len(code))
program = Program(len(code) // 8, ctypes.addressof(buffer))


def child(name, work):
    pid = os.fork()
    if pid == 0:
        libc.prctl(38, 1, 0, 0, 0)
        assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
        work()
        os._exit(7)
    status = os.waitpid(pid, 0)[1] & ~0x80
    print(name, hex(status), flush=True)


class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16), ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def handler(number, info, context):
    fields = struct.unpack("<iiiiQiI", ctypes.string_at(info, 32))
    rip = struct.unpack("<Q", ctypes.string_at(context + 40 + 16 * 8, 8))[0]
    print(number, fields[:3], fields[4] == rip, fields[5], hex(fields[6]), flush=True)


def handled():
    action = Action(ctypes.cast(handler, ctypes.c_void_p), (ctypes.c_ulong * 16)(), 4, None)
    assert libc.sigaction(signal.SIGSYS, ctypes.byref(action), None) == 0
    print("getsid", libc.syscall(GETSID, 0), flush=True)


def hardened():
    signal.signal(signal.SIGSYS, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSYS})


def thread_ends():
    threading.Thread(target=lambda: libc.syscall(GETPGID, 0), daemon=True).start()
    while len(os.listdir("/proc/self/task")) > 1:
        time.sleep(0.01)


def process_ends():
    threading.Thread(target=lambda: libc.syscall(GETPPID), daemon=True).start()
    time.sleep(600)


child("kill process", lambda: libc.syscall(GETPPID))
child("kill process from a thread", process_ends)
child("kill process, hardened", lambda: (hardened(), libc.syscall(GETPPID)))
child("kill thread", thread_ends)
child("kill the only thread", lambda: libc.syscall(GETPGID, 0))
child("trap", lambda: libc.syscall(GETSID, 0))
child("trap, hardened", lambda: (hardened(), libc.syscall(GETSID, 0)))
child("trap, handled", handled)
