"""What is typed: addresses, labels, files."""

import json
from pathlib import Path

import pytest
import typer

from mesh.cli.client import Address
from mesh.cli.failures import Exit, Failure
from mesh.cli.memory import labels_of, media_type_of

FILE = {
    "edge_url": "http://127.0.0.1:1",
    "edge_tls_url": "https://127.0.0.1:2",
    "grpc_target": "127.0.0.1:2",
    "ca_file": "/pki/ca.pem",
    "api_key": "key-of-the-file",
    "tenant": "tnt_1",
}


def test_labels_are_key_and_value() -> None:
    assert labels_of(["team=a", "note=x=y", "empty="]) == {"team": "a", "note": "x=y", "empty": ""}
    assert labels_of(None) == {}
    with pytest.raises(typer.BadParameter):
        labels_of(["team"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.md", "text/markdown"),
        ("A.MARKDOWN", "text/markdown"),
        ("a.html", "text/html"),
        ("a.pdf", "application/pdf"),
        ("a.txt", "text/plain"),
        ("a.py", "text/plain"),
        ("README", "text/plain"),
        ("a.png", "image/png"),
    ],
)
def test_a_media_type_is_told_from_the_name(name: str, expected: str) -> None:
    assert media_type_of(Path(name)) == expected


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "client.json").write_text(json.dumps(FILE), encoding="utf-8")
    home = {"SOMA_HOME": str(tmp_path)}
    assert Address.find(home) == Address(
        target="127.0.0.1:2", ca_file=Path("/pki/ca.pem"), api_key="key-of-the-file"
    )
    assert Address.find({**home, "SOMA_API_KEY": "other", "SOMA_GRPC_TARGET": "edge:443"}) == Address(
        target="edge:443", ca_file=Path("/pki/ca.pem"), api_key="other"
    )


def test_without_an_installation_or_a_key_the_command_says_so(tmp_path: Path) -> None:
    home = {"SOMA_HOME": str(tmp_path)}
    with pytest.raises(Failure) as nowhere:
        Address.find(home)
    assert nowhere.value.code is Exit.UNAVAILABLE
    with pytest.raises(Failure) as nobody:
        Address.find({**home, "SOMA_GRPC_TARGET": "edge:443", "SOMA_CA_FILE": "/ca.pem"})
    assert nobody.value.code is Exit.UNAUTHENTICATED
