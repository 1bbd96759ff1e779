"""`python -m mesh.pki init|rotate|show --home H`: the certificates of one installation."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from mesh.pki.errors import PkiError
from mesh.pki.files import read_identity
from mesh.pki.folder import PkiFolder
from mesh.pki.workloads import WORKLOADS, workload


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are one line on stderr and exit code 1."""
    options = _parser().parse_args(arguments)
    folder = PkiFolder(Path(options.home) / "pki")
    try:
        if options.command == "show":
            print(json.dumps(_show(folder), indent=2))
            return 0
        if options.command == "init":
            renewed = folder.initialise()
        else:
            chosen = [workload(name) for name in options.workloads] or list(WORKLOADS)
            renewed = folder.rotate(chosen)
    except (PkiError, OSError) as error:
        print(f"pki: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"path": str(folder.path), "issued": renewed}))
    return 0


def _show(folder: PkiFolder) -> list[dict[str, str]]:
    rows = []
    for known in WORKLOADS:
        certificate = read_identity(folder.workload_folder(known.name)).certificate
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        rows.append(
            {
                "workload": known.name,
                "spiffe_id": known.spiffe_id,
                "serial": f"{certificate.serial_number:x}",
                "not_after": certificate.not_valid_after_utc.isoformat(),
                "left": str(left).split(".")[0],
            }
        )
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh.pki", description=__doc__)
    parser.add_argument("command", choices=("init", "rotate", "show"))
    parser.add_argument("workloads", nargs="*", help="rotate: which; all without any")
    home = os.environ.get("SOMA_HOME")
    parser.add_argument("--home", default=home, required=home is None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
