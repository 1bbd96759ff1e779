"""The folder of certificates: what is made, renewed, replaced, and what a reader can see meanwhile."""

from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mesh.pki.__main__ import main
from mesh.pki.errors import NoAuthorityError, UnreadableIdentityError
from mesh.pki.files import read_identity
from mesh.pki.folder import PkiFolder, half_life
from mesh.pki.workloads import WORKLOADS, workload

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = [one.name for one in WORKLOADS]


@pytest.fixture
def folder(tmp_path: Path) -> PkiFolder:
    made = PkiFolder(tmp_path / "pki")
    made.initialise(now=NOW)
    return made


def test_first_start_issues_everything_and_the_second_nothing(tmp_path: Path) -> None:
    folder = PkiFolder(tmp_path / "pki")
    assert folder.initialise(now=NOW) == NAMES
    assert folder.initialise(now=NOW + timedelta(minutes=1)) == []


def test_leaves_past_half_of_their_life_are_renewed(folder: PkiFolder) -> None:
    assert folder.initialise(now=NOW + timedelta(hours=11, minutes=50)) == []
    folder.rotate([workload("memory")], now=NOW + timedelta(hours=11))
    renewed = folder.initialise(now=NOW + timedelta(hours=12))
    assert renewed == [name for name in NAMES if name != "memory"]


def test_next_renewal_is_when_the_first_leaf_is_half_over(folder: PkiFolder) -> None:
    certificate = read_identity(folder.workload_folder("edge")).certificate
    assert folder.next_renewal(now=NOW) == half_life(certificate)


def test_keys_are_private_and_belong_to_their_certificates(folder: PkiFolder) -> None:
    for path in folder.path.rglob("*"):
        if path.is_file() and ("key" in path.name or path.name.endswith(".pem")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for name in NAMES:
        read_identity(folder.workload_folder(name))


def test_broker_has_key_and_chain_in_one_file(folder: PkiFolder) -> None:
    own = read_identity(folder.workload_folder("kafka"))
    keystore = (folder.workload_folder("kafka") / "keystore.pem").read_bytes()
    assert keystore == own.key_pem + own.chain_pem
    assert not (folder.workload_folder("memory") / "keystore.pem").exists()


def test_new_intermediate_renews_all_leaves_and_keeps_the_root(folder: PkiFolder) -> None:
    root = folder.ca_file.read_bytes()
    assert folder.initialise(now=NOW + timedelta(days=200)) == NAMES
    assert folder.ca_file.read_bytes() == root
    assert len(x509.load_pem_x509_certificates(read_identity(folder.workload_folder("edge")).chain_pem)) == 2


def test_root_key_may_be_offline_until_the_intermediate_ends(folder: PkiFolder) -> None:
    (folder.path / "root.key").unlink()
    assert folder.initialise(now=NOW + timedelta(days=200)) == NAMES
    with pytest.raises(NoAuthorityError, match="offline"):
        folder.initialise(now=NOW + timedelta(days=366))


def test_damaged_identity_is_replaced(folder: PkiFolder) -> None:
    (folder.workload_folder("slm") / "key.pem").write_bytes(b"damaged")
    with pytest.raises(UnreadableIdentityError):
        read_identity(folder.workload_folder("slm"))
    assert folder.initialise(now=NOW) == ["slm"]
    read_identity(folder.workload_folder("slm"))


def test_key_of_another_certificate_is_refused(folder: PkiFolder) -> None:
    other = (folder.workload_folder("memory") / "key.pem").read_bytes()
    (folder.workload_folder("slm") / "key.pem").write_bytes(other)
    with pytest.raises(UnreadableIdentityError, match="does not belong"):
        read_identity(folder.workload_folder("slm"))


def test_reader_never_sees_half_of_a_rotation(folder: PkiFolder) -> None:
    stop, seen, failures = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(read_identity(folder.workload_folder("edge")).certificate.serial_number)
            except UnreadableIdentityError as error:
                failures.append(str(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(60):
        folder.rotate([workload("edge")], now=NOW)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(seen) > 1


def test_old_versions_do_not_pile_up(folder: PkiFolder) -> None:
    for _ in range(5):
        folder.rotate([workload("edge")], now=NOW)
    assert len(list(folder.workload_folder("edge").glob("..2*"))) == 2


def test_files_of_another_issuer_are_read_as_they_are(tmp_path: Path, folder: PkiFolder) -> None:
    own = read_identity(folder.workload_folder("edge"))
    plain = tmp_path / "mounted"
    plain.mkdir()
    for name, content in (("cert.pem", own.chain_pem), ("key.pem", own.key_pem), ("ca.pem", own.ca_pem)):
        (plain / name).write_bytes(content)
    assert read_identity(plain) == own


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    assert main(["init", *home]) == 0
    assert json.loads(capsys.readouterr().out)["issued"] == NAMES
    assert main(["init", *home]) == 0
    assert json.loads(capsys.readouterr().out)["issued"] == []
    assert main(["rotate", "memory", "slm", *home]) == 0
    assert json.loads(capsys.readouterr().out)["issued"] == ["memory", "slm"]
    assert main(["show", *home]) == 0
    assert {row["workload"] for row in json.loads(capsys.readouterr().out)} == set(NAMES)
    assert main(["rotate", "nosuch", *home]) == 1
    assert "unknown workload 'nosuch'" in capsys.readouterr().err
