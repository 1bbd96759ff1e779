"""Sampling parameters are read strictly, and tokens are chosen as the reference chooses them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.engine.errors import InvalidRequestError
from models.engine.sampling import Sampler, Sampling

NO_ENDS: frozenset[int] = frozenset()
SIZE = 12
# Without ties: where logits are equal, or a sum falls on a cut-off, rounding may choose either.
LOGITS = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 2.0, 6.0])).map(
    lambda pair: (np.random.default_rng(pair[0]).normal(size=SIZE) * pair[1]).astype(np.float32)
)


def reference_choice(  # noqa: C901  # the plain form has all steps in one place
    logits: NDArray[np.float32], s: Sampling, *, prompt: list[int], produced: list[int], ends: set[int]
) -> int:
    """The same choice, written with Python lists and no shortcuts."""
    scores = [float(value) for value in logits]
    for token in range(len(scores)):
        if token in prompt or token in produced:
            scores[token] = (
                scores[token] / s.repetition_penalty
                if scores[token] > 0
                else scores[token] * s.repetition_penalty
            )
        count = produced.count(token)
        if count:
            scores[token] -= s.frequency_penalty * count + s.presence_penalty
        if len(produced) < s.min_tokens and token in ends:
            scores[token] = -math.inf
    best_first = sorted(range(len(scores)), key=lambda token: (-scores[token], token))
    if s.temperature < 1e-5:
        return best_first[0]
    top = max(scores)
    weight = {token: math.exp((scores[token] - top) / s.temperature) for token in best_first}
    kept = best_first
    if s.top_k or s.top_p < 1 or s.min_p:
        kept = best_first[: s.top_k] if s.top_k else best_first
        kept = [token for token in kept if weight[token] >= s.min_p * weight[best_first[0]]]
        total, passed, nucleus = sum(weight[token] for token in kept), 0.0, []
        for token in kept:
            if s.top_p >= 1 or passed < s.top_p * total:
                nucleus.append(token)
            passed += weight[token]
        kept = nucleus
    else:
        kept = list(range(len(scores)))
    key = np.array([(s.seed or 0) % 2**64, len(prompt) + len(produced)], np.uint64)
    left = np.random.Generator(np.random.Philox(key=key)).random() * sum(weight[token] for token in kept)
    for token in kept:
        left -= weight[token]
        if left < 0:
            return token
    return kept[-1]


@settings(max_examples=300)
@given(
    logits=LOGITS,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    top_p=st.sampled_from([1.0, 0.9, 0.3]),
    top_k=st.integers(0, 6),
    min_p=st.sampled_from([0.0, 0.05, 0.4]),
    penalties=st.tuples(
        st.sampled_from([0.0, 0.7]), st.sampled_from([0.0, 0.3]), st.sampled_from([1.0, 1.3])
    ),
    seed=st.integers(-(2**63), 2**64 - 1),
    produced=st.lists(st.integers(0, SIZE - 1), max_size=5),
    min_tokens=st.integers(0, 4),
)
def test_the_sampler_chooses_what_the_reference_chooses(  # noqa: PLR0917  # Hypothesis passes by name
    logits: NDArray[np.float32],
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    penalties: tuple[float, float, float],
    seed: int,
    produced: list[int],
    min_tokens: int,
) -> None:
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        presence_penalty=penalties[0],
        frequency_penalty=penalties[1],
        repetition_penalty=penalties[2],
        seed=seed,
        min_tokens=min_tokens,
        stop_token_ids=(3,),
    )
    prompt = [1, 2, 2]
    sampler = Sampler(sampling, prompt, end_tokens=frozenset({0}))
    for token in produced:
        sampler.record(token)
    expected = reference_choice(logits, sampling, prompt=prompt, produced=produced, ends={0, 3})
    assert sampler.choose(logits) == expected


def test_a_token_depends_on_seed_and_position_only() -> None:
    logits = np.zeros(1000, np.float32)
    first = Sampler(Sampling(seed=5), [1, 2, 3], end_tokens=NO_ENDS)
    for token in (7, 8):
        first.record(token)
    taken_over = Sampler(Sampling(seed=5), [1, 2, 3, 7, 8], end_tokens=NO_ENDS)
    other = Sampler(Sampling(seed=6), [1, 2, 3, 7, 8], end_tokens=NO_ENDS)
    assert first.choose(logits) == taken_over.choose(logits) != other.choose(logits)


def test_draws_follow_the_distribution() -> None:
    chances = np.array([0.5, 0.3, 0.15, 0.05])
    logits = np.log(chances).astype(np.float32)
    counts = np.zeros(4)
    for seed in range(4000):
        counts[Sampler(Sampling(seed=seed), [0], end_tokens=NO_ENDS).choose(logits)] += 1
    chi_square = float((((counts - 4000 * chances) ** 2) / (4000 * chances)).sum())
    assert (
        chi_square < 16.27
    )  # three degrees of freedom, p = 0.001; the seeds are fixed, so this cannot flicker


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"foo": 1}, "unknown sampling parameter 'foo'"),
        ({"n": 2}, "n=2 is not supported"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens must be a whole number"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop": [""]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop_token_ids": [1.5]}, "stop_token_ids"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"stream_interval_ms": -1}, "stream_interval_ms"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        Sampling.parse(values)


def test_vllm_values_that_change_nothing_are_taken() -> None:
    sampling = Sampling.parse(
        {"n": 1, "best_of": None, "top_k": -1, "stop": "x", "seed": None, "temperature": 0}
    )
    assert sampling == Sampling(stop=("x",), temperature=0.0)
