"""Compiles `echo.proto` against the project's own descriptors and imports what comes out."""

import atexit
import importlib
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DESCRIPTORS = HERE.parents[2] / "gen" / "descriptors" / "soma.binpb"
SERVICE = "soma.testing.v1.Echo"


@lru_cache(maxsize=1)
def modules() -> tuple[Any, Any]:
    """Return `echo_pb2` and `echo_pb2_grpc`."""
    target = Path(tempfile.mkdtemp(prefix="soma-echo-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    file = "soma/testing/v1/echo.proto"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={DESCRIPTORS}",
            f"-I{HERE / 'proto'}", f"--python_out={target}", f"--grpc_python_out={target}", file,
        ],
        check=True,
    )  # fmt: skip
    import soma  # the namespace package gets a third root

    soma.__path__.append(str(target / "soma"))
    return (
        importlib.import_module("soma.testing.v1.echo_pb2"),
        importlib.import_module("soma.testing.v1.echo_pb2_grpc"),
    )
