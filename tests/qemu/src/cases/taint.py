# Sends and connects in other threads while the main one reads what taints. One line for each thread.
import errno, os, socket, threading, time

SECRET = "/vault/secret"


def attempt(act):
    try:
        return act()
    except TimeoutError:
        return None
    except OSError as why:
        return errno.errorcode[why.errno]


# One thread connects again and again: no call that it begins once the file is open is carried out.
opening, known, over = threading.Event(), threading.Event(), threading.Event()
found = {False: set(), True: set()}


def connect():
    while not over.is_set():
        when = known.is_set()
        outcome = attempt(lambda: socket.socket().connect(("127.0.0.1", 1)))
        # While the file is being opened, either may be.
        if when or not opening.is_set():
            found[when].add(outcome)


# One is in the middle of sending: the rest, which is written since, is not sent.
here, there = socket.socketpair()
data = bytearray(b"." * (4 << 20))
sent = []

# One moves what is not there yet.
pipe = os.pipe()
near, far = socket.socketpair()
moved = []
threads = [
    threading.Thread(daemon=True, target=connect),
    threading.Thread(daemon=True, target=lambda: sent.append(here.send(data))),
    threading.Thread(daemon=True, target=lambda: moved.append(attempt(lambda: os.splice(pipe[0], near.fileno(), 99)))),
]
for thread in threads:
    thread.start()
there.recv(1)
while not found[False]:
    time.sleep(0.01)
time.sleep(0.3)

opening.set()
with open(SECRET, "rb") as file:
    known.set()
    secret = file.read()
data[-len(secret) :] = secret
os.write(pipe[1], secret)
threads[2].join()
got = b""
there.settimeout(0.5)
while not sent or len(got) + 1 < sent[0]:
    got += attempt(lambda: there.recv(1 << 20)) or b""
while not found[True]:
    time.sleep(0.01)
over.set()
threads[0].join()
print("before:", *found[False], "after:", *found[True])
print("sent a part:", 0 < sent[0] < len(data), "secrets:", got.count(secret), "again:", attempt(lambda: here.send(b"x")))
print("moved:", moved[0])
print("child:", os.waitstatus_to_exitcode(os.system("exec python3 -c 'import socket; socket.socket().connect((\"127.0.0.1\", 1))' 2> /dev/null")))
