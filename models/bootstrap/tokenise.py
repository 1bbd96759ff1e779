"""Trains the bootstrap model's tokenizer on the corpus and writes the token ids that `train` reads.

Owns the byte-level BPE vocabulary. ``tokenizer.json`` goes to the weights' folder, the ids to a scratch file.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.bootstrap import corpus

VOCABULARY: Final = 2048


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Return a byte-level BPE tokenizer (digits apart) with the chat's special tokens as ids 0 to 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(corpus.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main() -> None:
    """Read the command line, write both files, print what the card records."""
    parser = argparse.ArgumentParser(description="train the tokenizer and encode the corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder of tokenizer.json")
    parser.add_argument("--tokens", type=Path, required=True, help="file of 16-bit ids")
    options = parser.parse_args()
    documents = corpus.collect()
    texts = corpus.render(documents)
    tokenizer = train_tokenizer(texts)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out / "tokenizer.json"))
    end = tokenizer.token_to_id(corpus.END)
    ids = np.array([i for text in tokenizer.encode_batch(texts) for i in (*text.ids, end)], np.uint16)
    ids.tofile(options.tokens)
    characters = sum(map(len, texts))
    print(
        f"documents {len(documents)} characters {characters} tokens {len(ids)}"
        f" sha256 {corpus.digest(documents)}"
    )


if __name__ == "__main__":
    main()
