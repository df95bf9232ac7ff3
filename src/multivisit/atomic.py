"""Files that are either complete or not there: written under another name, then renamed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import ProductError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_path"]

_LONGEST_STEM = 100


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block succeeds.

    When the block ends normally the temporary file is flushed to the disk (``fsync``) and takes the place of
    `path` in one step (``os.replace``), keeping the permissions that a newly created file would have. When it
    ends by any exception, an interrupt from the keyboard included, the temporary file is removed and whatever
    was at `path` stays as it was.

    A process that is killed outright cannot remove its temporary file. Its name tells the machine and the
    process, ``.<name>.<machine>-<process>-<random><extensions>``, and the next call for the same `path` on
    the same machine removes it, provided that the process is gone.

    Parameters
    ----------
    path : str or path-like
        The file to be written. Its folder must exist. A device, a pipe or a folder of this name is refused.

    Yields
    ------
    pathlib.Path
        An existing empty file in the same folder, with the same extension(s) as `path`, for the block to
        write. The block may replace it by a file of that name, but must leave one there.

    Raises
    ------
    ProductError
        If the file cannot be written: a folder that is missing or not writable, a full disk, something at
        `path` that is no regular file, or any other `OSError` out of the block. The message names `path` and
        the cause. A `ProductError` that the block itself raises passes unchanged.
    """
    target = Path(path)
    _check_target(target)
    temporary = _name_beside(target)
    try:
        _remove_leftovers(target)
        # The mode of any other new file; the system takes the umask off.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
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
        # The name was known before there was a file, so no interrupt can leave one behind.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _check_target(target: Path) -> None:
    """Refuse to put a file in the place of anything but a regular file."""
    try:
        mode = target.stat().st_mode
    except (OSError, ValueError):
        # Nothing there, or nothing that can be looked at: creating the file will tell.
        return
    if stat.S_ISDIR(mode):
        raise ProductError(f"{target}: cannot be written: there is a folder of this name. Choose another")
    if not stat.S_ISREG(mode):
        raise ProductError(
            f"{target}: cannot be written: there is a device or a pipe of this name, expected a file or "
            "nothing. Choose another name"
        )


def _name_beside(target: Path) -> Path:
    """Name the temporary file: hidden, with the target's extensions (writers choose a format by them)."""
    start, extensions = _affixes(target)
    return target.parent / f"{start}{os.getpid()}-{secrets.token_hex(4)}{extensions}"


def _affixes(target: Path) -> tuple[str, str]:
    """Give what the target's temporary files made on this machine begin and end with."""
    stem, dot, extensions = target.name.lstrip(".").partition(".")
    return f".{stem[:_LONGEST_STEM]}.{_machine()}-", f"{dot}{extensions}"


@cache
def _machine() -> str:
    """Identify the machine, or the container: wherever a process number means the same process."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        name += f" {Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{zlib.crc32(name.encode()):08x}"


def _remove_leftovers(target: Path) -> None:
    """Remove the target's temporary files of processes of this machine that are gone."""
    start, end = _affixes(target)
    pattern = re.compile(re.escape(start) + r"([0-9]{1,9})-[0-9a-f]{8}" + re.escape(end))
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match is not None and not _is_running(int(match[1])):
                Path(entry.path).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Tell whether there is a process of this number; True where the system does not say."""
    if os.name != "posix" or process == 0:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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
