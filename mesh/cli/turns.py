"""A turn as a client follows it: over as many streams as it takes, each event once."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesh.cli.client import SECONDS, remote_of
from mesh.cli.failures import Exit, Failure, exit_code, of_remote
from mesh.cli.output import line

if TYPE_CHECKING:
    from soma.orchestrator.v1 import resources_pb2 as pb
    from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

_GIVE_UP_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_BROKEN = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED"})
# Reasons with which the platform itself says that the way broke; any other one is its answer.
_BREAKS = frozenset({"", "DEPENDENCY_UNAVAILABLE", "CANCELLED"})
_NUMBER = re.compile(r"\[(\d{1,4})\]")
ENDS = frozenset({"completed", "refused", "failed"})


@dataclass(slots=True)
class Following:
    """One turn, followed to its end.

    A broken stream is taken up again at the next event (`from_seq`); before the turn's id is known the same
    request is sent again, which is the same turn.
    """

    turns: service_pb2_grpc.TurnsStub
    request: service_pb2.StreamTurnRequest
    told_of_break: Callable[[], None]
    turn_id: str = ""
    next_seq: int = 0
    citations: list[pb.Citation] = field(default_factory=list)
    text: str = ""
    _ended: bool = False

    def events(self) -> Iterator[pb.TurnEvent]:
        """Give every event but pings, in order, each once; the last one is the turn's end.

        Raises:
            Failure: the turn was not accepted, or its stream stays broken.
        """
        import grpc

        pause, broken_since = _FIRST_PAUSE, 0.0
        while True:
            before = self.next_seq
            try:
                yield from self._one_stream()
            except grpc.RpcError as error:
                remote = remote_of(error)
                failure = of_remote(remote)
                if remote.code.name not in _BROKEN or remote.reason not in _BREAKS:
                    raise failure from error
            else:
                if self._ended:
                    return
                failure = Failure("the stream of the turn ended before the turn did", Exit.UNAVAILABLE)
            now = time.monotonic()
            if self.next_seq > before or not broken_since:
                pause, broken_since = _FIRST_PAUSE, now
                self.told_of_break()
            if now - broken_since > _GIVE_UP_SECONDS:
                raise failure
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def cancel(self) -> None:
        """Stop the turn, whether or not it was accepted yet."""
        from soma.orchestrator.v1 import service_pb2

        if self.turn_id:
            request = service_pb2.CancelTurnRequest(session_id=self.request.session_id, turn_id=self.turn_id)
            self.turns.CancelTurn(request, timeout=SECONDS)

    def cited(self) -> list[pb.Citation]:
        """Give the passages that the text names by number."""
        numbers = {int(found) for found in _NUMBER.findall(self.text)}
        return [citation for citation in self.citations if citation.number in numbers]

    def _one_stream(self) -> Iterator[pb.TurnEvent]:
        from soma.orchestrator.v1 import service_pb2

        if self.turn_id:
            stream = self.turns.ResumeTurn(
                service_pb2.ResumeTurnRequest(
                    session_id=self.request.session_id, turn_id=self.turn_id, from_seq=self.next_seq
                )
            )
        else:
            stream = self.turns.StreamTurn(self.request)
        try:
            for event in stream:
                if event.HasField("seq") and event.seq == self.next_seq:
                    self._take(event)
                    yield event
                    if self._ended:
                        return
        finally:
            stream.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves it untyped

    def _take(self, event: pb.TurnEvent) -> None:
        self.next_seq += 1
        match event.WhichOneof("event"):
            case "accepted":
                self.turn_id = event.accepted.turn_id
            case "recalled":
                self.citations = list(event.recalled.citations)
            case "delta":
                self.text += event.delta.text
            case "completed" | "refused" | "failed":
                self._ended = True


def end_of(event: pb.TurnEvent) -> Failure | None:
    """Give the failure that a turn's last event tells of; None where it was completed."""
    from soma.errors.v1 import errors_pb2

    if event.HasField("completed"):
        return None
    told = event.refused if event.HasField("refused") else event.failed
    reason = errors_pb2.ErrorReason.Name(told.reason).removeprefix("ERROR_REASON_")
    code = Exit.DENIED if event.HasField("refused") else exit_code("", reason)
    said = told.message or ("the policy refused the turn" if event.HasField("refused") else "the turn failed")
    return Failure(said, code, reason)


def source_of(citation: pb.Citation) -> str:
    """Give a citation as one line."""
    where = f" — {line(citation.source)}" if citation.source else ""
    return f"[{citation.number}] {line(citation.title)}{where}"


def new_request_id() -> str:
    """Make the name by which a repeat of a request is known."""
    return f"cli-{uuid.uuid4().hex}"
