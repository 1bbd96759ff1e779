"""Handlers: one file for each gRPC service that the gateway serves."""
