"""What the control plane keeps and reads: members, splits, revocations, settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st
from soma.identity.v1 import resources_pb2

from mesh.envoy.snapshot import Address
from mesh.xds.config import Settings
from mesh.xds.errors import UnreadableStateError
from mesh.xds.members import read_members
from mesh.xds.revocations import Revocations
from mesh.xds.splits import Splits


def revocation(token_id: str, until: int = 0) -> resources_pb2.Revocation:
    return resources_pb2.Revocation(token_id=token_id, expire_time=timestamp_pb2.Timestamp(seconds=until))


def test_members_are_read_as_the_launcher_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    row = {"process": "slm", "service": "slm", "version": "stable", "address": "127.0.0.1:18024"}
    path.write_text(json.dumps([{**row, "metrics_address": "127.0.0.1:18079"}]))
    (member,) = read_members(path)
    assert (member.process, member.address) == ("slm", Address("127.0.0.1", 18024))
    assert member.endpoint(draining=True).draining


@pytest.mark.parametrize("content", ["", "{}x", '{"a": 1}', '[{"process": "slm"}]', "[1]"])
def test_damaged_members_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(content)
    with pytest.raises(UnreadableStateError, match=r"endpoints\.json"):
        read_members(path)


def test_splits_survive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "data" / "xds" / "state.json"
    made = Splits(path).set("orchestrator", 10)
    again = Splits(path)
    assert again.all() == [made]
    assert again.percents() == (("orchestrator", 10),)
    again.set("orchestrator", 0)
    assert Splits(path).percents() == (("orchestrator", 0),)


def test_damaged_splits_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("[]")
    with pytest.raises(UnreadableStateError):
        Splits(path)


def test_revocations_reset_and_grow() -> None:
    revoked = Revocations(bound=10)
    assert revoked.take([revocation("a"), revocation("b")], reset=True)
    assert revoked.take([revocation("c")], reset=False)
    assert revoked.ids() == ("a", "b", "c")
    assert not revoked.take([revocation("c")], reset=False)
    assert revoked.take([revocation("d")], reset=True)
    assert revoked.ids() == ("d",)


def test_expired_revocations_are_forgotten_and_endless_ones_are_not() -> None:
    revoked = Revocations(bound=10)
    revoked.take([revocation("short", 100), revocation("long", 300), revocation("endless", 0)], reset=True)
    assert revoked.prune(now=200)
    assert revoked.ids() == ("endless", "long")
    assert not revoked.prune(now=200)


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 8))
def test_bound_keeps_the_newest(tokens: list[int], bound: int) -> None:
    revoked = Revocations(bound=bound)
    for token in tokens:
        revoked.take([revocation(str(token))], reset=False)
    newest = list(dict.fromkeys(reversed(tokens)))[:bound]
    assert set(revoked.ids()) == {str(token) for token in newest}


def test_edge_listens_where_the_ports_say() -> None:
    base = {"workload": "xds", "listen": "127.0.0.1:1", "pki_dir": "/p", "home": "/h"}
    edge = Settings.model_validate({**base, "port_base": 20000}).edge
    assert (str(edge.http), str(edge.tls)) == ("127.0.0.1:20000", "127.0.0.1:20001")
    assert edge.access_log == "/h/log/edge-access.log"
    assert edge.collector is None
    given_addresses = {"edge_tls_listen": "0.0.0.0:443", "otlp_endpoint": "http://10.0.0.1:4317/"}
    edge = Settings.model_validate({**base, **given_addresses, "trace_ratio": 0.5}).edge
    assert (str(edge.tls), str(edge.collector), edge.trace_percent) == ("0.0.0.0:443", "10.0.0.1:4317", 50.0)


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:port"])
def test_address_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        Address.parse(text)
