"""A custom parameter file changes the mosaics, and they say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from multivisit.errors import ParameterError
from multivisit.run.options import RunOptions
from multivisit.run.sequencer import plan_run, run

CELL = "skycell-p1889x10y12"
WFC = f"hst_{CELL}_acs_wfc_f606w_all"


@pytest.fixture(scope="module")
def files(tiny_exposures):
    return tuple(path for path in tiny_exposures if path.name.startswith("j"))


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory):
    """A run with the defaults, which writes its parameters."""
    folder = tmp_path_factory.mktemp("plain")
    custom = folder / "custom.json"
    result = run(RunOptions(inputs=files, output_folder=folder, previews=False, written_parameters=custom))
    assert result.return_code == 0
    assert custom in result.files
    return folder


def custom_run(files, plain, folder, changes):
    content = json.loads((plain / "custom.json").read_text())
    content[WFC]["parameters"]["astrodrizzle"] |= changes
    custom = folder / "custom.json"
    custom.write_text(json.dumps(content))
    options = RunOptions(inputs=files, output_folder=folder, previews=False, custom_parameters=custom)
    result = run(options)
    assert result.return_code == 0
    return folder / f"{WFC}_drc.fits", (folder / f"{WFC}_trl.txt").read_text()


def history(path: Path) -> str:
    return " ".join(" ".join(fits.getheader(path)["HISTORY"]).split())


def test_a_smaller_drop_leaves_holes_and_keeps_the_flux(files, plain, tmp_path):
    path, trailer = custom_run(files, plain, tmp_path, {"final_pixfrac": 0.1})
    before, after = (fits.getdata(p, "WHT") for p in (plain / f"{WFC}_drc.fits", path))
    # Drops of a tenth of a 0.05 arcsec pixel miss many 0.04 arcsec pixels; the weight is the same in all.
    assert (after > 0).sum() < 0.9 * (before > 0).sum()
    assert after.sum(dtype=float) == pytest.approx(before.sum(dtype=float), rel=2e-3)
    assert "astrodrizzle/final_pixfrac = 0.1 (default 1.0)" in history(path)
    assert "astrodrizzle/final_pixfrac = 0.1 (default 1.0)" in trailer
    assert "custom file custom.json, 1 changed" in history(path)
    assert "Parameters: defaults, none changed." in history(plain / f"{WFC}_drc.fits")


def test_the_sky_method_changes_the_level_of_the_mosaic(files, plain, tmp_path):
    path, _ = custom_run(files, plain, tmp_path, {"skymethod": "localmin"})
    matched, alone = (fits.getdata(p, "SCI") for p in (plain / f"{WFC}_drc.fits", path))
    # `match` leaves the lowest sky in, `localmin` takes all of it off.
    assert abs(np.nanmedian(alone)) < 0.1 * np.nanmedian(matched)


def test_flags_weights_and_units_of_a_file_are_used(files, plain, tmp_path):
    changes = {"final_bits": 0, "final_units": "counts", "final_wt_scl": "expsq", "static": False}
    path, _ = custom_run(files, plain, tmp_path, changes)
    before, after = (fits.getdata(p, "WHT") for p in (plain / f"{WFC}_drc.fits", path))
    assert fits.getheader(path, "SCI")["BUNIT"] == "ELECTRONS"
    # Exposures of 350 s: their square is 350 times as much. Some flagged pixels are no longer good.
    both = (before > 0) & (after > 0)
    assert np.median(after[both] / before[both]) == pytest.approx(350, rel=1e-5)
    assert after.sum(dtype=float) < 350 * before.sum(dtype=float)


def test_a_parameter_without_use_is_warned_of_and_marked(files, plain, tmp_path):
    path, _ = custom_run(files, plain, tmp_path, {"runfile": "mine.log"})
    assert "astrodrizzle/runfile = mine.log (default astrodrizzle.log, not used)" in history(path)
    messages = (tmp_path / f"{CELL}_trl.txt").read_text()
    assert (
        messages.count(
            "parameter astrodrizzle/runfile was changed, which multi-visit processing does not use"
        )
        == 1
    )


def test_a_wrong_file_stops_the_run_before_anything_is_made(files, plain, tmp_path):
    content = json.loads((plain / "custom.json").read_text())
    content[WFC]["parameters"]["astrodrizzle"]["skystat"] = "mod"
    custom = tmp_path / "custom.json"
    custom.write_text(json.dumps(content))
    options = RunOptions(inputs=files, output_folder=tmp_path / "out", custom_parameters=custom)
    with pytest.raises(ParameterError, match=rf"/{WFC}/parameters/astrodrizzle/skystat: found 'mod'"):
        run(options)
    assert not (tmp_path / "out").exists()


def test_the_file_that_is_read_is_not_written(files, plain, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(plain / "custom.json")
    options = RunOptions(inputs=files, custom_parameters=plain / "custom.json", written_parameters=link)
    with pytest.raises(ParameterError, match="both the custom parameter file that is read"):
        plan_run(options)


@pytest.mark.parametrize("victim", ["poller.csv", "exposure_flc.fits"])
def test_no_input_is_written_over(files, tmp_path, victim):
    exposure = tmp_path / "exposure_flc.fits"
    exposure.write_bytes(files[0].read_bytes())
    poller = tmp_path / "poller.csv"
    poller.write_text(f"{exposure}\n{files[1]}\n")
    before = (tmp_path / victim).read_bytes()
    for inputs in (poller, (exposure, files[1])):
        if inputs != poller and victim == "poller.csv":
            continue
        options = RunOptions(
            inputs=inputs, output_folder=tmp_path / "out", written_parameters=tmp_path / victim
        )
        with pytest.raises(ParameterError, match=rf"{victim}: the parameter file .* would replace"):
            run(options)
    assert (tmp_path / victim).read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_planned_layers_have_all_four_groups(files, plain):
    content = json.loads((plain / "custom.json").read_text())
    content[WFC]["parameters"]["catalog generation"]["nsigma"] = 9.0
    custom = plain / "threshold.json"
    custom.write_text(json.dumps(content))
    (item,) = plan_run(RunOptions(inputs=files, custom_parameters=custom)).layers
    assert item.parameter_set.catalog_generation.nsigma == 9.0
    assert item.parameters is item.parameter_set.astrodrizzle
