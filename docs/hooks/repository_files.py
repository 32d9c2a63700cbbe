"""Pages for files outside `docs/` that the documents link to, such as source files and results of benchmarks.

The documents link to `../src/ccvae/model/bound.py` as they are read in the repository. The site has a page for each such file,
below `repository/`, and links lead there. A link to a file that does not exist is left as it is, and the strict build fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)#\s]+)")
PICTURES = {".png", ".jpg", ".svg"}
LANGUAGES = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".json": "json"}
HIDDEN = "---\nsearch: {exclude: true}\nhide: [navigation]\n---\n\n"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for every file that is linked to, and for those that these link to."""
    root = Path(config.config_file_path).parent
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()] + [
        page.removeprefix("repository/") for page in pages_of(config.nav) if page.startswith("repository/")
    ]
    seen = set(waiting)
    for document in waiting:  # which grows
        if not document.startswith("docs/"):
            files.append(file_for(document, root, config))
        found = {target for target in targets(document, root) if not target.startswith("docs/")} - seen
        waiting += sorted(found)
        seen |= found
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links lead to the pages of this site."""
    document = repository_path(page.file.src_uri)

    def rewritten(match: re.Match[str]) -> str:
        there = site_path(normpath(join(dirname(document), match[2])))
        if files.get_file_from_path(there) is None:
            return match[0]
        return match[1] + relpath(there, dirname(page.file.src_uri) or ".")

    return LINK.sub(rewritten, markdown)


def pages_of(nav: Any) -> Iterator[str]:
    """All pages of the configured navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def targets(document: str, root: Path) -> set[str]:
    """Paths in the repository that a document links to, or that a folder has; those that there are."""
    path = root / document
    if path.is_dir():
        found = {f"{document}/{each.name}" for each in path.iterdir() if each.is_file()}
    elif path.suffix == ".md":
        found = {normpath(join(dirname(document), link)) for _, link in LINK.findall(path.read_text(encoding="utf-8"))}
    else:
        found = set()
    return {target for target in found if not target.startswith("..") and (root / target).exists()}


def site_path(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"repository/{path}" if Path(path).suffix in PICTURES | {".md"} else f"repository/{path}.md"


def repository_path(page: str) -> str:
    """Where the repository has a page of the site."""
    if not page.startswith("repository/"):
        return f"docs/{page}"
    path = page.removeprefix("repository/")
    return path if Path(path.removesuffix(".md")).suffix == "" else path.removesuffix(".md")


def file_for(path: str, root: Path, config: Any) -> File:
    """A page that shows a file, or that lists a folder; a picture as it is."""
    source, place = root / path, site_path(path)
    if source.suffix in PICTURES:
        return File.generated(config, place, abs_src_path=str(source))
    if source.is_dir():
        entries = [f"- [{each.name}]({Path(path).name}/{each.name})\n" for each in sorted(source.iterdir()) if each.is_file()]
        text = f"# {path}\n\n{''.join(entries)}"
    elif source.suffix == ".md":
        text = source.read_text(encoding="utf-8")
    else:
        text = f"# {path}\n\n````{LANGUAGES.get(source.suffix, 'text')}\n{source.read_text(encoding='utf-8')}````\n"
    return File.generated(config, place, content=HIDDEN + text, inclusion=InclusionLevel.NOT_IN_NAV)
