"""What can go wrong with the stack, each with a cause and a way out.

    StackError                one line for a person: cause, fix, code
      AlreadyAtWorkError           another `soma up` holds the folder
      NotRunningError              there is no supervisor to talk to

Standard library only: `scripts/bootstrap.py` reads it before anything is installed.
"""

from __future__ import annotations

import errno
import re
from enum import StrEnum
from pathlib import Path


class Code(StrEnum):
    """Stable names of failures; documents and tests refer to them."""

    PORT_TAKEN = "PORT_TAKEN"
    DISK_FULL = "DISK_FULL"
    LITTLE_MEMORY = "LITTLE_MEMORY"
    NOT_WRITABLE = "NOT_WRITABLE"
    LIBRARY_MISSING = "LIBRARY_MISSING"
    PYTHON_TOO_OLD = "PYTHON_TOO_OLD"
    INSTALLER_MISSING = "INSTALLER_MISSING"
    INSTALL_FAILED = "INSTALL_FAILED"
    DIGEST_DIFFERS = "DIGEST_DIFFERS"
    NOT_INSTALLED = "NOT_INSTALLED"
    STEP_FAILED = "STEP_FAILED"
    DIED_IN_START = "DIED_IN_START"
    NOT_READY_IN_TIME = "NOT_READY_IN_TIME"
    GAVE_UP = "GAVE_UP"
    LOCKED = "LOCKED"
    NOT_RUNNING = "NOT_RUNNING"
    SUPERVISOR_LOST = "SUPERVISOR_LOST"
    SUPERVISOR_FAILED = "SUPERVISOR_FAILED"
    NO_ACCOUNT = "NO_ACCOUNT"
    UNKNOWN_PROCESS = "UNKNOWN_PROCESS"
    BAD_SETTING = "BAD_SETTING"
    BAD_REQUEST = "BAD_REQUEST"
    FIRST_RUN_FAILED = "FIRST_RUN_FAILED"


class StackError(Exception):
    """A failure that a person can act on.

    Attributes:
        cause: what is wrong, in one line.
        fix: what to do about it, in one line.
        code: the failure's stable name.
    """

    def __init__(self, cause: str, *, fix: str, code: Code) -> None:
        """Keep cause and fix apart, so that `doctor` and `-o json` can show them apart."""
        super().__init__(cause)
        self.cause = " ".join(cause.split())
        self.fix = " ".join(fix.split())
        self.code = code

    def __str__(self) -> str:
        """Give the one line that a person reads."""
        return f"{self.cause}. Fix: {self.fix} [{self.code}]"

    def as_dict(self) -> dict[str, str]:
        """Give the parts for the control socket."""
        return {"cause": self.cause, "fix": self.fix, "code": self.code.value}

    @classmethod
    def from_dict(cls, parts: dict[str, str]) -> StackError:
        """Rebuild an error that came over the control socket."""
        return cls(parts["cause"], fix=parts["fix"], code=Code(parts["code"]))


KNOWN_CAUSES: tuple[tuple[re.Pattern[str], str, Code], ...] = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "free some space, or set SOMA_HOME to another disk, and run again",
        Code.DISK_FULL,
    ),
    (
        re.compile(
            r"error while loading shared libraries: (?P<what>[^:]+)|(?P<other>lib\S+\.so[.\d]*): cannot open"
        ),
        "install the system's package that holds that library, and run again",
        Code.LIBRARY_MISSING,
    ),
    (
        re.compile(r"could not look up effective user ID"),
        "run as a user that the system knows (Postgres looks it up in /etc/passwd)",
        Code.NO_ACCOUNT,
    ),
    (
        re.compile(r"Cannot allocate memory|OutOfMemoryError|insufficient memory"),
        "free some memory, or start a part: soma up --only ...",
        Code.LITTLE_MEMORY,
    ),
)


def failure(cause: str, *, said: str, fix: str, code: Code) -> StackError:
    """Give the error for a program that failed, by what it said where that is a known cause.

    Args:
        cause: which program failed and how.
        said: what it wrote.
        fix: what to do where the cause is not known.
        code: its name in that case.
    """
    for pattern, known_fix, known_code in KNOWN_CAUSES:
        found = pattern.search(said)
        if found:
            line = next(line for line in said.splitlines() if pattern.search(line))
            return StackError(f"{cause}: {line.strip()[:300]}", fix=known_fix, code=known_code)
    return StackError(f"{cause}: {last_line(said)}", fix=fix, code=code)


def storage_failure(error: OSError, place: Path) -> StackError | None:
    """Say what a failed write means: a full disk, a folder that is not ours; None for anything else."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StackError(
            f"the disk that holds {place} is full",
            fix="free some space (3 GB are needed at first), or set SOMA_HOME to another disk",
            code=Code.DISK_FULL,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StackError(
            f"{error.filename or place} may not be written",
            fix="set SOMA_HOME to a folder of your own",
            code=Code.NOT_WRITABLE,
        )
    return None


def last_line(said: str) -> str:
    """Give the last line that says something; a traceback's inner lines do not."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Traceback", "File ", "^", "~"))]
    return telling[-1][:300] if telling else "it wrote nothing"


class AlreadyAtWorkError(StackError):
    """Another `soma up` or `soma down` works on the same folder."""

    def __init__(self, home: Path, holder: str) -> None:
        """Name the folder and who holds it."""
        super().__init__(
            f"another soma command ({holder}) is at work in {home}",
            fix="wait until it is done, or end it",
            code=Code.LOCKED,
        )


class NotRunningError(StackError):
    """Nothing listens on the supervisor's socket."""

    def __init__(self, home: Path) -> None:
        """Name the folder that was looked at."""
        super().__init__(f"no stack runs in {home}", fix="start it with `soma up`", code=Code.NOT_RUNNING)
