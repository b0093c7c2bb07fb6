#!/usr/bin/python3
"""Two ends on two hosts, one of them Linux: far.py CASE server|client ADDRESS PORT [MORE].

    large      a message of many times the receive window, read in pieces
    autoclose  associations that nobody uses are shut down
    v6only     a socket that takes no IPv4
    restart    a peer that begins anew under the same port, for whoever kills it
    many       many sockets at once
"""
import errno
import selectors
import socket
import struct
import sys
import time

SCTP = 132
SCTP_AUTOCLOSE, SCTP_EVENTS = 4, 11
MSG_EOR, MSG_NOTIFICATION = 0x80, 0x8000
ASSOC_CHANGE = 0x8001
STATES = ["up", "lost", "restarted", "shut down", "cannot start"]
LARGE = bytes(number % 251 for number in range(200_000))

case, role, address, port = sys.argv[1:4] + [int(sys.argv[4])]
more = sys.argv[5] if len(sys.argv) > 5 else ""


def made(kind, name=address):
    return socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET, kind, SCTP)


def listening(kind, backlog=5, name=address):
    sock = made(kind, name)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if case == "large":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_000)
    if case == "v6only":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if case == "autoclose":
        sock.setsockopt(SCTP, SCTP_AUTOCLOSE, 1)
    if kind == socket.SOCK_SEQPACKET:
        sock.setsockopt(SCTP, SCTP_EVENTS, bytes([0, 1]))
    sock.bind((name, port))
    sock.listen(backlog)
    print("listening")
    return sock


def connected(name=address, bound=0):
    sock = made(socket.SOCK_STREAM, name)
    sock.settimeout(20)
    if bound:
        sock.bind(("", bound))
    sock.connect((name, port))
    return sock


def large_server():
    sock, _ = listening(socket.SOCK_STREAM).accept()
    read, pieces, flags = b"", 0, 0
    while not flags & MSG_EOR:
        piece, _, flags, _ = sock.recvmsg(65536)
        assert piece, "the end"
        read, pieces = read + piece, pieces + 1
    assert read == LARGE and pieces > 3, (len(read), pieces)
    print("all of it")
    sock.send(b"all of it")


def large_client():
    sock = connected()
    sock.send(LARGE)
    assert sock.recv(100) == b"all of it"
    print("answered")


def told(sock):
    """Echoes messages, and says what it is told, until an association has ended."""
    while True:
        data, _, flags, peer = sock.recvmsg(65536)
        if not flags & MSG_NOTIFICATION:
            sock.sendto(data, peer)
            continue
        kind, _, _, state = struct.unpack_from("=HHIH", data)
        if kind == ASSOC_CHANGE:
            print(STATES[state])
            if STATES[state] in ("lost", "shut down"):
                return


def autoclose_server():
    told(listening(socket.SOCK_SEQPACKET))


def autoclose_client():
    sock = connected()
    for _ in range(4):
        # In use it is kept.
        sock.send(b"still here")
        assert sock.recv(100) == b"still here"
        time.sleep(0.5)
    last = time.monotonic()
    assert sock.recv(100) == b""
    print("ended after %.1f seconds" % (time.monotonic() - last))
    assert time.monotonic() - last < 3


def v6only_server():
    sock, peer = listening(socket.SOCK_STREAM, name="::").accept()
    assert not peer[0].startswith("::ffff"), peer
    print("from", peer[0])
    sock.send(b"welcome")
    sock.recv(100)


def v6only_client():
    """`address` is the IPv6 one, `more` that of the same host for IPv4."""
    try:
        connected(more)
        raise SystemExit("IPv4 was taken")
    except ConnectionRefusedError:
        print("refused")
    assert connected().recv(100) == b"welcome"
    print("answered")


def restart_server():
    told(listening(socket.SOCK_SEQPACKET))


def restart_client():
    sock = connected(bound=int(more))
    for number in range(5):
        sock.send(b"here %d" % number)
        assert sock.recv(100) == b"here %d" % number
    print("answered")
    sys.stdin.readline()
    sock.close()


def many_server():
    """Echoes to as many as it is told, and ends when all have gone."""
    count = int(more)
    sock = listening(socket.SOCK_STREAM, count)
    ready = selectors.DefaultSelector()
    ready.register(sock, selectors.EVENT_READ)
    ended = 0
    while ended < count:
        for key, _ in ready.select(30) or sys.exit("nothing happens: %d ended" % ended):
            if key.fileobj is sock:
                ready.register(sock.accept()[0], selectors.EVENT_READ)
                continue
            data = key.fileobj.recv(100)
            if data:
                key.fileobj.send(data)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()
                ended += 1
    print("all have gone")


def many_client():
    ready = selectors.DefaultSelector()
    for number in range(int(more)):
        sock = made(socket.SOCK_STREAM)
        sock.setblocking(False)
        assert sock.connect_ex((address, port)) in (0, errno.EINPROGRESS)
        ready.register(sock, selectors.EVENT_WRITE, number)
    answers = 0
    while answers < int(more):
        for key, events in ready.select(30) or sys.exit("nothing happens: %d answers" % answers):
            sock, text = key.fileobj, b"number %d" % key.data
            if events & selectors.EVENT_WRITE:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                sock.send(text)
                ready.modify(sock, selectors.EVENT_READ, key.data)
            else:
                assert sock.recv(100) == text
                ready.unregister(sock)
                sock.close()
                answers += 1
    print("all answered")


globals()[f"{case}_{role}"]()
