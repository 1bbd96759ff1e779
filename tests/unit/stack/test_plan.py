"""What is started for what, and with which credentials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.stack.catalogue import BY_NAME, SERVERS, WORKLOADS, Kind
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home
from mesh.stack.keeper import START_LIMIT
from mesh.stack.plan import STOP_ORDER, plan_of
from mesh.stack.ports import Ports
from mesh.stack.secret_files import secret
from mesh.stack.servers.redis import acl_line
from mesh.stack.settings import StackSettings
from mesh.stack.steps import digest_of


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    home = Home(root=tmp_path / "home", lib=tmp_path / "lib")
    home.make()
    return StackSettings(home=home, ports=Ports(18000))


def test_a_part_brings_what_it_needs_and_nothing_else(settings: StackSettings) -> None:
    plan = plan_of(settings)
    assert set(plan.chosen(["redis"])) == {"redis"}
    assert set(plan.chosen(["postgres"])) == {"postgres", "databases", "migrations"}
    assert set(plan.chosen(["kafka"])) == {"kafka", "pki", "topics"}
    assert set(plan.chosen(["policy"])) >= {"policy", "postgres", "migrations", "pki"}
    assert "kafka" not in plan.chosen(["policy"])


def test_everything_waits_only_for_what_is_started_too(settings: StackSettings) -> None:
    graph = plan_of(settings).chosen([*SERVERS, *BY_NAME])
    assert all(need in graph for needs in graph.values() for need in needs)
    reached: set[str] = set()
    while len(reached) < len(graph):
        ready = {name for name, needs in graph.items() if reached.issuperset(needs)}
        assert ready > reached, f"a circle among {set(graph) - reached}"
        reached = ready


def test_an_external_server_is_not_started(settings: StackSettings) -> None:
    plan = plan_of(replace(settings, external={"postgres": "postgresql://admin:x@db:5432/postgres"}))
    assert "postgres" not in plan.processes
    assert "postgres" not in plan.chosen(["policy"])
    assert "migrations" in plan.chosen(["policy"])


def test_users_are_made_on_an_external_redis_before_anybody_needs_them(settings: StackSettings) -> None:
    plan = plan_of(replace(settings, external={"redis": "redis://admin:x@cache:6379"}))
    graph = plan.chosen(["gateway", "redis"])
    assert "redis" not in graph
    assert "redis-users" in graph["gateway"]
    assert "redis-users" not in plan_of(settings).chosen(["gateway"])


def test_an_unknown_name_is_refused_with_the_known_ones(settings: StackSettings) -> None:
    with pytest.raises(StackError) as refused:
        plan_of(settings).chosen(["postgress"])
    assert refused.value.code is Code.UNKNOWN_PROCESS
    assert "postgres" in refused.value.fix


def test_every_process_has_its_place_in_the_end(settings: StackSettings) -> None:
    assert set().union(*STOP_ORDER) == set(plan_of(settings).processes)


def test_each_process_has_credentials_of_its_own(settings: StackSettings) -> None:
    environment = Environment(settings)
    urls = [environment.servers(one)["SOMA_POSTGRES_URL"] for one in WORKLOADS]
    assert len(set(urls)) == len(WORKLOADS)
    password = secret(settings.home.secrets, "postgres-identity")
    found = environment.servers(BY_NAME["identity"])
    assert found["SOMA_POSTGRES_URL"] == f"postgresql://identity:{password}@127.0.0.1:18003/soma"
    assert all(password not in url for url in urls if "//identity:" not in url)


def test_an_external_address_is_used_with_own_credentials(settings: StackSettings) -> None:
    elsewhere = replace(
        settings,
        external={
            "postgres": "postgresql://admin:x@db.example:5432/postgres?sslmode=require",
            "redis": "rediss://admin:x@cache.example:6380/2",
            "kafka": "kafka.example:9093",
        },
    )
    found = Environment(elsewhere).servers(BY_NAME["worker-slm"])
    assert "@db.example:5432/soma?sslmode=require" in found["SOMA_POSTGRES_URL"]
    assert found["SOMA_POSTGRES_URL"].startswith("postgresql://worker_slm:")
    assert found["SOMA_REDIS_URL"].endswith("@cache.example:6380/2")
    assert found["SOMA_KAFKA_BOOTSTRAP"] == "kafka.example:9093"
    assert "admin" not in json.dumps(found)


def test_peers_are_the_services_and_the_control_plane(settings: StackSettings) -> None:
    peers = Environment(settings).peers()
    assert set(peers) == {one.name for one in WORKLOADS if one.kind is not Kind.WORKER}
    assert peers["memory"] == "ipv4:127.0.0.1:18023"


def test_only_the_memory_service_knows_the_key_of_the_vectors(settings: StackSettings) -> None:
    environment = Environment(settings)
    knowing = [one.name for one in WORKLOADS if "SOMA_QDRANT_API_KEY" in environment.servers(one)]
    assert knowing == ["memory"]


def test_a_redis_user_reaches_its_own_keys_only() -> None:
    line = acl_line(BY_NAME["gateway"], "00ff")
    assert line.startswith("user gateway on #00ff resetkeys ~gateway:*")
    assert "~* " not in line
    assert "-@admin" in line


def test_a_digest_tells_contents_and_names_apart(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_create.sql").write_text("create table a ()")
    first = digest_of([folder])
    assert digest_of([folder]) == first
    (folder / "0001_create.sql").rename(folder / "0002_create.sql")
    second = digest_of([folder])
    (folder / "0002_create.sql").write_text("create table b ()")
    assert len({first, second, digest_of([folder])}) == 3


def test_settings_are_remembered_for_other_shells(settings: StackSettings) -> None:
    replace(settings, ports=Ports(21000)).remember()
    found = StackSettings.from_environment({"SOMA_HOME": str(settings.home.root)})
    assert found.ports == Ports(21000)
    assert found.home == settings.home


@pytest.mark.parametrize("base", ["many", "-1", "99999"])
def test_a_senseless_port_base_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(StackError) as refused:
        StackSettings.from_environment({"SOMA_HOME": str(tmp_path), "SOMA_PORT_BASE": base})
    assert refused.value.code is Code.BAD_SETTING


def test_who_waits_for_a_server_does_not_give_up_before_the_launcher_does(settings: StackSettings) -> None:
    environment = Environment(settings).of_workload(
        BY_NAME["worker-slm"], process="worker-slm", listen=1, metrics=2, version="stable"
    )
    assert 0.9 * START_LIMIT < float(environment["SOMA_START_SECONDS"]) < START_LIMIT
