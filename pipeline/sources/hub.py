"""A dataset on the Hugging Face hub: files at one commit, kept in the hub's own cache.

Only files are fetched. Loading scripts and remote code are never run.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import OutputError, SourceError
from pipeline.files import write_text
from pipeline.sources.card import NO_CARD, Card, read_card
from pipeline.sources.folder import FolderPlace, Place, content_of_file, guess_files
from pipeline.sources.guards import quiet_datasets
from pipeline.sources.layout import WantedSplit, is_address
from pipeline.sources.remote import DataFile, RemoteFile

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo

DEFAULT_REVISION = "main"


class HubPlace:
    """A dataset on the hub at one commit."""

    def __init__(
        self,
        dataset: str,
        commit: str,
        files: Sequence[str],
        *,
        how_to_get: str,
        is_gated: bool = False,
    ) -> None:
        """Keep what the hub told about the dataset."""
        self.dataset = dataset
        self.commit = commit
        self.is_gated = is_gated
        self._files = files
        self._how_to_get = how_to_get

    @property
    def origin(self) -> str:
        """Where that is, for messages and reports."""
        return f"hub {self.dataset}@{self.commit[:12]}"

    @property
    def revision(self) -> str:
        """Commit of the hub that the files come from."""
        return self.commit

    def sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of listed files; those that only fetching would tell are left out."""
        from huggingface_hub import HfApi

        listed = [name for name in names if not is_address(name)]
        if not listed:
            return {}
        with _hub_errors(self.dataset, self._how_to_get):
            found = HfApi().get_paths_info(
                self.dataset, listed, revision=self.commit, repo_type="dataset"
            )
        return {entry.path: size for entry in found if (size := getattr(entry, "size", None))}

    def listing(self) -> Sequence[str]:
        """All files as `/`-separated paths relative to the dataset's folder."""
        return self._files

    def card(self) -> Card:
        """What the dataset card declares."""
        return read_card(self.fetch("README.md")) if "README.md" in self._files else NO_CARD

    def fetch(self, name: str) -> Path:
        """Return a local path of the listed file `name`, downloading it once."""
        from huggingface_hub import hf_hub_download

        if is_address(name):
            return self._fetch_address(name)
        with _hub_errors(self.dataset, self._how_to_get), _without_progress_bars():
            return Path(
                hf_hub_download(self.dataset, name, repo_type="dataset", revision=self.commit)
            )

    def stream(self, name: str) -> DataFile:
        """Return the listed file `name` to be read where it is; of the web it is downloaded."""
        return self.fetch(name) if is_address(name) else RemoteFile(self.dataset, self.commit, name)

    def identity(self, name: str) -> str:
        """Return a text that changes when the content of the file does."""
        if is_address(name):
            return content_of_file(self.fetch(name))
        return f"{self.dataset}@{self.commit}:{name}"

    def guess(self, wanted: WantedSplit) -> Sequence[str]:
        """Return the files that `datasets` itself would take; none if it cannot tell."""
        root = f"hf://datasets/{self.dataset}@{self.commit}"
        base = "/".join([root, *filter(None, [wanted.data_dir, wanted.config])])
        with _hub_errors(self.dataset, self._how_to_get):
            return [name.removeprefix(f"{root}/") for name in guess_files(base, wanted.split)]

    def _fetch_address(self, address: str) -> Path:
        import datasets

        with _hub_errors(self.dataset, self._how_to_get), quiet_datasets():
            return Path(datasets.DownloadManager().download(address))


def open_hub(dataset: str, revision: str | None, *, how_to_get: str = "") -> Place:
    """Look a dataset up on the hub, or in the hub's cache when there is no connection.

    Args:
        dataset: `owner/name`.
        revision: Commit, branch or ref such as `refs/convert/parquet`; `main` if `None`.
        how_to_get: What to tell a user who has no access.

    Raises:
        SourceError: It does not exist, is closed to this user, or cannot be reached.
    """
    if is_offline() or not _is_reachable(_endpoint()):
        folder = cached_snapshot(dataset, revision)
        if folder is not None:
            return FolderPlace(folder, revision=folder.name)
        raise _unreachable(dataset)
    from huggingface_hub import HfApi

    with _hub_errors(dataset, how_to_get):
        info: DatasetInfo = HfApi().dataset_info(dataset, revision=revision)
    _remember_commit(dataset, revision or DEFAULT_REVISION, str(info.sha))
    files = sorted(entry.rfilename for entry in info.siblings or [])
    is_gated = bool(info.gated)
    return HubPlace(dataset, str(info.sha), files, how_to_get=how_to_get, is_gated=is_gated)


def is_offline() -> bool:
    """Return whether the environment forbids the network (`HF_HUB_OFFLINE`)."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in names)


def cached_snapshot(dataset: str, revision: str | None) -> Path | None:
    """Return the folder that holds the files fetched earlier at `revision`, if there is one."""
    folder = _cache_folder(dataset)
    name = revision or DEFAULT_REVISION
    reference = folder / "refs" / name
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else name
    snapshot = folder / "snapshots" / commit
    return snapshot if "/" not in commit and snapshot.is_dir() else None


def _cache_folder(dataset: str) -> Path:
    """Return where the hub's library keeps the files of a dataset."""
    from huggingface_hub import constants

    cache = Path(os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE)
    return cache / f"datasets--{dataset.replace('/', '--')}"


def _remember_commit(dataset: str, revision: str, commit: str) -> None:
    """Note which commit a branch means, as the hub's library does, for later use offline."""
    if revision == commit:
        return
    # Without the note the data are only fetched again.
    with contextlib.suppress(OutputError):
        write_text(_cache_folder(dataset) / "refs" / revision, commit)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


@functools.lru_cache(maxsize=4)
def _is_reachable(endpoint: str) -> bool:
    """Return whether the hub's name resolves; saves 20 s of retries on an air-gapped machine."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    parts = urlsplit(endpoint)
    try:
        socket.getaddrinfo(parts.hostname, parts.port or 443)
    except OSError:
        return False
    return True


def _unreachable(dataset: str) -> SourceError:
    reason = "the hub is switched off (HF_HUB_OFFLINE)" if is_offline() else "no connection"
    return SourceError(
        "SRC106",
        f"cannot be fetched from the hub: {reason}, and it is not in the hub's cache",
        where=dataset,
        hint="Run `taskloom mirror TASK --to DIR` where there is a network; give --data-root DIR",
    )


@contextlib.contextmanager
def _hub_errors(dataset: str, how_to_get: str) -> Iterator[None]:
    from huggingface_hub import errors

    transport_errors: Any = errors  # re-exports the HTTP client's own base class
    try:
        yield
    except (errors.GatedRepoError, errors.DisabledRepoError) as error:
        raise SourceError(
            "SRC105",
            "the hub asks for an accepted licence or a token",
            where=dataset,
            hint=how_to_get
            or f"Accept the terms at {_endpoint()}/datasets/{dataset}, then `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(
            "SRC111", "the hub has no such revision", where=dataset, hint="Correct `revision:`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(
            "SRC102",
            "not on the hub, or private",
            where=dataset,
            hint=how_to_get or "Correct the id, or log in with `hf auth login`",
        ) from error
    except (transport_errors.HTTPError, errors.OfflineModeIsEnabled, OSError) as error:
        raise SourceError(
            "SRC106",
            f"the hub cannot be reached: {_first_line(error)}",
            where=dataset,
            hint="Try again, or use a mirror with --data-root",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    from huggingface_hub import utils

    hub_utils: Any = utils
    was_disabled = hub_utils.are_progress_bars_disabled()
    hub_utils.disable_progress_bars()
    try:
        yield
    finally:
        if not was_disabled:
            hub_utils.enable_progress_bars()
