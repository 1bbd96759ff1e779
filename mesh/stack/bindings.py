"""Whether ports are free, asked before anything is started."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable

from mesh.stack.errors import Code, StackError
from mesh.stack.ports import LOOPBACK
from mesh.stack.processes import listener
from mesh.stack.servers.server import Runnable


def require_free(processes: Iterable[Runnable], *, shared: Collection[int] = ()) -> None:
    """Bind every port of the processes once, but those that they share with who has them.

    Raises:
        StackError: one is taken; it names the process that wants it and the one that has it.
    """
    for process in processes:
        for name, port in process.ports.items():
            if port not in shared and not is_free(port):
                raise StackError(
                    f"port {port} ({name}) for {process.name} is taken{_by(port)}",
                    fix="end that program, or set SOMA_PORT_BASE to another base",
                    code=Code.PORT_TAKEN,
                )


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _by(port: int) -> str:
    holder = listener(port)
    return f" by {holder}" if holder else ""
