"""Partitions between two processes: a proxy stands where the client looks for the server.

The client is restarted in order with the proxy's address (its override file), lives through slow, reset,
swallowed and refused connections in an order that the seed chooses, and is restarted without it.
Kafka sends clients on to the address that it advertises: while the fault lasts, the broker has one
more listener, which advertises the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from mesh.stack import overrides
from mesh.stack.catalogue import BY_NAME
from mesh.stack.environment import Environment
from mesh.stack.home import write_atomically
from mesh.stack.ports import LOOPBACK
from tests.chaos.fault import Fault
from tests.chaos.faults.changed import changed
from tests.chaos.faults.proxy import Proxy, Weather
from tests.support.stack import Stack, address_of

STORMS = (Weather.LATENCY, Weather.RESET, Weather.BLACKHOLE, Weather.REFUSED)
SHORTEST, LONGEST = 2.0, 6.0
LATE = 0.15
BREATH = 0.5
SPARE_LISTENER = 60
PEERS = "SOMA_PEERS_FILE"


@dataclass(frozen=True, slots=True)
class Link:
    """A client, what it speaks to, and the setting that tells it where that is."""

    client: str
    server: str
    variable: str

    @property
    def peer(self) -> bool:
        """Whether the server is a service, which may have moved to its other address."""
        return self.variable == PEERS

    @property
    def name(self) -> str:
        return f"partition {self.client} from {self.server}"


LINKS = (
    Link("orchestrator", "postgres", "SOMA_POSTGRES_URL"),
    Link("orchestrator", "redis", "SOMA_REDIS_URL"),
    Link("orchestrator", "memory", PEERS),
    Link("worker-slm", "triton", "SOMA_TRITON_URL"),
    Link("worker-slm", "redis", "SOMA_REDIS_URL"),
    Link("memory", "vectors", "SOMA_QDRANT_URL"),
    Link("memory", "triton", "SOMA_TRITON_URL"),
    Link("identity", "postgres", "SOMA_POSTGRES_URL"),
    Link("gateway", "orchestrator", PEERS),
    Link("gateway", "redis", "SOMA_REDIS_URL"),
    Link("worker-projections", "audit", PEERS),
    Link("worker-outbox", "postgres", "SOMA_POSTGRES_URL"),
    Link("orchestrator", "identity", PEERS),
)
KAFKA_CLIENTS = ("orchestrator", "worker-slm", "worker-projections", "worker-outbox")
EDGE_SERVICES = ("orchestrator", "gateway")
IN_SHORT_RUN = frozenset({"orchestrator-postgres", "worker-slm-redis", "worker-slm-triton"})


@contextlib.asynccontextmanager
async def through_proxy(stack: Stack, link: Link) -> AsyncIterator[Proxy]:
    """Let a client reach one server through a proxy until the block ends."""
    server = (
        address_of(stack.settings, link.server) if link.peer else stack.settings.ports.address(link.server)
    )
    async with Proxy.before(server) as proxy:
        with _told(stack, link, server, proxy.address) as change:
            async with changed(stack, link.client, change):
                yield proxy
        assert proxy.connections, f"{link.client} never went through the proxy before {link.server}"


@contextlib.contextmanager
def _told(stack: Stack, link: Link, server: str, proxy: str) -> Iterator[dict[str, str]]:
    """What tells the client of the proxy: the address, or for a peer a file of peers of its own."""
    if not link.peer:
        told = Environment(stack.settings).servers(BY_NAME[link.client])[link.variable]
        assert server in told, f"{link.variable} of {link.client} does not name {link.server}"
        yield {link.variable: told.replace(server, proxy)}
        return
    usual = stack.settings.home.peers
    own = usual.with_name(f"peers-of-{link.client}.json")
    told = usual.read_text(encoding="utf-8")
    assert server in told, f"no peer is {link.server}"
    write_atomically(own, told.replace(server, proxy))
    try:
        yield {link.variable: str(own)}
    finally:
        own.unlink()


@contextlib.asynccontextmanager
async def kafka_through_proxy(stack: Stack, client: str) -> AsyncIterator[Proxy]:
    """Let one client reach Kafka through a proxy until the block ends; the others are left as they are."""
    ports = stack.settings.ports
    usual, controller = ports.address("kafka"), ports.address("kafka-controller")
    spare = f"{LOOPBACK}:{ports.base + SPARE_LISTENER}"
    async with Proxy.before(spare) as proxy:
        broker = {
            "KAFKA_LISTENERS": f"SSL://{usual},APART://{spare},CONTROLLER://{controller}",
            "KAFKA_ADVERTISED_LISTENERS": f"SSL://{usual},APART://{proxy.address}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "SSL:SSL,APART:SSL,CONTROLLER:SSL",
        }
        at_proxy = {"SOMA_KAFKA_BOOTSTRAP": proxy.address}
        async with changed(stack, "kafka", broker), changed(stack, client, at_proxy):
            yield proxy


@contextlib.asynccontextmanager
async def edge_through_proxy(stack: Stack, service: str) -> AsyncIterator[Proxy]:
    """Let the edge reach one service through a proxy until the block ends."""
    async with (
        Proxy.before(address_of(stack.settings, service)) as proxy,
        changed(stack, service, {overrides.ADVERTISE: proxy.address}),
    ):
        yield proxy


async def storm(proxy: Proxy, choice: random.Random) -> None:
    """All sorts of weather, in the seed's order; calm at the end."""
    for weather in choice.sample(STORMS, len(STORMS)):
        await proxy.become(weather, late=LATE if weather is Weather.LATENCY else 0.0)
        await asyncio.sleep(choice.uniform(SHORTEST, LONGEST))
        await proxy.become(Weather.CALM)
        await asyncio.sleep(BREATH)


async def partition(stack: Stack, choice: random.Random, *, link: Link) -> None:
    """Partition a client from a server."""
    async with through_proxy(stack, link) as proxy:
        await storm(proxy, choice)


async def partition_from_kafka(stack: Stack, choice: random.Random, *, client: str) -> None:
    """Partition a client from Kafka."""
    async with kafka_through_proxy(stack, client) as proxy:
        await storm(proxy, choice)


async def partition_from_edge(stack: Stack, choice: random.Random, *, service: str) -> None:
    """Partition the edge from a service."""
    async with edge_through_proxy(stack, service) as proxy:
        await storm(proxy, choice)


FAULTS: tuple[Fault, ...] = (
    *(
        Fault(
            name=link.name,
            inject=functools.partial(partition, link=link),
            long_only=f"{link.client}-{link.server}" not in IN_SHORT_RUN,
        )
        for link in LINKS
    ),
    *(
        Fault(
            name=f"partition {one} from kafka",
            inject=functools.partial(partition_from_kafka, client=one),
            long_only=True,
        )
        for one in KAFKA_CLIENTS
    ),
    *(
        Fault(
            name=f"partition edge from {one}",
            inject=functools.partial(partition_from_edge, service=one),
            long_only=True,
        )
        for one in EDGE_SERVICES
    ),
)
