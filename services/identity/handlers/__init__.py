"""The gRPC services of identity, one file each: convert, call one operation, convert back."""
