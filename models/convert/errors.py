"""What conversion refuses."""


class ConversionError(ValueError):
    """The folder is not one that these converters read; the text says what is missing or not supported."""
