"""The published classes under their published name."""

from __future__ import annotations

import inspect

from multivisit.haputils import product
from multivisit.plan import sky_cell_products


def test_the_classes_are_handed_on() -> None:
    assert product.SkyCellProduct is sky_cell_products.SkyCellProduct
    assert product.SkyCellExposure is sky_cell_products.SkyCellExposure


def test_the_constructors_have_the_published_arguments() -> None:
    published = ["prop_id", "obset_id", "instrument", "detector", "aperture_from_poller"]
    of_product = [*published, "skycell_name", "layer", "filetype", "log_level"]
    of_exposure = [*published, "filename", "layer", "filetype", "log_level"]
    assert list(inspect.signature(product.SkyCellProduct).parameters) == of_product
    assert list(inspect.signature(product.SkyCellExposure).parameters)[:9] == of_exposure
