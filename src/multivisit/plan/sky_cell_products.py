"""Layers and their members under the published class names, for scripts that handle these objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multivisit.errors import MissingFileError, NotOfferedError, ParameterError
from multivisit.plan.exposure_files import find_exposure_file
from multivisit.plan.layers import Layer
from multivisit.plan.names import (
    exposure_name,
    layer_label,
    manifest_filename,
    member_basename,
    product_basename,
)
from multivisit.sky.cells import SkyCell

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from multivisit.exposures.model import Exposure

__all__ = ["SkyCellExposure", "SkyCellProduct", "layer_descriptions", "products_of_layers"]


class _Product:
    """What `SkyCellProduct` and `SkyCellExposure` have in common."""

    def __init__(
        self,
        prop_id: str,
        obset_id: str,
        instrument: str,
        detector: str,
        aperture_from_poller: str,
        layer: Sequence[str],
        filetype: str,
        log_level: int,
    ) -> None:
        if len(layer) not in (3, 4):
            raise ParameterError(f"layer: found {layer!r}, expected (filter, scale, exposure class, year)")
        self.prop_id = str(prop_id).zfill(5)
        self.obset_id = obset_id
        self.instrument = instrument
        self.detector = "pc" if instrument == "wfpc2" else detector
        self.aperture_from_poller = aperture_from_poller
        self.filetype = filetype
        self.log_level = log_level
        self.filters = layer[0]
        self.layer_label = layer_label(layer[1], layer[2], layer[3] if len(layer) == 4 else "all")
        self.haplevel = 1
        self.configobj_pars: Any = None
        self.rules_file: str | None = None
        self.meta_wcs: WCS | None = None
        self.mask: Any = None
        self.mask_computed = False
        self.mask_kws: dict[str, list[Any]] = {
            "NPIXFRAC": [None, "observed fraction of the sky cell"],
            "MEANEXPT": [None, "[s] mean exposure time of observed pixels"],
            "MEDEXPT": [None, "[s] median exposure time of observed pixels"],
            "MEANNEXP": [None, "mean number of exposures of observed pixels"],
            "MEDNEXP": [None, "median number of exposures of observed pixels"],
        }
        self.mask_whtkws: dict[str, list[Any]] = {
            "MEANWHT": [None, "mean weight of observed pixels"],
            "MEDWHT": [None, "median weight of observed pixels"],
        }
        self.valid_product = True
        self.refcat_filenames: list[str] = []
        self.regions_dict: dict[str, Any] = {}

    def _set_names(self, product_basename: str) -> None:
        """Set the names that follow from the product's basename."""
        self.product_basename = product_basename
        self.drizzle_filename = f"{product_basename}_{self.filetype}.fits"
        self.trl_logname = f"{product_basename}_trl.log"
        self.trl_filename = f"{product_basename}_trl.txt"

    def wcs_drizzle_product(self, meta_wcs: WCS) -> None:
        """Refuse: layers are combined by ``run_mvm_processing`` or ``mvm run``, not one object at a time."""
        raise NotOfferedError(
            f"{self.drizzle_filename}: this version does not combine single product objects, "
            "use multivisit.hapmultisequencer.run_mvm_processing"
        )


class SkyCellExposure(_Product):
    """An exposure as a member of a layer, with its published names.

    Nothing is copied: `full_filename` is the name that a copy of the exposure would have.

    Parameters
    ----------
    prop_id : str
        Number of the projection cell, for example '1889'.
    obset_id : str
        Position of the sky cell in it, for example 'x07y19'.
    instrument, detector : str
        Names in lower case.
    aperture_from_poller : str
        The aperture, or 'empty_aperture'.
    filename : str
        The exposure's file.
    layer : sequence of str
        Filter, scale ('fine' or 'coarse'), exposure class, year.
    filetype : str
        'drz' or 'drc'.
    log_level : int
        Kept as the attribute `log_level`; changes no logger.
    exposure : Exposure, optional
        The exposure, if it has been read already.

    Attributes
    ----------
    product_basename, drizzle_filename, full_filename, headerlet_filename, trl_filename, trl_logname : str
        Names of files that belong to it.
    exposure_name : str
        First eight characters of the rootname.
    svm_exposure_name : str
        The file's name without its suffix.
    new_process : bool
        Whether the exposure is NEW.
    is_singleton : bool
        Whether it is the only member of its layer.
    mjdutc : float or None
        Start of the exposure, MJD.
    exptime : float
        Exposure time in seconds.
    """

    def __init__(
        self,
        prop_id: str,
        obset_id: str,
        instrument: str,
        detector: str,
        aperture_from_poller: str,
        filename: str,
        layer: Sequence[str],
        filetype: str,
        log_level: int,
        *,
        exposure: Exposure | None = None,
    ) -> None:
        super().__init__(
            prop_id, obset_id, instrument, detector, aperture_from_poller, layer, filetype, log_level
        )
        self.filename = filename
        self._exposure = exposure
        cell = f"skycell-p{prop_id}{obset_id}"
        name = Path(filename).name
        self.basename = f"hst_{cell}_{instrument}_{self.detector}_"
        self.exposure_name = exposure_name(filename) if exposure is None else exposure.rootname[:8]
        self.svm_exposure_name = name.rpartition("_")[0]
        self._set_names(
            member_basename(
                cell, instrument, self.detector, self.filters, self.layer_label, self.exposure_name
            )
        )
        self.info = f"{self.product_basename}_{name}_{filetype}"
        self.headerlet_filename = f"{self.product_basename}_hlet.fits"
        self.full_filename = f"{self.product_basename}_{name.rpartition('_')[2]}"
        self.refname: str | None = None
        self.is_singleton = False
        self.new_process = True
        self.crclean = False
        self.input_updated = False

    @cached_property
    def exposure(self) -> Exposure:
        """The exposure, read when it is first asked for."""
        from multivisit.exposures.model import read_exposure

        return self._exposure or read_exposure(self.filename)

    @property
    def mjdutc(self) -> float | None:
        """Start of the exposure, MJD."""
        return self.exposure.start_mjd

    @property
    def exptime(self) -> float:
        """Exposure time in seconds."""
        return self.exposure.exposure_time

    @property
    def svm_gendate(self) -> str:
        """DATE of the file, empty where it has none."""
        return str(self.exposure.primary.get("DATE", ""))

    def find_member(self, name: str) -> SkyCellExposure | None:
        """Give this object if `name` is its `drizzle_filename`."""
        return self if name == self.drizzle_filename else None

    def verify_member(self, clean: bool = True) -> str:
        """Give the name that a copy has which was not changed, empty if it was; nothing is deleted."""
        return "" if self.input_updated else self.full_filename


class SkyCellProduct(_Product):
    """A layer of a sky cell, with its published names.

    Parameters
    ----------
    prop_id, obset_id : str
        Not used in the names; '0' by custom.
    instrument, detector : str
        Names in lower case.
    aperture_from_poller : str
        The aperture, or 'empty_aperture'.
    skycell_name : str
        For example 'skycell-p1889x07y19'.
    layer : sequence of str
        Filter, scale ('fine' or 'coarse'), exposure class, year.
    filetype : str
        'drz' or 'drc'.
    log_level : int
        Kept as the attribute `log_level`; changes no logger.

    Attributes
    ----------
    info, product_basename, drizzle_filename, trl_filename, trl_logname, refname, manifest_name : str
        Names of files that belong to it.
    cell_id : str
        For example 'p1889x07y19'.
    skycell : SkyCell
        The sky cell, at the scale of the layer.
    edp_list : list of SkyCellExposure
        The members.
    new_to_layer : int
        How many members are NEW.
    all_mvm_exposures : list of str
        All exposures of the input, which set the size of the mosaic.
    meta_wcs, meta_bounded_wcs : WCS or None
        The whole sky cell and the mosaic's part of it, set by `generate_metawcs`.
    """

    def __init__(
        self,
        prop_id: str,
        obset_id: str,
        instrument: str,
        detector: str,
        aperture_from_poller: str,
        skycell_name: str,
        layer: Sequence[str],
        filetype: str,
        log_level: int,
    ) -> None:
        super().__init__(
            prop_id, obset_id, instrument, detector, aperture_from_poller, layer, filetype, log_level
        )
        self.skycell = SkyCell.from_name(skycell_name, scale=layer[1])
        self.basename = f"hst_{prop_id}_{obset_id}_{instrument}_{self.detector}_"
        self.exposure_name = skycell_name
        self.cell_id = skycell_name.removeprefix("skycell-")
        self._set_names(
            product_basename(skycell_name, instrument, self.detector, self.filters, self.layer_label)
        )
        self.info = self.product_basename
        self.refname = f"{self.product_basename}_ref_cat.ecsv"
        self.manifest_name = manifest_filename(skycell_name)
        self.haplevel = 4
        self.mjdutc: float | None = None
        self.point_cat_filename: str | None = None
        self.segment_cat_filename: str | None = None
        self.edp_list: list[SkyCellExposure] = []
        self.new_to_layer = 0
        self.all_mvm_exposures: list[str] = []
        self.meta_bounded_wcs: WCS | None = None
        self.bounding_box: list[slice] | None = None
        self._known_exposures: dict[str, Exposure] = {}

    def find_member(self, name: str) -> SkyCellProduct | SkyCellExposure | None:
        """Give this product or its member whose `drizzle_filename` is `name`; None if there is none."""
        candidates: list[SkyCellProduct | SkyCellExposure] = [self, *self.edp_list]
        return next((each for each in candidates if each.drizzle_filename == name), None)

    def add_member(self, edp: SkyCellExposure) -> None:
        """Add a member."""
        self.edp_list.append(edp)
        self.new_to_layer += int(edp.new_process)

    def verify_members(self, clean: bool = True) -> list[str]:
        """Give the names of members' copies that were not changed; nothing is deleted."""
        return [edp.verify_member(clean=clean) for edp in self.edp_list]

    def add_all_mvm_exposures_list(self, exp_list: Iterable[str]) -> None:
        """Set the exposures that set the size of the mosaic, by the names of their files."""
        self.all_mvm_exposures = list(exp_list)

    def generate_metawcs(self, custom_limits: Sequence[float] | None = None) -> WCS | None:
        """Work out the grid of the mosaic: the part of the sky cell that the exposures of the input cover.

        Parameters
        ----------
        custom_limits : sequence of four float, optional
            Least and greatest x, least and greatest y of a custom mosaic, in pixels of the projection cell
            at 0.04 arcsec: takes the place of the sky cell.

        Returns
        -------
        astropy.wcs.WCS or None
            The mosaic's WCS with its ``pixel_shape``, also kept as `meta_bounded_wcs`; None if no exposure
            overlaps. `meta_wcs` becomes the WCS of the whole sky cell or custom mosaic.

        Raises
        ------
        MissingFileError, ExposureError
            If an exposure is not there or cannot be read.
        ParameterError
            If the limits are not four numbers in order.
        """
        from multivisit.plan.custom_mosaic import limits_grid
        from multivisit.sky.footprint import POINTS_PER_EDGE, bounding_grid, covered_part

        exposures = [self._exposure(name) for name in self.all_mvm_exposures]
        outlines = [chip.outline(POINTS_PER_EDGE) for exposure in exposures for chip in exposure.chips]
        if custom_limits is None:
            self.meta_wcs = self.skycell.wcs
            grid = bounding_grid(self.skycell, outlines)
        else:
            whole = limits_grid(self.skycell.projection_cell, self.skycell.scale, custom_limits)
            self.bounding_box = _bounding_box(self.skycell, custom_limits)
            self.meta_wcs = whole.wcs
            grid = covered_part(whole, outlines)
        self.meta_bounded_wcs = None if grid is None else grid.wcs
        return self.meta_bounded_wcs

    def _exposure(self, name: str) -> Exposure:
        from multivisit.exposures.model import read_exposure

        if name not in self._known_exposures:
            path = find_exposure_file(name)
            if path is None:
                raise MissingFileError(f"{name}: there is no such exposure in the working folder")
            self._known_exposures[name] = read_exposure(path)
        return self._known_exposures[name]


def layer_descriptions(layers: Iterable[Layer]) -> dict[str, dict[str, Any]]:
    """Describe the layers that are to be made, in the published form.

    Parameters
    ----------
    layers : iterable of Layer
        The layers; those without a NEW member are left out.

    Returns
    -------
    dict
        ``layer 00``, ``layer 01``, ... -> ``{"info": description, "files": names of the members' files}``.
    """
    to_be_made = [layer for layer in layers if layer.has_new]
    return {
        f"layer {number:02d}": {
            "info": layer.info,
            "files": [member.row.filename for member in layer.members],
        }
        for number, layer in enumerate(to_be_made)
    }


def products_of_layers(layers: Iterable[Layer], log_level: int = 20) -> list[SkyCellProduct]:
    """Make the published objects of the layers that are to be made.

    Parameters
    ----------
    layers : iterable of Layer
        The layers; those without a NEW member are left out.
    log_level : int, optional
        The objects' attribute `log_level`.

    Returns
    -------
    list of SkyCellProduct
        A product for each layer, with its members.
    """
    return [_product_of_layer(layer, log_level) for layer in layers if layer.has_new]


def _product_of_layer(layer: Layer, log_level: int) -> SkyCellProduct:
    names = (layer.filter_name, layer.scale_name, layer.exposure_class, layer.year)
    product = SkyCellProduct(
        "0",
        "0",
        layer.instrument,
        layer.detector,
        "empty_aperture",
        layer.sky_cell_id,
        names,
        layer.file_type,
        log_level,
    )
    for member in layer.members:
        edp = SkyCellExposure(
            product.cell_id[1:5],
            product.cell_id[5:],
            layer.instrument,
            layer.detector,
            member.row.aperture or "empty_aperture",
            member.row.filename,
            names,
            layer.file_type,
            log_level,
            exposure=member.exposure,
        )
        edp.new_process = member.row.is_new
        edp.is_singleton = len(layer.members) == 1
        product.add_member(edp)
    exposures = {str(exposure.path): exposure for exposure in layer.all_exposures}
    product.add_all_mvm_exposures_list(exposures)
    product._known_exposures.update(exposures)
    return product


def _bounding_box(sky_cell: SkyCell, limits: Sequence[float]) -> list[slice]:
    """Give the custom limits as slices (y, x) of the projection cell at the layer's scale."""
    ratio = float(sky_cell.projection_cell.wcs.pscale) / sky_cell.scale
    x_min, x_max, y_min, y_max = (round(float(limit) * ratio) for limit in limits)
    return [slice(y_min, y_max), slice(x_min, x_max)]
