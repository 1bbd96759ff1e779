"""Where the others are: given at start, told anew by a file."""

import asyncio
import json
from pathlib import Path

import pytest

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.handover import follows
from mesh.runtime.peers import Peers

GIVEN = {"memory": "ipv4:127.0.0.1:1", "slm": "ipv4:127.0.0.1:2"}


def tell(file: Path, **targets: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(targets))
    fresh.replace(file)


def test_an_unknown_peer_is_named() -> None:
    with pytest.raises(ConfigurationError, match="audit"):
        Peers(GIVEN).target("audit")


def test_the_file_outranks_what_was_given(tmp_path: Path) -> None:
    tell(tmp_path / "peers.json", memory="ipv4:127.0.0.1:9")
    peers = Peers(GIVEN, tmp_path / "peers.json")
    assert [peers.target(name) for name in GIVEN] == ["ipv4:127.0.0.1:9", "ipv4:127.0.0.1:2"]


async def test_who_asked_hears_of_a_move_and_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    tell(file, memory="ipv4:127.0.0.1:1")
    peers, moves = Peers(GIVEN, file), asyncio.Queue[str]()
    peers.subscribe("memory", moves.put_nowait)
    watching = asyncio.create_task(peers.watch())
    file.write_text("{")
    tell(file, memory="ipv4:127.0.0.1:8")
    assert await asyncio.wait_for(moves.get(), 20) == "ipv4:127.0.0.1:8"
    file.write_text('{"memory": 5}')
    file.unlink()
    tell(file, memory="ipv4:127.0.0.1:7")
    assert await asyncio.wait_for(moves.get(), 20) == "ipv4:127.0.0.1:7"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "lasting"),
    [
        ("/soma.identity.v1.Trust/WatchTrust", True),
        ("/soma.policy.v1.Bundles/WatchBundle", True),
        ("/grpc.health.v1.Health/Watch", True),
        ("/soma.orchestrator.v1.Turns/StreamTurn", False),
        ("/soma.orchestrator.v1.Sessions/CreateSession", False),
        ("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit", False),
    ],
)
def test_streams_that_last_as_long_as_the_process_are_not_waited_for(path: str, lasting: bool) -> None:
    from soma.identity.v1 import service_pb2 as _identity  # noqa: F401 - registers its contracts
    from soma.orchestrator.v1 import service_pb2 as _orchestrator  # noqa: F401
    from soma.policy.v1 import service_pb2 as _policy  # noqa: F401

    assert follows(path) is lasting
