"""Sampling parameters in vLLM's names, and the sampler.

Owns what a request may ask of the choice of tokens; refuses every name it does not know. The random number of
a token depends on the request's seed and the token's absolute position only, so neither the batch nor a
takeover in mid-text changes it.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.engine.errors import InvalidRequestError

GREEDY_BELOW: Final = 1e-5
MAX_STOPS: Final = 16
_NEUTRAL: Final[
    dict[str, tuple[Any, ...]]
] = {  # vLLM's fields that are served only at the value that changes nothing
    "n": (1,),
    "best_of": (1, None),
    "logprobs": (None,),
    "prompt_logprobs": (None,),
    "detokenize": (True,),
    "spaces_between_special_tokens": (True,),
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """One request's parameters; names, defaults and meaning are those of vLLM's SamplingParams.

    `stream_interval_ms` is the one addition: how long tokens are gathered into a response (None: by load).
    """

    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    stream_interval_ms: float | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Sampling":
        """Return a JSON object's parameters; raise `InvalidRequestError` naming the first that is wrong."""
        known = {field.name for field in fields(cls)}
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            if name in _NEUTRAL:
                if value not in _NEUTRAL[name]:
                    raise InvalidRequestError(f"sampling parameter {name}={value!r} is not supported")
            elif name not in known:
                raise InvalidRequestError(
                    f"unknown sampling parameter {name!r}; known: {', '.join(sorted(known))}"
                )
            elif value is not None:
                chosen[name] = _READERS[name](name, value)
        sampling = cls(**chosen)
        if sampling.min_tokens > sampling.max_tokens:
            raise InvalidRequestError("min_tokens is greater than max_tokens")
        return sampling

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < GREEDY_BELOW

    @property
    def plain(self) -> bool:
        """Whether the logits are taken as the model gives them, so that an argmax over the batch will do."""
        neutral = self.presence_penalty == self.frequency_penalty == 0 and self.repetition_penalty == 1
        return self.greedy and neutral and not self.logit_bias and not self.min_tokens

    def seeded(self) -> "Sampling":
        """Return the same with a random seed where none was given."""
        if self.seed is not None:
            return self
        return Sampling(
            **{**{f.name: getattr(self, f.name) for f in fields(self)}, "seed": secrets.randbits(64)}
        )


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise InvalidRequestError(
                f"sampling parameter {name} must be {kind} from {low} to {high}, not {value!r}"
            )
        return value if whole else float(value)

    return read


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"sampling parameter {name} must be true or false, not {value!r}")
    return value


def _top_k(name: str, value: Any) -> int:
    return max(0, int(_number(-1, 2**31, whole=True)(name, value)))


def _stops(name: str, value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise InvalidRequestError(f"sampling parameter {name} must be a text or a list of texts, none empty")
    if len(stops) > MAX_STOPS:
        raise InvalidRequestError(f"sampling parameter {name} has more than {MAX_STOPS} entries")
    return tuple(stops)


def _token_ids(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"sampling parameter {name} must be a list of token ids")
    return tuple(_number(0, 2**31, whole=True)(name, token) for token in value)


def _bias(name: str, value: Any) -> dict[int, float]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"sampling parameter {name} must be an object of token id to number")
    try:
        return {int(token): _number(-100, 100)(name, bias) for token, bias in value.items()}
    except ValueError as error:
        raise InvalidRequestError(f"sampling parameter {name} has a key that is not a token id") from error


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "max_tokens": _number(1, 1_000_000, whole=True),
    "min_tokens": _number(0, 1_000_000, whole=True),
    "temperature": _number(0, 100),
    "top_p": _number(1e-6, 1),
    "top_k": _top_k,
    "min_p": _number(0, 1),
    "seed": _number(-(2**63), 2**64 - 1, whole=True),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "repetition_penalty": _number(1e-3, 10),
    "logit_bias": _bias,
    "stop": _stops,
    "stop_token_ids": _token_ids,
    "ignore_eos": _flag,
    "include_stop_str_in_output": _flag,
    "skip_special_tokens": _flag,
    "stream_interval_ms": _number(0, 10_000),
}


class Sampler:
    """Chooses a request's tokens: penalties, bias, minimum length, temperature, cut-offs, draw."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], *, end_tokens: frozenset[int]) -> None:
        """Prepare for a prompt; `sampling` must be seeded."""
        self._sampling = sampling
        self._prompt = np.unique(np.asarray(prompt, np.int64))
        self._position = len(prompt)
        self._ends = np.asarray(sorted(end_tokens | set(sampling.stop_token_ids)), np.int64)
        self._counts: dict[int, int] = {}
        self._produced = 0

    def record(self, token: int) -> None:
        """Note that `token` was produced."""
        self._counts[token] = self._counts.get(token, 0) + 1
        self._produced += 1

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Return the next token for logits [vocabulary], which stay as they are."""
        scores = self._adjusted(logits)
        if self._sampling.greedy:
            return int(scores.argmax())
        scores = scores / self._sampling.temperature
        weights = np.exp(scores - scores.max())
        kept = self._kept(weights)
        sums = np.cumsum(weights[kept])
        key = [(self._sampling.seed or 0) & (2**64 - 1), self._position + self._produced]
        draw = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64))).random()
        return int(kept[min(int(np.searchsorted(sums, draw * sums[-1], side="right")), len(kept) - 1)])

    def _adjusted(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        sampling, scores = self._sampling, logits.astype(np.float64)
        produced = np.fromiter(self._counts, np.int64, len(self._counts))
        if sampling.repetition_penalty != 1:
            seen = np.union1d(self._prompt, produced)
            penalty = sampling.repetition_penalty
            scores[seen] = np.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
        if produced.size:
            counts = np.fromiter(self._counts.values(), np.float64, len(self._counts))
            scores[produced] -= sampling.frequency_penalty * counts + sampling.presence_penalty
        for token, bias in (sampling.logit_bias or {}).items():
            if 0 <= token < len(scores):
                scores[token] += bias
        if self._produced < sampling.min_tokens:
            scores[self._ends[self._ends < len(scores)]] = -np.inf
        return scores

    def _kept(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the token ids that top-k, top-p and min-p leave, the likeliest first where order matters."""
        sampling = self._sampling
        if not sampling.top_k and sampling.top_p >= 1 and not sampling.min_p:
            return np.arange(len(weights))
        order = np.argsort(-weights, kind="stable")
        if sampling.top_k:
            order = order[: sampling.top_k]
        if sampling.min_p:
            order = order[weights[order] >= sampling.min_p * weights[order[0]]]
        if sampling.top_p < 1:
            before = np.cumsum(weights[order]) - weights[order]
            order = order[before < sampling.top_p * weights[order].sum()]
        return order
