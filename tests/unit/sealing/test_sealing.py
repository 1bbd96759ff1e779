"""Secrets at rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.errors import ConfigurationError
from mesh.sealing import SealBroken, Sealer, read_sealer

SEALER = Sealer(bytes(range(32)))


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place(value: bytes, place: str) -> None:
    sealed = SEALER.seal(value, place=place)
    assert SEALER.open(sealed, place=place) == value
    if len(value) > 8:
        assert value not in sealed
    assert SEALER.seal(value, place=place) != sealed, "each seal has a nonce of its own"


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_opens(at: int, change: int) -> None:
    sealed = bytearray(SEALER.seal(b"the key of the provider", place="p"))
    sealed[at % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        SEALER.open(bytes(sealed), place="p")


def test_nothing_opens_in_another_place_or_with_another_key_or_cut_short() -> None:
    sealed = SEALER.seal(b"value", place="model-key/tnt_1/mine")
    for sealer, value, place in (
        (SEALER, sealed, "model-key/tnt_2/mine"),
        (Sealer(bytes(32)), sealed, "model-key/tnt_1/mine"),
        (SEALER, sealed[:-1], "model-key/tnt_1/mine"),
        (SEALER, sealed[:5], "model-key/tnt_1/mine"),
        (SEALER, b"", "model-key/tnt_1/mine"),
    ):
        with pytest.raises(SealBroken):
            sealer.open(value, place=place)


def test_the_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "key"
    sealed = read_sealer(file, create=True).seal(b"x", place="p")
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_sealer(file, create=True).open(sealed, place="p") == b"x"
    assert [each.name for each in file.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("content", ["", "zz" * 32, "00" * 31, "00" * 33])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no key"):
        read_sealer(file, create=False)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("00" * 32)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_sealer(file, create=False)


def test_an_absent_file_is_refused_where_it_may_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        read_sealer(tmp_path / "key", create=False)
