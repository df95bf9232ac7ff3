"""What a folder tells about a run: every file that is needed is read here, and what is wrong is noted."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["FileEntry", "LayerView", "RunView", "collect"]

_LARGEST_JSON = 64 << 20
_LARGEST_TEXT = 4 << 20
_PRODUCT = re.compile(r"^(?P<base>.+)_dr[cz]\.fits$")
_NAME = re.compile(r"_(?P<instrument>acs|wfc3|wfpc2)_(?P<detector>[a-z]+)_(?P<filter>[^_]+)_(?P<label>.+)$")
_PRIMARY = (
    "EXPTIME",
    "DATE-OBS",
    "PROPOSID",
    "PROD_VER",
    "NUMEXP",
    "PIXSCALE",
    "MEANEXPT",
    "MEDEXPT",
    "WCSSOLN",
)


@dataclass(frozen=True)
class FileEntry:
    """A file of the run."""

    name: str
    """Its name."""

    size: int | None
    """Bytes; None if it is in a manifest and not there."""


@dataclass(frozen=True)
class LayerView:
    """What the files say of one layer."""

    basename: str
    """Product basename."""

    title: str
    """Detector, filter and label for people."""

    product: Path | None
    """The mosaic, if it is there."""

    header: dict[str, Any]
    """Some keywords of its PRIMARY header; empty if it cannot be read."""

    shape: tuple[int, int] | None
    """Rows and columns."""

    quality: dict[str, Any]
    """The quality file; empty if there is none."""

    preview: Path | None
    """The picture, if it is there."""

    regions: tuple[tuple[tuple[float, float], ...], ...]
    """Outlines (RA, Dec in degrees) from the product's S_REGION, for where there is no quality file."""

    files: tuple[FileEntry, ...]
    """All files of the layer."""

    @property
    def verdict(self) -> str:
        """The verdict of its checks; ``unknown`` without a quality file."""
        return str(self.quality.get("verdict") or "unknown")


@dataclass
class RunView:
    """What the files of a folder say."""

    folder: Path
    """The folder."""

    layers: list[LayerView] = field(default_factory=list)
    """The layers by name."""

    vetting: list[dict[str, str]] = field(default_factory=list)
    """Rows of the vetting tables."""

    files: list[FileEntry] = field(default_factory=list)
    """Files that belong to no layer, and those that manifests name and that are not there."""

    manifests: list[str] = field(default_factory=list)
    """Names of the manifests."""

    run_lines: list[str] = field(default_factory=list)
    """Versions and options, from the run's own trailer file."""

    problems: list[str] = field(default_factory=list)
    """What is missing or cannot be read."""


def collect(folder: Path) -> RunView:
    """Read the files of a folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    RunView
        What they say; nothing that is wrong with them is an error.
    """
    view = RunView(folder)
    names = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name[0] != "." and path.suffix != ".html"
    }
    named = _read_manifests(view, names)
    # Diagnostic files lie in a folder of their own.
    names |= {name: folder / name for name in named if "/" in name and (folder / name).is_file()}
    bases = {m["base"] for name in {*names, *named} if "/" not in name and (m := _PRODUCT.match(name))}
    bases |= {name.removesuffix("_quality.json") for name in names if name.endswith("_quality.json")}
    taken: set[str] = set()
    for base in sorted(bases):
        own = [name for name in {*names, *named} if _belongs(name, base, bases)]
        taken.update(own)
        view.layers.append(_layer(view, base, sorted(own), names))
    for name in sorted({*names, *named} - taken):
        view.files.append(_entry(name, names))
    for name in sorted(names):
        if name.endswith("_vetting.ecsv"):
            view.vetting += _read_vetting(view, names[name])
        elif name.endswith("_trl.txt") and name not in taken:
            view.run_lines += _read_run_lines(view, names[name])
    missing = sorted(named - set(names))
    if missing:
        view.problems.append(f"named in a manifest and not here: {', '.join(missing)}")
    if not view.manifests:
        view.problems.append("no manifest (*_manifest.txt): files are listed as they were found")
    return view


def _belongs(name: str, base: str, bases: set[str]) -> bool:
    """Tell whether a file is one of a layer, the longest basename that fits counting."""
    own = name.rpartition("/")[2]
    fitting = [b for b in bases if own.startswith((f"{b}_", f"{b}-", f"{b}."))]
    return bool(fitting) and max(fitting, key=len) == base


def _entry(name: str, names: dict[str, Path]) -> FileEntry:
    path = names.get(name)
    return FileEntry(name, None if path is None else path.stat().st_size)


def _read_manifests(view: RunView, names: dict[str, Path]) -> set[str]:
    listed: set[str] = set()
    for name, path in names.items():
        if name.endswith("_manifest.txt"):
            view.manifests.append(name)
            lines = (PurePosixPath(line.strip()) for line in _text(view, path).splitlines() if line.strip())
            listed |= {str(line) for line in lines if not line.is_absolute() and ".." not in line.parts}
    return listed


def _text(view: RunView, path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_TEXT).decode("utf-8", errors="replace")
    except OSError as error:
        view.problems.append(f"{path.name}: cannot be read ({error.strerror or error})")
        return ""


def _read_vetting(view: RunView, path: Path) -> list[dict[str, str]]:
    """Read an ECSV table as plain text: space-separated, a line of names first."""
    lines = [line for line in _text(view, path).splitlines() if line and not line.startswith("#")]
    rows = list(csv.reader(lines, delimiter=" ", quotechar='"'))
    if not rows or "filename" not in rows[0]:
        view.problems.append(f"{path.name}: no table of exposures in it")
        return []
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _read_run_lines(view: RunView, path: Path) -> list[str]:
    """Give versions, options and resources: the first messages of a run's trailer."""
    found = []
    for line in _text(view, path).splitlines():
        message = line.partition(": ")[2]
        if re.match(r"(multivisit \S+, Python|option |input |\d+ threads|[\d.]+ s, return code)", message):
            found.append(message)
    return found


def _layer(view: RunView, base: str, own: list[str], names: dict[str, Path]) -> LayerView:
    product = next(
        (names[name] for name in own if name in names and _PRODUCT.match(name) and "/" not in name), None
    )
    header, shape, regions = ({}, None, ()) if product is None else _read_header(view, product)
    if product is None:
        view.problems.append(f"{base}: its mosaic is not here")
    preview = next(
        (names[name] for name in own if name in names and name.endswith(".png") and "/" not in name), None
    )
    quality = _read_quality(view, names.get(f"{base}_quality.json"), base)
    files = tuple(_entry(name, names) for name in own)
    return LayerView(base, _title(base), product, header, shape, quality, preview, regions, files)


def _title(base: str) -> str:
    """Give the layer's name for people: ACS/WFC F606W, and the label where it is not just 'all'."""
    match = _NAME.search(base)
    if match is None:
        return base
    label = match["label"].removesuffix("-all").replace("-", " ")
    name = f"{match['instrument'].upper()}/{match['detector'].upper()} {match['filter'].upper()}"
    return name if label == "all" else f"{name} ({label})"


def _read_header(
    view: RunView, path: Path
) -> tuple[dict[str, Any], tuple[int, int] | None, tuple[tuple[tuple[float, float], ...], ...]]:
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True, lazy_load_hdus=True) as product:
            primary, science = product[0].header, product["SCI"].header
            values = {key: primary[key] for key in _PRIMARY if key in primary}
            shape = (int(science["NAXIS2"]), int(science["NAXIS1"]))
            region = str(science.get("S_REGION") or primary.get("S_REGION") or "")
    except (OSError, KeyError, ValueError, TypeError) as error:
        view.problems.append(f"{path.name}: cannot be read as a mosaic ({error})")
        return {}, None, ()
    return values, shape, _polygons(region)


def _polygons(region: str) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Read the polygons of an S_REGION."""
    found = []
    for part in re.split(r"(?i)polygon", region)[1:]:
        numbers = [float(text) for text in re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", part)]
        if len(numbers) >= 6:
            found.append(tuple(zip(numbers[0::2], numbers[1::2], strict=False)))
    return tuple(found)


def _read_quality(view: RunView, path: Path | None, base: str) -> dict[str, Any]:
    if path is None:
        view.problems.append(f"{base}: no quality file; checks are not shown")
        return {}
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError("larger than 64 MiB")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not str(value.get("format", "")).startswith("multivisit quality"):
            raise ValueError("not written by multivisit")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        view.problems.append(f"{path.name}: cannot be read as a quality file ({error})")
        return {}
    return dict(value)
