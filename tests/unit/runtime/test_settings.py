"""The settings of a process."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mesh.runtime.settings import ProcessSettings


def settings(**more: object) -> ProcessSettings:
    given = {"workload": "memory", "listen": "127.0.0.1:1", "pki_dir": Path("/nowhere")}
    return ProcessSettings.model_validate(given | more)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SOMA_WORKLOAD": "memory",
        "SOMA_LISTEN": "127.0.0.1:18023",
        "SOMA_PKI_DIR": "/pki/memory",
        "SOMA_PEERS": '{"identity": "ipv4:127.0.0.1:18020"}',
        "SOMA_POSTGRES_URL": "postgresql://memory:secret@127.0.0.1/soma",
    }.items():
        monkeypatch.setenv(name, value)
    found = ProcessSettings.from_environment()
    assert found.name == "memory"
    assert found.peers["identity"] == "ipv4:127.0.0.1:18020"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "wrong",
    [{"workload": "Not A Name"}, {"listen": "no port"}, {"trace_ratio": 2.0}, {"log_level": "loud"}],
)
def test_a_wrong_value_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
