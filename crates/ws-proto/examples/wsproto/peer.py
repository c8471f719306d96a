"""Reads and writes WebSocket frames by wsproto, and DEFLATE by zlib, one request a line.

    read ROLE DEFLATE PIECE,PIECE..   what an end of this role sees in these bytes
    send ROLE DEFLATE MESSAGE..       the bytes of these messages
    inflate BITS PIECE,PIECE..        what one context inflates these messages to
    deflate BITS LEVEL PIECE,PIECE..  these messages, compressed in one context

Bytes are hexadecimal. DEFLATE is `-` or BITS:NO_CONTEXT_TAKEOVER for the direction in question. A
MESSAGE is T or B, then its fragments: `T:6869,21`.
"""

import sys
import zlib

from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from wsproto.events import (BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage)
from wsproto.extensions import PerMessageDeflate


class Deflate(PerMessageDeflate):
    """Writes down when something happens behind which wsproto is known to go wrong."""

    def __init__(self, role, spec, reads):
        bits, alone = spec.split(":")
        theirs = (role == "server") == reads
        side = "client" if theirs else "server"
        super().__init__(**{f"{side}_max_window_bits": int(bits),
                            f"{side}_no_context_takeover": alone == "1"})
        self._enabled = True
        self.log = []

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        if opcode.iscontrol() and self._inbound_compressed:
            self.log.append("!control")
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_payload_data(self, proto, data):
        return self.watched(super().frame_inbound_payload_data, proto, data)

    def frame_inbound_complete(self, proto, fin):
        return self.watched(super().frame_inbound_complete, proto, fin)

    def watched(self, inflate, *arguments):
        window = self._decompressor
        out = inflate(*arguments)
        if window is not None and window.eof:
            self.log.append("!last-block")
        return out


class Reader:
    def __init__(self, role, deflate):
        self.extension = None if deflate == "-" else Deflate(role, deflate, True)
        extensions = [self.extension] if self.extension else []
        self.connection = Connection(SERVER if role == "server" else CLIENT, extensions)
        self.open = None
        self.log = self.extension.log if self.extension else []

    def read(self, piece):
        if self.connection.state is not ConnectionState.OPEN:
            return
        self.connection.receive_data(piece)
        for event in self.connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                if self.open is None:
                    self.open = bytearray()
                data = event.data
                self.open += data.encode() if isinstance(data, str) else data
                if event.message_finished:
                    kind = "T" if isinstance(event, TextMessage) else "B"
                    self.log.append(f"{kind}:{self.open.hex()}")
                    self.open = None
            elif isinstance(event, Ping):
                self.log.append(f"P:{event.payload.hex()}")
            elif isinstance(event, Pong):
                self.log.append(f"O:{event.payload.hex()}")
            elif isinstance(event, CloseConnection):
                # A violation is an event of the same kind, but the state stays.
                if self.connection.state is ConnectionState.OPEN:
                    self.log.append(f"X:{int(event.code)}")
                    self.connection._state = ConnectionState.CLOSED
                else:
                    self.log.append(f"C:{int(event.code)}:{event.reason.encode().hex()}")


def pieces(word):
    return [bytes.fromhex(piece) for piece in word.split(",")]


def read(role, deflate, word):
    reader = Reader(role, deflate)
    for piece in pieces(word):
        reader.read(piece)
    seen = list(reader.log)
    # wsproto judges a header when all of it is there: does it come to a verdict with more?
    reader.read(bytes(14))
    more = [event for event in reader.log[len(seen):] if not event.startswith("!")]
    return " ".join(seen + ["|"] + more[:1])


def send(role, deflate, *messages):
    extensions = [] if deflate == "-" else [Deflate(role, deflate, False)]
    connection = Connection(SERVER if role == "server" else CLIENT, extensions)
    out = b""
    for message in messages:
        kind, fragments = message.split(":")
        fragments = pieces(fragments)
        for index, fragment in enumerate(fragments):
            data = fragment.decode() if kind == "T" else fragment
            finished = index == len(fragments) - 1
            out += connection.send(Message(data=data, message_finished=finished))
    return out.hex()


def inflate(bits, word):
    window = zlib.decompressobj(-int(bits))
    out = []
    for piece in pieces(word):
        # A byte at a time, or zlib would look into the output and not into its window.
        rest, message = piece + b"\x00\x00\xff\xff", b""
        while True:
            part = window.decompress(rest, 1)
            message, rest = message + part, window.unconsumed_tail
            if not part and not rest:
                break
        out.append(message.hex())
    return ",".join(out)


def deflate(bits, level, word):
    window = zlib.compressobj(int(level), zlib.DEFLATED, -int(bits))
    out = []
    for piece in pieces(word):
        data = window.compress(piece) + window.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b"\x00\x00\xff\xff")
        out.append(data[:-4].hex())
    return ",".join(out)


for line in sys.stdin:
    command, *words = line.rstrip("\n").split(" ")
    print({"read": read, "send": send, "inflate": inflate, "deflate": deflate}[command](*words),
          flush=True)
