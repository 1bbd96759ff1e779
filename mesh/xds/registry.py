"""What each proxy was sent, and what it took."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mesh.xds.world import ORDER, World, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEPT = 256


@dataclass(slots=True)
class Delivery:
    """One type of resources at one proxy.

    Attributes:
        held: what the proxy acknowledged, by name, with versions.
        pending: what it was sent and has not answered, by nonce.
    """

    sent_version: str = ""
    acked_version: str = ""
    nack_message: str = ""
    ack_time: datetime | None = None
    held: dict[str, str] = field(default_factory=dict)
    pending: dict[str, tuple[str, dict[str, str | None]]] = field(default_factory=dict)

    def sent(self, *, nonce: str, version: str, content: Mapping[str, str | None]) -> None:
        """Note a response; a name without a version was removed."""
        self.sent_version = version
        self.pending[nonce] = (version, dict(content))

    def acked(self, nonce: str) -> None:
        """Note that the proxy took a response."""
        version, content = self.pending.pop(nonce, ("", {}))
        if not version:
            return
        self.acked_version, self.nack_message = version, ""
        self.ack_time = datetime.now(UTC)
        for name, held in content.items():
            if held is None:
                self.held.pop(name, None)
            else:
                self.held[name] = held

    def nacked(self, nonce: str, message: str) -> None:
        """Note that the proxy refused a response; it goes on with what it held."""
        self.pending.pop(nonce, None)
        self.nack_message = message


@dataclass(slots=True)
class Proxy:
    """A proxy that takes its configuration here."""

    id: str
    cluster: str
    version: str
    connect_time: datetime
    streams: int = 0
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether a stream of it is open."""
        return self.streams > 0

    def delivery(self, kind: str) -> Delivery:
        """The delivery of a type; made at first sight."""
        return self.deliveries.setdefault(kind, Delivery())

    def differing(self, kind: str, world: World) -> list[str]:
        """Names whose acknowledged content is not what is wanted now."""
        held = self.delivery(kind).held
        wanted = world.of(kind)
        names = {name for name in held if name not in wanted or held[name] != wanted[name].version}
        if kind in ORDER:
            names |= {name for name in wanted if name not in held}
        return sorted(names)

    def summary(self) -> dict[str, str]:
        """Acknowledged versions by short type name, for the log."""
        return {short(kind): one.acked_version for kind, one in self.deliveries.items()}


class Registry:
    """Proxies by node id; those that left are kept for a while, so that people see them."""

    def __init__(self) -> None:
        self._proxies: OrderedDict[str, Proxy] = OrderedDict()

    def opened(self, *, id: str, cluster: str, version: str) -> Proxy:  # noqa: A002 - Envoy's word
        """Note a new stream of a proxy."""
        before = self._proxies.pop(id, None)
        proxy = Proxy(id, cluster, version, datetime.now(UTC))
        if before is not None and before.connected:
            proxy.streams = before.streams
        proxy.streams += 1
        self._proxies[id] = proxy
        while len(self._proxies) > _KEPT:
            self._proxies.popitem(last=False)
        return proxy

    def closed(self, proxy: Proxy) -> None:
        """Note the end of a stream."""
        current = self._proxies.get(proxy.id)
        proxy.streams -= 1
        if current is not None and current is not proxy:
            current.streams -= 1

    def proxies(self) -> Iterable[Proxy]:
        """All that are known."""
        return self._proxies.values()
