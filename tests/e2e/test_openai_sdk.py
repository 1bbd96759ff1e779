"""The OpenAI SDK, unchanged, against the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest

from tests.support.edge import Edge
from tests.support.stack import Stack

MESSAGES = [{"role": "user", "content": "Which servers does make up start?"}]


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=stack.edge_url + "/v1", api_key=stack.api_key, max_retries=0
    ) as found:
        yield found


async def test_a_whole_completion_has_text_and_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="guide", messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_streamed_completion_equals_its_parts_and_ends_with_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="bootstrap", messages=MESSAGES, stream=True, max_tokens=24,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in {"stop", "length"}
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


async def test_history_is_the_client_s_own(client: openai.AsyncOpenAI) -> None:
    history = [
        {"role": "system", "content": "Be brief."},
        *MESSAGES,
        {"role": "assistant", "content": "Seven."},
    ]
    answer = await client.chat.completions.create(
        model="bootstrap", messages=[*history, {"role": "user", "content": "And?"}], max_tokens=8
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8


async def test_models_are_the_personas_and_what_embeds(client: openai.AsyncOpenAI) -> None:
    names = {model.id async for model in client.models.list()}
    assert {"guide", "bootstrap", "embed"} <= names
    assert (await client.models.retrieve("guide")).id == "guide"


async def test_embeddings_are_unit_vectors_and_near_texts_are_near(client: openai.AsyncOpenAI) -> None:
    texts = ["a cat sat on the mat", "a kitten rested on a rug", "interest rates rose by a quarter point"]
    answer = await client.embeddings.create(model="embed", input=texts)
    one, two, three = (item.embedding for item in answer.data)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731 - used three lines below only
    assert len(one) == 384
    assert dot(one, one) == pytest.approx(1.0, abs=1e-3)
    assert dot(one, two) > dot(one, three) + 0.2
    assert answer.usage.prompt_tokens > 0


async def test_a_wrong_key_is_an_authentication_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").chat.completions.create(model="guide", messages=MESSAGES)


async def test_an_unknown_model_is_a_not_found_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.chat.completions.create(model="nosuch", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="guide", input="x")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nosuch")


async def test_tools_are_refused_clearly(client: openai.AsyncOpenAI) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(openai.BadRequestError, match="tools"):
        await client.chat.completions.create(model="guide", messages=MESSAGES, tools=[tool])


async def test_a_key_for_models_alone_lists_what_embeds_and_no_persona(stack: Stack) -> None:
    async with aiohttp.ClientSession() as http:
        edge = Edge(http, url=stack.edge_url, key=stack.api_key)
        made = await edge.post("/v1/keys", {"display_name": "models", "scopes": ["models.read"]})
    async with openai.AsyncOpenAI(
        base_url=stack.edge_url + "/v1", api_key=made.body["secret"], max_retries=0
    ) as client:
        assert {model.id for model in (await client.models.list()).data} >= {"embed"}
        assert "guide" not in {model.id for model in (await client.models.list()).data}
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("guide")
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(model="guide", messages=MESSAGES)
