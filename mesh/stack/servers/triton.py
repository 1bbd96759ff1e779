"""Triton Inference Server from its wheel, with the Python backend of the models' environment.

The stub that lies in the backend's folder decides which Python the models run on, so it is chosen
by the version of Triton's virtual environment. The stub ignores PYTHONPATH: `bin` of that
environment comes first in PATH instead.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mesh.stack import commands, priority, probes
from mesh.stack.catalogue import Kind
from mesh.stack.errors import Code, StackError
from mesh.stack.home import Home, site_packages
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch

LISTENERS = ("triton-http", "triton", "triton-metrics")
ASK = "import json,sys,sysconfig as s;print(json.dumps([*sys.version_info[:2],s.get_config_var('LIBDIR')]))"


class Triton:
    """The Triton of one stack."""

    name = "triton"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports) -> None:
        """Take home and ports; touch nothing yet."""
        self._home = home
        self._listeners = {name: ports.of(name) for name in LISTENERS}
        self._folder = home.data(self.name)
        self._library_folder = ""

    @property
    def address(self) -> str:
        """Where its clients reach it: gRPC."""
        return f"{LOOPBACK}:{self._listeners['triton']}"

    @property
    def ports(self) -> Mapping[str, int]:
        """HTTP, gRPC and metrics."""
        return self._listeners

    @property
    def _wheel(self) -> Path:
        return site_packages(self._home.triton) / "pytriton" / "tritonserver"

    @property
    def repository(self) -> Path:
        """Triton's model repository."""
        return self._home.models / "current" / "repository"

    async def prepare(self) -> None:
        """Put the backend together from links into the wheel."""
        if not self.repository.is_dir():
            raise StackError(
                f"the models are not built: {self.repository} is absent",
                fix="run `make up`, which builds them",
                code=Code.NOT_INSTALLED,
            )
        backend = self._folder / "backends" / "python"
        backend.mkdir(parents=True, exist_ok=True)
        major, minor, self._library_folder = await self._interpreter()
        stub = f"python_backend_stubs/{major}.{minor}/triton_python_backend_stub"
        for part in (
            "backends/python/libtriton_python.so",
            "backends/python/triton_python_backend_utils.py",
            stub,
        ):
            _link(backend / Path(part).name, self._wheel / part)

    async def _interpreter(self) -> tuple[int, int, str]:
        python = self._home.triton / "bin" / "python"
        asked = await commands.run(
            (str(python), "-I", "-S", "-c", ASK), directory=self._folder, environment={}
        )
        if asked.code:
            raise StackError(
                f"{python} does not run",
                fix=f"remove {self._home.triton} and run `make up`",
                code=Code.NOT_INSTALLED,
            )
        major, minor, folder = json.loads(asked.output)
        return int(major), int(minor), str(folder)

    def launch(self) -> Launch:
        """Start on loopback; a hung model may not hold up the end for longer than 3 s."""
        ports = {name: str(port) for name, port in self._listeners.items()}
        return Launch(
            argv=(
                str(self._wheel / "bin" / "tritonserver"),
                f"--model-repository={self.repository}",
                f"--backend-directory={self._folder / 'backends'}",
                *(f"--{part}-address={LOOPBACK}" for part in ("http", "grpc", "metrics")),
                f"--http-port={ports['triton-http']}",
                f"--grpc-port={ports['triton']}",
                f"--metrics-port={ports['triton-metrics']}",
                "--exit-timeout-secs=3",
                "--allow-gpu-metrics=false",
                "--disable-auto-complete-config",
            ),
            directory=self._folder,
            environment={
                "PATH": f"{self._home.triton / 'bin'}:{os.defpath}",
                "LD_LIBRARY_PATH": self._library_folder,
                "LANG": "C.UTF-8",
                "HOME": str(self._folder),
                # The model yields a little: with as much right as the others it would let a thousand clients'
                # calls wait half as long again, for a few hundredths more text where all is taken (ADR 0022).
                priority.VARIABLE: "2",
            },
        )

    async def ready(self) -> bool:
        """Tell whether every model is loaded."""
        return await probes.http(self._listeners["triton-http"], "/v2/health/ready")


def _link(link: Path, target: Path) -> None:
    if not target.exists():
        raise StackError(
            f"Triton's wheel lacks {target.name} for this Python",
            fix="use a Python from 3.11 to 3.13 for `make up`",
            code=Code.LIBRARY_MISSING,
        )
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
