"""A proxy in front of the embedded S3 that misbehaves as object stores and networks do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from local import ports
from local.ports import HOST

_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code>'
    b"<Message>We encountered an internal error.</Message></Error>"
)


class Fault(Enum):
    """What goes wrong with a request."""

    ERROR = "500 is answered"
    CUT_REQUEST = "the connection is closed in the middle of the body"
    LOST_ANSWER = "it is done, but the connection is closed instead of an answer"
    CUT_ANSWER = "the connection is closed in the middle of the answer's body"
    ALTERED = "a byte of the body is changed on the way"


@dataclass
class Rule:
    """The next ``times`` requests for which ``applies`` holds meet a fault."""

    fault: Fault
    applies: Callable[[str, str], bool]
    times: int
    met: int = 0


@dataclass
class FaultyS3:
    """Passes requests on to ``endpoint_url``, except where a rule says otherwise.

    Attributes:
        seen: method and path with query of every request, in order.
        gate: requests wait until it is set.
    """

    endpoint_url: str
    port: int = field(default_factory=lambda: ports.choose(29400))
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    _server: _Server | None = None

    @property
    def url(self) -> str:
        """Endpoint for clients."""
        return f"http://{HOST}:{self.port}"

    def fail(self, fault: Fault, applies: Callable[[str, str], bool], times: int = 1) -> Rule:
        """Let requests meet a fault; ``applies`` is given method and path with query."""
        rule = Rule(fault, applies, times)
        self.rules.append(rule)
        return rule

    def start(self) -> None:
        """Listen."""
        self.gate.set()
        self._server = _Server((HOST, self.port), _Handler)
        self._server.proxy = self
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        """Be gone: connections break, new ones are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.break_connections()

    @contextmanager
    def running(self) -> Iterator[FaultyS3]:
        """Listen until the end."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def fault_of(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets, if any."""
        for rule in self.rules:
            if rule.met < rule.times and rule.applies(method, path):
                rule.met += 1
                return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultyS3

    def __init__(self, *arguments: object) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self.connections.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self.connections.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self.connections):
            self.shutdown_request(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _handle(self) -> None:
        proxy = self.server.proxy
        proxy.seen.append(f"{self.command} {self.path}")
        proxy.gate.wait()
        fault = proxy.fault_of(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault is Fault.CUT_REQUEST:
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if fault is Fault.ERROR:
            self._answer(500, {"Content-Type": "application/xml"}, _ERROR)
            return
        if fault is Fault.ALTERED:
            body = body[:-1] + bytes([body[-1] ^ 1])
        status, headers, answer = self._pass_on(body)
        if fault is Fault.LOST_ANSWER:
            self.close_connection = True
        elif fault is Fault.CUT_ANSWER:
            self._answer(status, headers, answer, len(answer) // 2)
            self.close_connection = True
        else:
            self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(
            urlsplit(self.server.proxy.endpoint_url).netloc, timeout=60
        )
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            response = upstream.getresponse()
            dropped = ("connection", "transfer-encoding", "date", "server")
            headers = {k: v for k, v in response.getheaders() if k.lower() not in dropped}
            return response.status, headers, response.read()
        finally:
            upstream.close()

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
