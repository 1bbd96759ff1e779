"""What a failed record deserves."""

import itertools

import asyncpg
import pytest
from google.protobuf.message import DecodeError

from mesh.events.attempts import Attempts, Verdict
from mesh.runtime.errors import Aborted, FailedPrecondition, NotFound, ResourceExhausted, Unavailable

RULE = Attempts(limit=3)


@pytest.mark.parametrize(
    "down",
    [
        asyncpg.CannotConnectNowError("starting up"),
        ConnectionRefusedError(),
        TimeoutError(),
        Unavailable("MODEL_UNAVAILABLE", "model slm does not answer"),
        ResourceExhausted("QUEUE_FULL", "full"),
        Aborted("FAILED_PRECONDITION", "another change came first"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_while_a_dependency_is_down_no_try_is_counted(down: Exception) -> None:
    found = RULE.judge(down, failed=100)
    assert found.verdict is Verdict.WAIT
    assert not found.counts


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), asyncpg.CharacterNotInRepertoireError("0x00"), NotFound("NOT_FOUND", "x"),
     FailedPrecondition("FAILED_PRECONDITION", "x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_record_that_fails_has_its_tries_and_no_more(error: Exception) -> None:
    assert [RULE.judge(error, failed=failed).verdict for failed in range(3)] == [
        Verdict.AGAIN,
        Verdict.AGAIN,
        Verdict.POISON,
    ]


def test_what_cannot_be_read_is_given_up_at_once() -> None:
    assert RULE.judge(DecodeError("x"), failed=0).verdict is Verdict.POISON


def test_a_reason_names_the_cause_without_credentials() -> None:
    found = RULE.judge(ValueError("at postgresql://u:s3cret@h/d " + "x" * 500), failed=0)
    assert found.reason.startswith("INTERNAL: ValueError: at postgresql://u:")
    assert "s3cret" not in found.reason
    assert len(found.reason) <= 300


def test_pauses_grow_to_a_bound() -> None:
    longest = [max(RULE.pause(tries) for _ in range(50)) for tries in range(1, 12)]
    assert longest[0] <= 0.1
    assert all(later >= earlier * 0.9 for earlier, later in itertools.pairwise(longest))
    assert max(longest) <= 5.0
    assert RULE.pause(10_000) <= 5.0
