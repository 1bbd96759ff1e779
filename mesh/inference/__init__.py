"""Clients of models: Triton, OpenAI-compatible providers, Anthropic.

One port (`ports.Generator`) with one adapter per wire: `triton`, `openai`,
`anthropic`; `triton` also makes vectors. The package owns deadlines, cancellation
and what a failure is called. It refuses to know turns, budgets and catalogues, and
it refuses addresses that a tenant must not reach (`addresses`).
"""
