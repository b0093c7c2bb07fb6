"""pysctp, both styles of sockets: options, messages with their attributes, and notifications."""
import socket
import sys

import sctp

TEXT = b"a message of pysctp"
LARGE = bytes(range(256)) * 80


def wanted(sock):
    sock.events.clear()
    sock.events.association = True
    sock.events.data_io = True
    sock.events.shutdown = True
    sock.events.flush()
    return sock


def receive(sock):
    """The next message, and its attributes; notifications are passed over and told."""
    while True:
        source, flags, data, notification = sock.sctp_recv(65536)
        if flags & sctp.FLAG_NOTIFICATION:
            print("notification", type(notification).__name__, getattr(notification, "state", ""))
            if isinstance(notification, sctp.assoc_change) and notification.state in (
                sctp.assoc_change.state_SHUTDOWN_COMP,
                sctp.assoc_change.state_COMM_LOST,
            ):
                return None, None
            continue
        if not data:
            return None, None
        return source, (data, notification)


def serve(sock, address):
    sock.bind(address)
    assert sock.getsockname() == address
    sock.listen(5)
    print("listening")
    conn = sock
    if isinstance(sock, sctp.sctpsocket_tcp):
        conn, _ = sock.accept()
        wanted(conn)
    source, (data, info) = receive(conn)
    assert (data, info.stream, socket.ntohl(info.ppid)) == (TEXT, 2, 46), (data, info.stream, info.ppid)
    conn.sctp_send(TEXT, to=source, stream=1, ppid=7)
    source, (data, info) = receive(conn)
    assert data == LARGE and info.stream == 0
    receive(conn)
    print("server done")


def call(sock, address):
    sock.initparams.num_ostreams = 4
    sock.initparams.max_instreams = 6
    sock.initparams.flush()
    sock.nodelay = True
    assert sock.nodelay
    sock.connect(address)
    if isinstance(sock, sctp.sctpsocket_tcp):
        assert sock.getpaddrs() == (address,), sock.getpaddrs()
        assert sock.getpeername() == address
        status = sock.get_status()
        assert status.outstrms == 4 and status.instrms == 6, (status.outstrms, status.instrms)
    sock.sctp_send(TEXT, to=address, stream=2, ppid=46)
    _, (data, info) = receive(sock)
    assert (data, info.stream, socket.ntohl(info.ppid)) == (TEXT, 1, 7), (data, info.stream, info.ppid)
    sock.sctp_send(LARGE, to=address, ppid=0)
    sock.close()
    print("client done")


if __name__ == "__main__":
    style, role, host, port = sys.argv[1:]
    kind = sctp.sctpsocket_tcp if style == "one-to-one" else sctp.sctpsocket_udp
    sock = wanted(kind(socket.AF_INET))
    (serve if role == "server" else call)(sock, (host, int(port)))
