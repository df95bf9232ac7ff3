"""The commands about parameters."""

from __future__ import annotations

import json
import sys

import pytest
from astropy.io import fits

from multivisit.cli import main

CELL = "skycell-p1889x10y12"
WFC = f"hst_{CELL}_acs_wfc_f606w_all"


@pytest.fixture
def mvm(monkeypatch, capfd):
    """Run `mvm` with some arguments; returns exit code, standard output and standard error."""
    for name in ("MVM_INCLUDE_SMALL", "MVM_ONLY_CTE", "MVM_QUALITY_TESTING"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mvm", *(str(item) for item in arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_parameters_of_a_detector_are_shown_and_those_not_used_are_marked(mvm):
    code, out, _ = mvm("params", "show", "--detector", "WFC3/UVIS", "--filter", "F606W", "--exposures", 3)
    assert code == 0
    assert '    final_bits = "80"\n' in out
    assert '    runfile = "astrodrizzle.log"  (not used: it belongs to AstroDrizzle' in out
    assert "  alignment\n    general/MIN_FIT_MATCHES = 4\n" in out
    assert "    run_align/update_hdr_wcs = true  (not used: exposures are never changed" in out
    assert "    ci filter/aperture/ci_upper_limit = 1.02\n" in out


def test_the_pipeline_the_date_and_the_product_matter(mvm):
    arguments = (
        "params",
        "show",
        "-p",
        "svm",
        "--detector",
        "wfc3/uvis",
        "-g",
        "astrodrizzle",
        "--filter",
        "f606w",
    )
    for more, bits in {
        ("--date", "2012-11-08"): 352,
        ("--date", "2012-11-09"): 336,
        ("--exposures", "1"): 65535,
        ("--product", "exposure"): 65535,
        ("--product", "total", "--date", "2010-01-01"): 96,
    }.items():
        code, out, err = mvm(*arguments, *more)
        assert code == 0, err
        assert f'final_bits = "{bits}"\n' in out, more
        assert "not used" not in out
        assert "bkg_box_size" not in out


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("show",), "--detector", 2),
        (("show", "--detector", "acs/wfc"), "--filter", 2),
        (("show", "--detector", "acs/uvis", "--filter", "f606w"), "expected one of acs/wfc", 1),
        (("show", "--detector", "acs/wfc", "--filter", "f606w", "-p", "hla"), "expected mvm or svm", 2),
        (("show", "--detector", "acs/wfc", "--filter", "f606w", "-g", "sky"), "catalog generation", 2),
        (("show", "--detector", "acs/wfc", "--filter", "f606w", "--product", "sum"), "exposure", 2),
        (("show", "--detector", "wfc3/uvis", "--filter", "f606w", "--date", "once"), "YYYY-MM-DD", 2),
        (("show", "a.fits", "--detector", "acs/wfc"), "not both", 2),
        (("diff", "nowhere.json"), "nowhere.json", 1),
    ],
)
def test_what_cannot_be_shown_is_an_error_in_a_line(mvm, arguments, words, code):
    found, out, err = mvm("params", *arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


def test_a_file_is_shown_changed_compared_and_used(mvm, tiny_exposures, tmp_path):
    files = [path for path in tiny_exposures if path.name.startswith("j")]
    code, out, err = mvm("params", "show", *files, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert list(content) == [WFC, f"{WFC}-jsim0101", f"{WFC}-jsim0201"]

    custom, written = tmp_path / "custom.json", tmp_path / "written.json"
    content[WFC]["parameters"]["astrodrizzle"] |= {"final_kernel": "point", "num_cores": 4}
    custom.write_text(json.dumps(content))
    for more in ((), tuple(files)):
        code, out, err = mvm("params", "diff", custom, *more)
        assert code == 0, err
        assert f"{WFC}\n" in out
        assert '    astrodrizzle/final_kernel: "square" -> "point"\n' in out
        assert (
            "    astrodrizzle/num_cores: 1 -> 4  (not used: threads and memory are options of the run)" in out
        )
    code, out, err = mvm("params", "diff", custom, *files, "--json")
    assert json.loads(out)[WFC]["astrodrizzle/final_kernel"] == {
        "default": "square",
        "value": "point",
        "not_used": "",
    }
    code, out, err = mvm("params", "show", *files, "--parameters", custom, "-g", "astrodrizzle")
    assert 'final_kernel = "point"' in out

    options = ("-o", tmp_path / "out", "--parameters", custom, "--write-parameters", written, "--no-previews")
    code, out, err = mvm("run", *files, *options)
    assert code == 0, err
    assert fits.getheader(tmp_path / "out" / f"{WFC}_drc.fits")["D001KERN"] == "point"
    assert json.loads(written.read_text()) == content


def test_single_visit_products_of_files_are_shown(mvm, tiny_exposures):
    files = [path for path in tiny_exposures if "jsim01" in path.name]
    code, out, err = mvm("params", "show", *files, "-p", "svm", "-g", "quality control")
    assert code == 0, err
    names = [line for line in out.splitlines() if not line.startswith(" ")]
    assert names == [
        f"hst_99001_01_acs_wfc_{name}" for name in ("total_jsim01", "f606w_jsim01", "f606w_jsim0101")
    ]


def test_the_schema_is_json(mvm):
    code, out, _ = mvm("params", "schema")
    assert code == 0
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
