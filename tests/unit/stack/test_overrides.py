"""Drop-in environment files: their form is strict, and no message shows a value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesh.stack import overrides
from mesh.stack.doctor import overridden
from mesh.stack.errors import Code, StackError
from mesh.stack.servers.server import Launch

LAUNCH = Launch(argv=("true",), directory=Path("/"), environment={"A": "1", "B": "2"})


def put(folder: Path, content: str | bytes, *, name: str = "redis.env", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_they_are_merged_last(tmp_path: Path) -> None:
    put(tmp_path, "# why\n\nB=changed=twice\nC=\n")
    merged = overrides.applied(LAUNCH, tmp_path, "redis").environment
    assert merged == {"A": "1", "B": "changed=twice", "C": ""}
    assert overrides.applied(LAUNCH, tmp_path, "kafka") is LAUNCH
    assert overrides.applied(LAUNCH, tmp_path / "absent", "redis") is LAUNCH


@pytest.mark.parametrize(
    "content",
    [
        *("export A=secret", "A", "=secret", " A=secret", "A =secret", "1A=secret", "A=x\0secret"),
        *("A=1\nA=secret", "A=secret\r\n", "A=" + "s" * overrides.LARGEST, b"A=\xff"),
    ],
)
def test_a_line_without_a_meaning_is_refused_and_not_shown(tmp_path: Path, content: str | bytes) -> None:
    put(tmp_path, content)
    with pytest.raises(StackError) as refused:
        overrides.read(tmp_path, "redis")
    assert refused.value.code is Code.BAD_SETTING
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    put(tmp_path, "A=1", mode=mode)
    with pytest.raises(StackError, match="open to others"):
        overrides.read(tmp_path, "redis")


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "redis.env").symlink_to(put(tmp_path, "A=1", name="elsewhere"))
    with pytest.raises(StackError, match="cannot be read"):
        overrides.read(tmp_path, "redis")


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "A=1")
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        with pytest.raises(StackError, match="open to others"):
            overrides.read(tmp_path, "redis")
    assert path.stat().st_mode & 0o777 == 0o600


def test_properties_take_their_server_s_form() -> None:
    found = overrides.properties({"KAFKA_LOG_RETENTION_HOURS": "1", "HOME": "/"}, "KAFKA_")
    assert found == {"log.retention.hours": "1"}


def test_doctor_shows_each_file_by_its_names(tmp_path: Path) -> None:
    put(tmp_path, "PASSWORD=secret\nLD_PRELOAD=x.so\n", name="memory-canary.env")
    put(tmp_path, "A=1\n", name="redis.env", mode=0o644)
    put(tmp_path, "A=1\n", name="rediss.env")
    put(tmp_path, "A=1\n", name="redis.env~")
    found = {one.subject + one.code: one for one in overridden(tmp_path)}
    assert set(found) == {"memory-canaryOVERRIDDEN", "redisBAD_SETTING", "overridesSTRAY_OVERRIDE"}
    assert "PASSWORD, LD_PRELOAD" in found["memory-canaryOVERRIDDEN"].cause
    assert not found["memory-canaryOVERRIDDEN"].serious
    assert not any("secret" in str(one) for one in found.values())
