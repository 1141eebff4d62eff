"""A TLS connection that one thread may read while others write.

An OpenSSL connection must not be used by two threads at once, and a socket of Python's ssl module that blocks in a read
holds it. So the record layer works in memory under a lock of its own, and the socket blocks outside of that lock."""

import contextlib
import socket
import ssl
import struct
import threading
from typing import Optional, Tuple, Union

# Larger blocks would each be mapped and unmapped by the allocator, which costs more than they save.
READ_BLOCK = 64 * 1024
RECORD = 16 * 1024

_TIMEVAL = struct.Struct("@ll")
WRITE_BLOCK = 1024 * 1024
# Windows has none: there a last word may wait.
_DONT_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


class TlsStream:
    """Reads belong to one thread at a time; writes may come from any."""

    def __init__(self, address: Tuple[str, int], context: ssl.SSLContext, connect_timeout: float) -> None:
        self._socket = socket.create_connection(address, timeout=connect_timeout)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._incoming = ssl.MemoryBIO()
            self._outgoing = ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address[0])
            self._tls_lock = threading.Lock()
            self._write_lock = threading.Lock()
            self._handshake()
            self._socket.settimeout(None)
            self._timeout: Optional[float] = None
        except BaseException:
            self._socket.close()
            raise

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                data = self._socket.recv(READ_BLOCK)
                if not data:
                    raise ConnectionResetError("the connection ended within the TLS handshake") from None
                self._incoming.write(data)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._socket.sendall(data)

    def write(self, data: bytes) -> None:
        """All of it, as one piece: writes of other threads come before or after."""
        with self._write_lock:
            if len(data) <= WRITE_BLOCK:
                self._write_block(data)
            else:
                view = memoryview(data)
                for start in range(0, len(data), WRITE_BLOCK):
                    self._write_block(view[start : start + WRITE_BLOCK])

    def write_at_once(self, data: bytes) -> None:
        """For a last word: waits neither for another writer nor for a peer that does not read, so it may be lost or cut."""
        if self._write_lock.acquire(blocking=False):
            try:
                self._socket.send(self._encrypted(data), _DONT_WAIT)
            finally:
                self._write_lock.release()

    def _write_block(self, block: Union[bytes, memoryview]) -> None:
        self._socket.sendall(self._encrypted(block))

    def _encrypted(self, block: Union[bytes, memoryview]) -> bytes:
        with self._tls_lock:
            if block:
                self._tls.write(block)
            # What the record layer itself wants to say, after a key update for instance, goes first.
            return self._outgoing.read()

    def read(self, timeout: Optional[float] = None) -> bytes:
        """Some bytes; empty at the end. socket.timeout when none came in time: then it is safe to read again."""
        while True:
            if self._tls.pending() or self._incoming.pending or self._incoming.eof:
                with self._tls_lock:
                    try:
                        return self._tls.read(RECORD)
                    except ssl.SSLWantReadError:
                        pass
                    except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                        return b""
            data = self._receive(timeout)
            with self._tls_lock:
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                try:
                    return self._tls.read(RECORD)
                except ssl.SSLWantReadError:
                    continue
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""

    def _receive(self, timeout: Optional[float]) -> bytes:
        # Not settimeout(): that would count for the writers too, and costs a poll() for each read.
        if timeout != self._timeout and timeout != 0:
            seconds = timeout or 0.0  # 0 is none, for the socket
            value = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._timeout = timeout
        try:
            return self._socket.recv(READ_BLOCK, socket.MSG_DONTWAIT if timeout == 0 else 0)
        except BlockingIOError:
            raise socket.timeout("nothing came in time") from None

    def shut_down(self) -> None:
        """Wakes whoever reads or writes; they find the connection ended. Any thread may call it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nobody may read or write any more."""
        self._socket.close()
