"""Continuous batching changes no text; slots, queue, gathering and cancellation behave."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from models.engine.batch import Batch
from models.engine.decoder import Decoder
from models.engine.errors import EngineError, InvalidRequestError, QueueFullError, StoppedError
from models.engine.results import Delta
from models.engine.sampling import Sampling
from models.engine.scheduler import Request, Scheduler

PROMPTS = [
    "os.path.join\nJoin one or more path components",
    "<|im_start|>user\nWhat is numpy.sort?<|im_end|>\n<|im_start|>assistant\n",
    "class Server:\n",
    "Return the",
    "asyncio.Queue\nA queue, useful for coordinating producer and consumer coroutines.\n\nIf maxsize is",
    "def f(x):",
]
WAIT_S = 20.0


@dataclass
class Collector:
    """A sink that keeps what it is told; the test says when its client goes away."""

    deltas: list[Delta] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    error: EngineError | None = None
    dropped: bool = False
    gone: threading.Event = field(default_factory=threading.Event)
    first: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def delta(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self.times.append(time.monotonic())
        self.first.set()
        if delta.finish:
            self.over.set()

    def fail(self, error: EngineError) -> None:
        self.error = error
        self.over.set()

    def ask(self, gone: Callable[[], None]) -> None:
        if self.gone.is_set():
            gone()

    def drop(self) -> None:
        self.dropped = True
        self.over.set()

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


class Engine:
    """A scheduler on the bootstrap model."""

    def __init__(self, folder: Path, *, slots: int, queue: int = 64, window: int = 256) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.decoder = Decoder(folder, slots=slots, window=window, threads=1)
        self.occupied: list[tuple[int, int]] = []
        self.scheduler = Scheduler(
            self.decoder, self.tokenizer, queue=queue, occupied=lambda *one: self.occupied.append(one)
        )

    def start(self, prompt: str, *, stream: bool = True, **sampling: Any) -> Collector:
        sink = Collector()
        tokens = self.tokenizer.encode(prompt).ids
        self.scheduler.submit(Request(tokens=tokens, sampling=Sampling(**sampling), stream=stream, sink=sink))
        return sink

    def run(self, prompt: str, **sampling: Any) -> Collector:
        sink = self.start(prompt, **sampling)
        assert sink.over.wait(WAIT_S)
        return sink


@pytest.fixture
def engine(bootstrap: Path) -> Iterator[Engine]:
    made = Engine(bootstrap, slots=4)
    yield made
    made.scheduler.close()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_staggered_joins_give_the_texts_of_solo_runs(engine: Engine, temperature: float) -> None:
    settings: dict[str, Any] = {"temperature": temperature, "max_tokens": 48, "ignore_eos": True}
    solo = [engine.run(p, seed=i, **settings).text for i, p in enumerate(PROMPTS)]
    together = []
    for index, prompt in enumerate(
        PROMPTS
    ):  # more requests than slots: rows leave and are replaced on the way
        together.append(engine.start(prompt, seed=index, **settings))
        time.sleep(0.004 * index)
    assert all(sink.over.wait(WAIT_S) for sink in together)
    assert [sink.text for sink in together] == solo
    assert len(set(solo)) == len(solo)


def test_a_row_moved_by_compaction_goes_on_unchanged(bootstrap: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bootstrap / "tokenizer.json"))
    decoder = Decoder(bootstrap, slots=4, window=128, threads=1)
    prompts = [tokenizer.encode(prompt).ids for prompt in PROMPTS[:4]]

    def solo(tokens: list[int]) -> list[int]:
        batch: Batch[int] = Batch(decoder)
        row, logits = batch.add(0, tokens)
        made = [int(logits.argmax())]
        for _ in range(20):
            row.token = made[-1]
            made.append(int(batch.step()[0].argmax()))
        return made

    expected = [solo(tokens) for tokens in prompts]
    batch: Batch[int] = Batch(decoder)
    rows = []
    made: list[list[int]] = [[], [], [], []]
    for owner, tokens in enumerate(prompts):
        row, logits = batch.add(owner, tokens)
        row.token = int(logits.argmax())
        made[owner].append(row.token)
        rows.append(row)
    for step in range(20):
        if step == 5:
            batch.remove(rows[0])  # the last row moves into slot 0
            assert batch.rows[0] is rows[3]
        if step == 9:
            batch.remove(rows[1])
        for row, logits in zip(batch.rows, batch.step(), strict=True):
            row.token = int(np.argmax(logits))
            made[row.owner].append(row.token)
    assert made[0] == expected[0][:6]
    assert made[1] == expected[1][:10]
    assert made[2:] == expected[2:]
    assert batch.free == 2


def test_a_prompt_read_in_parts_and_steps_of_other_threads_give_the_same_bits(bootstrap: Path) -> None:
    whole = Decoder(bootstrap, slots=1, window=512, threads=2, read_at_once=512)
    parts = Decoder(bootstrap, slots=1, window=512, threads=2, step_threads=1, read_at_once=64)
    tokens = [3 + 7 * place % 900 for place in range(400)]
    assert np.array_equal(whole.prefill(0, tokens), parts.prefill(0, tokens))
    assert np.array_equal(whole.prefill(0, tokens), parts.prefill(0, tokens, loaded=True))
    for length in range(401, 431):
        one, other = whole.step([length % 900], [length]), parts.step([length % 900], [length])
        assert np.array_equal(one, other)


def test_the_whole_text_does_not_depend_on_gathering(engine: Engine) -> None:
    each = engine.run(PROMPTS[0], temperature=0.0, max_tokens=40, stream_interval_ms=0.0)
    some = engine.run(PROMPTS[0], temperature=0.0, max_tokens=40, stream_interval_ms=5.0)
    whole = engine.run(PROMPTS[0], temperature=0.0, max_tokens=40, stream=False)
    assert each.text == some.text == whole.text
    assert len(each.deltas) > len(some.deltas) >= 2
    assert len(whole.deltas) == 1
    assert {sum(d.tokens for d in sink.deltas) for sink in (each, some, whole)} == {
        sum(d.tokens for d in each.deltas)
    }


def test_gathered_deltas_leave_together_and_the_first_goes_at_once(engine: Engine) -> None:
    begin = time.monotonic()
    sinks = [
        engine.start(prompt, temperature=0.0, max_tokens=150, ignore_eos=True, stream_interval_ms=20.0)
        for prompt in PROMPTS[:3]
    ]
    assert all(sink.over.wait(WAIT_S) for sink in sinks)
    seconds = time.monotonic() - begin
    gathered = [sink.times[1:-1] for sink in sinks]  # the last delta goes when the text is over
    assert all(
        sink.deltas[0].tokens <= 2 for sink in sinks
    )  # the first token whose text is a whole character
    assert all(1 <= len(times) <= seconds / 0.020 + 1 for times in gathered)
    together = sum(min(abs(other - one) for other in gathered[1]) < 0.005 for one in gathered[0])
    assert together >= len(gathered[0]) - 2  # one may begin before the other, and end after it


def test_cancelling_a_running_request_frees_its_slot(engine: Engine) -> None:
    sinks = [engine.start(PROMPTS[0], max_tokens=200, ignore_eos=True, seed=i) for i in range(4)]
    assert all(sink.first.wait(WAIT_S) for sink in sinks)
    waiting = engine.start(PROMPTS[3], max_tokens=4)
    sinks[1].gone.set()
    assert waiting.over.wait(WAIT_S)
    assert sinks[1].dropped
    assert not sinks[1].deltas[-1].finish
    for sink in (sinks[0], sinks[2], sinks[3]):
        assert sink.over.wait(WAIT_S)
        assert sink.deltas[-1].finish == "length"


def test_a_cancelled_request_in_the_queue_never_runs(bootstrap: Path) -> None:
    engine = Engine(bootstrap, slots=1)
    running = engine.start(PROMPTS[0], max_tokens=200, ignore_eos=True)
    queued = engine.start(PROMPTS[1], max_tokens=5)
    queued.gone.set()
    assert queued.over.wait(WAIT_S)
    assert queued.dropped
    assert queued.deltas == []
    assert running.over.wait(WAIT_S)
    engine.scheduler.close()


def test_past_the_bound_a_request_is_refused_at_once(bootstrap: Path) -> None:
    engine = Engine(bootstrap, slots=1, queue=2)
    sinks = [engine.start(PROMPTS[0], max_tokens=200, ignore_eos=True)]
    assert sinks[0].first.wait(WAIT_S)
    sinks += [engine.start(PROMPTS[0], max_tokens=2) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 requests are waiting for 1 slots"):
        engine.start(PROMPTS[0], max_tokens=2)
    assert all(sink.over.wait(WAIT_S) for sink in sinks)
    engine.scheduler.close()


def test_closing_fails_what_runs_and_what_waits(bootstrap: Path) -> None:
    engine = Engine(bootstrap, slots=1)
    running = engine.start(PROMPTS[0], max_tokens=200, ignore_eos=True)
    waiting = engine.start(PROMPTS[1], max_tokens=200)
    engine.scheduler.close()
    assert isinstance(running.error, StoppedError)
    assert isinstance(waiting.error, StoppedError)
    with pytest.raises(StoppedError):
        engine.start(PROMPTS[0])


def test_a_prompt_that_fills_the_window_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="window of 256"):
        engine.start("x" * 2000)
    with pytest.raises(InvalidRequestError, match="empty"):
        engine.start("")


def test_a_text_ends_with_length_where_the_window_ends(engine: Engine) -> None:
    prompt = engine.tokenizer.decode([40] * 250)
    size = len(engine.tokenizer.encode(prompt).ids)
    sink = engine.run(prompt, max_tokens=500, ignore_eos=True, temperature=0.0)
    assert sink.deltas[-1].finish == "length"
    assert size + sum(delta.tokens for delta in sink.deltas) == 256 + 1  # the last token needs no place


def test_stop_texts_and_stop_tokens_end_a_text(engine: Engine) -> None:
    whole = engine.run(PROMPTS[0], temperature=0.0, max_tokens=60, ignore_eos=True)
    stop = whole.text[10:14]
    cut = engine.run(PROMPTS[0], temperature=0.0, max_tokens=60, ignore_eos=True, stop=(stop,))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.deltas[-1].finish == "stop"
    kept = engine.run(
        PROMPTS[0],
        temperature=0.0,
        max_tokens=60,
        ignore_eos=True,
        stop=(stop,),
        include_stop_str_in_output=True,
    )
    assert kept.text == cut.text + stop


def test_min_tokens_holds_back_the_end(engine: Engine) -> None:
    eager = {min(engine.decoder.shape.end_tokens): 100.0}
    free = engine.run(PROMPTS[1], temperature=0.0, max_tokens=60, logit_bias=eager)
    held = engine.run(PROMPTS[1], temperature=0.0, max_tokens=60, logit_bias=eager, min_tokens=20)
    assert [sum(delta.tokens for delta in sink.deltas) for sink in (free, held)] == [1, 21]
    assert {sink.deltas[-1].finish for sink in (free, held)} == {"stop"}


def test_slots_that_are_taken_and_requests_that_wait_are_told(bootstrap: Path) -> None:
    engine = Engine(bootstrap, slots=2)
    long: dict[str, Any] = {"max_tokens": 200, "ignore_eos": True}
    sinks = [engine.start(prompt, **long) for prompt in PROMPTS[:3]]
    assert all(sink.over.wait(WAIT_S) for sink in sinks)
    engine.scheduler.close()
    assert (2, 1) in engine.occupied
    assert engine.occupied[-1] == (0, 0)
    assert max(running for running, _ in engine.occupied) == 2
