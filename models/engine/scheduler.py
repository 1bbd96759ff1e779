"""One stepping thread: admits requests to free slots, decodes all running ones together, hands out text.

Owns the bounded queue, the order of prefill and decode, the gathering of tokens into deltas, and cancellation
of running and queued requests. It refuses work past the bound instead of letting it wait without end.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.engine.batch import Batch, Row
from models.engine.decoder import Decoder
from models.engine.errors import BrokenError, EngineError, InvalidRequestError, QueueFullError, StoppedError
from models.engine.results import Delta, Finish, Sink
from models.engine.sampling import Sampler, Sampling
from models.engine.text import TextStream

CALM_INTERVAL_S: Final = 0.030
LOADED_INTERVAL_S: Final = 0.100
# To find out whether a request was cancelled costs a round trip to Triton's process: asked of 16 rows and 84
# waiting requests every 10 ms, it cost more than half of the model's time.
CANCEL_CHECK_S: Final = 0.030
QUEUE_CHECK_S: Final = 0.010
QUEUE_CHECKS: Final = 2
PREFILL_TOKENS_PER_STEP: Final = 512
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A tokenised prompt and what is asked of its continuation; `stream` off gathers all into one delta."""

    tokens: list[int]
    sampling: Sampling
    stream: bool
    sink: Sink


@dataclass(kw_only=True)
class _Sequence:
    request: Request
    sampler: Sampler
    text: TextStream
    produced: int = 0
    pending: list[str] = field(default_factory=list)
    pending_tokens: int = 0
    sent_at: float | None = None
    asked_at: float = 0.0


class Scheduler:
    """Runs requests on a decoder until it is closed."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        queue: int,
        occupied: Callable[[int, int], None] | None = None,
    ) -> None:
        """Start the stepping thread; at most `queue` requests wait for a slot.

        `occupied` is told after each step how many sequences run and how many requests wait.
        """
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._bound = queue
        self._occupied = occupied
        self._batch: Batch[_Sequence] = Batch(decoder)
        self._queue: deque[Request] = deque()
        self._gone: deque[Request] = deque()  # filled from other threads
        self._changed = threading.Condition()
        self._open = True
        self._queue_asked_at = 0.0
        self._queue_place = 0
        self._thread = threading.Thread(target=self._run, name="stepping", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request; raise `InvalidRequestError` (empty or long), `QueueFullError`, `StoppedError`."""
        size, window = len(request.tokens), self._decoder.window
        if not size:
            raise InvalidRequestError("the prompt is empty")
        if size >= window:
            raise InvalidRequestError(
                f"the prompt has {size} tokens; the model's window of {window} leaves no room to answer"
            )
        if max(request.tokens) >= self._decoder.shape.vocabulary:
            raise InvalidRequestError("the prompt has a token that the model does not know")
        with self._changed:
            if not self._open:
                raise StoppedError("the model is shutting down")
            if len(self._queue) >= self._bound:
                raise QueueFullError(
                    f"{self._bound} requests are waiting for {self._decoder.slots} slots; try again later"
                )
            self._queue.append(request)
            self._changed.notify()

    def close(self) -> None:
        """Fail what waits and what runs, and end the thread."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    @property
    def running(self) -> int:
        """How many sequences hold a slot."""
        return len(self._batch.rows)

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._queue)

    def _run(self) -> None:
        while self._wait():
            try:
                self._admit()
                self._ask_who_is_gone()
                self._drop_gone()
                if self._batch.rows:
                    self._step()
            except Exception:  # noqa: BLE001  # its sequences must hear of it and the thread must live
                _log.exception("a step failed; its sequences are failed")
                self._fail_running(BrokenError("the model failed in this step"))
            if self._occupied is not None:
                self._occupied(self.running, self.waiting)
        self._fail_running(StoppedError("the model is shutting down"))
        while self._queue:
            self._queue.popleft().sink.fail(StoppedError("the model is shutting down"))

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._queue or self._batch.rows)
            return self._open

    def _admit(self) -> None:
        prefilled = 0
        while self._batch.free and prefilled < PREFILL_TOKENS_PER_STEP:
            with self._changed:
                if not self._queue:
                    return
                request = self._queue.popleft()
            prefilled += len(request.tokens)
            self._start(request)

    def _start(self, request: Request) -> None:
        sampling = request.sampling.seeded()
        sequence = _Sequence(
            request=request,
            sampler=Sampler(sampling, request.tokens, end_tokens=self._decoder.shape.end_tokens),
            text=TextStream(
                self._tokenizer,
                sampling.stop,
                include_stop=sampling.include_stop_str_in_output,
                skip_special=sampling.skip_special_tokens,
            ),
        )
        row, logits = self._batch.add(sequence, request.tokens, loaded=self._loaded)
        self._advance(row, sequence.sampler.choose(logits))

    def _step(self) -> None:
        logits = self._batch.step()
        likeliest = logits.argmax(-1)
        rows = list(self._batch.rows)
        tokens = [self._choose(row, logits[index], int(likeliest[index])) for index, row in enumerate(rows)]
        for row, token in zip(rows, tokens, strict=True):
            self._advance(row, token)

    def _choose(self, row: Row[_Sequence], logits: NDArray[np.float32], likeliest: int) -> int:
        return likeliest if row.owner.request.sampling.plain else row.owner.sampler.choose(logits)

    def _advance(self, row: Row[_Sequence], token: int) -> None:
        sequence, sampling = row.owner, row.owner.request.sampling
        row.token = token
        sequence.sampler.record(token)
        sequence.produced += 1
        sequence.pending_tokens += 1
        ends = token in sampling.stop_token_ids or (
            token in self._decoder.shape.end_tokens and not sampling.ignore_eos
        )
        finish: Finish | None = "stop" if ends else None
        if not ends:
            text, stopped = sequence.text.push(token)
            sequence.pending.append(text)
            # The next step would append this token at position row.length, which must lie in the window.
            full = sequence.produced >= sampling.max_tokens or row.length >= self._decoder.window
            finish = "stop" if stopped else "length" if full else None
        if finish:
            sequence.pending.append(sequence.text.flush())
            self._batch.remove(row)
        self._emit(sequence, finish)

    def _emit(self, sequence: _Sequence, finish: Finish | None) -> None:
        now = time.monotonic()
        if not finish and not self._due(sequence, now):
            return
        text = "".join(sequence.pending)
        if not finish and not text:
            return
        sequence.sent_at = now
        delta = Delta(text=text, tokens=sequence.pending_tokens, finish=finish)
        sequence.pending, sequence.pending_tokens = [], 0
        sequence.request.sink.delta(delta)

    def _due(self, sequence: _Sequence, now: float) -> bool:
        if not sequence.request.stream:
            return False
        if sequence.sent_at is None:
            return True
        asked = sequence.request.sampling.stream_interval_ms
        interval = self._interval() if asked is None else asked / 1000
        # By a clock that all share: what is due is due for all at once, and whoever carries it on
        # (Triton, a worker, a log, an edge) wakes once for many deltas instead of once for each.
        return not interval or now // interval > sequence.sent_at // interval

    def _interval(self) -> float:
        return LOADED_INTERVAL_S if self._loaded else CALM_INTERVAL_S

    @property
    def _loaded(self) -> bool:
        return bool(self._queue) or 2 * len(self._batch.rows) > self._decoder.slots

    def _ask_who_is_gone(self) -> None:
        """Ask of each that runs, and of the next few that wait, in turn; the answers come to `_gone`."""
        now = time.monotonic()
        for row in self._batch.rows:
            if now - row.owner.asked_at >= CANCEL_CHECK_S:
                row.owner.asked_at = now
                self._ask(row.owner.request)
        if self._queue and now - self._queue_asked_at >= QUEUE_CHECK_S:
            self._queue_asked_at = now
            with self._changed:
                start = self._queue_place % len(self._queue)
                waiting = [*islice(self._queue, start, start + QUEUE_CHECKS)]
            self._queue_place = start + len(waiting)
            for request in waiting:
                self._ask(request)

    def _ask(self, request: Request) -> None:
        request.sink.ask(partial(self._gone.append, request))

    def _drop_gone(self) -> None:
        while self._gone:
            request = self._gone.popleft()
            row = next((row for row in self._batch.rows if row.owner.request is request), None)
            if row is not None:
                self._batch.remove(row)
            elif not self._took_from_queue(request):
                continue  # it ended meanwhile
            request.sink.drop()

    def _took_from_queue(self, request: Request) -> bool:
        with self._changed:
            if request not in self._queue:
                return False
            self._queue.remove(request)
            return True

    def _fail_running(self, error: EngineError) -> None:
        for row in list(self._batch.rows):
            self._batch.remove(row)
            row.owner.request.sink.fail(error)
