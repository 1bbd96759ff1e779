"""Reading documents: bytes in, passages with headings, offsets and pages out.

What is read may be hostile. All of it happens in a child process (`child`) without credentials,
with bounds on memory, time and output; `reader` owns the child. The rest of the package is pure.
"""
