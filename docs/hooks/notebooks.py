"""Tutorials: notebooks kept as Markdown, executed when the site is built, with their outputs below the code.

A page is a notebook if its front matter is that of Jupytext. An error in a cell fails the build. With EXECUTE=no in the
environment they are shown without outputs, which takes seconds.
"""

from __future__ import annotations

import html
import os
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

LONGEST = 1800
"""Seconds that a cell may take: on an idle core none takes more than two minutes."""
NOTEBOOK = "---\njupyter:"
RULE = "------------------"
"""What separates the cell from the error in nbclient's messages."""
CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
logger = get_plugin_logger("notebooks")


def on_page_read_source(page: Any, **_: Any) -> str | None:
    """The executed notebook, as Markdown; other pages as they are."""
    path = page.file.abs_src_path
    text = "" if path is None else Path(path).read_text(encoding="utf-8")
    if not text.startswith(NOTEBOOK):
        return None
    notebook = jupytext.reads(text, fmt="md")
    if os.environ.get("EXECUTE", "yes") != "no":
        execute(notebook, page.file.src_uri)
    return "\n\n".join(part for cell in notebook.cells for part in parts_of(cell))


def execute(notebook: Any, name: str) -> None:
    """Execute a notebook; raises `PluginError`, which ends the build, with the cell and the error."""
    started = time.monotonic()
    with TemporaryDirectory() as folder:  # what a tutorial writes does not stay
        try:
            NotebookClient(notebook, timeout=LONGEST, resources={"metadata": {"path": folder}}).execute()
        except CellExecutionError as error:
            lines = CONTROL.sub("", f"{error}").split(RULE)
            raise PluginError(f"{name}: this cell failed with {error.ename}: {error.evalue}\n{lines[1]}") from None
        except CellTimeoutError as error:
            raise PluginError(f"{name}: {error}") from None
    logger.info("%s: executed in %.0f s", name, time.monotonic() - started)


def parts_of(cell: Any) -> list[str]:
    """A cell as Markdown, with its outputs."""
    if cell.cell_type != "code":
        return [cell.source]
    return [f"```python\n{cell.source}\n```", *filter(None, map(shown, cell.outputs))]


def shown(output: Any) -> str:
    """An output as Markdown: text, a table, or a picture; nothing of what goes to standard error, such as progress bars."""
    if output.output_type == "stream":
        return "" if output.name == "stderr" else preformatted(output.text)
    data = output.get("data", {})
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        return f'<p class="output"><img alt="Output of the cell above" src="data:image/png;base64,{picture}"></p>'
    if "text/html" in data:
        lines = (line.strip() for line in data["text/html"].splitlines())
        return f'<div class="output">{" ".join(filter(None, lines))}</div>'  # on one line, for Markdown ends HTML at empty ones
    return preformatted(data.get("text/plain", ""))


def preformatted(text: str) -> str:
    """Text as it was printed."""
    lines = html.escape(CONTROL.sub("", text).rstrip()).replace("\n", "&#10;")
    return f'<pre class="output">{lines}</pre>' if lines else ""
