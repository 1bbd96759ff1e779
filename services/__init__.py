"""The services: one folder, one process, one certificate, one schema each."""
