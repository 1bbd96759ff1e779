"""The encoder on a real Triton: meaning, batching, bounds."""

import asyncio

import grpc.aio
import numpy as np
import pytest

from tests.integration.models.client import Client


async def test_vectors_have_length_one_and_carry_meaning(client: Client) -> None:
    cat, kitten, tax = await client.embed("A cat sleeps.", "A kitten is sleeping.", "Taxes are due in April.")
    assert cat.shape == (384,)
    assert np.abs(np.linalg.norm([cat, kitten, tax], axis=1) - 1).max() < 1e-5
    assert cat @ kitten > 0.6
    assert cat @ tax < 0.2


async def test_a_known_vector(client: Client) -> None:
    """all-MiniLM-L6-v2's own scores of the pairs in its model card's usage example, to three digits."""
    vectors = await client.embed(
        "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."
    )
    assert (vectors @ vectors.T).round(4)[0].tolist() == pytest.approx([1.0, 0.666, 0.1046], abs=5e-4)


async def test_neighbours_in_a_batch_change_nothing(client: Client) -> None:
    texts = [f"Sentence number {i} has {'many ' * i}words." for i in range(32)]
    # The server remembers vectors by text: a space more at the end is another text of the same tokens.
    alone = np.concatenate([await client.embed(text) for text in texts])
    bulk = await client.embed(*(f"{text} " for text in texts))
    parallel = np.concatenate(await asyncio.gather(*(client.embed(f"{text}  ") for text in texts)))
    known = await client.embed(*texts)
    assert (known == alone).all()
    assert np.abs(alone - bulk).max() < 1e-5
    assert np.abs(alone - parallel).max() < 1e-5


async def test_a_long_text_is_embedded_by_its_beginning(client: Client) -> None:
    long, longer = await client.embed("word " * 300, "word " * 3000)
    assert np.abs(long - longer).max() < 1e-5


async def test_more_than_a_bulk_is_refused(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="batch-size must be <= 32"):
        await client.embed(*["x"] * 33)
