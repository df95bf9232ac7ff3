"""The report: looked at in a browser, and made from whatever a folder holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from multivisit.errors import MissingFileError
from multivisit.quality.limits import CHECKS
from multivisit.quality.report import REPORT_NAME, write_report

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

# Counts what goes wrong, then writes what the page looks like where the test can read it.
_WITNESS = """<script>
window.__errors = [];
const note = (e) => window.__errors.push(String(e.message || e.target.outerHTML).slice(0, 200));
addEventListener("error", note, true);
addEventListener("unhandledrejection", (e) => window.__errors.push(String(e.reason)));
console.error = (...all) => window.__errors.push(all.join(" "));
addEventListener("load", () => setTimeout(() => {
  const click = (selector) => document.querySelector(selector).click();
  const shown = () => [...document.querySelectorAll("#vetting tbody tr")].filter((row) => !row.hidden);
  const first = () => shown()[0].cells[0].textContent;
  const out = { errors: window.__errors, images: [], outside: [] };
  for (const image of document.images) out.images.push([image.naturalWidth, image.naturalHeight]);
  out.svgImages = [...document.querySelectorAll("svg image")].length;
  out.paths = document.querySelectorAll("svg.sky .layer path").length;
  out.plots = document.querySelectorAll("svg.plot").length;
  out.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const inside = [...document.querySelectorAll("a[href^='#']")];
  out.links = inside.filter((a) => !document.querySelector(a.hash)).length;
  click("#vetting th button");
  out.ascending = first();
  click("#vetting th button");
  out.descending = first();
  const filter = document.getElementById("filter");
  filter.value = "jsim0201q";
  filter.dispatchEvent(new Event("input"));
  out.filtered = shown().length;
  out.counted = document.getElementById("shown").value;
  click(".legend button");
  out.chosen = document.querySelectorAll("svg.sky.chosen .layer.on").length;
  const ground = () => getComputedStyle(document.body).backgroundColor;
  const before = ground();
  click("#theme");
  out.grounds = [before, ground()];
  const result = document.createElement("script");
  result.type = "application/json";
  result.id = "witness";
  result.textContent = JSON.stringify(out);
  document.body.append(result);
}, 50));
</script>"""


@pytest.fixture(scope="session")
def browser() -> str:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser here: install one of {', '.join(_BROWSERS)}")
    return found


def run_browser(browser: str, page: Path, *options: str) -> str:
    profile = page.parent / "profile"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--hide-scrollbars", *options]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def looked_at(browser: str, report: Path, folder: Path, width: int) -> dict:
    page = folder / f"witness-{width}.html"
    text = report.read_text(encoding="utf-8")
    page.write_text(text.replace("<head>", f"<head>{_WITNESS}", 1), encoding="utf-8")
    dom = run_browser(browser, page, f"--window-size={width},1000", "--dump-dom")
    found = re.search(r'<script type="application/json" id="witness">(.*?)</script>', dom, re.DOTALL)
    assert found, "the page's own scripts did not come to their end"
    return json.loads(found[1])


@pytest.fixture(scope="session")
def good_report(good_run: Path) -> Path:
    return write_report(good_run)


class _Addresses(HTMLParser):
    """Collects everything that a page would fetch, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        elif tag != "link":
            self.fetched += [values[key] or "" for key in ("src", "href", "srcset", "data") if key in values]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_page_without_a_missing_image_or_an_error(browser, good_report, tmp_path, width):
    seen = looked_at(browser, good_report, tmp_path, width)
    assert seen["errors"] == []
    assert seen["images"]
    assert all(w > 0 and h > 0 for w, h in seen["images"])
    assert seen["svgImages"] == 2
    # Three exposures of two chips.
    assert seen["paths"] == 6
    assert seen["plots"] >= 4
    assert seen["wide"] <= 0
    assert seen["links"] == 0
    assert seen["ascending"] < seen["descending"]
    assert (seen["filtered"], seen["counted"]) == (1, "1 of 3")
    assert seen["chosen"] == 1
    assert seen["grounds"][0] != seen["grounds"][1]


def test_the_screenshot_has_pictures_in_it(browser, good_report, tmp_path):
    picture = tmp_path / "report.png"
    page = tmp_path / "report.html"
    shutil.copy(good_report, page)
    run_browser(browser, page, "--window-size=1280,1800", f"--screenshot={picture}")
    if kept := os.environ.get("MULTIVISIT_SCREENSHOTS"):
        shutil.copy(picture, Path(kept) / "report.png")
    with Image.open(picture) as image:
        assert image.size == (1280, 1800)
        colours = image.convert("RGB").resize((160, 225)).getcolors(40000)
    # An empty page has a handful of colours.
    assert len(colours) > 500


def test_the_page_fetches_nothing_and_its_links_lead_to_files(good_report):
    text = good_report.read_text(encoding="utf-8")
    addresses = _Addresses()
    addresses.feed(text)
    assert addresses.fetched
    assert all(address.startswith("data:") for address in addresses.fetched)
    assert "@import" not in text
    assert "url(" not in text
    files = {link for link in addresses.links if not link.startswith("#")}
    assert files
    assert all((good_report.parent / link).is_file() for link in files)
    assert good_report.stat().st_size < 2_000_000


def test_every_check_with_its_limits_and_every_exposure_is_in_the_page(good_report, star_exposures):
    text = good_report.read_text(encoding="utf-8")
    for kind in CHECKS.values():
        assert kind.title in text
    assert "pass ≤ 10 mas · no failure ≤ 20 mas" in text
    assert all(path.name in text for path in star_exposures)
    assert "multivisit" in text
    assert "option quality_tests" not in text
    assert ">quality_tests</th><td>True<" in text


def test_layers_made_side_by_side_take_the_time_from_the_first_to_the_last(good_run, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    path = next(good_run.glob("*_quality.json"))
    product = path.name.removesuffix("_quality.json")
    content = json.loads(path.read_text())
    # From 1000 to 1010 s and from 1004 to 1012 s: 12 s, not 18.
    for name, end, length in ((product, 1010.0, 10.0), (product.replace("f606w", "f814w"), 1012.0, 8.0)):
        content["product"] = f"{name}_drc.fits"
        content["run"] |= {"finished": end, "seconds": length}
        (folder / f"{name}_quality.json").write_text(json.dumps(content))
        shutil.copy(good_run / f"{product}_drc.fits", folder / f"{name}_drc.fits")
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Made in</span><strong>12.0 s<" in text


def test_the_report_is_made_of_the_products_alone_where_nothing_else_is_left(good_run, tmp_path, browser):
    product = next(good_run.glob("*_drc.fits"))
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(product, folder)
    report = write_report(folder, tmp_path / "page.html")
    text = report.read_text(encoding="utf-8")
    assert "no quality file" in text
    assert "no manifest" in text
    assert f'href="archive/{product.name}"' in text
    # The outline comes from the product's own header.
    assert text.count('class="layer c0"') == 1
    run_browser(browser, report, "--dump-dom")


def test_bad_files_are_told_in_the_page(good_run, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(good_run, folder)
    base = next(folder.glob("*_quality.json")).name.removesuffix("_quality.json")
    (folder / f"{base}_quality.json").write_text('{"format": "multivisit quality 1", "checks": ')
    (folder / f"{base}_drc.png").write_bytes(b"no picture")
    (folder / f"{base}_drc.fits").write_bytes(b"SIMPLE  = no")
    next(folder.glob("*_vetting.ecsv")).write_text("nothing here\n")
    with next(folder.glob("*_manifest.txt")).open("a") as manifest:
        manifest.write("hst_lost_drz.fits\n")
    text = write_report(folder).read_text(encoding="utf-8")
    for word in ("_quality.json: cannot be read", "_drc.png: cannot be shown", "_drc.fits: cannot be read"):
        assert word in text
    assert "no table of exposures" in text
    assert "hst_lost_drz.fits" in text
    assert (folder / REPORT_NAME).is_file()


@pytest.mark.parametrize(
    "value", [[], {}, {"checks": 3}, {"checks": [{"name": "weights", "verdict": "odd", "value": "x"}, 7]}]
)
def test_quality_files_of_unexpected_content_do_no_harm(good_run, tmp_path, value):
    base = next(good_run.glob("*_quality.json")).name
    content = {"format": "multivisit quality 1", **value} if isinstance(value, dict) else value
    shutil.copy(next(good_run.glob("*_drc.fits")), tmp_path)
    (tmp_path / base).write_text(json.dumps(content))
    assert "</html>" in write_report(tmp_path).read_text(encoding="utf-8")


def test_text_from_files_cannot_become_markup(good_run, tmp_path):
    shutil.copytree(good_run, tmp_path / "out")
    path = next((tmp_path / "out").glob("*_quality.json"))
    quality = json.loads(path.read_text())
    quality["checks"][0]["explanation"] = "<script>alert(1)</script>"
    quality["exposures"][0]["filename"] = '"><img src=x onerror=alert(1)>'
    quality["exposures"][0]["rootname"] = "</title><b>"
    path.write_text(json.dumps(quality))
    text = write_report(tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "</title><b>" not in text


def test_a_hundred_layers_stay_a_small_page(good_run, tmp_path):
    base = next(good_run.glob("*_quality.json")).name.removesuffix("_quality.json")
    for number in range(100):
        name = base.replace("f606w", f"f{number:03d}w")
        for suffix in ("quality.json", "drc.png"):
            shutil.copy(good_run / f"{base}_{suffix}", tmp_path / f"{name}_{suffix}")
    report = write_report(tmp_path)
    assert report.read_text(encoding="utf-8").count("<article") == 100
    assert report.stat().st_size < 12_000_000


def test_a_folder_that_holds_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(MissingFileError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="no mosaic"):
        write_report(tmp_path)
