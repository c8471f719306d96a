"""Speaks with the hub through a WebSocket library of Python and prints what it saw, as JSON.

    interop_client.py websockets|aiohttp|wsproto URL DATA
"""

import json
import sys
from urllib.parse import urlsplit

library, url, data = sys.argv[1:]
PROTOCOL = "tidegate.v1+json"


class Exchange:
    """What to send after what; `None` to close."""

    def __init__(self):
        self.events, self.published, self.topics, self.live = [], 0, 0, False

    def first(self):
        return json.dumps({"type": "resume", "topics": ["demo"]})

    def answer(self, text):
        message = json.loads(text)
        match message["type"]:
            case "ready" if not self.live:
                self.live = True
                return [
                    json.dumps({"type": "publish", "topic": "demo", "data": f"{n} {data}"})
                    for n in (1, 2)
                ]
            case "event":
                self.events.append(message["data"])
            case "published":
                self.published += 1
            case "subscribed":
                self.topics = len(message["topics"])
            case "error":
                sys.exit(text)
        if self.topics > 1:
            return None
        if len(self.events) == 2 and self.published == 2:
            topics = [f"topic/{n}/{'x' * 100}" for n in range(30)]
            return [json.dumps({"type": "subscribe", "topics": topics})]
        return []

    def show(self, protocol, code, extensions=None):
        seen = {
            "events": self.events,
            "published": self.published,
            "topics": self.topics,
            "protocol": protocol,
            "code": code,
            "extensions": extensions,
        }
        print(json.dumps(seen), flush=True)


def with_websockets():
    from websockets.sync.client import connect

    exchange = Exchange()
    with connect(
        url, subprotocols=[PROTOCOL], proxy=None, open_timeout=60, close_timeout=60
    ) as socket:
        socket.send(exchange.first())
        for text in socket:
            answers = exchange.answer(text)
            if answers is None:
                socket.close(1000)
                break
            for answer in answers:
                socket.send(answer)
    extensions = socket.response.headers.get("Sec-WebSocket-Extensions", "")
    exchange.show(socket.subprotocol, socket.close_code, extensions)


def with_aiohttp():
    import asyncio

    import aiohttp

    async def run():
        exchange = Exchange()
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, protocols=[PROTOCOL], compress=15) as socket:
                await socket.send_str(exchange.first())
                async for message in socket:
                    answers = exchange.answer(message.data)
                    if answers is None:
                        await socket.close(code=1000)
                        break
                    for answer in answers:
                        await socket.send_str(answer)
                exchange.show(socket.protocol, socket.close_code)

    asyncio.run(run())


def with_wsproto():
    import socket

    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
    from wsproto.extensions import PerMessageDeflate

    parts = urlsplit(url)
    stream = socket.create_connection((parts.hostname, parts.port), timeout=60)
    peer = WSConnection(ConnectionType.CLIENT)
    deflate = PerMessageDeflate()
    request = Request(
        host=parts.netloc, target=parts.path, subprotocols=[PROTOCOL], extensions=[deflate]
    )
    stream.sendall(peer.send(request))
    exchange, protocol, text = Exchange(), None, ""
    while True:
        received = stream.recv(4096)
        peer.receive_data(received or None)
        for event in peer.events():
            match event:
                case AcceptConnection():
                    protocol = event.subprotocol
                    stream.sendall(peer.send(TextMessage(data=exchange.first())))
                case Ping():
                    stream.sendall(peer.send(event.response()))
                case TextMessage():
                    text += event.data
                    if not event.message_finished:
                        continue
                    answers, text = exchange.answer(text), ""
                    if answers is None:
                        stream.sendall(peer.send(CloseConnection(code=1000)))
                    for answer in answers or []:
                        stream.sendall(peer.send(TextMessage(data=answer)))
                case CloseConnection():
                    exchange.show(protocol, event.code)
                    return


{"websockets": with_websockets, "aiohttp": with_aiohttp, "wsproto": with_wsproto}[library]()
