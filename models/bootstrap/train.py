"""Trains the bootstrap model: corpus -> tokenizer -> Llama-shaped weights, by a fixed number of seeded steps.

Needs JAX, which no other part of the project needs and no user's machine gets: run it from an environment of
its own (docs/models/bootstrap.md has the commands). Owns the architecture and the optimiser; writes
``config.json``, ``tokenizer.json`` and ``model.safetensors`` (bfloat16) into ``--out``, in the layout of a
Hugging Face Llama folder.

Sources: Llama (arXiv:2302.13971), grouped queries (arXiv:2305.13245), rotary positions (arXiv:2104.09864),
Muon (https://kellerjordan.github.io/posts/muon).
"""

import argparse
import json
import math
import struct
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Weights = dict[str, Array]

SEED: Final = 20261122
VOCABULARY: Final = 2048
HIDDEN: Final = 128
HEADS: Final = 4
KEY_VALUE_HEADS: Final = 1
HEAD: Final = 32
FEED_FORWARD: Final = 384
LAYERS: Final = 4
THETA: Final = 10_000.0
EPSILON: Final = 1e-5
CONTEXT: Final = 1024
SEQUENCE: Final = 256
BATCH: Final = 16
PEAK_ADAM: Final = 3e-3
PEAK_MUON: Final = 0.02
VALIDATION_TOKENS: Final = 65_536


def configuration() -> dict[str, Any]:
    """Return the model's ``config.json``."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": [0, 2],
    }


def initial(key: Array) -> Weights:
    """Return the seeded starting weights under their Hugging Face names."""
    shapes: dict[str, tuple[int, int]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        shapes |= {
            name + "self_attn.q_proj.weight": (HEADS * HEAD, HIDDEN),
            name + "self_attn.k_proj.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
            name + "self_attn.v_proj.weight": (KEY_VALUE_HEADS * HEAD, HIDDEN),
            name + "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
            name + "mlp.gate_proj.weight": (FEED_FORWARD, HIDDEN),
            name + "mlp.up_proj.weight": (FEED_FORWARD, HIDDEN),
            name + "mlp.down_proj.weight": (HIDDEN, FEED_FORWARD),
        }
    keys = jax.random.split(key, len(shapes))
    weights = {n: 0.02 * jax.random.normal(k, s) for (n, s), k in zip(shapes.items(), keys, strict=True)}
    for name in list(weights):
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weights[name] = weights[name] / math.sqrt(2 * LAYERS)
    for layer in range(LAYERS):
        weights[f"model.layers.{layer}.input_layernorm.weight"] = jnp.ones(HIDDEN)
        weights[f"model.layers.{layer}.post_attention_layernorm.weight"] = jnp.ones(HIDDEN)
    weights["model.norm.weight"] = jnp.ones(HIDDEN)
    return weights


def _normalise(x: Array, weight: Array) -> Array:
    x32 = x.astype(jnp.float32)
    return (x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, -1, keepdims=True) + EPSILON) * weight).astype(x.dtype)


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def _attend(weights: Weights, layer: int, x: Array, cos: Array, sin: Array) -> Array:
    name = f"model.layers.{layer}.self_attn."
    batch, length, _ = x.shape
    query = (x @ weights[name + "q_proj.weight"].T).reshape(batch, length, HEADS, HEAD)
    key = (x @ weights[name + "k_proj.weight"].T).reshape(batch, length, KEY_VALUE_HEADS, HEAD)
    value = (x @ weights[name + "v_proj.weight"].T).reshape(batch, length, KEY_VALUE_HEADS, HEAD)
    query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
    key, value = (jnp.repeat(part, HEADS // KEY_VALUE_HEADS, 2) for part in (key, value))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32) / math.sqrt(HEAD)
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1).astype(x.dtype), value)
    return mixed.reshape(batch, length, HEADS * HEAD) @ weights[name + "o_proj.weight"].T


def loss_of(weights: Weights, tokens: Array) -> Array:
    """Return the mean cross-entropy in nats of ``tokens`` [batch, length + 1], each from those before."""
    weights = {name: weight.astype(COMPUTE) for name, weight in weights.items()}
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    angles = jnp.outer(jnp.arange(inputs.shape[1]), THETA ** (-jnp.arange(0, HEAD, 2) / HEAD))[:, None, :]
    cos, sin = jnp.cos(angles).astype(COMPUTE), jnp.sin(angles).astype(COMPUTE)
    embedding = weights["model.embed_tokens.weight"]
    x = embedding[inputs]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        x = x + _attend(weights, layer, _normalise(x, weights[name + "input_layernorm.weight"]), cos, sin)
        h = _normalise(x, weights[name + "post_attention_layernorm.weight"])
        gate = jax.nn.silu(h @ weights[name + "mlp.gate_proj.weight"].T) * (
            h @ weights[name + "mlp.up_proj.weight"].T
        )
        x = x + gate @ weights[name + "mlp.down_proj.weight"].T
    logits = (_normalise(x, weights["model.norm.weight"]) @ embedding.T).astype(jnp.float32)
    picked = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - picked)


COMPUTE: Final = jnp.bfloat16


def _orthogonal(update: Array) -> Array:
    x = update / (jnp.linalg.norm(update) + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


@partial(jax.jit, donate_argnums=(0, 1, 2))
def step(  # noqa: PLR0917  # donated buffers are named by position
    weights: Weights, first: Weights, second: Weights, tokens: Array, scale: Array, index: Array
) -> Any:
    """Return weights and moments after a step: Muon for inner matrices, Adam for embedding and norms."""
    loss, gradients = jax.value_and_grad(loss_of)(weights, tokens)
    for name, gradient in gradients.items():
        if gradient.ndim == 2 and "embed" not in name:
            first[name] = 0.95 * first[name] + gradient
            update = _orthogonal(gradient + 0.95 * first[name])
            rate = PEAK_MUON * scale * max(1.0, gradient.shape[0] / gradient.shape[1]) ** 0.5
            weights[name] = weights[name] * (1 - 0.05 * PEAK_MUON * scale) - rate * update
        else:
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            mean, variance = first[name] / (1 - 0.9**index), second[name] / (1 - 0.95**index)
            weights[name] = weights[name] - PEAK_ADAM * scale * mean / (jnp.sqrt(variance) + 1e-8)
    return weights, first, second, loss


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up over 50 steps, flat to 40 %, then down in a line to 2 %."""

    steps: int

    def scale(self, index: int) -> float:
        """Return the factor of both rates at a step."""
        fraction = index / self.steps
        return min(1.0, (index + 1) / 50) * (1.0 if fraction < 0.4 else max(0.02, (1 - fraction) / 0.6))


def save(weights: Weights, folder: Path) -> None:
    """Write ``model.safetensors`` in bfloat16, tensors in the order of their names."""
    header: dict[str, Any] = {}
    blobs: list[bytes] = []
    offset = 0
    for name in sorted(weights):
        blob = np.asarray(weights[name].astype(jnp.bfloat16)).tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": list(weights[name].shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial_file = folder / "model.safetensors.partial"
    partial_file.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    partial_file.rename(folder / "model.safetensors")


def train(tokens_file: Path, out: Path, schedule: Schedule) -> None:
    """Train on a file of 16-bit token ids; save every 300 steps and at the end."""
    tokens = np.fromfile(tokens_file, np.uint16)
    validation, tokens = tokens[:VALIDATION_TOKENS], tokens[VALIDATION_TOKENS:]
    rows = validation[: 64 * (SEQUENCE + 1)].reshape(64, SEQUENCE + 1).astype(np.int32)
    measure = jax.jit(loss_of)
    (out / "config.json").write_text(json.dumps(configuration(), indent=2) + "\n")
    weights = initial(jax.random.key(SEED))
    first = {name: jnp.zeros_like(weight) for name, weight in weights.items()}
    second = {name: jnp.zeros_like(weight) for name, weight in weights.items()}
    generator = np.random.default_rng(SEED)
    started = time.monotonic()
    for index in range(schedule.steps):
        starts = generator.integers(0, len(tokens) - SEQUENCE - 1, BATCH)
        batch = np.stack([tokens[s : s + SEQUENCE + 1] for s in starts]).astype(np.int32)
        scale = jnp.float32(schedule.scale(index))
        weights, first, second, loss = step(weights, first, second, batch, scale, jnp.float32(index + 1))
        if index % 50 == 49 or index + 1 == schedule.steps:
            print(
                f"step {index + 1} loss {float(loss):.3f} seconds {time.monotonic() - started:.0f}",
                flush=True,
            )
        if index % 300 == 299 or index + 1 == schedule.steps:
            held_out = float(np.mean([measure(weights, rows[at : at + BATCH]) for at in range(0, 64, BATCH)]))
            print(f"step {index + 1} held-out loss {held_out:.4f} nats a token", flush=True)
            save(weights, out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--tokens", type=Path, required=True, help="16-bit ids written by models.bootstrap.tokenise"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2400)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options.tokens, options.out, Schedule(steps=options.steps))


if __name__ == "__main__":
    main()
