"""What all commands print with, and how they refuse."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from onetake.runtime.errors import OnetakeError

out = Console()
err = Console(stderr=True)
JsonOption = Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")]


def say(line: str) -> None:
    """One line on stderr, as it is."""
    err.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def refusals() -> Iterator[None]:
    """An error becomes one line on stderr and exit code 1.

    Raises:
        typer.Exit: in the place of an OnetakeError.
    """
    try:
        yield
    except OnetakeError as error:
        logging.getLogger("onetake").debug("refused", exc_info=error)
        say(str(error))
        raise typer.Exit(1) from error
