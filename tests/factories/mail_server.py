"""A mail server on this machine that answers as it is told to."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

LOCAL = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}


@contextlib.contextmanager
def mail_server(**answers: str) -> Iterator[dict[str, Any]]:
    """The setting MAILERS for a server that says to each command what is given (`RCPT="550 …"`; END is the end of the
    message), else that all is well."""
    with _MailServer(answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield _mailers(server.server_address[1])
        server.shutdown()


@contextlib.contextmanager
def no_mail_server() -> Iterator[dict[str, Any]]:
    """The same for a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield _mailers(taken.getsockname()[1])


def _mailers(port: int) -> dict[str, Any]:
    options = {"host": "127.0.0.1", "port": port, "timeout": 5}
    return {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}}


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = {"DATA": "354 go on", **answers}
        super().__init__(("127.0.0.1", 0), _Talk)


class _Talk(socketserver.StreamRequestHandler):
    server: _MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            said = self._answer(line.split()[0].decode().upper())
            if said.startswith("354"):
                while self.rfile.readline().rstrip(b"\r\n") != b".":
                    pass
                self._answer("END")

    def _answer(self, command: str) -> str:
        said = self.server.answers.get(command, "250 good")
        self.wfile.write(f"{said}\r\n".encode())
        return said
