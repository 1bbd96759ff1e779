"""What a conversation is: values in, values out."""
