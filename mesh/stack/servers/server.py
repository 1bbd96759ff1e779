"""What the launcher asks of everything that it starts."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mesh.stack.accounts import Account
from mesh.stack.catalogue import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a process.

    Attributes:
        argv: program and arguments.
        directory: its working directory.
        environment: its whole environment.
        account: whom it runs as; the launcher's own user where None.
    """

    argv: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    account: Account | None = None


class Runnable(Protocol):
    """A process of the stack: a server, a service, a worker or the control plane."""

    @property
    def name(self) -> str:
        """Its name in `soma status`."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Processes and steps that must be done before it starts for the first time."""

    @property
    def address(self) -> str:
        """Where its clients reach it."""

    @property
    def ports(self) -> Mapping[str, int]:
        """Every port that it listens on, by name."""

    @property
    def stop_signal(self) -> signal.Signals:
        """What asks it to end in order."""

    async def prepare(self) -> None:
        """Write its configuration, make its data folder; quick where that is done already."""

    def launch(self) -> Launch:
        """Tell how to start it."""

    async def ready(self) -> bool:
        """Tell whether it serves; cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A process that the control plane lists as an endpoint."""

    process: str
    service: str
    version: str
    address: str
    metrics_address: str
