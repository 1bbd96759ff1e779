"""Shows how a start or an end goes on: one moving table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

MARKS = {
    "ready": ("●", "green"),
    "done": ("●", "green"),
    "stopped": ("○", "dim"),
    "backoff": ("●", "yellow"),
    "failed": ("●", "red"),
}
COLUMNS = 3
SETTLED = ("ready", "done", "stopped", "failed")


class Progress:
    """Takes the supervisor's messages while it is entered, and draws them on stderr."""

    def __init__(self) -> None:
        """Look whether stderr is a terminal."""
        self._console = Console(stderr=True)
        self._began = time.monotonic()
        self._states: dict[str, tuple[str, float]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        """Begin to draw."""
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=8, transient=True
            )
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing, and leave the terminal as it was."""
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def tell(self, message: dict[str, object]) -> None:
        """Take one message; those that tell of no process, step or installation are passed over."""
        for kind in ("process", "step", "install"):
            name = message.get(kind)
            if name is None:
                continue
            shown = f"install {name}" if kind == "install" else str(name)
            state = str(message.get("state"))
            if self._states.get(shown, ("", 0.0))[0] == state:
                return
            self._states[shown] = (state, self.seconds)
            if self._live is None:
                print(f"{self.seconds:6.1f} s  {shown:22} {state}", file=sys.stderr, flush=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 3))
        cells = [self._cell(name, state, at) for name, (state, at) in self._states.items()]
        for start in range(0, len(cells), COLUMNS):
            table.add_row(*cells[start : start + COLUMNS])
        return table

    def _cell(self, name: str, state: str, at: float) -> Spinner | Text:
        if state not in SETTLED:
            return Spinner("dots", text=Text(f"{name} {state}", style="cyan"))
        mark, style = MARKS[state]
        return Text.assemble((f"{mark} ", style), name, (f"  {at:.1f} s", "dim"))
