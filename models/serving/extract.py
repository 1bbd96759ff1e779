"""The extractive answerer for Triton's Python backend, behind the vLLM contract.

Its vectors come from the model `embed` of the same server, so that one encoder is resident. An answer does
not depend on sampling: of the sampling parameters `max_tokens` and `stop` are obeyed, the others checked and
without effect.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.engine.errors import BrokenError, EngineError, InvalidRequestError, QueueFullError, StoppedError
from models.engine.results import Delta, Finish
from models.engine.sampling import Sampling
from models.engine.text import StopMatcher
from models.extraction.answer import Scores, answer
from models.prompting import ExtractPrompt, PromptError, parse_extract_prompt
from models.serving.cache import VectorCache
from models.serving.contract import Call, Responder, refuse
from models.serving.settings import Settings

BULK: Final = 32


def embed_by_server(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors of `texts` from the model `embed`, like lengths together."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors: list[NDArray[np.float32]] = []
    for start in range(0, len(order), BULK):
        part = np.array([[texts[index].encode()] for index in order[start : start + BULK]], dtype=object)
        request = pb_utils.InferenceRequest(
            model_name="embed", requested_output_names=["embedding"], inputs=[pb_utils.Tensor("text", part)]
        )
        response = request.exec()
        if response.has_error():
            raise BrokenError(f"embedding failed: {response.error().message()}")
        vectors.append(pb_utils.get_output_tensor_by_name(response, "embedding").as_numpy())
    joined = np.concatenate(vectors)
    result = np.empty_like(joined)
    result[order] = joined
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    prompt: ExtractPrompt
    sampling: Sampling
    stream: bool
    sink: Responder


class TritonPythonModel:
    """What Triton calls. Parameters: weights (folder of the tokenizer), workers, queue, cache_entries."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load tokenizer and scores, start the workers."""
        settings = Settings(args)
        self._tokenizer = Tokenizer.from_file(str(settings.path("weights") / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._scores = Scores.load()
        self._embed = VectorCache(embed_by_server, entries=settings.number("cache_entries"))
        self._bound = settings.number("queue")
        self._queue: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(settings.number("workers"))
        ]
        for thread in self._threads:
            thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Queue requests; a worker answers each."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._submit(Call.read(request), sender)
            except PromptError as error:
                refuse(sender, InvalidRequestError(str(error)))
            except EngineError as error:
                refuse(sender, error)

    def finalize(self) -> None:
        """Fail what waits and stop."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        while self._queue:
            self._queue.popleft().sink.fail(StoppedError("the model is shutting down"))

    def _submit(self, call: Call, sender: Any) -> None:
        sampling = Sampling.parse(call.sampling)
        prompt = parse_extract_prompt(call.text)
        sink = Responder(sender, call, input_tokens=self._count(call.text) if call.wants_input_count else 0)
        with self._changed:
            if not self._open:
                raise StoppedError("the model is shutting down")
            if len(self._queue) >= self._bound:
                raise QueueFullError(f"{self._bound} requests are waiting; try again later")
            self._queue.append(_Task(prompt=prompt, sampling=sampling, stream=call.stream, sink=sink))
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._open or self._queue)
                if not self._open:
                    return
                task = self._queue.popleft()
            try:
                if task.sink.cancelled():
                    task.sink.drop()
                else:
                    self._answer(task)
            except EngineError as error:
                task.sink.fail(error)
            except Exception as error:  # noqa: BLE001  # the client must hear of it and the worker must live
                pb_utils.Logger.log_error(f"extract failed: {error!r}")
                task.sink.fail(BrokenError("the answerer failed on this prompt"))

    def _answer(self, task: _Task) -> None:
        texts = answer(task.prompt, self._embed, self._scores)
        pieces = _continued(texts, task.prompt.answered)
        for delta in self._deltas(pieces, task.sampling, stream=task.stream):
            if delta.finish is None and task.sink.cancelled():
                task.sink.drop()
                return
            task.sink.delta(delta)

    def _deltas(self, pieces: list[str], sampling: Sampling, *, stream: bool) -> list[Delta]:
        """Return a delta a sentence, or one where nothing streams; cut at `max_tokens` and at a stop text."""
        left, finish, made = sampling.max_tokens, "stop", []
        stops = StopMatcher(sampling.stop, include=sampling.include_stop_str_in_output)
        for whole in pieces:
            piece = whole
            encoded = self._tokenizer.encode(piece, add_special_tokens=False)
            tokens = len(encoded.ids)
            if tokens > left:
                piece, tokens, finish = piece[: encoded.offsets[left][0]].rstrip(), left, "length"
            left -= tokens
            text, stopped = stops.push(piece)
            made.append(Delta(text=text, tokens=tokens, finish=None))
            if stopped or finish == "length":
                break
            if not left:
                finish = "length" if whole is not pieces[-1] else "stop"
                break
        text = "".join(delta.text for delta in made[0 if not stream else -1 :]) + stops.flush()
        counted = made if not stream else made[-1:]
        last = Delta(text=text, tokens=sum(delta.tokens for delta in counted), finish=_finish(finish))
        return [*made[:-1], last] if stream else [last]

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _finish(name: str) -> Finish:
    return "length" if name == "length" else "stop"


def _continued(texts: list[str], answered: str) -> list[str]:
    """Return the pieces that follow the text so far; what stands there already is not said again."""
    pieces = [text if index == 0 else f" {text}" for index, text in enumerate(texts)]
    whole = "".join(pieces)
    if not answered:
        return pieces
    if whole.startswith(answered):
        return [whole[len(answered) :]]
    rest = [text for text in texts if text not in answered]
    return [f" {text}" for text in rest] or [""]
