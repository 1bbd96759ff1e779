"""`make clean`: removes the data of a stopped stack; what is installed (`lib`) stays."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mesh.stack.errors import StackError
from mesh.stack.home import FOLDERS, Home
from mesh.stack.orphans import end_all


def main() -> int:
    """Remove data, secrets, certificates, logs and run files; never a folder that is no home."""
    home = Home.from_environment(os.environ)
    if not home.remembered.exists():
        print(f"{home.root} holds no data", file=sys.stderr)
        return 0
    try:
        end_all(home.pids)
    except StackError as error:
        print(f"soma: {error}", file=sys.stderr)
        return 1
    outside = [path.resolve() for path in (home.root / "data").iterdir() if path.is_symlink()]
    for folder in (*outside, *(home.root / name for name in FOLDERS)):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (home.client, home.remembered):
        file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
