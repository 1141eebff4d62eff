"""An app that tells its notify socket what a test wants it to: one command a line, read from a FIFO.

  notifier.py FIFO LOG [--deaf]

  send TEXT     one datagram, \\n in it stands for a new line      child TEXT   the same from a child that ends at once
  barrier       BARRIER=1 with a pipe; "barrier passed" in LOG     hand-over    MAINPID= of a new child that goes on alone
  print TEXT    a line of output                                   exit CODE
  feed SECONDS  WATCHDOG=1 every so often from now on              starve       and no longer
Every command is noted in LOG as "<pid> <command>" when it is done. --deaf ignores TERM.
"""
import os
import select
import signal
import socket
import sys
import time

fifo, log = sys.argv[1:3]
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def note(text):
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{os.getpid()} {text}\n".encode())
    os.close(descriptor)


def send(text, descriptors=()):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        socket.send_fds(sender, [text.replace("\\n", "\n").encode()], list(descriptors))


names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
note("started " + " ".join(f"{name}={os.environ.get(name, '-')}" for name in names))
commands = os.open(fifo, os.O_RDWR)
pending, every, due = b"", None, None
while True:
    wait = max(0, due - time.monotonic()) if every else None
    if not select.select([commands], [], [], wait)[0]:
        send("WATCHDOG=1")
        due = time.monotonic() + every
        continue
    pending += os.read(commands, 4096)
    while b"\n" in pending:
        line, pending = pending.split(b"\n", 1)
        command, _, text = line.decode().partition(" ")
        if command == "send":
            send(text)
        elif command == "child":
            child = os.fork()
            if child == 0:
                send(text)
                os._exit(0)
            os.waitpid(child, 0)
        elif command == "barrier":
            reader, writer = os.pipe()
            send("BARRIER=1", [writer])
            os.close(writer)
            os.read(reader, 1)
            note("barrier passed")
        elif command == "hand-over":
            reader, writer = os.pipe()
            child = os.fork()
            if child != 0:
                os.close(writer)
                os.read(reader, 1)
                signal.pause()
            os.setsid()
            send(f"MAINPID={os.getpid()}")
        elif command == "print":
            os.write(1, f"{text}\n".encode())
        elif command == "part":
            os.write(1, text.encode())
        elif command == "feed":
            every = float(text)
            due = time.monotonic()
        elif command == "starve":
            every = None
        elif command == "exit":
            note(line.decode())
            os._exit(int(text))
        note(line.decode())
