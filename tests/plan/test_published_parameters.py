"""The default parameters of every detector, filter, number of exposures and date against the published files.

The published files are not part of the project: their folder is named in MULTIVISIT_REFERENCE, or lies
beside the repository. Where they are missing, the checksums in ``data/published_parameters.json`` stand for
them: they were made from the files, by this module run as a program.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from multivisit.plan.parameters import concentration_index, parameter_set
from multivisit.plan.parameters.layout import published_layout

HERE = Path(__file__).resolve().parent
CHECKSUMS = HERE / "data" / "published_parameters.json"
GROUPS = ("alignment", "astrodrizzle", "catalog generation", "quality control")
OLD, NEW = 55000.0, 57000.0
"""Dates before and after WFC3/UVIS exposures could be post-flashed."""


class Case(NamedTuple):
    """A product, and the published conditions that apply to it (later ones win)."""

    pipeline: str
    detector: str
    filter_name: str
    number: int
    product: str
    mjd: float
    conditions: tuple[str, ...]

    @property
    def name(self) -> str:
        return (
            f"{self.pipeline} {self.detector} {self.filter_name} {self.number} {self.product} {self.mjd:.0f}"
        )


def filter_cases(pipeline: str, detector: str, filters: list[str], steps: dict[int, str]) -> list[Case]:
    """Products of one filter: the condition from each number of exposures on."""
    return [
        Case(
            pipeline,
            detector,
            name,
            number,
            "filter",
            NEW,
            ("filter_basic", steps[max(s for s in steps if s <= number)]),
        )
        for name in filters
        for number in range(1, 9)
    ]


def all_cases() -> list[Case]:
    cases = []
    for detector, filters in {
        "acs_wfc": ["f606w", "f775w", "f850lp", "f606w-pol0v"],
        "acs_hrc": ["f220w", "f814w"],
        "wfc3_ir": ["f110w", "f160w"],
        "wfpc2_pc": ["f300w", "f814w"],
    }.items():
        cases += filter_cases("mvm", detector, filters, {1: "any_n1", 2: f"{detector}_any_n2"})
    cases += filter_cases("mvm", "wfc3_uvis", ["f275w", "f606w"], {1: "any_n1", 2: "wfc3_uvis_any_post_n2"})
    # The published choice, acs_sbc_any_any, has no file; acs_sbc_any_n2 is the one that was meant.
    cases += filter_cases("mvm", "acs_sbc", ["f140lp", "f150lp"], {1: "any_n1", 2: "acs_sbc_any_n2"})
    blue = {1: "any_n1", 2: "acs_sbc_blue_n2", 6: "acs_sbc_blue_n6"}
    for pipeline in ("mvm", "svm"):
        cases += filter_cases(pipeline, "acs_sbc", ["f115lp", "f122m"], blue)
    cases += filter_cases("mvm", "wfc3_ir", ["g102"], {1: "any_n1", 2: "filter_basic"})
    for detector in ("acs_wfc", "acs_hrc"):
        steps = {1: "any_n1", 2: f"{detector}_any_n2", 6: f"{detector}_any_n6"}
        cases += filter_cases("svm", detector, ["f475w", "f814w"], steps)
    cases += filter_cases("svm", "acs_sbc", ["f140lp"], {1: "any_n1", 2: "acs_sbc_any_any"})
    for kind, filters in {"any": ["f098m", "f140w"], "grism": ["g102", "g141"]}.items():
        steps = {1: "any_n1", 2: f"wfc3_ir_{kind}_n2", 4: f"wfc3_ir_{kind}_n4"}
        cases += filter_cases("svm", "wfc3_ir", filters, steps)
    cases += filter_cases(
        "svm", "wfpc2_pc", ["f606w"], {1: "any_n1", **{n: f"wfpc2_pc_any_n{n}" for n in (2, 3, 4)}}
    )
    for age, mjd in {"pre": OLD, "post": NEW}.items():
        steps = {1: "any_n1", 2: f"wfc3_uvis_any_{age}_n2", 6: f"wfc3_uvis_any_{age}_n6"}
        visit = filter_cases("svm", "wfc3_uvis", ["f438w"], steps)
        cases += [case._replace(mjd=mjd) for case in visit]
    for pipeline in ("mvm", "svm"):
        for detector in ("acs_wfc", "acs_hrc", "acs_sbc", "wfc3_uvis", "wfc3_ir", "wfpc2_pc"):
            for number in (1, 2, 5):
                single = ("any_n1",) if number == 1 else ()
                cases.append(
                    Case(pipeline, detector, "f606w", number, "exposure", NEW, ("single_basic", *single))
                )
                for age, mjd in {"pre": OLD, "post": NEW}.items():
                    total = f"total_basic_{age}" if detector == "wfc3_uvis" else "total_basic"
                    if (pipeline, detector) == ("mvm", "wfpc2_pc"):
                        total = "wfpc2_pc_any_total"
                    cases.append(Case(pipeline, detector, "total", number, "total", mjd, (total, *single)))
    return cases


def reference() -> Path:
    named = os.environ.get("MULTIVISIT_REFERENCE")
    return (Path(named) if named else HERE.parents[2] / "shared" / "reference") / "hap_pars"


@pytest.fixture(scope="module")
def published() -> Path:
    """The folder of the published parameter files."""
    if not reference().is_dir():
        pytest.skip(
            f"no published files in {reference()}: name the folder of hap_pars in MULTIVISIT_REFERENCE"
        )
    return reference()


def leaves(values: dict[str, Any], path: tuple[str, ...] = (), *, flat: bool = False) -> dict[str, Any]:
    """All values by their path, in a form that compares: flags as numbers, pairs of numbers as lists."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= leaves(value, path if flat else (*path, name), flat=flat)
            continue
        if name.endswith("bits") and isinstance(value, str):
            value = sum({int(word) for word in value.split(",")})
        elif name in ("combine_nsigma", "driz_cr_snr", "driz_cr_scale"):
            value = [float(word) for word in value.split()]
        found["/".join((*path, name))] = value
    return found


def limits(folder: Path, pipeline: str, names: str) -> dict[str, float]:
    """The published limits of the concentration index."""
    table = folder / f"{pipeline}_parameters" / "any" / "ci_ap_cor_table_ap_20_2016.txt"
    for line in table.read_text().splitlines():
        words = line.split()
        if words and words[0] == names.upper():
            return {"ci_lower_limit": float(words[2]), "ci_upper_limit": float(words[4])}
    return {}


def expected(folder: Path, case: Case) -> dict[str, dict[str, Any]]:
    """The published values: the files of all conditions, merged."""
    root = folder / f"{case.pipeline}_parameters"
    index = json.loads((root / f"{case.detector}_index.json").read_text())
    groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for condition in case.conditions:
        values = json.loads((root / index["astrodrizzle"][condition]).read_text())
        groups["astrodrizzle"] |= leaves(values, flat=True)
    for group in GROUPS:
        if group != "astrodrizzle":
            groups[group] = leaves(json.loads((root / index[group]["all"]).read_text()))
    found = limits(folder, case.pipeline, f"{case.detector}_{case.filter_name}")
    for kind in ("aperture", "segment"):
        groups["quality control"] |= {f"ci filter/{kind}/{name}": value for name, value in found.items()}
    if case.pipeline == "mvm":
        groups["astrodrizzle"]["context"] = (
            False  # the published code switches it off, whatever the files say
        )
    return groups


def found(case: Case) -> dict[str, dict[str, Any]]:
    """Our values, as files have them."""
    parameters = parameter_set(
        *case.detector.split("_"),
        case.filter_name,
        case.number,
        pipeline=case.pipeline,
        product=case.product,
        mjd=case.mjd,
    )
    layout = published_layout(parameters, case.pipeline)
    return {group: leaves(layout[group]) for group in GROUPS}


def checksum(values: dict[str, Any]) -> str:
    """A short checksum; whole numbers count the same with and without a decimal point."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    text = json.dumps({name: plain(value) for name, value in sorted(values.items())})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


CASES = all_cases()


def test_there_is_a_case_for_every_published_file(published: Path) -> None:
    for root in sorted(published.glob("*_parameters")):
        pipeline = root.name.partition("_")[0]
        files = {path.relative_to(root).as_posix() for path in root.rglob("*_astrodrizzle_*.json")}
        used = set()
        for case in CASES:
            if case.pipeline == pipeline:
                index = json.loads((root / f"{case.detector}_index.json").read_text())["astrodrizzle"]
                used |= {index[condition] for condition in case.conditions}
        assert not {name for name in files - used if not name.startswith("any/any_astrodrizzle_total")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_values_are_those_of_the_published_files(published: Path, case: Case) -> None:
    assert found(case) == expected(published, case)


def test_the_values_have_the_checksums_of_the_published_ones() -> None:
    kept = json.loads(CHECKSUMS.read_text())
    ours = {case.name: [checksum(values) for values in found(case).values()] for case in CASES}
    assert ours == {name: kept["checksums"][number] for name, number in kept["products"].items()}


def test_the_kept_checksums_are_those_of_the_published_files(published: Path) -> None:
    assert json.loads(CHECKSUMS.read_text()) == kept_checksums(published)


def test_the_concentration_indices_are_the_published_ones(published: Path) -> None:
    table = published / "svm_parameters" / "any" / "ci_ap_cor_table_ap_20_2016.txt"
    lines = [line.split("#")[0].split() for line in table.read_text().splitlines()]
    rows = {words[0].replace("F850L", "F850LP").replace("LPP", "LP"): words[1:] for words in lines if words}
    assert len(rows) > 150
    for name, values in rows.items():
        index = concentration_index(*name.lower().split("_"))
        assert index is not None, name
        assert [
            index.wavelength,
            index.lower,
            index.peak,
            index.upper,
            index.aperture_correction,
        ] == [float(value) for value in values]


def kept_checksums(folder: Path) -> dict[str, Any]:
    """Checksums of the groups of each product, each combination of them once."""
    by_product = {case.name: [checksum(v) for v in expected(folder, case).values()] for case in CASES}
    different = sorted({tuple(sums) for sums in by_product.values()})
    return {
        "checksums": [list(sums) for sums in different],
        "products": {name: different.index(tuple(sums)) for name, sums in by_product.items()},
    }


if __name__ == "__main__":
    CHECKSUMS.write_text(json.dumps(kept_checksums(reference()), indent=0) + "\n")
    sys.stdout.write(f"wrote {CHECKSUMS}\n")
