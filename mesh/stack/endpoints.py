"""`run/endpoints.json`: which process of which service listens where; the control plane reads it.

A process stays listed while it is meant to run, even while it is being restarted: its address stays
the same, and Envoy's health checks are quicker than a configuration that comes and goes.

`run/peers.json`: the gRPC target of each service, by which the processes find each other; it is another
one after a successor took a process's place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from mesh.stack.home import write_atomically
from mesh.stack.servers.server import Listed


def write(path: Path, listed: Iterable[Listed]) -> None:
    """Replace the file, unless it says the same already."""
    rows = [asdict(one) for one in sorted(listed, key=lambda one: one.process)]
    _replace(path, json.dumps(rows, indent=1) + "\n")


def write_peers(path: Path, targets: Mapping[str, str]) -> None:
    """Replace the file of peers, unless it says the same already."""
    _replace(path, json.dumps(dict(sorted(targets.items())), indent=1) + "\n")


def _replace(path: Path, content: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content)
