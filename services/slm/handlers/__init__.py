"""The gRPC services of slm, one file each: convert, call one operation, convert back."""
