#!/usr/bin/env python3
# uWebSockets, by way of socketify: topics are its own, and Python runs once for a publish.
# It does not tell which port it took, so it is asked for one that was free.
import socket

from socketify import App, AppListenOptions, CompressOptions, OpCode


def upgrade(response, request, context):
    header = request.get_header
    response.upgrade(
        header("sec-websocket-key"),
        header("sec-websocket-protocol"),
        header("sec-websocket-extensions"),
        context,
        request.get_parameter(0),
    )


# The library keeps no reference to a response that waits for its body.
waiting = set()


def publish(response, request):
    topic = request.get_parameter(0)
    body = bytearray()

    def on_data(response, piece, is_last):
        body.extend(piece or b"")
        if is_last:
            app.publish(topic, bytes(body), OpCode.TEXT)
            response.write_status(204).end_without_body()
            waiting.discard(kept)

    kept = response
    waiting.add(kept)
    response.on_data(on_data)


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
app = App()
app.ws(
    "/sub/:topic",
    {
        "compression": CompressOptions.DISABLED,
        "idle_timeout": 0,
        "max_backpressure": 64 * 1024 * 1024,
        "upgrade": upgrade,
        "open": lambda ws: ws.subscribe(ws.get_user_data()),
    },
)
app.post("/pub/:topic", publish)
app.listen(
    AppListenOptions(port=port, host="127.0.0.1"),
    lambda _: print(f"listening 127.0.0.1:{port}", flush=True),
)
app.run()
