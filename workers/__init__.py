"""Workers: processes that take their work from a queue. One folder, one process, one certificate."""
