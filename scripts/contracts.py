"""Checks the contracts: gen/ is fresh, buf lint, and buf breaking against the main branch.

buf reads descriptor images that protoc made, since it has no registry to fetch
imports from. What is compared is what main has committed under gen/descriptors;
where the branch is main itself, that is the commit before the working tree.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from generate import GEN, ROOT, differing, generate

BUF = str(Path(sys.executable).parent / "buf")
COMMITTED = "gen/descriptors/soma.binpb"
BRANCHES = ("origin/main", "main")


def committed_image() -> bytes | None:
    """The descriptors of the main branch; None in a repository that has none yet."""
    for branch in BRANCHES:
        shown = subprocess.run(
            ["git", "show", f"{branch}:{COMMITTED}"], cwd=ROOT, capture_output=True, check=False
        )
        if shown.returncode == 0:
            return shown.stdout
    return None


def buf(*arguments: str) -> bool:
    """Run buf with the project's rules; it prints what it finds."""
    command = [BUF, *arguments, "--config", str(ROOT / "buf.yaml")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Check; 1 when anything was found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "image.binpb"
        generate(folder / "gen", source_image=image)
        stale = differing(GEN, folder / "gen")
        if stale:
            print("gen/ is not fresh; run `make gen`:", *stale, sep="\n  ", file=sys.stderr)
        passed = buf("lint", str(image))
        before = committed_image()
        if before is not None:
            (folder / "before.binpb").write_bytes(before)
            passed &= buf("breaking", str(image), "--against", str(folder / "before.binpb"))
    return 0 if passed and not stale else 1


if __name__ == "__main__":
    sys.exit(main())
