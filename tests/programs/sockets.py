#!/usr/bin/python3
"""SCTP with nothing but Python's own socket module: servers that fork and become daemons, and their clients."""
import errno
import os
import signal
import socket
import sys

SCTP = 132


def stream():
    family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM, SCTP)


def listener():
    made = stream()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((sys.argv[2], int(sys.argv[3])))
    made.listen(5)
    return made


def connected():
    made = stream()
    made.settimeout(10)
    try:
        made.connect((sys.argv[2], int(sys.argv[3])))
    except ConnectionRefusedError:
        print("refused")
        sys.exit(1)
    return made


def forking_server():
    """A child for each connection; each answers once and waits."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = listener()
    print("listening")
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            connection.send(connection.recv(100))
            print("child", os.getpid())
            connection.recv(100)
            os._exit(0)
        connection.close()


def waiting_client():
    """Asks once, then waits for the end."""
    connection = connected()
    connection.send(b"question")
    assert connection.recv(100) == b"question"
    print("answered")
    try:
        end = connection.recv(100)
        assert end == b"", end
        print("told: end of file")
    except OSError as error:
        print("told:", errno.errorcode[error.errno])


def asking_client():
    """Asks once, and goes."""
    connection = connected()
    connection.send(sys.argv[4].encode())
    print("answer:", connection.recv(1000).decode())
    connection.close()


def daemon():
    """Listens, becomes a daemon as they have always done, and serves once."""
    listening = listener()
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    listening.settimeout(20)
    connection, _ = listening.accept()
    connection.send(connection.recv(1000))
    connection.recv(1)


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")]()
