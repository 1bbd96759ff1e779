"""Golden files: what a pure function makes, kept as text and compared; `--update` writes them anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    """Compares with files below tests/golden."""

    update: bool

    def check(self, name: str, content: str) -> None:
        """Compare, or write where asked to."""
        path = FOLDER / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        assert path.exists(), f"{path} is absent; run with --update and read what it writes"
        assert content == path.read_text(encoding="utf-8"), f"{name} differs; --update if it should"
