"""Run folders on the Hugging Face Hub: a model is uploaded and downloaded through `huggingface_hub`.

Only the files named here go either way: weights, settings, labels, input format, calibration and the model card. Data, splits,
figures and checkpoints stay where they are, and no other file of a repository is downloaded. What was downloaded is read like
any stranger's run folder, so nothing in it is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ccvae.storage.files import check_regular
from ccvae.storage.limits import check_limit
from ccvae.storage.links import check_inside
from ccvae.storage.pretrained import pretrained_run
from ccvae.storage.run_folder import CALIBRATION, CONFIG, INPUTS, LABELS, WEIGHTS

__all__ = [
    "CARD",
    "Address",
    "check_folder",
    "download",
    "is_address",
    "local_run",
    "parse_address",
    "public_settings",
    "upload",
]

CARD = "README.md"
"""The model card: the Hub shows this file on the repository's page."""
NEEDED = (CONFIG, LABELS, WEIGHTS)
FILES = (*NEEDED, INPUTS, CALIBRATION)
"""Files of a run folder that are downloaded; these and the card are uploaded."""
SECTIONS = ("ccvae", "input_shape", "model", "training", "few_labels")
"""Sections of `config.yaml` that are uploaded whole."""
DATA_SETTINGS = ("reader", "size", "labelled", "labelled_per_class", "validation", "test", "id_column", "seed")
"""Data settings that are uploaded. The others name files, or columns that the model does not need."""

# pathlib shortens hf:// to hf:/
ADDRESS = re.compile(r"hf:/{1,2}(?P<repository>[^/@\s]+/[^/@\s]+?)(?:@(?P<revision>[^@\s]+))?/?")
REPOSITORY = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)


class Address(NamedTuple):
    """A repository on the Hub, such as "user/name", and a branch, tag or commit of it; None is its main branch."""

    repository: str
    revision: str | None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_address(run: str | Path) -> bool:
    """Whether this names a repository on the Hub and not a folder.

    >>> is_address("hf://user/name"), is_address("runs/name")
    (True, False)
    """
    return re.match(r"hf:([/\\]|$)", str(run)) is not None


def parse_address(text: str | Path) -> Address:
    """The address of a repository; raises `ValueError` if the text is none.

    >>> parse_address("hf://user/name@v1.0")
    Address(repository='user/name', revision='v1.0')
    """
    found = ADDRESS.fullmatch(str(text).replace("\\", "/"))
    if found is None or not REPOSITORY.fullmatch(found["repository"]) or any(pair in str(text) for pair in ("..", "--")):
        raise ValueError(f"{text}: expected hf://USER/NAME or hf://USER/NAME@REVISION")
    return Address(found["repository"], found["revision"])


def local_run(run: str | Path, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a run: one on the Hub is downloaded first, one of the package is found there, others are as given.

    Args:
        run: a run folder, "hf://user/name" (see `download`), or the name of a trained model of the package.
        revision: branch, tag or commit on the Hub.
        token: access token of the Hub.

    Raises:
        ValueError: a revision or token is given for a folder; or see `download`.
    """
    if is_address(run):
        address = parse_address(run)
        if revision is not None and address.revision not in (None, revision):
            raise ValueError(f"{address} and revision {revision!r} name two revisions; give one of them")
        return download(address._replace(revision=revision or address.revision), token)
    if revision is not None or token is not None:
        raise ValueError(f"revision and token are for the Hugging Face Hub, as in hf://user/name; {run} is a folder")
    return pretrained_run(run) or Path(run)


def check_folder(run: str | Path) -> None:
    """Raise `ValueError` if a run is on the Hub or part of the package, and a command needs a folder that it can write into."""
    if pretrained_run(run) is not None:
        raise ValueError(
            f"{run} comes with the package, and this command writes into the run folder; make one first, in Python: "
            f"ccvae.load({str(run)!r}).save('runs/{run}')"
        )
    if is_address(run):
        address = parse_address(run)
        name = address.repository.rpartition("/")[2]
        raise ValueError(
            f"{address}: this command writes into the run folder; make one first, in Python: "
            f"ccvae.load({str(address)!r}).save('runs/{name}')"
        )


def download(address: Address, token: str | None = None) -> Path:
    """A run folder from the Hub: its known files, in the Hub's cache. Without a network, a copy that is already there is used.

    Args:
        address: repository and revision.
        token: access token; by default the environment variable HF_TOKEN, or that of `hf auth login`.

    Raises:
        ImportError: `huggingface_hub` is not installed.
        ValueError: there is no such repository or revision, it is no model of this package, or it exceeds a limit.
        ConnectionError: the Hub cannot be reached, and the cache has no copy.
    """
    hub = imported_hub()
    given: dict[str, Any] = {"allow_patterns": list(FILES), "token": token, "endpoint": endpoint()}
    with explained(str(address), hub):
        try:
            files = hub.snapshot_download(address.repository, revision=address.revision, dry_run=True, **given)
        except hub.errors.DryRunError as error:
            if isinstance(error.__cause__, hub.errors.HfHubHTTPError) and error.__cause__.response.status_code < 500:
                raise error.__cause__ from None
            folder = hub.snapshot_download(address.repository, revision=address.revision, local_files_only=True, **given)
            return Path(folder)
    missing = [name for name in NEEDED if name not in {file.filename for file in files}]
    if missing:
        raise ValueError(f"{address} has no {' and no '.join(missing)}; it is no model that ccvae uploaded")
    check_limit("download_bytes", sum(file.file_size for file in files), str(address))
    with explained(str(address), hub):
        return Path(hub.snapshot_download(address.repository, revision=files[0].commit_hash, **given))


def upload(
    folder: Path,
    repository: str,
    *,
    message: str,
    revision: str | None = None,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Upload the known files of a run folder and its card in one commit; the repository is created if there is none.

    Args:
        folder: the run folder; all other files in it stay where they are.
        repository: "user/name".
        message: first line of the commit.
        revision: branch to commit to; the main branch if not given.
        private: whether a new repository is private; None is the account's default. An existing one keeps what it is.
        token: access token; by default the environment variable HF_TOKEN, or that of `hf auth login`.

    Returns:
        Address of the repository's page.

    Raises:
        ImportError: `huggingface_hub` is not installed.
        ValueError: the name is none of a repository, a file is a link that leads out of the folder, or the Hub refuses.
        ConnectionError: the Hub cannot be reached.
    """
    address = parse_address(repository if is_address(repository) else f"hf://{repository}")
    revision = revision or address.revision
    present = [name for name in (*FILES, CARD) if (folder / name).exists()]
    check_inside(folder, present)  # a stranger's link would upload a file of this machine
    for name in present:
        check_regular(folder / name)
    hub = imported_hub()
    api = hub.HfApi(endpoint=endpoint(), token=token)
    with explained(str(address), hub):
        page = api.create_repo(address.repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(address.repository, branch=revision, exist_ok=True)
        # a file of an earlier upload that this model does not have would be read as if it were this model's
        stale = {*api.list_repo_files(address.repository, revision=revision)} & {*FILES} - {*present}
        operations = [hub.CommitOperationDelete(path_in_repo=name) for name in sorted(stale)]
        operations += [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in present]
        api.create_commit(address.repository, operations, commit_message=message, revision=revision)
    return str(page)


def public_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The sections of `config.yaml` that are uploaded: nothing that names files, folders or users of this machine."""
    found = {name: settings[name] for name in SECTIONS if name in settings}
    data = settings.get("data")
    if isinstance(data, dict):
        kept = {name: data[name] for name in DATA_SETTINGS if data.get(name) is not None}
        found["data"] = kept
    return found


def endpoint() -> str | None:
    """Address of the Hub from the environment variable HF_ENDPOINT; None is the public one."""
    return os.environ.get("HF_ENDPOINT") or None


def imported_hub() -> Any:
    """The package `huggingface_hub`; raises `ImportError` if it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError:
        raise ImportError("the Hugging Face Hub needs the package huggingface_hub; run: pip install 'ccvae[hub]'") from None
    return huggingface_hub


@contextmanager
def explained(what: str, hub: Any) -> Iterator[None]:
    """Within, errors of the Hub have one message for people.

    Args:
        what: the address that messages name.
        hub: the package `huggingface_hub`.
    """
    try:
        yield
    except Exception as error:
        # an upload that breaks off is a RuntimeError, whose cause says why
        cause = error.__cause__ if type(error) is RuntimeError and isinstance(error.__cause__, Exception) else error
        message = explanation(cause, hub)
        if message is None:
            raise
        refused = isinstance(cause, hub.errors.HfHubHTTPError | hub.errors.HFValidationError)
        raise (ValueError if refused else ConnectionError)(f"{what}: {message}") from None


def explanation(error: Exception, hub: Any) -> str | None:
    """What an error of the Hub means; None if it is none of the Hub's."""
    errors, place = hub.errors, endpoint() or hub.constants.ENDPOINT
    log_in = "log in with hf auth login, or set the environment variable HF_TOKEN"
    text = first_line(str(error) or type(error).__name__)
    match error:
        case errors.GatedRepoError():
            return f"its author grants access on request; ask for it at {place}, then {log_in}"
        case errors.RepositoryNotFoundError():
            return f"there is no such repository at {place}, or it is private; for a private one, {log_in}"
        case errors.RevisionNotFoundError():
            return "the repository has no such branch, tag or commit"
        case errors.HfHubHTTPError():
            status = error.response.status_code
            hint = f"; {log_in}" if status in (401, 403) else ""
            return f"{place} answered {status}: {first_line(error.server_message or '') or text}{hint}"
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
            return f"{place} cannot be reached, and there is no copy in {hub.constants.HF_HUB_CACHE}"
        case errors.HFValidationError() | OSError():
            return text
    # the HTTP client's package differs between versions of huggingface_hub
    clients = ("httpx", "httpcore", "requests", "urllib3")
    return f"{place} cannot be reached: {text}" if type(error).__module__.startswith(clients) else None


def first_line(text: str) -> str:
    """The first line of a message, of a bounded length."""
    return next(iter(text.strip().splitlines()), "")[:200]
