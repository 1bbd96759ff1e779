"""The tiny generative model: corpus, tokenizer, training, and the committed weights that these make."""
