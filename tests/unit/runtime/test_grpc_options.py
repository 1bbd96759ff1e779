"""gRPC takes options by name and ignores a name that it does not know, without a word."""

from __future__ import annotations

from pathlib import Path

import grpc._cython
import pytest

from mesh.runtime import channels, server

LIBRARY = next(Path(grpc._cython.__file__).parent.glob("cygrpc*.so"))
OPTIONS = sorted({name for name, _ in (*channels._OPTIONS, *server._OPTIONS)})


@pytest.fixture(scope="module")
def core() -> bytes:
    return LIBRARY.read_bytes()


@pytest.mark.parametrize("option", OPTIONS)
def test_option_is_one_that_grpc_knows(core: bytes, option: str) -> None:
    assert option.encode() in core, f"gRPC knows no option {option}"
