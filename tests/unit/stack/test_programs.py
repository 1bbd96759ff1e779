"""Which programs, interpreters and jars fit."""

from __future__ import annotations

import pytest

from mesh.stack import locate
from mesh.stack.install import jars, venvs

PRINTED = {
    "postgres 18": (locate.POSTGRES, "postgres (PostgreSQL) 18.4", True),
    "postgres 15": (locate.POSTGRES, "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", False),
    "redis 8": (locate.REDIS, "Redis server v=8.2.3 sha=00000000:0 malloc=jemalloc-5.3.0", True),
    "redis 7.0": (locate.REDIS, "Redis server v=7.0.15 sha=00000000:0", False),
    "valkey 8": (locate.REDIS, "Valkey server v=8.1.1 sha=00000000:0", True),
    "temporal": (locate.TEMPORAL, "temporal version 1.9.1 (Server 1.32.0, UI 2.51.0)", True),
    "temporal 1.1": (locate.TEMPORAL, "temporal version 1.1.0 (Server 1.25.0)", False),
    "envoy": (locate.ENVOY, "envoy  version: 4a2f/1.40.0/Clean/RELEASE/BoringSSL", True),
    "envoy 1.30": (locate.ENVOY, "envoy  version: 4a2f/1.30.1/Clean/RELEASE/BoringSSL", False),
    "nothing": (locate.ENVOY, "", False),
}


@pytest.mark.parametrize("case", PRINTED)
def test_a_program_fits_by_its_version(case: str) -> None:
    wanted, printed, fits = PRINTED[case]
    assert wanted.fits(printed) is fits


@pytest.mark.parametrize(
    ("printed", "platform", "triton"),
    [
        ("3 11 0 1", True, True),
        ("3 11 1 1", True, False),
        ("3 12 0 0", True, False),
        ("3 13 0 0", True, True),
        ("3 14 0 1", True, False),
        ("3 10 0 1", False, False),
    ],
)
def test_interpreters_are_told_apart(printed: str, platform: bool, triton: bool) -> None:
    found = venvs.read_interpreter("/usr/bin/python3", printed)
    assert (found.runs_platform, found.runs_triton) == (platform, triton)


def test_the_lock_of_the_jars_is_whole() -> None:
    found = jars.read_lock(jars.LOCK.read_text(encoding="utf-8"))
    assert len(found) == 40
    assert all(len(jar.sha256) == 64 for jar in found)
    assert len({jar.file for jar in found}) == len(found)
    assert "kafka_2.13-4.4.0.jar" in {jar.file for jar in found}
