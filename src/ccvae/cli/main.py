"""The command line: `ccvae COMMAND [ARGUMENTS]`. Each command is a function; its signature and docstring give its arguments."""

import sys
from collections.abc import Callable
from importlib.metadata import version

from ccvae.cli import data, evaluate, export, pictures, predict, train
from ccvae.cli.arguments import parsed_arguments
from ccvae.distributed.memory import keep_memory

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
        The exit code: 0; 1 after `data check` found problems; 2 for an error that the user can fix; 130 after Ctrl-C.
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
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"ccvae {verb}: error: {message_of(error)[:LONGEST_MESSAGE]}\n")
        return 2
    except (MemoryError, RuntimeError) as error:
        needed = memory_needed(error)
        if needed is None:  # an error in this package
            raise
        sys.stderr.write(
            f"ccvae {verb}: error: out of memory: {needed}; use smaller images, batches or networks, or fewer rows\n"
        )
        return 2
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"ccvae {verb}: {interrupt or 'stopped'}\n")
        return 130
    return code or 0


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


def memory_needed(error: Exception) -> str | None:
    """What memory was asked for, if that is what an error is about: numpy and torch say how much."""
    message = str(error).splitlines()[0] if str(error) else "no amount is known"
    if isinstance(error, MemoryError):
        return message
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return message if on_gpu or "can't allocate memory" in message or "not enough memory" in message else None


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
