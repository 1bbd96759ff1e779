"""Turns that exist: looked at, waited for, ended by hand."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from soma.slm.v1 import events_pb2 as slm_pb

from mesh.runtime.errors import Unavailable
from mesh.runtime.logging import get_logger
from mesh.storage.database import Database
from mesh.turnlog import (
    Claimed,
    Frame,
    Leases,
    LogReader,
    LogUnavailable,
    LogWriter,
    Refusal,
    TurnKey,
    TurnLogError,
)
from services.orchestrator import errors, store
from services.orchestrator.completion import Completion
from services.orchestrator.domain.conversation import Ending, Finish, State, Turn
from services.orchestrator.domain.stream import (
    completed_event,
    ending_of,
    failed_event,
    said_in,
    without_pings,
)

_log = get_logger(__name__)
_WAIT_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 0.1


class Turns:
    """Finds and ends turns."""

    def __init__(
        self,
        *,
        database: Database,
        leases: Leases,
        reader: LogReader,
        completion: Completion,
    ) -> None:
        """Take where rows and logs are."""
        self._database = database
        self._leases = leases
        self._reader = reader
        self._completion = completion

    async def find(self, tenant: str, session_id: str, turn_id: str) -> Turn:
        """Return the row of a turn.

        Raises:
            NotFound: this session of this tenant has no such turn.
        """
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            turn = await store.turn(connection, turn_id, session_id=session_id)
        if turn is None:
            raise errors.no_turn(turn_id)
        return turn

    async def current(self, turn: Turn) -> Turn:
        """Return the turn as its stream tells it: the row may be behind the log by a moment."""
        if not turn.running:
            return turn
        try:
            snapshot = await self._reader.snapshot(TurnKey(turn.tenant, turn.id))
        except TurnLogError as error:
            _log.warning("log not read", turn=turn.id, cause=str(error))
            return turn
        raw = [entry.event for entry in snapshot.entries]
        ending = ending_of(raw, opening=len(turn.opening))
        if ending is None:
            return turn
        return await self._completion.end(turn.tenant, turn.id, ending) or turn

    async def ended(self, turn: Turn, told: Sequence[bytes]) -> Turn:
        """Return a turn that was followed to its end, whose events are `told`, pings among them.

        The row may be behind by a moment, and the log away by now: the end is in what was told.

        Raises:
            NotFound: the turn was deleted meanwhile.
            Unavailable: no end was told.
        """
        found = await self.find(turn.tenant, turn.session_id, turn.id)
        if not found.running:
            return found
        ending = ending_of(without_pings(told), opening=len(turn.opening))
        if ending is None:
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE",
                "the turn's stream ended before the turn; ask again",
                retry_after=1.0,
            )
        stored = await self._completion.end(turn.tenant, turn.id, ending)
        if stored is None:
            raise errors.no_turn(turn.id)
        return stored

    async def cancel(self, turn: Turn) -> Turn:
        """Stop a running turn and return it; an ended one is returned as it is.

        A worker that holds it is told. A turn that nobody holds is claimed and ended here, so that
        one that waits in the queue ends at once too.

        Raises:
            Unavailable: the turn log does not answer, or the worker did not stop in time.
        """
        key = TurnKey(turn.tenant, turn.id)
        deadline = time.monotonic() + _WAIT_SECONDS
        pause = _FIRST_PAUSE
        try:
            while turn.running and time.monotonic() < deadline:
                if await self._end_here(turn, key) is Refusal.OWNED:
                    await self._leases.cancel(key)
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
                turn = await self.current(await self.find(turn.tenant, turn.session_id, turn.id))
        except LogUnavailable as error:
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", "the turn log does not answer; try again", retry_after=1.0
            ) from error
        if turn.running:
            raise Unavailable(
                "MODEL_UNAVAILABLE", "the turn's worker did not stop it in time", retry_after=1.0
            )
        return turn

    async def mark_cancelled(self, tenant: str, turn_id: str) -> None:
        """Let whoever has or gets the turn end it; nobody waits for it."""
        try:
            await self._leases.cancel(TurnKey(tenant, turn_id))
        except LogUnavailable as error:
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", "the turn log does not answer; try again", retry_after=1.0
            ) from error

    async def _end_here(self, turn: Turn, key: TurnKey) -> Refusal | None:
        claimed = await self._leases.claim(key, request=turn.request, opening=turn.opening)
        if isinstance(claimed, Refusal):
            return claimed
        raw = [entry.event for entry in claimed.entries]
        ending = ending_of(raw, opening=len(turn.opening))
        if ending is None:
            ending = await self._write_end(turn, claimed, raw, Finish.CANCELLED)
        await self._completion.end(turn.tenant, turn.id, ending)
        await self._finish(turn, claimed)
        return None

    async def fail(self, turn: Turn, *, reason: int, message: str) -> None:
        """End a turn that nobody holds and that cannot be finished."""
        key = TurnKey(turn.tenant, turn.id)
        claimed = await self._leases.claim(key, request=turn.request, opening=turn.opening)
        if claimed is Refusal.OWNED:
            return
        lengths: tuple[int, ...] = ()
        text = ""
        if isinstance(claimed, Claimed):
            raw = [entry.event for entry in claimed.entries]
            parts = said_in(raw, opening=len(turn.opening))
            text, lengths = "".join(parts), tuple(len(part) for part in parts)
            event = failed_event(seq=claimed.next_seq, reason=reason, message=message)
            await self._append(claimed, event.SerializeToString())
        ending = Ending(
            state=State.FAILED, text=text, finish=Finish.NONE, input_tokens=0, output_tokens=0,
            delta_lengths=lengths, error_reason=reason, error_message=message,
        )  # fmt: skip
        await self._completion.end(turn.tenant, turn.id, ending)
        if isinstance(claimed, Claimed):
            await self._finish(turn, claimed)

    async def _write_end(self, turn: Turn, claimed: Claimed, raw: list[bytes], finish: Finish) -> Ending:
        request = slm_pb.GenerationRequest.FromString(turn.request)
        made = claimed.entries[-1].tokens if claimed.entries else 0
        event = completed_event(
            seq=claimed.next_seq,
            finish=finish,
            input_tokens=request.input_tokens,
            output_tokens=made,
        ).SerializeToString()
        await self._append(claimed, event, tokens=made)
        ending = ending_of([*raw, event], opening=len(turn.opening))
        assert ending is not None  # noqa: S101 - the event above ends it
        return ending

    @staticmethod
    async def _append(claimed: Claimed, event: bytes, *, tokens: int = 0) -> None:
        writer = LogWriter(claimed)
        writer.append(Frame(event, tokens, last=True))
        await writer.flush()

    async def _finish(self, turn: Turn, claimed: Claimed) -> None:
        queue = slm_pb.GenerationRequest.FromString(turn.request).queue
        await self._leases.finish(claimed.key, epoch=claimed.epoch, queue=queue)
