#!/usr/bin/python3
"""What Python's own library makes of SCTP sockets: asyncio, socketserver, subprocess, multiprocessing."""
import asyncio
import multiprocessing
import os
import socket
import socketserver
import subprocess
import threading

SCTP = 132


def listener():
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP)
    made.bind(("127.0.0.1", 0))
    made.listen(20)
    return made


def connected(listening):
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP)
    made.settimeout(10)
    made.connect(listening.getsockname())
    return made


async def streams():
    """A megabyte there and back through asyncio's streams."""

    async def echo(reader, writer):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    listening = listener()
    server = await asyncio.start_server(echo, sock=listening)
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
    reader, writer = await asyncio.open_connection(sock=client)
    data = os.urandom(1_000_000)

    async def send():
        for at in range(0, len(data), 50_000):
            writer.write(data[at : at + 50_000])
            await writer.drain()

    sending = asyncio.create_task(send())
    assert await reader.readexactly(len(data)) == data
    await sending
    writer.close()
    server.close()


class Upper(socketserver.StreamRequestHandler):
    """Lines, by streams that the library makes of the socket."""

    def handle(self):
        # One is enough: a child has the client's descriptor, too, and so would never see the end.
        self.wfile.write(b"%d " % os.getpid() + self.rfile.readline().upper())


class Forking(socketserver.ForkingMixIn, socketserver.TCPServer):
    """A child for each connection."""

    def __init__(self):
        socketserver.BaseServer.__init__(self, None, Upper)
        self.socket = listener()


def server_that_forks():
    server = Forking()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    children = set()
    for _ in range(3):
        client = connected(server.socket)
        client.sendall(b"line\n")
        child, line = client.recv(100).split(b" ")
        assert line == b"LINE\n"
        children.add(child)
        client.close()
    server.shutdown()
    assert len(children) == 3


def standard_streams():
    """Programs whose standard input and output are the socket: with system calls, and with the C library's streams."""
    for words, answer in ((["cat"], b"words\n"), (["sort"], b"words\n"), (["sh", "-c", "read x; echo $x"], b"words\n")):
        listening = listener()
        client = connected(listening)
        server, _ = listening.accept()
        program = subprocess.Popen(words, stdin=server, stdout=server)
        server.close()
        client.sendall(b"words\n")
        if words != ["sort"]:
            assert client.recv(100) == answer
        client.close()
        program.wait(10)


def passed_on():
    listening = listener()
    client = connected(listening)
    server, _ = listening.accept()
    ours, theirs = multiprocessing.Pipe()

    def serve():
        taken = theirs.recv()
        taken.sendall(b"answer to " + taken.recv(100))

    worker = multiprocessing.get_context("fork").Process(target=serve)
    worker.start()
    ours.send(server)
    server.close()
    client.sendall(b"question")
    assert client.recv(100) == b"answer to question"
    worker.join(10)
    assert client.recv(1) == b""


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(streams(), 15))
    server_that_forks()
    standard_streams()
    passed_on()
    print("done")
