"""A process that yields to the others: what its environment asks for is what the kernel holds."""

import os
from pathlib import Path

import pytest

from mesh.stack import priority
from mesh.stack.child import Child
from mesh.stack.errors import StackError
from mesh.stack.servers.server import Launch


@pytest.mark.parametrize("given", ["-1", "20", "five", "", "٣", "1.5"])
def test_what_is_no_nice_value_is_refused(given: str) -> None:
    with pytest.raises(StackError, match="SOMA_NICE"):
        priority.asked_of({priority.VARIABLE: given})


@pytest.mark.parametrize("nice", [0, 5])
async def test_a_child_and_its_session_get_the_nice_value(nice: int, tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, priority.VARIABLE: str(nice)}
    launch = Launch(argv=("sleep", "60"), directory=tmp_path, environment=environment)
    child = await Child.spawn(launch, tmp_path / "log")
    try:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == nice
        assert _nice_of_group(child.pid) in (None, str(nice))
    finally:
        child.process.kill()
        await child.ended()


def _nice_of_group(pid: int) -> str | None:
    """The nice value of a process's session; None where the kernel does not group processes by session."""
    group = Path(f"/proc/{pid}/autogroup")
    return group.read_text(encoding="ascii").split()[-1] if group.exists() else None
