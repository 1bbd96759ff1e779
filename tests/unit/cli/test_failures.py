"""What a failed call becomes: an exit code and one line with what to do."""

import grpc
import pytest

from mesh.cli.failures import Exit, Failure, of_remote
from mesh.runtime.status import RemoteFailure

CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT", 2),
        (CODE.NOT_FOUND, "NOT_FOUND", 3),
        (CODE.NOT_FOUND, "MODEL_NOT_FOUND", 3),
        (CODE.UNAUTHENTICATED, "TOKEN_EXPIRED", 4),
        (CODE.UNAUTHENTICATED, "", 4),
        (CODE.PERMISSION_DENIED, "POLICY_DENIED", 5),
        (CODE.PERMISSION_DENIED, "SCOPE_MISSING", 5),
        (CODE.PERMISSION_DENIED, "", 5),
        (CODE.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", 7),
        (CODE.UNAVAILABLE, "", 7),
        (CODE.DEADLINE_EXCEEDED, "", 7),
        (CODE.RESOURCE_EXHAUSTED, "QUEUE_FULL", 7),
        (CODE.ALREADY_EXISTS, "REQUEST_ID_REUSED", 1),
        (CODE.FAILED_PRECONDITION, "FAILED_PRECONDITION", 1),
        (CODE.INTERNAL, "INTERNAL", 1),
    ],
)
def test_every_status_has_its_exit_code(code: grpc.StatusCode, reason: str, expected: int) -> None:
    assert of_remote(RemoteFailure(code=code, message="it failed", reason=reason)).code == expected


def test_a_line_says_what_what_to_do_and_why() -> None:
    denied = RemoteFailure(
        code=CODE.PERMISSION_DENIED,
        message="denied by rule guard of policy version 2",
        reason="POLICY_DENIED",
        metadata={"action": "turns.create"},
    )
    assert str(of_remote(denied)) == (
        "denied by rule guard of policy version 2. "
        "Fix: see why with `soma policy explain turns.create` [POLICY_DENIED]"
    )


def test_a_server_that_says_when_is_believed() -> None:
    full = RemoteFailure(
        code=CODE.RESOURCE_EXHAUSTED, message="128 turns wait", reason="QUEUE_FULL", retry_after=3.0
    )
    assert "Fix: try again in 3 s" in str(of_remote(full))


def test_what_a_server_says_drives_no_terminal_and_stays_one_line() -> None:
    said = str(Failure("no\x1b[2J\nsuch thing.", Exit.NOT_FOUND, "NOT\x07_FOUND", "look\rthere"))
    assert said == "no[2J such thing. Fix: lookthere [NOT_FOUND]"
