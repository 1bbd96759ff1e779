"""Continuous batching on onnxruntime: decoder and cache, batch, sampler, text stream, scheduler.

No training framework and no server stands in here; `models.serving` joins the scheduler to Triton.
"""
