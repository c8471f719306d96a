"""Plays a hub with a WebSocket library of Python: prints its address, and what its client said, as
JSON.

    interop_server.py websockets on|off
"""

import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

_library, compression = sys.argv[1:]


def hub(socket):
    seen = {"compressed": bool(socket.protocol.extensions)}
    seen["resume"] = json.loads(socket.recv())
    socket.send(json.dumps({"type": "subscribed", "at": None, "topics": ["demo"]}))
    for seq in (1, 2, 3):
        data = f"{seq} {'a text that says the same again, ' * 1000}"
        event = {"type": "event", "id": f"aa-{seq}", "seq": seq, "topic": "demo", "data": data}
        socket.send(json.dumps(event))
    try:
        socket.recv()
    except ConnectionClosed:
        seen["code"] = socket.close_code
    print(json.dumps(seen), flush=True)


deflate = "deflate" if compression == "on" else None
with serve(
    hub,
    "127.0.0.1",
    0,
    compression=deflate,
    subprotocols=["tidegate.v1+json"],
    open_timeout=60,
    close_timeout=60,
) as server:
    print("http://127.0.0.1:%d" % server.socket.getsockname()[1], flush=True)
    server.serve_forever()
