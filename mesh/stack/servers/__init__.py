"""One file a server: where its program comes from, how it starts, how it says that it is ready."""
