"""Layers: which mosaics are to be made, and out of which exposures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from multivisit.errors import ParameterError
from multivisit.plan.clusters import optimal_clusters
from multivisit.plan.names import EXPOSURE_CLASSES, layer_label, member_basename, product_basename
from multivisit.plan.vetting import Candidate, Vetting, VettingRecord, record_of
from multivisit.plan.vetting_rules import Finding

if TYPE_CHECKING:
    from multivisit.exposures.model import Exposure

__all__ = ["LAYER_METHODS", "Layer", "LayerMethod", "make_layers"]

LayerMethod = Literal["all", "hard", "kmeans"]
"""How exposures are divided by exposure time and year."""

LAYER_METHODS: Final[tuple[LayerMethod, ...]] = ("all", "hard", "kmeans")

_HARD_LIMITS: Final = (15.0, 120.0)
"""Exposure times in seconds where 'med' and 'long' begin, for the method 'hard'."""

_COARSE_DETECTORS: Final = ("ir", "pc")
"""Detectors with large pixels, which have a coarse layer besides the fine one."""


class _Key(NamedTuple):
    """What tells one layer from another, but for the scale. Sorts as layers do."""

    sky_cell_id: str
    instrument: str
    detector: str
    filter_name: str
    year: str
    class_number: int


@dataclass(frozen=True)
class Layer:
    """One mosaic to be made: everything of one detector and filter (and class and year) in a sky cell."""

    sky_cell_id: str
    """The sky cell, for example ``skycell-p1889x07y19``."""

    instrument: str
    """``acs``, ``wfc3`` or ``wfpc2``."""

    detector: str
    """``wfc``, ``hrc``, ``sbc``, ``uvis``, ``ir`` or ``pc``."""

    filter_name: str
    """For example ``f775w``."""

    exposure_class: str
    """``all``, ``short``, ``med`` or ``long``."""

    year: str
    """``all``, or the year of the observations."""

    scale_name: str
    """``fine`` (0.04 arcsec per pixel), ``coarse`` (0.12) or ``custom`` (a custom mosaic's own)."""

    file_type: str
    """Suffix of the product: ``drc`` when the members are CTE-corrected (FLC), else ``drz``."""

    members: tuple[Candidate, ...]
    """The exposures that are combined, by time of observation."""

    all_exposures: tuple[Exposure, ...] = field(default=(), repr=False)
    """Every exposure of the input in this sky cell that could be placed on the sky, also those of other
    layers and those refused: the mosaics of a sky cell are cut to what all of these cover together."""

    prefix: str = ""
    """Beginning of the names of all files, in the place of ``hst_<sky cell>``."""

    area: str = ""
    """Of a custom mosaic, its area in words; empty for a sky cell."""

    @property
    def is_custom(self) -> bool:
        """Whether it is a custom mosaic: its area is not a sky cell."""
        return bool(self.area)

    @property
    def layer_label(self) -> str:
        """Scale, class and year: ``all``, ``coarse-all``, ``short-2011`` or ``coarse-short-2011``."""
        return layer_label(self.scale_name, self.exposure_class, self.year)

    @property
    def product_basename(self) -> str:
        """Name of the product without its suffix."""
        return product_basename(
            self.sky_cell_id,
            self.instrument,
            self.detector,
            self.filter_name,
            self.layer_label,
            prefix=self.prefix,
        )

    @property
    def product_filename(self) -> str:
        """Name of the product, for example ``hst_skycell-p1889x07y19_acs_wfc_f775w_all_drc.fits``."""
        return f"{self.product_basename}_{self.file_type}.fits"

    @property
    def has_new(self) -> bool:
        """Whether a member is not yet in this sky cell's mosaics; if none is, the layer is left alone."""
        return any(member.row.is_new for member in self.members)

    @property
    def info(self) -> str:
        """The published description, such as ``skycell-p1889x07y19 wfc3 ir f105w all all 1 drz coarse``."""
        parts = (
            self.sky_cell_id,
            self.instrument,
            self.detector,
            self.filter_name,
            self.exposure_class,
            self.year,
            str(int(self.has_new)),
            self.file_type,
            self.scale_name,
        )
        return " ".join(parts).lower()

    @property
    def wcs_names(self) -> tuple[str, ...]:
        """The different WCS solutions (WCSNAME) of the members' chips, sorted."""
        chips = (chip for member in self.members for chip in member.exposure.chips)
        return tuple(sorted({chip.wcs_name or "unnamed" for chip in chips}))

    def member_basename(self, member: Candidate) -> str:
        """Name of a member's copy in this layer, without its suffix (``_flt.fits`` or ``_flc.fits``)."""
        return member_basename(
            self.sky_cell_id,
            self.instrument,
            self.detector,
            self.filter_name,
            self.layer_label,
            member.exposure.rootname[:8],
            prefix=self.prefix,
        )


def make_layers(
    vetting: Vetting,
    layer_method: str = "all",
    exp_limit: float | None = 2.0,
    *,
    scale_names: Sequence[str] = ("coarse", "fine"),
) -> tuple[tuple[Layer, ...], Vetting]:
    """Divide the accepted exposures into layers.

    Every sky cell, detector and filter has its own layers. With the method 'all' it is one layer of all
    exposures. With 'hard' and 'kmeans' there is, for each year of observation, a layer of all exposures and
    one for each class of exposure time:

    * 'hard': short below 15 s, med below 120 s, long from there on.
    * 'kmeans': three classes by optimal k-means clustering of the exposure times of the sky cell, all
      detectors and filters together, when the longest is more than `exp_limit` times the shortest; otherwise
      no classes. Two different exposure times give short and long.

    The infrared and WFPC2 detectors have each layer at both scales, coarse before fine. A layer that has
    CTE-corrected exposures (FLC) leaves the others (FLT) out.

    Parameters
    ----------
    vetting : Vetting
        The exposures; `vet_exposures` makes it.
    layer_method : {'all', 'hard', 'kmeans'}
        How exposures are divided by exposure time and year.
    exp_limit : float or None
        The ratio of exposure times above which 'kmeans' makes classes; None for no classes.
    scale_names : sequence of str, optional
        The scales that layers may have. 'coarse' is for the infrared and WFPC2 detectors only.

    Returns
    -------
    layers : tuple of Layer
        Sorted by sky cell, instrument, detector, filter, year, class and scale, whatever the order of the
        input. Layers that have no NEW member are among them (`Layer.has_new`).
    vetting : Vetting
        The vetting with the exposures that every layer leaves out among the refused ones.

    Raises
    ------
    ParameterError
        If the method or the ratio is impossible.
    """
    _check_arguments(layer_method, exp_limit)
    groups: dict[_Key, list[Candidate]] = defaultdict(list)
    for candidate, class_name in _classified(vetting.accepted, layer_method, exp_limit):
        year = "all" if layer_method == "all" else _year(candidate.exposure)
        for name in {"all", class_name}:
            groups[_key(candidate, year, name)].append(candidate)
    frames: dict[str | None, dict[str, Exposure]] = defaultdict(dict)
    for candidate in vetting.frame or vetting.accepted:
        frames[candidate.row.sky_cell_id].setdefault(str(candidate.exposure.path), candidate.exposure)
    layers: list[Layer] = []
    left_out: dict[tuple[str, str], list[Layer]] = defaultdict(list)
    for key in sorted(groups):
        names = [name for name in scale_names if name != "coarse" or key.detector in _COARSE_DETECTORS]
        of_group = list(_layers_of_group(key, groups[key], tuple(frames[key.sky_cell_id].values()), names))
        kept = {_place(member) for member in of_group[0].members}
        for candidate in groups[key]:
            if _place(candidate) not in kept:
                left_out[_place(candidate)].extend(of_group)
        layers.extend(of_group)
    return tuple(layers), _with_left_out(vetting, layers, left_out)


def _check_arguments(layer_method: str, exp_limit: float | None) -> None:
    if layer_method not in LAYER_METHODS:
        raise ParameterError(f"layer_method: found {layer_method!r}, expected 'all', 'hard' or 'kmeans'")
    is_ratio = isinstance(exp_limit, (int, float)) and math.isfinite(exp_limit) and exp_limit > 0
    if exp_limit is not None and not is_ratio:
        raise ParameterError(f"exp_limit: found {exp_limit!r}, expected a ratio above 0, or None")


def _key(candidate: Candidate, year: str, class_name: str) -> _Key:
    exposure = candidate.exposure
    return _Key(
        candidate.row.sky_cell_id or "",
        exposure.instrument,
        exposure.detector,
        exposure.filter_name,
        year,
        EXPOSURE_CLASSES.index(class_name),
    )


def _year(exposure: Exposure) -> str:
    return "undated" if exposure.date_observed is None else f"{exposure.date_observed.year:04d}"


def _exposure_time(candidate: Candidate) -> float:
    """Give the time that decides on the class: the poller file's, which users edit to that end."""
    listed = candidate.row.exposure_time
    return candidate.exposure.exposure_time if listed is None else listed


def _classified(
    candidates: Sequence[Candidate], layer_method: str, exp_limit: float | None
) -> Iterator[tuple[Candidate, str]]:
    """Give each candidate's exposure class."""
    if layer_method == "all":
        yield from ((candidate, "all") for candidate in candidates)
    elif layer_method == "hard":
        yield from ((candidate, _hard_class(_exposure_time(candidate))) for candidate in candidates)
    else:
        cells: dict[str | None, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            cells[candidate.row.sky_cell_id].append(candidate)
        for in_cell in cells.values():
            # An exposure that is there as FLT and as FLC counts once.
            times = {candidate.exposure.rootname[:8]: _exposure_time(candidate) for candidate in in_cell}
            classes = _kmeans_classes(times, exp_limit)
            yield from ((candidate, classes[candidate.exposure.rootname[:8]]) for candidate in in_cell)


def _hard_class(seconds: float) -> str:
    return EXPOSURE_CLASSES[1 + sum(seconds >= limit for limit in _HARD_LIMITS)]


def _kmeans_classes(times: dict[str, float], exp_limit: float | None) -> dict[str, str]:
    """Give the class of each exposure by its time in seconds."""
    shortest, longest = min(times.values()), max(times.values())
    if exp_limit is None or longest <= exp_limit * shortest:
        return dict.fromkeys(times, "all")
    labels = optimal_clusters(list(times.values()), 3)
    names = {1: ("all",), 2: ("short", "long"), 3: ("short", "med", "long")}[max(labels) + 1]
    return {rootname: names[label] for rootname, label in zip(times, labels, strict=True)}


def _layers_of_group(
    key: _Key,
    candidates: Sequence[Candidate],
    all_exposures: tuple[Exposure, ...],
    scale_names: Sequence[str],
) -> Iterator[Layer]:
    """Make the layers of one group, at each scale that the detector has."""
    has_flc = any(candidate.exposure.file_type == "flc" for candidate in candidates)
    members = [c for c in candidates if not has_flc or c.exposure.file_type == "flc"]
    members.sort(key=lambda c: (c.exposure.start_mjd or 0.0, c.exposure.rootname, c.row.filename))
    for scale_name in scale_names:
        yield Layer(
            sky_cell_id=key.sky_cell_id,
            instrument=key.instrument,
            detector=key.detector,
            filter_name=key.filter_name,
            exposure_class=EXPOSURE_CLASSES[key.class_number],
            year=key.year,
            scale_name=scale_name,
            file_type="drc" if has_flc else "drz",
            members=tuple(members),
            all_exposures=all_exposures,
        )


def _place(candidate: Candidate) -> tuple[str, str]:
    """Give what identifies a candidate among the records."""
    return candidate.row.filename, candidate.row.sky_cell_id or ""


def _with_left_out(
    vetting: Vetting, layers: Sequence[Layer], left_out: dict[tuple[str, str], list[Layer]]
) -> Vetting:
    """Record the FLT exposures that layers of FLC exposures leave out; refuse those that are in no layer."""
    used = {_place(member) for layer in layers for member in layer.members}
    records: dict[tuple[str, str], VettingRecord] = {}
    for candidate in vetting.accepted:
        place = _place(candidate)
        if place in left_out:
            labels = ", ".join(layer.layer_label for layer in left_out[place])
            reason = f"not in the layer {labels}, made of CTE-corrected exposures (FLC)"
            record = record_of(candidate, Finding(reason, "file type", "FLT"))
            records[place] = replace(record, accepted=place in used)
    return replace(
        vetting,
        accepted=tuple(candidate for candidate in vetting.accepted if _place(candidate) in used),
        records=tuple(records.get((r.filename, r.sky_cell_id), r) for r in vetting.records),
    )
