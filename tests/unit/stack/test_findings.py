"""What `soma doctor` makes of what it sees, and what errors say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mesh.stack.accounts import Account, reachable
from mesh.stack.client_file import ClientFile
from mesh.stack.doctor import ephemeral, memory, process
from mesh.stack.errors import Code, StackError, failure
from mesh.stack.home import Home
from mesh.stack.ports import Ports

ROW: dict[str, Any] = {
    "name": "redis",
    "state": "ready",
    "restarts": 0,
    "last_exit": None,
    "failure": None,
    "log": "/tmp/redis.log",  # noqa: S108 - a name only
}
FAILURE = {"cause": "redis died 10 times", "fix": "read the log", "code": "GAVE_UP"}


def test_a_healthy_process_gives_no_finding() -> None:
    assert list(process(ROW)) == []


@pytest.mark.parametrize(
    ("change", "code", "serious"),
    [
        ({"state": "unready"}, "UNREADY", True),
        ({"state": "stopped"}, "NOT_UP", True),
        ({"restarts": 3, "last_exit": -9}, "RESTARTED", False),
        ({"state": "failed", "failure": FAILURE}, "GAVE_UP", True),
    ],
)
def test_an_unhealthy_process_gives_one(change: dict[str, Any], code: str, serious: bool) -> None:
    (found,) = process(ROW | change)
    assert (found.code, found.serious) == (code, serious)
    assert found.fix
    assert str(found).endswith(f"[{code}]")


def test_little_memory_is_told() -> None:
    assert list(memory("MemTotal:       24000000 kB\nMemFree: 1 kB\n")) == []
    (found,) = memory("MemTotal:       2000000 kB\nMemFree: 1 kB\n")
    assert found.code == "LITTLE_MEMORY"


def test_ports_that_the_kernel_hands_out_are_told() -> None:
    assert list(ephemeral(Ports(18000), "32768\t60999\n")) == []
    (found,) = ephemeral(Ports(18000), "1024\t65535\n")
    assert found.code == "EPHEMERAL_PORTS"


def test_an_error_is_one_line_and_survives_the_socket() -> None:
    error = StackError("a\nb  c", fix="do\nthis", code=Code.DISK_FULL)
    assert str(error) == "a b c. Fix: do this [DISK_FULL]"
    assert str(StackError.from_dict(error.as_dict())) == str(error)


SAID = {
    "nothing": ("", "it wrote nothing", Code.DIED_IN_START),
    "a traceback": (
        "first\nTraceback (most recent call last):\n  File x\nValueError: no\n\n",
        "ValueError: no",
        Code.DIED_IN_START,
    ),
    "a full disk": (
        "initdb: error: could not write: No space left on device\nremoving data\n",
        "could not write: No space left on device",
        Code.DISK_FULL,
    ),
    "a missing library": (
        "stub: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared object file\n",
        "libpython3.11.so.1.0",
        Code.LIBRARY_MISSING,
    ),
    "no memory": (
        "java.lang.OutOfMemoryError: Java heap space\nbye\n",
        "OutOfMemoryError",
        Code.LITTLE_MEMORY,
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_failed_program_is_explained_by_what_it_said(case: str) -> None:
    said, told, code = SAID[case]
    error = failure("it died", said=said, fix="read the log", code=Code.DIED_IN_START)
    assert error.cause.startswith("it died: ")
    assert told in error.cause
    assert error.code is code


def test_a_closed_folder_above_makes_a_path_unreachable(tmp_path: Path) -> None:
    stranger = Account(uid=61234, gid=61234)
    inner = tmp_path / "open" / "inner"
    inner.mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    assert reachable(inner, stranger)
    (tmp_path / "open").chmod(0o700)
    assert not reachable(inner, stranger)
    link = tmp_path / "open" / "link"
    link.symlink_to("/usr/bin")
    assert not reachable(link, stranger)


def test_the_clients_file_comes_back_and_exports_every_name(tmp_path: Path) -> None:
    home = Home(root=tmp_path, lib=tmp_path / "lib")
    written = ClientFile.of(home, Ports(18000), api_key="key'with quote", tenant="tnt_1")
    written.write(home.client)
    assert home.client.stat().st_mode & 0o777 == 0o600
    assert ClientFile.read(home.client) == written
    assert "export SOMA_EDGE_URL=http://127.0.0.1:18000" in written.exports()
    assert len(written.exports()) == 6
    assert "key" not in repr(written)
    assert ClientFile.read(tmp_path / "absent.json") is None
