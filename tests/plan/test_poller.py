"""Poller files: what is read, what is refused and how, what is written."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multivisit.errors import (
    ExposureError,
    MissingFileError,
    ParameterError,
    PollerError,
    ProductError,
    SkyCellError,
)
from multivisit.plan.poller import (
    PollerRow,
    generate_poller_file,
    read_names,
    read_poller,
    rows_from_files,
    write_poller,
)

LINE = (
    "ib4606c5q_flc.fits,11665,B46,06,1.0,F555W,UVIS,skycell-p2381x05y09,NEW,"
    "/ifs/archive/ops/hst/public/ib46/ib4606c5q/ib4606c5q_flc.fits"
)
ROW = PollerRow(
    filename="ib4606c5q_flc.fits",
    proposal_id=11665,
    program_id="B46",
    obset_id="06",
    exposure_time=1.0,
    filters="F555W",
    detector="UVIS",
    sky_cell_id="skycell-p2381x05y09",
    is_new=True,
    pathname="/ifs/archive/ops/hst/public/ib46/ib4606c5q/ib4606c5q_flc.fits",
    line_number=1,
)
CELL = "skycell-p1889x11y11"

MakeFile = Callable[..., Path]


def poller(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "poller.out"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def changed(column: int, value: str) -> str:
    cells = LINE.split(",")
    cells[column] = value
    return ",".join(cells)


def other(name: str) -> str:
    return changed(0, name)


# ------------------------------------------------------------------------------------------------- reading


def test_the_published_example_is_read(tmp_path: Path) -> None:
    assert read_poller(poller(tmp_path, LINE + "\n")) == (ROW,)


def test_a_single_visit_file_has_no_sky_cell(tmp_path: Path) -> None:
    cells = LINE.split(",")
    (row,) = read_poller(poller(tmp_path, ",".join(cells[:7] + cells[9:])))
    assert row == replace(ROW, sky_cell_id=None)


def test_a_list_of_files_is_read(tmp_path: Path) -> None:
    rows = read_poller(poller(tmp_path, "a/ib4606c5q_flc.fits\nib4606c6q_flt.fits.gz\n"))
    assert [row.filename for row in rows] == ["a/ib4606c5q_flc.fits", "ib4606c6q_flt.fits.gz"]
    assert [row.name for row in rows] == ["ib4606c5q_flc.fits", "ib4606c6q_flt.fits.gz"]
    assert rows[1].line_number == 2
    assert rows[0].exposure_time is None


def test_a_wfpc2_list_has_apertures(tmp_path: Path) -> None:
    (row,) = read_poller(poller(tmp_path, "u2eq0201t_c0m.fits, PC1-FIX;F160BN15\n"))
    assert (row.filename, row.aperture) == ("u2eq0201t_c0m.fits", "PC1-FIX;F160BN15")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_byte_order_mark_comments_and_blank_lines_survive(tmp_path: Path, ending: str) -> None:
    lines = ["# a comment", "", f"  {LINE}  ", "   ", "#", other("ib4606c6q_flc.fits")]
    rows = read_poller(poller(tmp_path, b"\xef\xbb\xbf" + ending.join(lines).encode()))
    assert [row.line_number for row in rows] == [3, 6]
    assert rows[0].filename == "ib4606c5q_flc.fits"


def test_blanks_around_values_do_not_matter(tmp_path: Path) -> None:
    assert read_poller(poller(tmp_path, LINE.replace(",", " ,  "))) == (ROW,)


def test_quoted_values_may_hold_commas(tmp_path: Path) -> None:
    (row,) = read_poller(poller(tmp_path, changed(9, '"/data/a, b/"')))
    assert row.pathname == "/data/a, b/"


def test_old_and_new_in_any_case(tmp_path: Path) -> None:
    rows = read_poller(poller(tmp_path, changed(8, "Old") + "\n" + other("x_flt.fits")))
    assert [row.is_new for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("column", "name", "value", "expected"),
    [
        (0, "filename", "ib4606c5q_raw.fits", "_flt.fits"),
        (0, "filename", "ib4606c5q", "_flt.fits"),
        (0, "filename", "", "_flt.fits"),
        (1, "proposal_id", "11665a", "proposal number"),
        (1, "proposal_id", "-5", "proposal number"),
        (2, "program_id", "B4", "three letters"),
        (3, "obset_id", "006", "two letters"),
        (4, "exptime", "long", "seconds"),
        (4, "exptime", "-1", "0 or more"),
        (4, "exptime", "nan", "seconds"),
        (4, "exptime", "inf", "seconds"),
        (5, "filters", "", "filter names"),
        (6, "detector", "NICMOS", "one of WFC, HRC"),
        (7, "skycell_id", "skycell-p2381x5y9", "skycell-p"),
        (7, "skycell_id", "skycell-p2644x05y09", "skycell-p"),
        (7, "skycell_id", "skycell-p2381x22y09", "skycell-p"),
        (8, "skycell_new", "0", "write NEW instead of 0"),
        (8, "skycell_new", "1", "write OLD instead of 1"),
        (8, "skycell_new", "YES", "NEW or OLD"),
        (9, "pathname", "", "path"),
    ],
)
def test_a_bad_value_is_named_with_file_line_column_and_what_is_expected(
    tmp_path: Path, column: int, name: str, value: str, expected: str
) -> None:
    with pytest.raises(PollerError) as error:
        read_poller(poller(tmp_path, f"# comment\n{changed(column, value)}\n"))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'poller.out'}, line 2, column {name}: found {value!r}, expected ")
    assert expected in message


def test_all_the_bad_lines_are_in_one_error(tmp_path: Path) -> None:
    lines = [changed(4, "x"), LINE, changed(1, "y"), "one,two,three", changed(6, "z").replace("F555W", "?")]
    with pytest.raises(PollerError) as error:
        read_poller(poller(tmp_path, "\n".join(lines)))
    message = str(error.value)
    for part in (
        "5 problems",
        "line 1, column exptime",
        "line 3, column proposal_id",
        "line 4: found 3 columns",
    ):
        assert part in message
    assert "line 5, column filters" in message
    assert "line 5, column detector" in message


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    with pytest.raises(PollerError) as error:
        read_poller(poller(tmp_path, "\n".join(f"file{number}_raw.fits" for number in range(50))))
    assert len(str(error.value).splitlines()) == 22
    assert str(error.value).endswith("... and 30 more")


@pytest.mark.parametrize("columns", [3, 7, 9, 11])
def test_a_wrong_number_of_columns_is_an_error(tmp_path: Path, columns: int) -> None:
    text = ",".join((LINE + ",more").split(",")[:columns])
    with pytest.raises(PollerError, match=rf"line 1: found {columns} columns, expected 1, 2, 8 or 10"):
        read_poller(poller(tmp_path, text))


def test_lines_of_different_layouts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        PollerError, match=r"line 2: found 9 columns, expected 10 as in line 1 \(filename, prop"
    ):
        read_poller(poller(tmp_path, f"{LINE}\n{other('x_flt.fits').rpartition(',')[0]}"))


def test_broken_quotes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PollerError, match=r"line 2: .*expected comma-separated values"):
        read_poller(poller(tmp_path, f'{LINE}\n"ib4606c6q_flt.fits,1'))


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"])
def test_an_empty_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(PollerError, match=r"poller\.out: the file is empty"):
        read_poller(poller(tmp_path, text))


def test_things_that_are_no_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(PollerError, match="line 2: found bytes that are not UTF-8"):
        read_poller(poller(tmp_path, b"a_flt.fits\n\xff\xfe\x00"))
    with pytest.raises(PollerError, match="FITS file"):
        read_poller(poller(tmp_path, b"SIMPLE  =                    T"))
    with pytest.raises(PollerError, match="folder"):
        read_poller(tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        read_poller(tmp_path / "nowhere.out")


def test_a_file_listed_twice_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(
        PollerError, match=r"lines 1 and 3: ib4606c5q_flc\.fits is listed twice for skycell-p2381"
    ):
        read_poller(poller(tmp_path, f"{LINE}\n{other('x_flt.fits')}\n{changed(9, '/elsewhere')}"))


def test_compressed_and_plain_files_are_the_same_file(tmp_path: Path) -> None:
    with pytest.raises(PollerError, match="lines 1 and 2"):
        read_poller(poller(tmp_path, "x_flt.fits\ny/x_flt.fits.gz"))


def test_a_file_may_be_listed_for_two_sky_cells(tmp_path: Path) -> None:
    rows = read_poller(poller(tmp_path, f"{LINE}\n{changed(7, 'skycell-p2381x06y09')}"))
    assert [row.sky_cell_id for row in rows] == ["skycell-p2381x05y09", "skycell-p2381x06y09"]


@given(st.text())
def test_no_text_gives_another_error_than_a_poller_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "poller.out"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(PollerError):
        assert read_poller(path)


@given(st.lists(st.sampled_from(LINE.split(",")) | st.text(max_size=8), min_size=1, max_size=11))
def test_no_line_of_columns_gives_another_error(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "poller.out"
    path.write_bytes(",".join(cells).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(PollerError):
        assert read_poller(path)


# ------------------------------------------------------------------------------------------------- writing

letters = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1)
# Any text that can be printed and has no blanks around it, with commas and quotes in it.
path_text = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(' ,"#'), min_size=1
)
printable = path_text.map(str.strip).filter(lambda text: bool(text) and text.isprintable())
stems = printable.filter(lambda text: not text.startswith("#"))


@st.composite
def poller_rows(draw: st.DrawFn) -> list[PollerRow]:
    names = draw(st.lists(stems, min_size=1, max_size=5, unique_by=lambda stem: Path(f"{stem}_").name))
    rows = []
    for name in names:
        filename = f"{name}_{draw(st.sampled_from(['flt', 'flc', 'c0m']))}.fits"
        rows.append(
            PollerRow(
                filename=filename + draw(st.sampled_from(["", ".gz"])),
                proposal_id=draw(st.integers(0, 99999)),
                program_id=draw(st.text("ABC123", min_size=3, max_size=3)),
                obset_id=draw(st.text("ABC123", min_size=1, max_size=2)),
                exposure_time=draw(st.floats(0, 1e6)),
                filters=draw(letters) + draw(st.sampled_from(["", ";CLEAR2L", "-POL60V"])),
                detector=draw(st.sampled_from(["WFC", "HRC", "SBC", "UVIS", "IR", "PC", "WFPC2"])),
                sky_cell_id=f"skycell-p{draw(st.integers(0, 2643)):04d}x{draw(st.integers(1, 21)):02d}y01",
                is_new=draw(st.booleans()),
                pathname=draw(printable),
            )
        )
    return rows


@given(poller_rows())
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[PollerRow]
) -> None:
    path = tmp_path_factory.mktemp("round") / "poller.out"
    write_poller(rows, path)
    assert read_poller(path) == tuple(replace(row, line_number=i) for i, row in enumerate(rows, start=1))
    assert [entry.name for entry in path.parent.iterdir()] == ["poller.out"]


def test_the_published_example_is_written_as_published(tmp_path: Path) -> None:
    write_poller([ROW], tmp_path / "poller.out")
    assert (tmp_path / "poller.out").read_text() == LINE + "\n"


def test_the_other_layouts_are_written(tmp_path: Path) -> None:
    path = tmp_path / "poller.out"
    write_poller([ROW], path, "svm")
    assert path.read_text() == LINE.replace("skycell-p2381x05y09,NEW,", "") + "\n"
    write_poller([ROW], path, "list")
    assert path.read_text() == "ib4606c5q_flc.fits\n"
    write_poller([replace(ROW, aperture="PC1-FIX")], path, "list")
    assert path.read_text() == "ib4606c5q_flc.fits,PC1-FIX\n"


def test_rows_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "poller.out"
    with pytest.raises(PollerError, match="no row"):
        write_poller([], path)
    with pytest.raises(PollerError, match=r"row of ib4606c5q_flc\.fits, column skycell_id: found ''"):
        write_poller([replace(ROW, sky_cell_id=None)], path)
    with pytest.raises(PollerError, match="column pathname"):
        write_poller([replace(ROW, pathname="two\nlines")], path)
    with pytest.raises(PollerError, match="blanks around"):
        write_poller([replace(ROW, pathname=" /data")], path)
    with pytest.raises(PollerError, match="listed twice"):
        write_poller([ROW, ROW], path)
    with pytest.raises(ParameterError, match="'mvn'"):
        write_poller([ROW], path, "mvn")  # type: ignore[arg-type]
    assert not path.exists()


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="nowhere"):
        write_poller([ROW], tmp_path / "nowhere" / "poller.out")


# ------------------------------------------------------------------------------------- rows out of exposures


def test_rows_describe_exposures(hubble_file: MakeFile) -> None:
    path = hubble_file("jbl70rtvq_flc.fits", exposure_time=339.0)
    (row,) = rows_from_files([path], CELL)
    assert row == PollerRow(
        "jbl70rtvq_flc.fits", 12286, "BL7", "0R", 339.0, "F775W", "WFC", CELL, True, str(path), 0, ""
    )


def test_single_visit_names_and_two_filters(hubble_file: MakeFile) -> None:
    name = "hst_12286_0r_acs_wfc_f606w-pol60v_jbl70rtv_flc.fits"
    (row,) = rows_from_files([hubble_file(name, filters=("POL60V", "F606W"))], is_new=False)
    assert (row.filename, row.program_id, row.filters) == (name, "BL7", "F606W-POL60V")
    assert row.sky_cell_id is None
    assert not row.is_new


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"PRIMESI": "ACS", "LINENUM": "0X.001"}, "0X"),
        ({"PRIMESI": "WFC3", "LINENUM": "0X.001"}, "0R"),
        ({"PRIMESI": "ACS", "LINENUM": ""}, "0R"),
        ({"PRIMESI": "", "LINENUM": "0X.001"}, "0R"),
    ],
)
def test_the_observation_set(hubble_file: MakeFile, keywords: dict[str, str], expected: str) -> None:
    (row,) = rows_from_files([hubble_file("jbl70rtvq_flc.fits", **keywords)])
    assert row.obset_id == expected


# ------------------------------------------------------------------------------------ making poller files


def test_a_poller_file_is_made_of_names_and_rootnames(tmp_path: Path, hubble_file: MakeFile) -> None:
    for name in (
        "jbl70rtvq_flc.fits",
        "jbl70rtvq_flt.fits",
        "jbl70rtwq_flt.fits",
        "elsewhere/jbl70rtxq_flt.fits",
    ):
        hubble_file(name)
    names = tmp_path / "names.txt"
    names.write_text("# exposures\njbl70rtvq\n\njbl70rtwq_flt.fits\r\nelsewhere/jbl70rtxq_flt.fits\n")
    output = tmp_path / "poller.out"
    rows = generate_poller_file(names, "mvm", output, CELL, folder=tmp_path)
    assert [row.filename for row in rows] == [
        "jbl70rtvq_flc.fits",
        "jbl70rtwq_flt.fits",
        "jbl70rtxq_flt.fits",
    ]
    read = read_poller(output)
    assert [replace(row, line_number=0) for row in read] == list(rows)
    assert {row.sky_cell_id for row in read} == {CELL}
    assert all(row.is_new for row in read)


def test_single_visit_files_need_no_sky_cell(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    (row,) = generate_poller_file(["jbl70rtvq"], "svm", tmp_path / "p.out", CELL, folder=tmp_path)
    assert row.sky_cell_id is None
    assert len((tmp_path / "p.out").read_text().split(",")) == 8


def test_missing_exposures_are_left_out_with_a_warning(
    tmp_path: Path, hubble_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    rows = generate_poller_file(["jbl70rtvq", "jbl70rtwq"], "svm", tmp_path / "p.out", folder=tmp_path)
    assert [row.filename for row in rows] == ["jbl70rtvq_flc.fits"]
    assert (len(rows), rows[0], rows[:1]) == (1, rows.rows[0], rows.rows)
    assert rows.missing == ("jbl70rtwq",)
    assert rows.path == tmp_path / "p.out"
    assert "No exposure file found for jbl70rtwq" in caplog.text


def test_a_list_of_which_nothing_is_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="none of the 2 exposures"):
        generate_poller_file(["jbl70rtvq", "x_flt.fits"], "svm", tmp_path / "p.out", folder=tmp_path)
    assert not (tmp_path / "p.out").exists()


def test_impossible_requests_are_errors(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    output = tmp_path / "p.out"
    with pytest.raises(ParameterError, match="poller_file_type"):
        generate_poller_file(["jbl70rtvq"], "hap", output, folder=tmp_path)
    with pytest.raises(ParameterError, match="with skycell_name, on the command line with -s"):
        generate_poller_file(["jbl70rtvq"], "mvm", output, folder=tmp_path)
    with pytest.raises(ParameterError, match="skycell_name: found 5"):
        generate_poller_file(["jbl70rtvq"], "mvm", output, 5, folder=tmp_path)  # type: ignore[arg-type]
    for nothing in (None, ""):
        with pytest.raises(ParameterError, match="output_poller_filename: found"):
            generate_poller_file(["jbl70rtvq"], "svm", nothing, folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(PollerError, match="the data quality file of u2eq0201t_c0m"):
        generate_poller_file(["u2eq0201t_c1m.fits"], "svm", output, folder=tmp_path)
    with pytest.raises(SkyCellError):
        generate_poller_file(["jbl70rtvq"], "mvm", output, "skycell-p1889", folder=tmp_path)
    with pytest.raises(PollerError, match=r"item 1: found 'jbl70rtvq_raw\.fits'"):
        generate_poller_file(["jbl70rtvq_raw.fits"], "svm", output, folder=tmp_path)
    with pytest.raises(PollerError, match="association"):
        generate_poller_file(["jbl70r010_asn.fits"], "svm", output, folder=tmp_path)
    with pytest.raises(PollerError, match="no name"):
        generate_poller_file([], "svm", output, folder=tmp_path)
    with pytest.raises(PollerError, match="listed twice"):
        generate_poller_file(["jbl70rtvq", "jbl70rtvq_flc.fits"], "svm", output, folder=tmp_path)
    with pytest.raises(ParameterError, match="input_list"):
        generate_poller_file(5, "svm", output, folder=tmp_path)  # type: ignore[arg-type]
    assert not output.exists()


def test_the_list_itself_is_never_replaced(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    names = tmp_path / "names.txt"
    names.write_text("jbl70rtvq")
    with pytest.raises(ParameterError, match="would replace the list"):
        generate_poller_file(names, "svm", tmp_path / "." / "names.txt", folder=tmp_path)
    assert names.read_text() == "jbl70rtvq"


@pytest.mark.parametrize("output", ["jbl70rtvq_flc.fits", "link.out", "hard.out", "other.fits", "other.gz"])
def test_no_exposure_is_ever_replaced(tmp_path: Path, hubble_file: MakeFile, output: str) -> None:
    path = hubble_file("jbl70rtvq_flc.fits")
    (tmp_path / "link.out").symlink_to(path)
    (tmp_path / "hard.out").hardlink_to(path)
    other = hubble_file("other.fits")
    (tmp_path / "other.gz").write_bytes(gzip.compress(other.read_bytes()))
    before = (tmp_path / output).read_bytes()
    with pytest.raises(ParameterError, match=r"the poller file would replace (the input|a FITS file)"):
        generate_poller_file(["jbl70rtvq"], "svm", tmp_path / output, folder=tmp_path)
    assert (tmp_path / output).read_bytes() == before
    with pytest.raises(ParameterError, match=r"would replace"):
        write_poller([ROW], tmp_path / output)


def test_devices_are_not_replaced(tmp_path: Path, hubble_file: MakeFile) -> None:
    hubble_file("jbl70rtvq_flc.fits")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProductError, match="a device or a pipe"):
        generate_poller_file(["jbl70rtvq"], "svm", tmp_path / "pipe", folder=tmp_path)


@pytest.mark.parametrize("read", [read_poller, read_names])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(PollerError, match="found a device or a pipe, expected a text file"):
            read(path)
    huge = tmp_path / "huge.out"
    with huge.open("wb") as stream:
        stream.truncate(10**12)
    with pytest.raises(PollerError, match="found 1000000000000 bytes"):
        read(huge)
    with pytest.raises(MissingFileError):
        read(tmp_path / "a\0b")


@pytest.mark.parametrize("header", ["filename", "Filename, aperture", "filename,proposal_id,program_id"])
@pytest.mark.parametrize("read", [read_poller, read_names])
def test_a_header_line_is_one_error(tmp_path: Path, header: str, read: Callable[[Path], object]) -> None:
    path = poller(tmp_path, f"{header}\n{LINE}\n{other('x_flt.fits')}\nbad\n")
    with pytest.raises(PollerError, match=r"line 1: found a header line.*remove the header line$"):
        read(path)


@pytest.mark.parametrize("line", ["x" * 10**6, '"' + "x" * 10**6, changed(5, "*" * 10**6)])
def test_long_values_are_cut_in_messages(tmp_path: Path, line: str) -> None:
    for read in (read_poller, read_names):
        with pytest.raises(PollerError) as error:
            read(poller(tmp_path, f"{line}\nbad"))
        assert len(str(error.value)) < 600


def test_data_quality_files_and_associations_are_named(tmp_path: Path) -> None:
    for name, words in (
        ("u2eq0201t_c1m.fits", "the data quality file of u2eq0201t_c0m.fits, not an exposure"),
        ("jbl70r010_asn.fits", "association tables are not read; list their exposures"),
    ):
        for read in (read_poller, read_names):
            with pytest.raises(PollerError, match=words):
                read(poller(tmp_path, f"{name}\n"))


def test_an_unreadable_exposure_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "jbl70rtvq_flc.fits").write_bytes(b"not FITS")
    with pytest.raises(ExposureError, match="jbl70rtvq"):
        generate_poller_file(["jbl70rtvq"], "svm", tmp_path / "p.out", folder=tmp_path)


def test_names_with_problems_are_reported_together(tmp_path: Path) -> None:
    path = poller(tmp_path, 'good_flt.fits\nbad.fits\nworse\n"')
    with pytest.raises(PollerError) as error:
        read_names(path)
    for part in ("line 2: found 'bad.fits'", "line 3: found 'worse'", "line 4"):
        assert part in str(error.value)
