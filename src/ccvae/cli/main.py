"""The command line: `ccvae COMMAND [ARGUMENTS]`. Each command is a function; its signature and docstring give its arguments."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from ccvae.cli import data, evaluate, export, pictures, predict, train
from ccvae.cli.arguments import parsed_arguments
from ccvae.distributed.memory import keep_memory, memory_needed
from ccvae.storage.atomic import NO_SPACE

__all__ = ["main"]

LONGEST_MESSAGE = 1000
"""Characters of an error that are shown: a file's content may be part of it."""

VERBS: dict[str, Callable[..., int | None]] = {
    "train": train.train,
    "report": evaluate.report,
    "evaluate": evaluate.evaluate,
    "compare": evaluate.compare,
    "predict": predict.predict,
    "export": export.export,
    "card": export.card,
    "generate": pictures.generate,
    "intervene": pictures.intervene,
    "traverse": pictures.traverse,
    "transfer": pictures.transfer,
    "counterfactual": pictures.counterfactual,
    "data avatars": data.avatars,
    "data check": data.check,
    "data cache": data.cache,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `ccvae`; those of this process if not given.

    Returns:
        The exit code: 0; 1 after `data check` found problems; 2 for an error that the user can fix; 130 after Ctrl-C or SIGTERM
        during training.
    """
    if arguments is None:  # the process belongs to this command
        keep_memory()
        arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"ccvae {version('ccvae')}\n")
        return 0
    verb = next((verb for verb in VERBS if arguments[: len(verb.split())] == verb.split()), None)
    if verb is None:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            sys.stdout.write(overview())
            return 0
        sys.stderr.write(f"ccvae: error: {unknown_command(arguments)}\n\n{overview()}")
        return 2
    try:
        # a parser is made for this command only: parsers for all of them would take seconds
        code = VERBS[verb](**parsed_arguments(verb, VERBS[verb], arguments[len(verb.split()) :]))
        sys.stdout.flush()  # now, where an error can be told
    except BrokenPipeError:  # such as by "| head"
        end_output()
        return 1
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE and message_of(error) == os.strerror(error.errno):
            error = OSError(error.errno, "no space to write the output, or a temporary file; free some space")
        sys.stderr.write(f"ccvae {verb}: error: {in_one_line(message_of(error))}\n")
        end_output()
        return 2
    except (MemoryError, RuntimeError) as error:
        needed = memory_needed(error)
        if needed is None:  # an error in this package
            raise
        made = " while ".join(["out of memory", *getattr(error, "__notes__", [])[:1]])
        sys.stderr.write(f"ccvae {verb}: error: {made}: {needed}; use smaller images, batches or networks, or fewer rows\n")
        return 2
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"ccvae {verb}: {interrupt or 'stopped'}\n")
        return 130
    return code or 0


def in_one_line(message: str) -> str:
    """A message without line ends, which names in files may have, cut where it is far too long."""
    from ccvae.cli.console import printable

    return printable(message.replace("\n", "\\n"))[:LONGEST_MESSAGE]


def unknown_command(arguments: list[str]) -> str:
    """What is said about arguments that name no command."""
    from ccvae.labels.nearest import nearest

    near = nearest(" ".join(arguments[:2]), VERBS) or nearest(arguments[0], VERBS)
    return f"no command {' '.join(arguments[:2])!r}" + (f"; did you mean {near!r}?" if near else "")


def message_of(error: Exception) -> str:
    """An error for people: the operating system's have the reason first and the file after it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__


def end_output() -> None:
    """Drop what the terminal's or a pipe's end did not take, so that the interpreter does not try again when it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def overview() -> str:
    """Text of `ccvae --help`: the commands, with the first line of their docstrings."""
    width = max(map(len, VERBS)) + 2
    lines = [f"  {verb:{width}}{(function.__doc__ or '').splitlines()[0]}" for verb, function in VERBS.items()]
    return "\n".join(
        [
            "usage: ccvae COMMAND [ARGUMENTS]   (ccvae COMMAND --help shows its arguments)",
            "",
            "Semi-supervised VAEs that capture how labels show: classify, generate, intervene, transfer.",
            "",
            *lines,
            "",
            "Start with:  ccvae train avatars",
            "",
        ]
    )
