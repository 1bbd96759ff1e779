"""OpenAI's and Anthropic's wire against a real HTTP server, one suite for both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from mesh.inference.addresses import AddressPolicy
from mesh.inference.anthropic import VERSION, Anthropic
from mesh.inference.http import ProviderHttp
from mesh.inference.openai import OpenAI
from mesh.inference.ports import Chunk, GenerationRequest, Generator, PromptMessage, Sampling, Usage
from mesh.runtime.errors import SomaError
from tests.support import providers
from tests.support.providers import KEY, MODEL

KINDS = ("openai", "anthropic")


@pytest.fixture
async def http() -> AsyncIterator[ProviderHttp]:
    async with ProviderHttp.open(AddressPolicy(allow_loopback=True)) as opened:
        yield opened


def client(kind: str, http: ProviderHttp, root: str, key: str = KEY) -> Generator:
    """A client of either wire."""
    if kind == "openai":
        return OpenAI(http=http, base_url=f"{root}/v1", api_key=key)
    return Anthropic(http=http, base_url=root, api_key=key)


def asked(text: str = "the quick brown fox", model: str = MODEL, **sampling: object) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt=text,
        sampling=Sampling(**{"max_tokens": 20, **sampling}),  # type: ignore[arg-type]  # a table of cases
        timeout_seconds=5,
    )


async def collected(generator: Generator, request: GenerationRequest) -> list[Chunk]:
    return [chunk async for chunk in generator.stream(request)]


async def refused(generator: Generator, request: GenerationRequest) -> SomaError:
    with pytest.raises(SomaError) as caught:
        await collected(generator, request)
    assert KEY not in str(caught.value)
    assert KEY[:8] not in caught.value.message, "the provider's words go no further"
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_is_streamed_with_its_usage(kind: str, http: ProviderHttp) -> None:
    async with providers.running() as provider:
        chunks = await collected(client(kind, http, provider.root), asked())
    assert "".join(chunk.text for chunk in chunks) == "brown fox quick the"
    assert len(chunks) == 5
    assert [chunk.finish_reason for chunk in chunks] == ["", "", "", "", "stop"]
    assert chunks[-1].usage == Usage(input_tokens=4, output_tokens=4)
    assert sum(chunk.output_tokens for chunk in chunks) == 4


@pytest.mark.parametrize("kind", KINDS)
async def test_options_reach_the_provider(kind: str, http: ProviderHttp) -> None:
    talk = (
        PromptMessage("system", "be brief"),
        PromptMessage("user", "c b a"),
        PromptMessage("assistant", "ok"),
    )
    async with providers.running() as provider:
        generator = client(kind, http, provider.root)
        request = GenerationRequest(
            model=MODEL,
            prompt="not used",
            messages=(*talk, PromptMessage("user", "e d c b a")),
            sampling=Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("d",)),
        )
        chunks = await collected(generator, request)
        (seen,) = provider.requests
    assert "".join(chunk.text for chunk in chunks) == "a b c"
    assert chunks[-1].finish_reason == "stop"
    assert (seen["max_tokens"], seen["temperature"], seen["top_p"]) == (9, 0.5, 0.9)
    if kind == "openai":
        assert [message["role"] for message in seen["messages"]] == ["system", "user", "assistant", "user"]
    else:
        assert (seen["system"], seen["version"]) == ("be brief", VERSION)
        assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_bound_on_tokens_ends_an_answer(kind: str, http: ProviderHttp) -> None:
    async with providers.running() as provider:
        chunks = await collected(client(kind, http, provider.root), asked(max_tokens=2))
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("length", Usage(4, 2))


@pytest.mark.parametrize("kind", KINDS)
async def test_refusals_are_told_by_reason(kind: str, http: ProviderHttp) -> None:
    async with providers.running() as provider:
        root = provider.root
        right = client(kind, http, root)
        assert (await refused(client(kind, http, root, "wrong"), asked())).reason == "PROVIDER_REFUSED"
        assert (await refused(right, asked(model="nosuch"))).reason == "MODEL_NOT_FOUND"
        assert (await refused(right, asked("word " * 60))).reason == "CONTEXT_TOO_LONG"
        provider.overloaded = True
        assert (await refused(right, asked())).reason == "MODEL_UNAVAILABLE"
        provider.overloaded, provider.most_requests = False, 0
        limited = await refused(right, asked())
        assert (limited.reason, limited.retry_after) == ("RATE_LIMITED", 7.0)
    gone = await refused(right, asked())
    assert gone.reason == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_breaks_off_is_no_answer(kind: str, http: ProviderHttp) -> None:
    async with providers.running(cut_after=2) as provider:
        stream = client(kind, http, provider.root).stream(asked())
        assert [(await anext(stream)).text for _ in range(2)] == ["brown", " fox"]
        with pytest.raises(SomaError) as caught:
            await anext(stream)
    assert caught.value.reason == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_a_slow_answer(kind: str, http: ProviderHttp) -> None:
    async with providers.running(pause=0.3) as provider:
        request = GenerationRequest(
            model=MODEL, prompt="a b c d e f g h", sampling=Sampling(max_tokens=9), timeout_seconds=0.5
        )
        assert (await refused(client(kind, http, provider.root), request)).reason == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_the_stream_closes_the_connection(kind: str, http: ProviderHttp) -> None:
    async with providers.running(pause=0.05) as provider:
        stream = client(kind, http, provider.root).stream(asked("word " * 40))
        async with contextlib.aclosing(stream):
            await anext(stream)
        async with asyncio.timeout(2):
            await provider.disconnected.wait()


@pytest.mark.parametrize("kind", KINDS)
async def test_redirects_are_not_followed(kind: str, http: ProviderHttp) -> None:
    async with providers.running() as provider:
        generator = client(kind, http, f"{provider.root}/moved")
        assert (await refused(generator, asked())).reason == "PROVIDER_REFUSED"
        assert not provider.requests


@pytest.mark.parametrize("kind", KINDS)
async def test_health_is_asked_of_the_provider(kind: str, http: ProviderHttp) -> None:
    async with providers.running() as provider:
        right = client(kind, http, provider.root)
        await right.check(MODEL, timeout_seconds=2)
        for generator, model, reason in (
            (right, "nosuch", "MODEL_NOT_FOUND"),
            (client(kind, http, provider.root, "wrong"), MODEL, "PROVIDER_REFUSED"),
        ):
            with pytest.raises(SomaError) as caught:
                await generator.check(model, timeout_seconds=2)
            assert caught.value.reason == reason


async def test_a_provider_that_cannot_repeat_its_sampling_says_so(http: ProviderHttp) -> None:
    async with providers.running() as provider:
        assert (
            await refused(client("anthropic", http, provider.root), asked(seed=1))
        ).reason == "INVALID_ARGUMENT"
        chunks = await collected(client("openai", http, provider.root), asked(seed=1))
        assert chunks[-1].finish_reason == "stop"
        assert provider.requests[-1]["seed"] == 1


async def test_a_name_that_resolves_to_this_machine_is_refused_at_the_socket() -> None:
    name = socket.gethostname()  # resolves to a loopback or private address
    async with providers.running() as provider, ProviderHttp.open(AddressPolicy()) as guarded:
        generator = OpenAI(http=guarded, base_url=f"https://{name}:{provider.port}/v1")
        AddressPolicy().check_url(generator.base_url)
        with pytest.raises(SomaError) as caught:
            await generator.check(MODEL, timeout_seconds=3)
    assert caught.value.reason == "PROVIDER_REFUSED"
