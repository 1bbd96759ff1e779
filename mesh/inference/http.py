"""HTTP to providers: guarded sockets, bounded bodies, server-sent events.

Owns the session. It follows no redirect, keeps no cookie, reads no proxy from the
environment, and never logs a header or a body.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from mesh.inference import errors as failures
from mesh.inference.addresses import AddressPolicy, RefusedAddressError
from mesh.runtime.errors import PermissionDenied, SomaError

_CONNECT_SECONDS: Final = 10.0
_LONGEST_EVENT: Final = 1024 * 1024
_LONGEST_ERROR: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event (WHATWG HTML, section 9.2)."""

    name: str
    data: str

    def json(self) -> dict[str, Any]:
        """Parse the data.

        Raises:
            ValueError: it is no JSON object.
        """
        match json.loads(self.data):
            case dict() as value:
                return value
            case _:
                raise ValueError("an event's data is no JSON object")


class ProviderHttp:
    """One HTTP session for all providers."""

    def __init__(self, session: aiohttp.ClientSession, policy: AddressPolicy) -> None:
        self._session = session
        self.policy = policy

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, policy: AddressPolicy) -> AsyncIterator[Self]:
        """Make the session; it is closed at the end."""
        connector = aiohttp.TCPConnector(
            limit=256, limit_per_host=64, ttl_dns_cache=30, socket_factory=policy.socket_for
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=True,
            read_bufsize=64 * 1024,
        )
        async with session:
            yield cls(session, policy)

    async def get(self, url: str, *, model: str, headers: Mapping[str, str], timeout: float) -> None:
        """Ask for a page and read nothing but its status.

        Raises:
            SomaError: it is not 200.
        """
        with _translated(model):
            async with self._request("GET", url, headers, timeout) as response:
                await _refuse_unless_ok(model, response)

    async def post_events(
        self,
        url: str,
        *,
        model: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        timeout: float,
    ) -> AsyncGenerator[Event, None]:
        """Send `body` as JSON and yield the events of the answer.

        Raises:
            SomaError: the provider refused, broke off, or answered with something else.
        """
        with _translated(model):
            async with self._request("POST", url, headers, timeout, body) as response:
                await _refuse_unless_ok(model, response)
                if response.content_type != "text/event-stream":
                    raise failures.unavailable(model, "answered outside of its contract")
                async with contextlib.aclosing(events(response.content.iter_any())) as found:
                    async for event in found:
                        yield event

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        self.policy.check_url(url)
        return self._session.request(
            method,
            URL(url),
            headers=dict(headers),
            json=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS),
        )


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """Cut a byte stream into events.

    Raises:
        ValueError: an event is longer than 1 MiB or is no UTF-8.
    """
    rest, name, size = b"", "", 0
    data: list[str] = []
    async for piece in pieces:
        rest += piece
        *lines, rest = rest.split(b"\n")
        size += len(piece)
        for raw in lines:
            line = raw.removesuffix(b"\r").decode()
            if not line:
                if data:
                    yield Event(name, "\n".join(data))
                name, data, size = "", [], len(rest)
                continue
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "data":
                data.append(value)
            elif key == "event":
                name = value
        if size > _LONGEST_EVENT:
            raise ValueError("an event is too long")


async def _refuse_unless_ok(model: str, response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    body = await response.content.read(_LONGEST_ERROR)
    raise failures.from_http(
        model, response.status, body.decode(errors="replace"), _retry_after(response.headers)
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), 3600.0)


@contextlib.contextmanager
def _translated(model: str) -> Any:
    try:
        yield
    except SomaError:
        raise
    except TimeoutError as error:
        raise failures.deadline(model) from error
    except aiohttp.ClientError as error:
        raise _of_client(model, error) from error
    except RefusedAddressError as error:
        raise PermissionDenied("PROVIDER_REFUSED", str(error)) from error
    except (OSError, ValueError) as error:
        raise failures.unavailable(model, "answered outside of its contract") from error


def _of_client(model: str, error: aiohttp.ClientError) -> SomaError:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, RefusedAddressError):
        return PermissionDenied("PROVIDER_REFUSED", str(error.os_error))
    if isinstance(error, aiohttp.InvalidURL):
        return PermissionDenied("PROVIDER_REFUSED", "base_url names an address that may not be reached")
    if isinstance(error, aiohttp.ClientConnectionError):
        return failures.unavailable(model, "does not answer: its provider cannot be reached")
    return failures.unavailable(model, "broke off before its end")
