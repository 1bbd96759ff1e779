"""What every process of SomaAgent stands on: start, serve, call, watch, drain.

The package owns the life of a process (`process`), its gRPC server and its
channels, the interceptor chain, health, metrics, logs and traces. It refuses to
know any domain, any store and any broker: those are entered into a process by
the `wiring` of a service.
"""
