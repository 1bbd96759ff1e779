"""The extractive answerer on a real Triton, behind the same contract."""

import asyncio

import pytest

from models.prompting import NO_ANSWER, Passage, render_extract_prompt
from tests.integration.models.client import Client

PASSAGES = (
    Passage(
        label=1,
        title="Operating > Certificates",
        text="A leaf certificate lasts 24 hours and is renewed at half of its life. "
        "`soma mesh rotate` renews at once; calls and streams go on.",
    ),
    Passage(
        label=2, title="Operating > Logs", text="Each process writes to its own file. Log lines are JSON."
    ),
    Passage(
        label=5, title="Harbour", text="The harbour opens at six in the morning and closes at ten at night."
    ),
)


async def test_the_sentence_that_answers_is_streamed_with_its_citation(client: Client) -> None:
    prompt = render_extract_prompt("How long does a certificate last?", PASSAGES)
    answer = await client.generate("extract", prompt, max_tokens=200)
    assert answer.texts[0] == "A leaf certificate lasts 24 hours and is renewed at half of its life. [1]"
    assert answer.finishes[-1] == "stop"
    assert answer.input_tokens[0] > 50
    assert sum(answer.output_tokens) > 10


async def test_the_label_is_the_passages_own(client: Client) -> None:
    answer = await client.generate(
        "extract", render_extract_prompt("When does the harbour open?", PASSAGES), max_tokens=200
    )
    assert answer.texts[0].endswith("[5]")


@pytest.mark.parametrize("passages", [PASSAGES, ()])
async def test_where_no_passage_answers_it_says_so(client: Client, passages: tuple[Passage, ...]) -> None:
    answer = await client.generate(
        "extract", render_extract_prompt("Who composed the Magic Flute?", passages), max_tokens=200
    )
    assert answer.text == NO_ANSWER
    assert answer.finishes[-1] == "stop"


async def test_a_takeover_goes_on_where_the_text_stopped(client: Client) -> None:
    prompt = render_extract_prompt("How long does a certificate last?", PASSAGES)
    whole = (await client.generate("extract", prompt, max_tokens=200)).text
    for cut in (0, 1, 17, len(whole) - 1, len(whole)):
        rest = await client.generate("extract", prompt + whole[:cut], max_tokens=200)
        assert whole[:cut] + rest.text == whole
        assert rest.finishes[-1] == "stop"


async def test_max_tokens_cuts_the_text(client: Client) -> None:
    prompt = render_extract_prompt("How long does a certificate last?", PASSAGES)
    whole = await client.generate("extract", prompt, max_tokens=200)
    cut = await client.generate("extract", prompt, max_tokens=5)
    assert cut.finishes[-1] == "length"
    assert sum(cut.output_tokens) == 5
    assert whole.text.startswith(cut.text)
    assert cut.text


async def test_what_is_no_prompt_of_the_form_is_refused(client: Client) -> None:
    assert "first line" in (await client.generate("extract", "What is it?")).error
    assert (
        "unknown sampling parameter"
        in (await client.generate("extract", render_extract_prompt("q", PASSAGES), foo=1)).error
    )


async def test_many_at_once(client: Client) -> None:
    prompts = [
        render_extract_prompt(
            "How long does a certificate last?", [Passage(label=n, text=f"It lasts {n} hours."), *PASSAGES]
        )
        for n in range(10, 60)
    ]
    answers = await asyncio.gather(
        *(client.generate("extract", prompt, max_tokens=100) for prompt in prompts)
    )
    assert {answer.error for answer in answers} == {""}
    assert all("24 hours" in answer.text or "It lasts" in answer.text for answer in answers)
