# python's multiprocessing, by each way to start a process. It needs a file to import.
cat > m.py <<'END'
import multiprocessing as m, os, sys
from multiprocessing import shared_memory
def square(x): return x * x
def child(q, v, lock, name):
    s = shared_memory.SharedMemory(name); s.buf[0] = 7; s.close()
    with lock: v.value += 1
    q.put(sorted(["from", "child"]))
if __name__ == "__main__":
    c = m.get_context(sys.argv[1])
    with c.Pool(3) as p: print(p.map(square, range(10)))
    q, v, lock, s = c.Queue(), c.Value("i", 0), c.Lock(), shared_memory.SharedMemory(create=True, size=4096)
    p = [c.Process(target=child, args=(q, v, lock, s.name)) for _ in range(2)]
    [x.start() for x in p]; print(q.get(), q.get()); [x.join() for x in p]; print([x.exitcode for x in p], v.value, s.buf[0]); s.close(); s.unlink()
    a, b = c.Pipe(); a.send({"k": 1}); print(b.recv())
END
for how in fork spawn forkserver; do echo $how; python3 m.py $how; done
