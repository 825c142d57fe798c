# SPDX-License-Identifier: MIT
"""A web server and its clients by HTTP/3 over QUIC, to be run on hosts of a lab.

    quic.py serve ADDRESS NAME CERTIFICATE KEY
    quic.py ask ADDRESS CONNECTIONS CERTIFICATE

The server answers each request with its name, again and again. The clients' connections stay, and
each asks a few times at each line of standard input; a line of JSON says who answered each of them.
"""

import asyncio
import contextlib
import json
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

PORT = 443
REQUESTS = 5  # of a connection, at each line
PAGE = 30_000  # bytes of an answer: some 25 packets
PATIENCE_S = 10.0


class _Peer(QuicConnectionProtocol):
    """One connection's end: HTTP/3's events from QUIC's."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self.http.handle_event(event):
            self.heard(each)

    def heard(self, event: H3Event) -> None:
        raise NotImplementedError


class Server(_Peer):
    name = b""

    def heard(self, event: H3Event) -> None:
        if event.stream_ended:
            self.http.send_headers(event.stream_id, [(b":status", b"200")])
            page = self.name * (PAGE // len(self.name))
            self.http.send_data(event.stream_id, page, end_stream=True)
            self.transmit()


class Client(_Peer):
    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.pages: dict[int, bytes] = {}
        self.whole: dict[int, asyncio.Future[bytes]] = {}

    def heard(self, event: H3Event) -> None:
        if isinstance(event, DataReceived):
            page = self.pages[event.stream_id] = self.pages.get(event.stream_id, b"") + event.data
            if event.stream_ended:
                self.whole[event.stream_id].set_result(page)

    async def ask(self, authority: str) -> str:
        """Who answers. Raises: TimeoutError."""
        stream = self._quic.get_next_available_stream_id()
        self.whole[stream] = asyncio.get_running_loop().create_future()
        words = {"method": "GET", "scheme": "https", "authority": authority, "path": "/"}
        headers = [(f":{name}".encode(), value.encode()) for name, value in words.items()]
        self.http.send_headers(stream, headers, end_stream=True)
        self.transmit()
        page = await asyncio.wait_for(self.whole[stream], PATIENCE_S)
        name = page[:3]
        assert page == name * (PAGE // len(name))
        return name.decode()


async def run_server(address: str, name: str, certificate: str, key: str) -> None:
    Server.name = name.encode()
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    await serve(address, PORT, configuration=configuration, create_protocol=Server)
    print("ready", flush=True)
    await asyncio.Future()


async def run_clients(address: str, connections: str, certificate: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(int(connections)):
            configuration = QuicConfiguration(alpn_protocols=H3_ALPN, cafile=certificate)
            connection = connect(address, PORT, configuration=configuration, create_protocol=Client)
            clients.append(await stack.enter_async_context(connection))
        while await asyncio.to_thread(sys.stdin.readline):
            said = [[await each.ask(address) for _ in range(REQUESTS)] for each in clients]
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    role, *words = sys.argv[1:]
    asyncio.run({"serve": run_server, "ask": run_clients}[role](*words))
