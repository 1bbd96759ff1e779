"""The border to Triton's Python backend: requests in the vLLM contract, responses, settings of a model."""
