"""The rules of the policy service: values in, values out; store, clock and key are ports."""
