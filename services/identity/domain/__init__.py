"""The rules of identity: values in, values out; stores, clocks and cryptography are ports."""
