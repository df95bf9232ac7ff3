"""Exposures aligned to each other and to a reference catalog, field by field."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from multivisit.align.correction import arcsec_plane, corrected_exposure
from multivisit.align.judging import Verdict, judge, judge_common
from multivisit.align.linear import Transform, fit_linear
from multivisit.align.matching import MatchedFit, MatchSettings, match_and_fit, thinned
from multivisit.align.records import Alignment, AlignmentRecord
from multivisit.align.relative import Component, align_to_each_other
from multivisit.align.sources import find_chip_sources
from multivisit.errors import MultivisitError
from multivisit.sky.plane import unit_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from multivisit.align.reference import ReferenceCatalog
    from multivisit.exposures.model import Exposure
    from multivisit.plan.parameters.alignment import AlignmentParameters, FitParameters
    from multivisit.sky.plane import TangentPlane

    Floats = NDArray[np.float64]

__all__ = ["ExposureToAlign", "Reference", "align_exposures"]

log = logging.getLogger(__name__)

_RELATIVE = "match_relative_fit"
_LARGEST_SPAN = 60.0
"""Days between exposures above which proper motions may matter within a group."""

_PADDING = 1.1


@dataclass(frozen=True)
class ExposureToAlign:
    """An exposure and how it is to be aligned."""

    exposure: Exposure
    """The exposure."""

    parameters: AlignmentParameters
    """How sources are found and fitted."""

    good_bits: int
    """Sum of the DQ flags that do not make a pixel bad."""


@dataclass(frozen=True)
class Reference:
    """A reference catalog that can be asked for."""

    name: str
    """Its name."""

    fetch: Callable[[float, float, float], ReferenceCatalog] = field(repr=False)
    """Gives the sources within a radius of a position (ra, dec, radius, in degrees)."""


@dataclass(frozen=True)
class _Sources:
    """The sources of one exposure on the sky."""

    item: ExposureToAlign
    ra: Floats = field(repr=False)
    dec: Floats = field(repr=False)
    flux: Floats = field(repr=False)
    problem: str = ""

    @property
    def scale(self) -> float:
        """Arcsec per pixel."""
        return self.item.exposure.chips[0].nominal_scale

    def settings(self, fit: FitParameters, fewest: Mapping[Any, int]) -> MatchSettings:
        """Give published fit parameters, in pixels of the exposure, in arcsec."""
        return MatchSettings(
            fit.searchrad * self.scale, fit.tolerance * self.scale, fit.fitgeom, fewest, fit.use2dhist
        )


@dataclass(frozen=True)
class _Solution:
    """A fit to a reference catalog and what it was judged."""

    found: MatchedFit
    verdict: Verdict
    catalog: str


def align_exposures(
    items: Sequence[ExposureToAlign],
    references: Sequence[Reference],
    progress: Callable[[str], object] | None = None,
) -> Alignment:
    """Align exposures to each other and to a reference catalog. No file is changed.

    Exposures that overlap are aligned to each other by their common sources and then, as one, to the
    reference catalog; where that does not hold, each by itself. An exposure that cannot be aligned keeps its
    WCS.

    Parameters
    ----------
    items : sequence of ExposureToAlign
        The exposures.
    references : sequence of Reference
        Reference catalogs, tried in turn.
    progress : callable, optional
        Called with the name of each exposure after its sources have been found.

    Returns
    -------
    Alignment
        New exposures and the record of all.

    Raises
    ------
    ReferenceCatalogError
        A reference catalog cannot be fetched or used.
    """
    found = []
    for item in items:
        found.append(_find(item))
        if progress is not None:
            progress(item.exposure.filename)
    records: dict[Path, AlignmentRecord] = {}
    exposures: dict[Path, Exposure] = {}
    used: dict[str, ReferenceCatalog] = {}
    usable = []
    for sources in found:
        if sources.problem:
            records[sources.item.exposure.path] = _kept(sources, sources.problem)
        else:
            usable.append(sources)
    number = 0
    for members in _fields(usable):
        aligned = _Field([usable[k] for k in members], references, number)
        aligned.align()
        number += aligned.n_groups
        records.update(aligned.records)
        exposures.update(aligned.exposures)
        used.update(aligned.used)
    ordered = tuple(records[item.exposure.path] for item in items)
    for record in ordered:
        log.log(logging.INFO if record.aligned else logging.WARNING, "%s", record.in_words())
    return Alignment(exposures, ordered, tuple(used.values()))


def _find(item: ExposureToAlign) -> _Sources:
    """Find the sources of an exposure, all chips together, the brightest of each."""
    exposure, parameters = item.exposure, item.parameters
    finding = parameters.generate_source_catalogs
    limits = [parameters.general.MAX_SOURCES_PER_CHIP]
    if finding.num_sources is not None:
        limits.append(finding.num_sources)
    ra, dec, flux = [], [], []
    try:
        for chip in exposure.chips:
            sources = find_chip_sources(chip, item.good_bits, finding, min(limits))
            sky = (
                chip.wcs().all_pix2world(sources.x, sources.y, 0) if len(sources) else (sources.x, sources.y)
            )
            ra.append(np.asarray(sky[0], dtype=np.float64))
            dec.append(np.asarray(sky[1], dtype=np.float64))
            flux.append(sources.flux)
    except MultivisitError as error:
        nothing = np.empty(0)
        return _Sources(item, nothing, nothing, nothing, str(error))
    together = [np.concatenate(each) for each in (ra, dec, flux)]
    n, fewest = len(together[0]), parameters.determine_fit_quality.MIN_OBSERVABLE_THRESHOLD
    problem = "" if n >= max(fewest, 1) else f"{n} sources found, at least {max(fewest, 1)} are needed"
    log.debug("%s: %d sources", exposure.filename, n)
    return _Sources(item, together[0], together[1], together[2], problem)


def _fields(found: Sequence[_Sources]) -> list[list[int]]:
    """Divide exposures into fields that cannot have sources in common."""
    circles = [_circle(each.ra, each.dec) for each in found]
    group = list(range(len(found)))
    for i, (one, radius) in enumerate(circles):
        for j in range(i):
            other, reach = circles[j]
            pad = max(
                found[k].settings(found[k].item.parameters.match_relative_fit, {}).search for k in (i, j)
            )
            if float(one @ other) >= math.cos(min(math.pi, radius + reach + math.radians(pad / 3600.0))):
                first, second = sorted((group[i], group[j]))
                group = [first if each == second else each for each in group]
    return [[k for k in range(len(found)) if group[k] == each] for each in sorted(set(group))]


def _circle(ra: Floats, dec: Floats) -> tuple[Floats, float]:
    """Give the middle (unit vector) and radius (radians) of a circle around positions."""
    vectors = unit_vectors(ra, dec)
    middle = vectors.mean(axis=0)
    middle /= np.linalg.norm(middle)
    return middle, float(np.arccos(np.clip(vectors @ middle, -1.0, 1.0)).max())


class _Field:
    """Exposures that hang together by their places, and what becomes of them."""

    def __init__(self, found: Sequence[_Sources], references: Sequence[Reference], first_group: int) -> None:
        self.found = list(found)
        self.references = references
        self.first_group = first_group
        self.n_groups = 0
        self.records: dict[Path, AlignmentRecord] = {}
        self.exposures: dict[Path, Exposure] = {}
        self.used: dict[str, ReferenceCatalog] = {}
        ra = np.concatenate([each.ra for each in found])
        dec = np.concatenate([each.dec for each in found])
        middle, self.radius = _circle(ra, dec)
        self.centre = (
            float(np.degrees(np.arctan2(middle[1], middle[0])) % 360.0),
            float(np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))),
        )
        self.plane: TangentPlane = arcsec_plane(*self.centre)
        self.positions: list[Floats] = [self.plane.pixels(each.ra, each.dec) for each in found]
        self._catalogs: dict[str, ReferenceCatalog] = {}

    def align(self) -> None:
        """Align all exposures of the field."""
        for component in self._components():
            members = component.members
            if len(members) > 1:
                self.n_groups += 1
            if self._align_together(component):
                continue
            for number in members:
                self._align_alone(number, component)

    def _components(self) -> list[Component]:
        """Align the exposures to each other, where that is wanted."""
        relative = [_RELATIVE in each.item.parameters.run_align.mosaic_fit_list for each in self.found]
        alone = [
            Component((k,), {k: Transform()}, {k: 0}, {k: 0.0}, self.positions[k],
                      {k: np.arange(len(self.positions[k]))})
            for k, wanted in enumerate(relative)
            if not wanted
        ]  # fmt: skip
        chosen = [k for k, wanted in enumerate(relative) if wanted]
        kept, settings = [], []
        for k in chosen:
            parameters = self.found[k].item.parameters
            fit = parameters.match_relative_fit
            kept.append(thinned(self.positions[k], self.found[k].flux, fit.separation * self.found[k].scale))
            settings.append(self.found[k].settings(fit, parameters.run_align.mosaic_relgeom_list))
        found = align_to_each_other(
            [self.positions[k][stay] for k, stay in zip(chosen, kept, strict=True)],
            settings,
            lambda k, fit: judge_common(fit, self.found[chosen[k]].item.parameters),
        )
        return [_renumbered(component, chosen) for component in found] + alone

    def _align_together(self, component: Component) -> bool:
        """Fit a group as one; True where that settles its exposures."""
        members = component.members
        if len(members) < 2:
            return False
        first = self.found[members[0]]
        parameters = first.item.parameters
        each = [
            self.found[k].settings(parameters.match_relative_fit, parameters.run_align.mosaic_fitgeom_list)
            for k in members
        ]
        settings = replace(
            each[0], search=max(s.search for s in each), tolerance=min(s.tolerance for s in each)
        )
        dates = _mean_dates(component, [self.found[k].item.exposure.start_mjd for k in members])
        kept: _Solution | None = None
        reason = ""
        for reference in self._wanted(parameters):
            catalog = self._catalog(reference, settings.search)
            if problem := _too_small(catalog, parameters):
                reason = reason or problem
                continue
            found = self._matched(component.positions, dates, catalog, settings)
            verdict = judge(found, parameters, settings.geometry)
            if found is None or not verdict.is_kept:
                reason = reason or f"{catalog.name}: {verdict.reason}"
                continue
            if kept is None or verdict.is_good:
                kept = _Solution(found, verdict, catalog.name)
            if verdict.is_good:
                break
        if kept is None:
            log.info(
                "group %d of %d exposures cannot be aligned as one: %s",
                self.first_group + self.n_groups,
                len(members),
                reason,
            )
            return False
        if not kept.verdict.is_good:
            alone = {k: self._best_alone(k)[0] for k in members}
            if all(solution is not None and solution.verdict.is_good for solution in alone.values()):
                return False
        for k in members:
            self._settle(k, kept, "REL", component)
        return True

    def _align_alone(self, number: int, component: Component) -> None:
        """Fit one exposure by itself, or leave it as it is."""
        solution, reason = self._best_alone(number)
        if solution is None:
            self.records[self.found[number].item.exposure.path] = replace(
                _kept(self.found[number], reason),
                group=self._group(component),
                n_common=component.n_common[number],
            )
            return
        self._settle(number, solution, "IMG", component)

    def _best_alone(self, number: int) -> tuple[_Solution | None, str]:
        """Find the first good fit of one exposure, else the first that may be kept; else say why not."""
        sources = self.found[number]
        parameters = sources.item.parameters
        kept: _Solution | None = None
        wanted = self._wanted(parameters)
        reason = "no fit is asked for" if wanted else "no reference catalog is asked for"
        reasons: list[str] = []
        for reference in wanted:
            for method in parameters.run_align.mosaic_fit_list:
                if method == _RELATIVE:
                    continue
                fit: FitParameters = getattr(parameters, method)
                settings = sources.settings(fit, parameters.run_align.mosaic_fitgeom_list)
                catalog = self._catalog(reference, settings.search)
                if problem := _too_small(catalog, parameters):
                    reasons.append(problem)
                    break
                stay = thinned(self.positions[number], sources.flux, fit.separation * sources.scale)
                positions = self.positions[number][stay]
                date = sources.item.exposure.start_mjd
                dates = None if date is None else np.full(len(positions), date)
                found = self._matched(positions, dates, catalog, settings)
                verdict = judge(found, parameters, settings.geometry)
                if found is not None and verdict.is_kept:
                    solution = _Solution(found, verdict, catalog.name)
                    if verdict.is_good:
                        return solution, ""
                    kept = kept or solution
                else:
                    reasons.append(f"{catalog.name}: {verdict.reason}")
        return kept, reasons[0] if reasons else reason

    def _matched(
        self, positions: Floats, dates: Floats | None, catalog: ReferenceCatalog, settings: MatchSettings
    ) -> MatchedFit | None:
        """Match positions with a catalog at their mean date, or at each one's own where that fits better.

        Where all sources move alike, as in a star cluster, exposures that were aligned to each other show
        them at one date; where most stand still, as galaxies do, at the dates of the exposures.
        """
        mean = None if dates is None else float(dates.mean())
        reference = self._placed(catalog, mean, positions, settings.search)
        if reference is None:
            return None
        numbers, places = reference
        found = match_and_fit(positions, places, settings)
        if found is None:
            return None
        if dates is not None and np.ptp(dates) > _LARGEST_SPAN:
            stars = numbers[found.second]
            chosen = catalog.chosen(stars)
            own = self.plane.pixels(*chosen.at(dates[found.first]))
            again = fit_linear(positions[found.first], own, found.fit.geometry)
            if again.n >= found.n and again.rms_distance < found.fit.rms_distance:
                found = replace(found, fit=again)
        return replace(found, second=numbers[found.second])

    def _placed(
        self, catalog: ReferenceCatalog, mjd: float | None, positions: Floats, margin: float
    ) -> tuple[NDArray[np.intp], Floats] | None:
        """Give the reference sources around some positions, and their places in the plane at a date."""
        places = self.plane.pixels(*catalog.at(mjd))
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        with np.errstate(invalid="ignore"):
            inside = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        return (inside, places[inside]) if len(inside) else None

    def _wanted(self, parameters: AlignmentParameters) -> list[Reference]:
        """The reference catalogs, those of Gaia alone where no other is wanted."""
        if not parameters.generate_astrometric_catalog.gaia_only:
            return list(self.references)
        return [each for each in self.references if "GAIA" in each.name.upper()]

    def _catalog(self, reference: Reference, search: float) -> ReferenceCatalog:
        """Fetch a reference catalog of the field, once."""
        if reference.name not in self._catalogs:
            widest = max(
                each.settings(fit, {}).search
                for each in self.found
                for fit in (each.item.parameters.match_2dhist_fit, each.item.parameters.match_default_fit)
            )
            radius = _PADDING * math.degrees(self.radius) + max(search, widest) / 3600.0
            catalog = reference.fetch(*self.centre, radius)
            log.info(
                "reference catalog %s: %d sources within %.4f degrees of %.5f %+.5f (%s)",
                catalog.name,
                len(catalog),
                radius,
                *self.centre,
                catalog.origin,
            )
            self._catalogs[reference.name] = catalog
        return self._catalogs[reference.name]

    def _group(self, component: Component) -> int:
        return self.first_group + self.n_groups if len(component.members) > 1 else 0

    def _settle(self, number: int, solution: _Solution, method: str, component: Component) -> None:
        """Give an exposure its new WCS and its record."""
        sources = self.found[number]
        exposure = sources.item.exposure
        fit = solution.found.fit
        transform = fit.transform
        n_matches = solution.found.n
        if method == "REL":
            transform = transform.after(component.transforms[number])
            n_matches = int(np.isin(component.source_of[number], solution.found.first).sum())
        old_name = exposure.chips[0].wcs_name or ""
        name = f"{_base_name(old_name)}FIT_{method}_{solution.catalog}"
        rms_x, rms_y = (1000.0 * each for each in fit.rms)
        kind = "relatively aligned" if method == "REL" else "fit by itself"
        keywords: dict[str, object] = {
            "WCSNAME": name,
            "WCSTYPE": f"a posteriori solution {kind} to {solution.catalog}",
            "NMATCHES": n_matches,
            "RMS_RA": rms_x / 3.6e6,
            "RMS_DEC": rms_y / 3.6e6,
            "FITGEOM": fit.geometry,
        }
        middle = self.positions[number].mean(axis=0)
        offset = transform(middle) - middle
        self.exposures[exposure.path] = corrected_exposure(exposure, self.plane, transform, keywords)
        self.used[solution.catalog] = next(
            each for each in self._catalogs.values() if each.name == solution.catalog
        )
        self.records[exposure.path] = AlignmentRecord(
            filename=exposure.filename,
            aligned=True,
            reason=solution.verdict.reason,
            method=method,
            catalog=solution.catalog,
            group=self._group(component),
            n_sources=len(sources.ra),
            n_common=component.n_common[number],
            n_matches=n_matches,
            n_fit=solution.found.n,
            rms=1000.0 * fit.rms_distance,
            rms_common=1000.0 * component.rms[number],
            offset_east=float(offset[0]),
            offset_north=float(offset[1]),
            rotation=-transform.rotation,
            scale=transform.scale,
            geometry=fit.geometry,
            false_alarm=solution.found.false_alarm,
            old_wcs_name=old_name,
            wcs_name=name,
        )


def _renumbered(component: Component, numbers: Sequence[int]) -> Component:
    """Give a component of chosen exposures the numbers of all."""
    return Component(
        tuple(numbers[k] for k in component.members),
        {numbers[k]: value for k, value in component.transforms.items()},
        {numbers[k]: value for k, value in component.n_common.items()},
        {numbers[k]: value for k, value in component.rms.items()},
        component.positions,
        {numbers[k]: value for k, value in component.source_of.items()},
    )


def _mean_dates(component: Component, dates: Sequence[float | None]) -> Floats | None:
    """Give the mean date of each source of a group; None where a date is not known."""
    known = [date for date in dates if date is not None]
    if len(known) < len(dates):
        return np.full(len(component.positions), np.mean(known)) if known else None
    sums, counts = np.zeros(len(component.positions)), np.zeros(len(component.positions))
    for number, date in zip(component.members, known, strict=True):
        sums[component.source_of[number]] += date
        counts[component.source_of[number]] += 1.0
    means: Floats = sums / counts
    return means


def _too_small(catalog: ReferenceCatalog, parameters: AlignmentParameters) -> str:
    """Say that a reference catalog has too few sources."""
    fewest = max(parameters.determine_fit_quality.MIN_CATALOG_THRESHOLD, 1)
    if len(catalog) >= fewest:
        return ""
    return f"{catalog.name}: {len(catalog)} reference sources in the field, at least {fewest} are needed"


def _base_name(wcs_name: str) -> str:
    """Give what stays of a WCSNAME: the name of the distortion model with a hyphen."""
    base = wcs_name.partition("-")[0].strip()
    return f"{base}-" if base and not base.upper().startswith("FIT_") else ""


def _kept(sources: _Sources, reason: str) -> AlignmentRecord:
    exposure = sources.item.exposure
    name = exposure.chips[0].wcs_name or ""
    return AlignmentRecord(
        exposure.filename, False, reason, n_sources=len(sources.ra), old_wcs_name=name, wcs_name=name
    )
