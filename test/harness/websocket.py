"""A client of the WebSocket transport, on the independent websocket-client library."""
import ssl

import websocket

from .tcp import MessageClient


class WebSocketClient(MessageClient):
    def __init__(self, daemon, timeout=60, subprotocols=("appmesh-ws",), path="/", context=None, **options):
        super().__init__()
        context = context or ssl.create_default_context(cafile=daemon.ca_file)
        self.socket = websocket.create_connection(
            f"wss://127.0.0.1:{daemon.ws_port}{path}", timeout=timeout, subprotocols=list(subprotocols) or None,
            sslopt={"context": context}, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_message(self, data):
        with self._send_lock:
            self.socket.send_binary(data)

    def receive_message(self):
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise ConnectionError(f"closed: {int.from_bytes(data[:2])} {data[2:].decode(errors='replace')}")
        assert opcode == websocket.ABNF.OPCODE_BINARY, opcode
        return data

    def close_code(self):
        """Reads until the daemon's close frame and tells its code; None when the connection ended without one."""
        try:
            while True:
                opcode, data = self.socket.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2])
        except (websocket.WebSocketException, OSError):
            return None
