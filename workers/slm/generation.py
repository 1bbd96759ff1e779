"""Asks the model and puts what it says into the answer, over failures of the model too.

A model that breaks off is asked again as after a takeover: with the prompt and
the text so far. Models that answer the same way each time (`extract`) are asked
for the whole again, and what was sent is passed over, verified.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from soma.slm.v1 import events_pb2 as slm_pb
from soma.slm.v1 import resources_pb2 as models_pb

from mesh.inference.ports import Chunk, GenerationRequest, PromptMessage, Sampling, Usage
from mesh.runtime.errors import NotFound, ResourceExhausted, SomaError, Unavailable
from mesh.runtime.logging import get_logger
from workers.slm.answer import Allowance, Answer, Skip
from workers.slm.backends import Backends
from workers.slm.gather import Gatherer
from workers.slm.journal import Journal

_log = get_logger(__name__)
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_PASSING: Final = (Unavailable, ResourceExhausted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How text is gathered and how long a model is waited for."""

    interval_ms: int
    patience: float
    timeout: float


class Generation:
    """One turn's way through the model."""

    def __init__(
        self, request: slm_pb.GenerationRequest, answer: Answer, journal: Journal, backends: Backends
    ) -> None:
        """Go on from `answer`."""
        self._request = request
        self._answer = answer
        self._journal = journal
        self._backends = backends
        self.input_tokens = request.input_tokens

    async def run(self, pace: Pace) -> str:
        """Return the finish reason once the model is done or a bound is reached.

        Raises:
            SomaError: the model failed for good.
            NotTheSameAnswerError: a deterministic model was not.
            mesh.turnlog.NotMine: the turn is somebody else's.
        """
        pause, last_progress = _FIRST_PAUSE, time.monotonic()
        while True:
            made = self._answer.output_tokens
            try:
                return await self._ask(pace)
            except SomaError as error:
                if self._answer.output_tokens > made:
                    pause, last_progress = _FIRST_PAUSE, time.monotonic()
                if not self._passes(error) or time.monotonic() - last_progress > pace.patience:
                    raise
                _log.warning(
                    "model broke off", turn=self._request.turn_id, model=self._request.model.name,
                    cause=error.message, made=self._answer.output_tokens,
                )  # fmt: skip
                await asyncio.sleep(max(pause, min(error.retry_after or 0.0, pace.patience)))
                pause = min(_LONGEST_PAUSE, pause * 2)

    def _passes(self, error: SomaError) -> bool:
        """Whether another try may help; a Triton that just started does not know its models yet."""
        starting = isinstance(error, NotFound) and self._request.model.provider == models_pb.PROVIDER_TRITON
        return starting or isinstance(error, _PASSING)

    async def _ask(self, pace: Pace) -> str:
        again = self._request.model.task == models_pb.TASK_EXTRACT
        skip = Skip(self._answer.text if again else "")
        if again:
            self._answer.output_tokens = 0  # counted again with the words that are passed over
        allowance = Allowance.of(self._request, made=self._answer.output_tokens)
        if not allowance.tokens:
            return allowance.exhausted_reason
        asked = self._asked(allowance, pace, fresh=again or not self._answer.parts)
        chunks = await self._backends.stream(self._request.model, asked)
        foreign = self._request.model.provider != models_pb.PROVIDER_TRITON
        gatherer = Gatherer(self._say, interval=pace.interval_ms / 1000 if foreign else 0.0)
        async with contextlib.aclosing(chunks):
            source = _ticking(chunks, gatherer) if foreign else chunks
            try:
                return await self._listen(source, skip, gatherer, allowance)
            except SomaError:
                await gatherer.flush()  # what was said stands, whatever comes next
                raise

    async def _listen(
        self,
        source: AsyncGenerator[Chunk, None],
        skip: Skip,
        gatherer: Gatherer,
        allowance: Allowance,
    ) -> str:
        made = 0
        async for chunk in source:
            made += chunk.output_tokens
            fresh = skip.take(chunk.text)
            if chunk.finish_reason:
                skip.finish()
                await gatherer.add(fresh, chunk.output_tokens)
                await gatherer.flush()
                return self._ended(chunk, allowance, made=made)
            if skip.done:
                await gatherer.add(fresh, chunk.output_tokens)
            else:
                self._answer.output_tokens += chunk.output_tokens
            if made >= allowance.tokens:
                skip.finish()
                await gatherer.flush()
                return allowance.exhausted_reason
        raise Unavailable("MODEL_UNAVAILABLE", f"model {self._request.model.name} broke off")

    def _asked(self, allowance: Allowance, pace: Pace, *, fresh: bool) -> GenerationRequest:
        request, sampling = self._request, self._request.sampling
        so_far = "" if fresh else self._answer.text
        messages = tuple(PromptMessage(message.role, message.text) for message in request.messages)
        if messages and so_far:
            messages = (*messages, PromptMessage("assistant", so_far))
        return GenerationRequest(
            model=request.model.provider_model,
            prompt=request.prompt + so_far,
            messages=messages,
            sampling=Sampling(
                max_tokens=allowance.tokens,
                min_tokens=self._still_due(allowance, fresh=fresh),
                temperature=sampling.temperature,
                top_p=sampling.top_p if sampling.HasField("top_p") else None,
                seed=sampling.seed if sampling.HasField("seed") else None,
                stop=tuple(sampling.stop),
                stream_interval_ms=pace.interval_ms,
            ),
            timeout_seconds=pace.timeout,
        )

    def _still_due(self, allowance: Allowance, *, fresh: bool) -> int:
        """The tokens that must still come, when some were made before a takeover."""
        made = 0 if fresh else self._answer.output_tokens
        return min(max(0, self._request.sampling.min_tokens - made), allowance.tokens)

    async def _say(self, text: str, tokens: int) -> None:
        if self._answer.add(text, tokens=tokens) is not None:
            await self._journal.write()

    def _ended(self, chunk: Chunk, allowance: Allowance, *, made: int) -> str:
        usage: Usage | None = chunk.usage
        if usage is not None and made == self._answer.output_tokens:
            # Asked once: what the server counted outranks the sum of the pieces.
            self.input_tokens = usage.input_tokens
            self._answer.output_tokens = usage.output_tokens
        if chunk.finish_reason == "length" and allowance.by_budget:
            return allowance.exhausted_reason
        return chunk.finish_reason


async def _ticking(chunks: AsyncGenerator[Chunk, None], gatherer: Gatherer) -> AsyncGenerator[Chunk, None]:
    """Yield the chunks; between them, flush what was gathered when it is due."""
    while True:
        coming = asyncio.ensure_future(anext(chunks, None))
        try:
            while not coming.done():
                done, _ = await asyncio.wait((coming,), timeout=gatherer.wait())
                if not done:
                    await gatherer.flush()
            chunk = coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait((coming,))
        if chunk is None:
            return
        yield chunk
