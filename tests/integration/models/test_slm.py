"""The generative model on a real Triton: the contract, cancellation, bounds."""

import asyncio
import contextlib

import pytest

from tests.integration.models.client import Client

PROMPT = "<|im_start|>user\nWhat is os.path.join?<|im_end|>\n<|im_start|>assistant\n"
LONG = {"max_tokens": 900, "ignore_eos": True, "temperature": 0}
SLOTS = 16
QUEUE = 160


async def test_a_stream_of_deltas_equals_the_whole_text(client: Client) -> None:
    streamed = await client.generate("slm", PROMPT, max_tokens=120, temperature=0, ignore_eos=True)
    whole = await client.generate(
        "slm", PROMPT, stream=False, echo=False, max_tokens=120, temperature=0, ignore_eos=True
    )
    echoed = await client.generate(
        "slm", PROMPT, stream=False, max_tokens=120, temperature=0, ignore_eos=True
    )
    assert len(streamed.texts) > 1
    assert streamed.text == whole.text
    assert echoed.texts == [PROMPT + whole.text]
    assert streamed.finishes == ["None"] * (len(streamed.texts) - 1) + ["length"]
    assert sum(streamed.output_tokens) == sum(whole.output_tokens) == 120
    assert set(streamed.input_tokens) == set(whole.input_tokens)
    assert streamed.output_tokens[0] <= 2  # the first token is not gathered


async def test_the_text_ends_by_itself_at_the_end_of_the_turn(client: Client) -> None:
    answers = [await client.generate("slm", PROMPT, max_tokens=400, seed=seed) for seed in range(8)]
    ended = [answer for answer in answers if answer.finishes[-1] == "stop"]
    assert ended  # whether one text ends is the draw's, whether any of eight does is the model's
    assert not any("<|im_end|>" in answer.text for answer in answers)


async def test_seeds_repeat_and_differ(client: Client) -> None:
    same = [
        await client.generate("slm", PROMPT, max_tokens=40, temperature=1, seed=s, ignore_eos=True)
        for s in (4, 4, 5)
    ]
    assert same[0].text == same[1].text != same[2].text


async def test_streams_at_once_give_the_texts_of_streams_alone(client: Client) -> None:
    prompts = [
        f"{PROMPT}{word}" for word in ("Return", "Join", "Create", "The", "A", "List", "Set", "Wait")
    ] * 3
    settings = {"max_tokens": 60, "temperature": 0.8, "ignore_eos": True}
    alone = [(await client.generate("slm", p, seed=i, **settings)).text for i, p in enumerate(prompts)]
    together = await asyncio.gather(
        *(client.generate("slm", p, seed=i, **settings) for i, p in enumerate(prompts))
    )
    assert [answer.text for answer in together] == alone


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"foo": 1}, "unknown sampling parameter 'foo'"),
        ({"temperature": -1}, "temperature"),
        ({"n": 2}, "n=2 is not supported"),
        ({"raw": "{"}, "not JSON"),
        ({"raw": "[]"}, "not a JSON object"),
        ({"echo": True}, "not allowed when streaming"),
    ],
)
async def test_a_wrong_request_is_refused_in_words(
    client: Client, options: dict[str, object], said: str
) -> None:
    answer = await client.generate("slm", PROMPT, **options)
    assert said in answer.error


async def test_a_prompt_that_is_too_long_or_empty_is_refused(client: Client) -> None:
    assert "window of 1024" in (await client.generate("slm", "x" * 5000, max_tokens=4)).error
    assert "empty" in (await client.generate("slm", "", max_tokens=4)).error


async def test_cancelling_frees_the_slots_of_running_streams(client: Client) -> None:
    calls = [client.call("slm", PROMPT, **LONG) for _ in range(SLOTS)]
    for call in calls:
        await call.send()
    for call in calls:
        assert await call.next()
    late = client.call("slm", PROMPT, max_tokens=1, temperature=0)
    await late.send()
    waiting = asyncio.create_task(late.rest())
    await asyncio.sleep(0.02)
    still = asyncio.create_task(calls[0].rest())
    for call in calls[1:]:
        call.cancel()
    answer = await waiting
    assert answer.finishes in (["length"], ["stop"])
    # That one began with the others: without the cancels all slots would be taken still.
    assert not still.done()
    calls[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await still


async def test_cancelling_a_queued_request_leaves_the_queue(client: Client) -> None:
    running = [client.call("slm", PROMPT, **LONG) for _ in range(SLOTS)]
    for call in running:
        await call.send()
    for call in running:
        assert await call.next()
    queued = [client.call("slm", PROMPT, **LONG) for _ in range(QUEUE)]
    for call in queued:
        await call.send()
    await asyncio.sleep(0.1)
    refused = await client.generate("slm", PROMPT, max_tokens=1)
    assert f"{QUEUE} requests are waiting for {SLOTS} slots" in refused.error
    for call in queued:
        call.cancel()
    await asyncio.sleep(0.2)
    last = client.call("slm", PROMPT, max_tokens=1, temperature=0)
    await last.send()  # there is room again, while the slots are still taken
    for call in running:
        call.cancel()
    assert (await last.rest()).error == ""
