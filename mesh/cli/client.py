"""The commands' way to the platform: one TLS channel to the edge, the caller's key on every call.

Where the edge is comes from SOMA_GRPC_TARGET, SOMA_CA_FILE and SOMA_API_KEY, else from `client.json` in
SOMA_HOME. Plain calls, not asynchronous ones: a command does one thing at a time, and starts sooner.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from mesh.cli.failures import Exit, Failure, of_remote

if TYPE_CHECKING:
    import grpc

    from mesh.runtime.status import RemoteFailure

SECONDS = 30.0
_LARGEST_MESSAGE = 64 * 1024 * 1024
Request_contra = TypeVar("Request_contra", contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)
Stub = TypeVar("Stub")


class Unary(Protocol[Request_contra, Response_co]):
    """A method of a stub."""

    def __call__(self, request: Request_contra, *, timeout: float | None = None) -> Response_co:
        """Call it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the edge is, and who asks."""

    target: str
    ca_file: Path
    api_key: str = field(repr=False)

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Address:
        """Read the environment, then `client.json`.

        Raises:
            Failure: neither says where the edge is, or who asks.
        """
        from mesh.stack.client_file import ClientFile
        from mesh.stack.home import Home

        home = Home.from_environment(environment)
        file = ClientFile.read(home.client)
        target = environment.get("SOMA_GRPC_TARGET") or (file.grpc_target if file else "")
        ca_file = environment.get("SOMA_CA_FILE") or (file.ca_file if file else "")
        api_key = environment.get("SOMA_API_KEY") or (file.api_key if file else "")
        if not target or not ca_file:
            fix = "run `soma up`, or set SOMA_GRPC_TARGET, SOMA_CA_FILE and SOMA_API_KEY"
            raise Failure(f"no installation is known in {home.root}", Exit.UNAVAILABLE, "NOT_RUNNING", fix)
        if not api_key:
            raise Failure("no API key is known", Exit.UNAUTHENTICATED, "TOKEN_MISSING", "set SOMA_API_KEY")
        return cls(target=target, ca_file=Path(ca_file), api_key=api_key)


class Edge:
    """An open channel to the edge."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Take a channel; see `edge`."""
        self.channel = channel

    def stub(self, kind: Callable[[grpc.Channel], Stub]) -> Stub:
        """Make a generated stub."""
        return kind(self.channel)

    def pages(self, method: Unary[Any, Any], request: Any, rows: str, *, size: int = 100) -> Iterator[Any]:
        """Give the rows of all pages of a list, asking for a page when it is needed."""
        request.page_size = size
        while True:
            answer = method(request, timeout=SECONDS)
            yield from getattr(answer, rows)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token


@contextmanager
def edge() -> Iterator[Edge]:
    """Open the channel for a command; a failure inside is one line on stderr and an exit code."""
    with failures():
        channel = _connect(Address.find(os.environ))
        try:
            yield Edge(channel)
        finally:
            channel.close()


@contextmanager
def failures() -> Iterator[None]:
    """End the command with one line and its exit code, where something inside fails."""
    import grpc

    try:
        yield
    except Failure as failure:
        _end(failure)
    except grpc.RpcError as error:
        _end(of_remote(remote_of(error)))


def remote_of(error: grpc.RpcError) -> RemoteFailure:
    """Read what the other side said of a failed call."""
    from mesh.runtime.status import read

    return read(error)  # type: ignore[arg-type]  # it has the accessors of the asynchronous error


def _connect(address: Address) -> grpc.Channel:
    import grpc

    try:
        authority = address.ca_file.read_bytes()
    except OSError as error:
        raise Failure(
            f"the certificate {address.ca_file} cannot be read: {error.strerror}",
            Exit.UNAVAILABLE,
            "BAD_SETTING",
            "set SOMA_CA_FILE, or run `soma up`",
        ) from error
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority), grpc.access_token_call_credentials(address.api_key)
    )
    return grpc.secure_channel(
        address.target,
        credentials,
        options=(
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.enable_http_proxy", 0 if _is_local(address.target) else 1),
        ),
    )


def _is_local(target: str) -> bool:
    return target.removeprefix("ipv4:").rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def _end(failure: Failure) -> None:
    sys.stdout.flush()
    print(f"soma: {failure}", file=sys.stderr)
    raise typer.Exit(int(failure.code)) from failure
