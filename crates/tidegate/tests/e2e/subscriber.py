"""Subscribes with a Python library and prints what arrives, one JSON value a line.

    subscriber.py httpx-sse  URL AFTER TOPIC...
    subscriber.py websockets URL AFTER TOPIC...
"""

import json
import sys

library, url, after, *topics = sys.argv[1:]


def show(value):
    print(json.dumps(value), flush=True)


def with_httpx_sse():
    import httpx
    from httpx_sse import connect_sse

    query = [("topic", topic) for topic in topics] + [("format", "json")]
    headers = {"last-event-id": after} if after else {}
    with httpx.Client(timeout=60, trust_env=False) as client:
        request = connect_sse(client, "GET", f"{url}/events", params=query, headers=headers)
        with request as source:
            source.response.raise_for_status()
            for it in source.iter_sse():
                show({"event": it.event, "data": it.data, "id": it.id})


def with_websockets():
    from websockets.sync.client import connect

    address = url.replace("http://", "ws://", 1) + "/ws"
    with connect(address, subprotocols=["tidegate.v1+json"], proxy=None, open_timeout=60) as socket:
        socket.send(json.dumps({"type": "resume", "after": after or None, "topics": topics}))
        for message in socket:
            show(json.loads(message))


{"httpx-sse": with_httpx_sse, "websockets": with_websockets}[library]()
