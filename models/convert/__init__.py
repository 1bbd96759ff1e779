"""Weights to ONNX without a training framework: safetensors in, an onnxruntime graph out.

`decoder` takes Llama- and Qwen2-shaped folders, `encoder` takes BERT-shaped sentence encoders.
"""
