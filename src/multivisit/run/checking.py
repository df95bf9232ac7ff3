"""Quality checks in a run: after each layer with what is in memory, and once at the end."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from multivisit.errors import MultivisitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multivisit.quality.limits import Verdict
    from multivisit.quality.published import VisitSources
    from multivisit.run.making import MadeMosaic
    from multivisit.run.options import RunOptions
    from multivisit.run.results import LayerResult, PlannedLayer

__all__ = ["CheckedLayer", "QualityControl"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedLayer:
    """What the checks of one layer left."""

    verdict: Verdict = "not run"
    """The worst verdict."""

    files: tuple[Path, ...] = ()
    """The files that were written."""


@dataclass
class QualityControl:
    """The checks of one run. A check that cannot be made never takes a mosaic away."""

    options: RunOptions
    """Output folder, threads, memory, and whether pixels are read for the checks."""

    moment: float = field(default_factory=time.time)
    """Seconds since 1970, the same in all files of the run."""

    visits: dict[str, tuple[str, list[VisitSources]]] = field(default_factory=dict)
    """Sky cell and sources of each visit of each layer, by its name, for the cross-match at the end."""

    def check(
        self, item: PlannedLayer, made: MadeMosaic, seconds: float, memory: int | None = None
    ) -> CheckedLayer:
        """Check a layer that has been made and write its quality files.

        Parameters
        ----------
        item : PlannedLayer
            The layer.
        made : MadeMosaic
            Its product and records.
        seconds : float
            How long it took to make.
        memory : int, optional
            Bytes that checking may take; None for no limit.

        Returns
        -------
        CheckedLayer
            Verdict and files; without files, and with the reason in the log, where checking failed.
        """
        name = item.layer.product_basename
        try:
            return self._check(item, made, seconds, memory)
        except MultivisitError as error:
            log.error("%s: no quality checks: %s", name, error)
        except Exception:
            # The mosaic is there and good to use, whatever happens to its checks.
            log.exception("%s: the quality checks failed unexpectedly", name)
        return CheckedLayer()

    def finish(self, results: Sequence[LayerResult]) -> list[LayerResult]:
        """Write the cross-match of all visits.

        Parameters
        ----------
        results : sequence of LayerResult
            What became of each layer.

        Returns
        -------
        list of LayerResult
            The same, with the files of the cross-match among theirs; without quality tests there are none.
        """
        if not self.visits:
            return list(results)
        from multivisit.quality.published import crossmatch_name, write_crossmatch

        of_cell: dict[str, list[VisitSources]] = {}
        # Layers end in any order; the cross-match takes them in that of the results.
        for cell, sources in (self.visits[result.name] for result in results if result.name in self.visits):
            of_cell.setdefault(cell, []).extend(sources)
        written: list[Path] = []
        for visits in of_cell.values():
            try:
                written += write_crossmatch(visits, self.options.output_folder, self.moment)
            except MultivisitError as error:
                log.error("no cross-match: %s", error)
            except Exception:
                # As above: everything else has been made.
                log.exception("the cross-match failed unexpectedly")
        return [
            replace(
                result,
                quality_files=result.quality_files
                + tuple(path for path in written if path.name == crossmatch_name(result.name)),
            )
            for result in results
        ]

    def _check(
        self, item: PlannedLayer, made: MadeMosaic, seconds: float, memory: int | None
    ) -> CheckedLayer:
        from multivisit.quality.facts import LayerFacts
        from multivisit.quality.layer import assess_layer, write_quality

        if item.grid is None:
            return CheckedLayer()
        started = time.perf_counter()
        options, layer = self.options, item.layer
        facts = LayerFacts(layer, item.grid, item.parameters, made.summary, made.product, made.pixel_maps)
        files: list[Path] = []
        looks = None
        if options.quality_tests:
            from multivisit.quality.published import visit_sources, write_wcsname
            from multivisit.quality.survey import look_at_exposures

            looks = look_at_exposures(facts, threads=options.threads or 1, memory=memory)
            if layer.scale_name == "fine":
                files.append(write_wcsname(facts, options.output_folder, self.moment))
                sources = visit_sources(facts, looks)
                self.visits[layer.product_basename] = (layer.sky_cell_id, sources)
        run = {
            "seconds": round(seconds, 2),
            "finished": round(time.time(), 2),
            "peak_memory_mib": _peak_memory() >> 20,
            "threads": options.threads,
            "memory_limit_mib": None if options.memory is None else options.memory >> 20,
        }
        quality = assess_layer(facts, looks, run)
        files.insert(0, write_quality(quality, options.output_folder, layer.product_basename))
        for check in quality.checks:
            log.log(
                logging.WARNING if check.verdict in ("warn", "fail") else logging.INFO,
                "quality %s: %s: %s",
                check.name,
                check.verdict,
                check.explanation,
            )
        log.info("quality: %s in %.2f s", quality.verdict, time.perf_counter() - started)
        return CheckedLayer(quality.verdict, tuple(files))


def _peak_memory() -> int:
    """Give the most bytes that the process has taken so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
