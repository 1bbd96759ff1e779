"""Token counts and vectors over mTLS, from the real models."""

from __future__ import annotations

import math
from collections.abc import Iterable

from soma.slm.v1 import resources_pb2 as models_pb
from soma.slm.v1 import service_pb2 as pb
from tokenizers import Tokenizer

from mesh.stack.settings import StackSettings
from tests.support.identity import Owner, failure
from tests.support.slm import Slm, creation


def dot(left: Iterable[float], right: Iterable[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


TEXTS = ["", "one", "The worker claims the turn.", "naïve café — 日本語", "word " * 3000]


async def test_tokens_are_counted_by_the_models_own_tokenizer(
    slm: Slm, owner: Owner, settings: StackSettings
) -> None:
    weights = settings.home.lib / "models" / "current" / "weights"
    for model, folder in (("bootstrap", "bootstrap"), ("guide", "minilm"), ("embed", "minilm")):
        own = Tokenizer.from_file(str(weights / folder / "tokenizer.json"))
        own.no_truncation()
        own.no_padding()
        counted = await slm.inference.CountTokens(
            pb.CountTokensRequest(model=model, texts=TEXTS), metadata=owner.auth
        )
        assert counted.exact
        assert list(counted.counts) == [len(own.encode(text, add_special_tokens=False).ids) for text in TEXTS]


async def test_a_providers_tokens_are_an_estimate_and_said_to_be_one(slm: Slm, owner: Owner) -> None:
    await slm.models.CreateModel(creation("far"), metadata=owner.auth)
    counted = await slm.inference.CountTokens(
        pb.CountTokensRequest(model="far", texts=["", "abc", "abcd"]), metadata=owner.auth
    )
    assert (list(counted.counts), counted.exact) == ([0, 1, 2], False)


async def test_vectors_have_unit_length_and_tell_meanings_apart(slm: Slm, owner: Owner) -> None:
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The invoice is due in March."]
    made = await slm.inference.Embed(pb.EmbedRequest(texts=texts), metadata=owner.auth)
    cat, kitten, invoice = ([*each.values] for each in made.embeddings)
    assert len(cat) == 384
    for vector in (cat, kitten, invoice):
        assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5)
    assert dot(cat, kitten) > 0.5 > dot(cat, invoice)
    assert made.input_tokens > 15
    assert made.model == "embed"


async def test_many_texts_keep_their_order(slm: Slm, owner: Owner) -> None:
    texts = [f"text number {index}" for index in range(100)]
    together = await slm.inference.Embed(pb.EmbedRequest(texts=texts), metadata=owner.auth)
    for index in (0, 31, 32, 99):
        alone = await slm.inference.Embed(pb.EmbedRequest(texts=[texts[index]]), metadata=owner.auth)
        same = dot(together.embeddings[index].values, alone.embeddings[0].values)
        assert same > 0.9999


async def test_only_a_model_of_vectors_makes_vectors(slm: Slm, owner: Owner) -> None:
    call = slm.inference.Embed(pb.EmbedRequest(model="bootstrap", texts=["x"]), metadata=owner.auth)
    assert (await failure(call)).reason == "FAILED_PRECONDITION"
    nosuch = slm.inference.Embed(pb.EmbedRequest(model="nosuch", texts=["x"]), metadata=owner.auth)
    assert (await failure(nosuch)).reason == "MODEL_NOT_FOUND"


async def test_a_tenants_own_name_for_a_triton_model_embeds_and_counts(slm: Slm, owner: Owner) -> None:
    mine = creation(
        "vectors",
        provider=models_pb.PROVIDER_TRITON,
        task=models_pb.TASK_EMBED,
        provider_model="embed",
        base_url="",
        api_key="",
        max_output_tokens=0,
    )
    await slm.models.CreateModel(mine, metadata=owner.auth)
    made = await slm.inference.Embed(pb.EmbedRequest(model="vectors", texts=["x"]), metadata=owner.auth)
    assert (made.model, len(made.embeddings)) == ("vectors", 1)
    counted = await slm.inference.CountTokens(
        pb.CountTokensRequest(model="vectors", texts=["one two"]), metadata=owner.auth
    )
    assert counted.exact
