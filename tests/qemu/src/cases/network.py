import ctypes, os, socket, struct

def tried(name, call):
    try:
        call()
        print(name, 'ok')
    except OSError as why:
        print(name, os.strerror(why.errno))

def listener(port):
    with socket.socket() as s:
        s.bind(('127.0.0.1', port))
        s.listen()

def unbound():
    with socket.socket() as s:
        s.listen()

def unix(name, call):
    with socket.socket(socket.AF_UNIX) as s:
        getattr(s, call)(name)

libc = ctypes.CDLL(None, use_errno=True)

def send_many(s, *ports):
    # sendmmsg of one byte to each port.
    keep, headers = [], b''
    for port in ports:
        name = ctypes.create_string_buffer(struct.pack('<H', 2) + struct.pack('>H', port) + bytes([127, 0, 0, 1]) + bytes(8))
        data = ctypes.create_string_buffer(b'x')
        vector = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(data), 1))
        keep += [name, data, vector]
        headers += struct.pack('QQQQQQQQ', ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
    array = ctypes.create_string_buffer(headers)
    sent = libc.sendmmsg(s.fileno(), array, len(ports), 0)
    return sent if sent >= 0 else os.strerror(ctypes.get_errno())

server = socket.create_server(('127.0.0.1', 8000))
client = socket.socket()
tried('connect', lambda: client.connect(('127.0.0.1', 8000)))
peer, _ = server.accept()
client.sendall(b'over an allowed connection')
print(peer.recv(100).decode())
six = socket.socket(socket.AF_INET6)
tried('connect, written as IPv6', lambda: six.connect(('::ffff:127.0.0.1', 8000)))
tried('connect to every host', lambda: socket.socket().connect(('0.0.0.0', 8000)))
tried('connect elsewhere', lambda: socket.socket().connect(('127.0.0.1', 8001)))
tried('listen', lambda: listener(8002))
tried('bind only', lambda: listener(8003))
tried('bind elsewhere', lambda: listener(8004))
tried('listen unbound', unbound)
tried('bind unix', lambda: unix('/tmp/allowed', 'bind'))
tried('bind unix elsewhere', lambda: unix('/tmp/other', 'bind'))
tried('bind unix by a detour', lambda: unix('/tmp/x/../allowed', 'bind'))
tried('bind abstract', lambda: unix('\0name', 'bind'))
tried('connect abstract', lambda: unix('\0other', 'connect'))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tried('sendto', lambda: datagrams.sendto(b'x', ('127.0.0.1', 8000)))
tried('sendto elsewhere', lambda: datagrams.sendto(b'x', ('127.0.0.1', 8001)))
tried('sendmsg elsewhere', lambda: datagrams.sendmsg([b'x'], [], 0, ('127.0.0.1', 8001)))
print('sendmmsg', send_many(datagrams, 8000, 8001), send_many(datagrams, 8001, 8000))
pair = socket.socketpair()
tried('socketpair', lambda: pair[0].send(b'x'))
