"""Files that are either complete or not there: written under another name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import ProductError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_path"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block succeeds.

    When the block ends normally the temporary file is flushed to the disk (``fsync``) and takes the place of
    `path` in one step (``os.replace``), keeping the permissions that a newly created file would have. When it
    ends by any exception, an interrupt from the keyboard included, the temporary file is removed and whatever
    was at `path` stays as it was.

    Parameters
    ----------
    path : str or path-like
        The file to be written. Its folder must exist.

    Yields
    ------
    pathlib.Path
        An existing empty file in the same folder, with the same extension(s) as `path`, for the block to
        write. The block may replace it by a file of that name, but must leave one there.

    Raises
    ------
    ProductError
        If the file cannot be written: a folder that is missing or not writable, a full disk, or any other
        `OSError` out of the block. The message names `path` and the cause. A `ProductError` that the
        block itself raises passes unchanged.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        temporary = _new_file_beside(target)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
        temporary = None
        _flush_folder(target.parent)
    except ProductError:
        raise
    except OSError as error:
        cause = error.strerror or str(error)
        raise ProductError(
            f"{target}: cannot be written: {cause}. Check that the folder {target.parent} exists, "
            "may be written to and has space left"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _new_file_beside(target: Path) -> Path:
    """Create the temporary file: hidden, with the target's extensions (writers choose a format by them)."""
    if target.is_dir():
        raise IsADirectoryError(None, "there is a folder of this name")
    stem, dot, extensions = target.name.lstrip(".").partition(".")
    descriptor, name = tempfile.mkstemp(
        prefix=f".{stem[:100]}.", suffix=f"{dot}{extensions}", dir=target.parent
    )
    try:
        # mkstemp makes files private; products get the permissions of any other new file.
        os.fchmod(descriptor, 0o666 & ~_current_umask())
    finally:
        os.close(descriptor)
    return Path(name)


def _current_umask() -> int:
    """The process's umask, read without changing it where the system tells it (it has no getter)."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def _flush_to_disk(path: Path) -> None:
    """Have the system write the file's content to the disk before the name points at it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Have the rename itself written; some network file systems refuse that, and the file is whole anyway."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
