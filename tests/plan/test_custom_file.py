"""Custom parameter files: what takes effect, what is refused, what is said to be without effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multivisit.errors import MissingFileError, ParameterError, ProductError
from multivisit.plan.parameters import parameter_set
from multivisit.plan.parameters.custom_file import (
    CustomFile,
    ProductParameters,
    changed_values,
    customized,
    file_layout,
    read_custom_file,
    write_custom_file,
)
from multivisit.plan.parameters.schema import described_parameters, json_schema
from multivisit.plan.parameters.usage import NOT_USED

WFC = "hst_skycell-p1889x07y19_acs_wfc_f775w_all"
IR = "hst_skycell-p1889x07y19_wfc3_ir_f160w_coarse-all"


def product(name: str, *names: str, **settings: Any) -> ProductParameters:
    kind = settings.get("product", "filter")
    parameters = parameter_set(*names, 4, **settings)
    return ProductParameters(name, parameters, parameters, names, kind)


def products() -> list[ProductParameters]:
    return [
        product(WFC, "acs", "wfc", "f775w"),
        product(f"{WFC}-jbl70rtv", "acs", "wfc", "f775w", product="exposure"),
        product(IR, "wfc3", "ir", "f160w"),
    ]


def changed_file(changes: dict[tuple[str, ...], Any]) -> CustomFile:
    """A file with some values put in by path; the value `...` takes something out."""
    content = json.loads(json.dumps(file_layout(products(), "mvm")))
    for path, value in changes.items():
        inner = content
        for name in path[:-1]:
            inner = inner[name]
        if value is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
    return CustomFile(Path("custom.json"), content)


def test_an_unchanged_file_changes_nothing(tmp_path: Path) -> None:
    path = write_custom_file(tmp_path / "custom.json", products(), "mvm")
    result = customized(read_custom_file(path), products(), "mvm")
    assert list(result.products) == products()
    assert result.warnings == ()


def test_a_file_holds_all_parameters_of_every_product_in_the_published_layout(tmp_path: Path) -> None:
    content = json.loads(write_custom_file(tmp_path / "custom.json", products(), "mvm").read_text())
    assert list(content) == [WFC, f"{WFC}-jbl70rtv", IR]
    assert list(content[WFC]) == ["parameters", "default_values"]
    assert content[WFC]["parameters"] == content[WFC]["default_values"]
    groups = content[WFC]["parameters"]
    assert list(groups) == ["alignment", "astrodrizzle", "catalog generation", "quality control"]
    assert len(groups["astrodrizzle"]) == 97
    assert not any(isinstance(value, dict) for value in groups["astrodrizzle"].values())
    assert groups["astrodrizzle"]["final_bits"] == "80"
    assert groups["astrodrizzle"]["driz_cr_snr"] == "3.5 3.0"


def test_changed_values_take_effect() -> None:
    file = changed_file(
        {
            (WFC, "parameters", "astrodrizzle", "final_pixfrac"): 0.6,
            (WFC, "parameters", "astrodrizzle", "skymethod"): "localmin",
            (WFC, "parameters", "astrodrizzle", "final_bits"): "16, 64",
            (IR, "parameters", "catalog generation", "dao", "TWEAK_THRESHOLD"): 8,
            (IR, "parameters", "alignment", "run_align", "mosaic_fitgeom_list"): {"rscale": 9},
            (IR, "parameters", "quality control", "swarm filter", "ctrList_radiusList"): [
                1,
                2,
                3,
                4,
                5,
                6,
                7,
            ],
        }
    )
    wfc, exposure, infrared = customized(file, products(), "mvm").products
    assert (wfc.parameters.astrodrizzle.final_pixfrac, wfc.parameters.astrodrizzle.skymethod) == (
        0.6,
        "localmin",
    )
    assert wfc.parameters.astrodrizzle.good_bits == 80
    assert changed_values(wfc, "mvm") == {
        ("astrodrizzle", "final_pixfrac"): (1.0, 0.6),
        ("astrodrizzle", "skymethod"): ("match", "localmin"),
    }
    assert exposure == products()[1]
    assert infrared.parameters.catalog_generation.dao.TWEAK_THRESHOLD == 8
    assert infrared.parameters.alignment.run_align.mosaic_fitgeom_list == {"rscale": 9}
    assert infrared.parameters.quality_control.swarm_filter.ctr_list_radius_list == (1, 2, 3, 4, 5, 6, 7)
    assert infrared.parameters.astrodrizzle == infrared.defaults.astrodrizzle


def test_what_a_file_leaves_out_keeps_its_default() -> None:
    content = {
        WFC: {"parameters": {"astrodrizzle": {"final_pixfrac": 0.7}}},
        IR: {"parameters": {}},
    }
    wfc, _, infrared = customized(CustomFile(Path("c.json"), content), products(), "mvm").products
    assert list(changed_values(wfc, "mvm")) == [("astrodrizzle", "final_pixfrac")]
    assert infrared == products()[2]


def test_headings_of_the_shipped_files_are_understood() -> None:
    headed = {"STEP 7: DRIZZLE FINAL COMBINED IMAGE": {"final_pixfrac": 0.7}, "static": False}
    wfc = customized(changed_file({(WFC, "parameters", "astrodrizzle"): headed}), products(), "mvm").products[
        0
    ]
    assert set(changed_values(wfc, "mvm")) == {("astrodrizzle", "final_pixfrac"), ("astrodrizzle", "static")}


def test_everything_that_is_wrong_is_one_error_with_the_path_of_each() -> None:
    drizzle = (WFC, "parameters", "astrodrizzle")
    file = changed_file(
        {
            (*drizzle, "final_pixfrac"): 1.5,
            (*drizzle, "final_pixfracc"): 0.5,
            (*drizzle, "skysub"): "yes",
            (*drizzle, "driz_cr_snr"): "5",
            (WFC, "parameters", "catalog generation", "sourcex", "nlevels"): 2.5,
            (WFC, "parameters", "catalog generation", "aperture_1"): 0.5,
            (WFC, "parameters", "catalog generation", "dao"): 3,
            (WFC, "parameters", "quality controll"): {},
            (WFC, "default_value"): {},
            (f"{WFC}-jbl70rtv", "parameters", "astrodrizzle", "skyclip"): None,
            (IR,): ...,
            (IR.replace("coarse", "coarser"),): {},
        }
    )
    with pytest.raises(ParameterError) as error:
        customized(file, products(), "mvm")
    lines = str(error.value).splitlines()
    assert lines[0] == "custom parameter file custom.json: 11 problems"
    expected = {
        "parameters/astrodrizzle/final_pixfrac": ["found 1.5", "less than or equal to 1"],
        "parameters/astrodrizzle/final_pixfracc": ["no such parameter", "did you mean 'final_pixfrac'"],
        "parameters/astrodrizzle/skysub": ["found 'yes'", "boolean"],
        "parameters/astrodrizzle/driz_cr_snr": ["found '5'", "two numbers"],
        "parameters/catalog generation/sourcex/nlevels": ["found 2.5", "integer"],
        "parameters/catalog generation": ["aperture_1 0.5", "less than aperture_2 0.15"],
        "parameters/catalog generation/dao": ["found 3", "a group of parameters"],
        "parameters/quality controll": ["no such parameter", "did you mean 'quality control'"],
        "default_value": ["no such section", "did you mean 'default_values'"],
    }
    for path, words in expected.items():
        (line,) = [line for line in lines if line.startswith(f"  /{WFC}/{path}: ")]
        assert all(word in line for word in words), line
    assert any(
        line.startswith(f"  /{WFC}-jbl70rtv/parameters/astrodrizzle/skyclip: found None") for line in lines
    )
    assert f"  /{IR}: is missing; did you mean {IR.replace('coarse', 'coarser')!r}?" in lines


def test_parameters_of_the_other_pipeline_are_unknown() -> None:
    file = changed_file({(WFC, "parameters", "catalog generation", "TWEAK_FWHMPSF"): 0.1})
    with pytest.raises(ParameterError, match="catalog generation/TWEAK_FWHMPSF: there is no such parameter"):
        customized(file, products(), "mvm")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["line 1", "not JSON"]),
        ("[]", ["found []", "products by name"]),
        (
            '{"a": {"parameters": {"skysub": true, "skysub": false}}}',
            ["/a/parameters/skysub", "more than once"],
        ),
        ("\xff", ["UTF-8"]),
    ],
)
def test_what_is_no_parameter_file_is_an_error(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "custom.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ParameterError) as error:
        read_custom_file(path)
    assert all(word in str(error.value) for word in [str(path), *words])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.json"):
        read_custom_file(tmp_path / "nowhere.json")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="nowhere"):
        write_custom_file(tmp_path / "nowhere" / "custom.json", products(), "mvm")


def test_a_parameter_without_use_that_is_changed_gives_one_warning() -> None:
    changes = {(name, "parameters", "astrodrizzle", "driz_sep_ra"): 180.0 for name in (WFC, IR)}
    warnings = customized(changed_file(changes), products(), "mvm").warnings
    (warning,) = [text for text in warnings if "astrodrizzle/driz_sep_ra" in text]
    assert NOT_USED["astrodrizzle/driz_sep_ra"] in warning
    assert WFC in warning
    assert IR in warning


def test_parameters_of_exposures_have_no_effect_and_that_is_said() -> None:
    name = f"{WFC}-jbl70rtv"
    file = changed_file({(name, "parameters", "astrodrizzle", "final_pixfrac"): 0.5})
    (warning,) = customized(file, products(), "mvm").warnings
    assert name in warning
    assert "exposures" in warning


def test_limits_of_the_concentration_index_are_the_tables_unless_it_is_not_asked() -> None:
    lookup = (WFC, "parameters", "quality control", "ci filter", "aperture")
    changes: dict[tuple[str, ...], Any] = {(*lookup, "ci_upper_limit"): 2.0}
    result = customized(changed_file(changes), products(), "mvm")
    assert result.products[0].parameters.quality_control.ci_filter.aperture.ci_upper_limit == 1.25
    (warning,) = result.warnings
    assert "lookup_ci_limits_from_table" in warning

    changes[(*lookup, "lookup_ci_limits_from_table")] = False
    result = customized(changed_file(changes), products(), "mvm")
    assert result.products[0].parameters.quality_control.ci_filter.aperture.ci_upper_limit == 2.0
    assert result.products[0].parameters.quality_control.ci_filter.segment.ci_upper_limit == 1.25
    assert result.warnings == ()


def test_a_change_in_the_section_that_is_not_read_is_said() -> None:
    file = changed_file({(WFC, "default_values", "astrodrizzle", "final_pixfrac"): 0.5})
    result = customized(file, products(), "mvm")
    assert list(result.products) == products()
    (warning,) = result.warnings
    assert "default_values" in warning
    assert WFC in warning


# ------------------------------------------------------------------------------------ what parameters are


@pytest.mark.parametrize("pipeline", ["mvm", "svm"])
def test_every_parameter_is_explained(pipeline: str) -> None:
    described = list(described_parameters(pipeline))
    assert len(described) > 200
    assert all(each.meaning for each in described)


def test_every_parameter_or_group_that_is_said_not_to_be_used_exists() -> None:
    paths = {"/".join(each.path) for each in described_parameters("mvm")}
    for name in NOT_USED:
        assert any(path == name or path.startswith(f"{name}/") for path in paths), name


def test_every_parameter_that_is_said_to_be_used_is_read_somewhere() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "multivisit"
    # Of the models themselves, those that derive something from their fields.
    deriving = ("model.py", "catalog.py", "custom_file.py")
    code = "".join(
        path.read_text()
        for path in source.rglob("*.py")
        if "parameters" not in path.relative_to(source).parts or path.name in deriving
    )
    groups = ["astrodrizzle"]
    if (source / "catalogs").is_dir():
        groups += ["catalog generation", "quality control"]
    for each in described_parameters("mvm"):
        if each.path[0] in groups and not each.reason_not_used:
            name = each.path[-1].replace("ctrList_", "ctr_list_").replace("List", "_list")
            assert f".{name}" in code, f"{'/'.join(each.path)} is neither used nor said not to be"


def test_the_schema_knows_all_parameters_and_where_they_are_not_used() -> None:
    schema = json_schema("mvm")
    json.dumps(schema)
    properties = schema["$defs"]["CombinationParameters"]["properties"]
    assert len(properties) == 97
    assert properties["final_pixfrac"]["maximum"] == 1
    assert "_mdriztab_btn_" in properties
    assert schema["x-not-used"].keys() >= {"alignment/run_align/catalog_list", "astrodrizzle/runfile"}
    assert "TWEAK_FWHMPSF" not in schema["$defs"]["CatalogParameters"]["properties"]
    assert "TWEAK_FWHMPSF" in json_schema("svm")["$defs"]["CatalogParameters"]["properties"]


def test_a_parameter_that_another_switches_off_gives_one_warning() -> None:
    changes = {(name, "parameters", "astrodrizzle", "skyuser"): "MYSKY" for name in (WFC, IR)}
    (warning,) = customized(changed_file(changes), products(), "mvm").warnings
    assert "astrodrizzle/skyuser was changed, which has no effect" in warning
    assert "skysub" in warning
    changes |= {(name, "parameters", "astrodrizzle", "skysub"): False for name in (WFC, IR)}
    assert not customized(changed_file(changes), products(), "mvm").warnings
