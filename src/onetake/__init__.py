"""Onetake: a prompt, an image or a clip goes in; one continuous take comes out as a URL."""

__version__ = "0.1.0"
