"""`run/endpoints.json`: which process of which service listens where; the control plane reads it.

A process stays listed while it is meant to run, even while it is being restarted: its address stays
the same, and Envoy's health checks are quicker than a configuration that comes and goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from mesh.stack.home import write_atomically
from mesh.stack.servers.server import Listed


def write(path: Path, listed: Iterable[Listed]) -> None:
    """Replace the file, unless it says the same already."""
    rows = [asdict(one) for one in sorted(listed, key=lambda one: one.process)]
    content = json.dumps(rows, indent=1) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content)
