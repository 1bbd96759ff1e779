"""What memory decides, as pure functions: values in, values out."""
