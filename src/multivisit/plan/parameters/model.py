"""The combination parameters as a validated value; the names are those of AstroDrizzle's parameters."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from multivisit.plan.parameters.values import (
    ALL_BITS,
    GoodBits,
    Pair,
    ParameterModel,
    PositiveFloat,
    parse_good_bits,
)

__all__ = ["CombinationParameters", "parse_good_bits"]

Kernel = Literal["square", "point", "turbo", "gaussian", "lanczos2", "lanczos3"]
Count = Annotated[int, Field(ge=0)]
OutputPixels = Annotated[int, Field(gt=0)] | None
RightAscension = Annotated[float, Field(ge=0, le=360)] | None
Declination = Annotated[float, Field(ge=-90, le=90)] | None


def _parse_weight_scale(value: Any) -> Any:
    """Read a number that is written as text, and the empty text."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("", "none"):
        return None
    return float(value) if re.fullmatch(r"[0-9]+\.?[0-9]*", value.strip()) else value


WeightScale = Annotated[
    Literal["exptime", "expsq"] | PositiveFloat | None, BeforeValidator(_parse_weight_scale)
]


class CombinationParameters(ParameterModel):
    """How the exposures of a layer are combined. Immutable; every value is checked when it is made."""

    title: ClassVar[str] = "combination parameters"

    mdriztab_button: str = Field(default="Update From MDRIZTAB", alias="_mdriztab_btn_")
    """Label of a button in an old graphical interface."""

    runfile: str = "astrodrizzle.log"
    """Name of a log file."""

    wcskey: str = ""
    """Letter or name of the WCS solution that is used; empty for the primary one."""

    proc_unit: Literal["native", "electrons"] = "native"
    """Units in which pixels are processed."""

    coeffs: bool = True
    """Use the exposures' distortion model."""

    context: bool = False
    """Keep record of which chips contribute to each pixel (extension CTX)."""

    group: str = ""
    """Extensions that are combined, alone; empty for all."""

    build: bool = True
    """Write SCI, WHT and CTX into one file."""

    crbit: int = Field(default=4096, ge=0, le=ALL_BITS)
    """Data-quality flag of pixels that the cosmic-ray step finds."""

    stepsize: int = Field(default=10, ge=1)
    """Spacing, in pixels, of the points at which pixel positions are computed rather than interpolated."""

    resetbits: GoodBits = 0
    """Data-quality flags that are taken off all pixels before anything else."""

    num_cores: int | None = Field(default=1, ge=1)
    """How many processes work at a time; None for all processors."""

    in_memory: bool = False
    """Hold everything in memory instead of on disk."""

    restore: bool = False
    """Begin from archived copies of the exposures."""

    preserve: bool = False
    """Keep copies of the exposures in an archive folder."""

    overwrite: bool = False
    """Replace the copies that are in the archive folder already."""

    clean: bool = True
    """Remove intermediate files at the end."""

    static: bool = True
    """Make a mask of pixels that are low in any exposure of a chip."""

    static_sig: float = Field(default=4.0, gt=0)
    """How many standard deviations below the mode is low."""

    skysub: bool = True
    """Subtract sky levels."""

    skymethod: Literal["localmin", "globalmin", "globalmin+match", "match"] = "match"
    """What is subtracted: each exposure's own level, the lowest of all, or differences in the overlaps."""

    skystat: Literal["median", "mean", "mode"] = "median"
    """Statistic of the pixels that is their sky level."""

    skywidth: float = Field(default=0.1, gt=0)
    """Width of the histogram's bins for the mode, in standard deviations."""

    skylower: float | None = -100.0
    """Lowest pixel value that counts for the sky; None for no limit."""

    skyupper: float | None = None
    """Highest pixel value that counts for the sky; None for no limit."""

    skyclip: int = Field(default=5, ge=0)
    """How often the pixels are clipped."""

    skylsigma: float = Field(default=4.0, gt=0)
    """Clip below so many standard deviations."""

    skyusigma: float = Field(default=4.0, gt=0)
    """Clip above so many standard deviations."""

    skymask_cat: str = ""
    """File that lists masks of pixels that do not count for the sky."""

    use_static: bool = True
    """Leave pixels of the static mask out of the sky."""

    sky_bits: GoodBits = 0
    """Data-quality flags that are still good for the sky; None for all."""

    skyfile: str = ""
    """File that lists the sky level of each exposure; nothing is measured then."""

    skyuser: str = ""
    """Header keyword that holds the sky level that has been subtracted from an exposure, or @ and a file."""

    driz_separate: bool = False
    """Drizzle each exposure on its own, for the median."""

    driz_sep_kernel: Kernel = "turbo"
    """Shape of the drops of the separate images."""

    driz_sep_wt_scl: WeightScale = "exptime"
    """Scale of the weights of the separate images."""

    driz_sep_pixfrac: float = Field(default=1.0, ge=0, le=1)
    """Linear size of the drops of the separate images, in pixels of the exposure."""

    driz_sep_fillval: float | None = None
    """Value of pixels without data in the separate images; None for NaN."""

    driz_sep_bits: GoodBits = 0
    """Data-quality flags of pixels that are still drizzled into the separate images; None for all."""

    driz_sep_compress: bool = False
    """Compress the files of the separate images."""

    driz_sep_wcs: bool = False
    """Choose the pixel grid of the separate images by the parameters that follow."""

    driz_sep_refimage: str = ""
    """Image whose pixel grid the separate images have."""

    driz_sep_rot: float | None = None
    """Position angle of the separate images' y axis, degrees."""

    driz_sep_scale: PositiveFloat | None = None
    """Pixel scale of the separate images, arcsec."""

    driz_sep_outnx: OutputPixels = None
    """Columns of the separate images."""

    driz_sep_outny: OutputPixels = None
    """Rows of the separate images."""

    driz_sep_ra: RightAscension = None
    """Right ascension of the separate images' centre, degrees."""

    driz_sep_dec: Declination = None
    """Declination of the separate images' centre, degrees."""

    driz_sep_crpix1: float | None = None
    """Column of the separate images' reference pixel."""

    driz_sep_crpix2: float | None = None
    """Row of the separate images' reference pixel."""

    median: bool = False
    """Make a median image of the separate images."""

    median_newmasks: bool = True
    """Mask pixels of little weight in the median."""

    combine_maskpt: float = Field(default=0.3, ge=0)
    """Weight, as a fraction of the mean weight, below which a pixel is masked in the median."""

    combine_type: Literal[
        "minmed",
        "iminmed",
        "median",
        "imedian",
        "mean",
        "imean",
        "average",
        "iaverage",
        "sum",
        "minimum",
    ] = "minmed"
    """How the separate images are combined; minmed takes the minimum where the median looks too high."""

    combine_nsigma: Pair = (4.0, 3.0)
    """How many standard deviations the median may exceed the minimum, and so next to such a pixel."""

    combine_nlow: Count = 0
    """Number of lowest values of a pixel that do not count for the median."""

    combine_nhigh: Count = 1
    """Number of highest values of a pixel that do not count for the median."""

    combine_lthresh: float | None = None
    """Values below do not count for the median; None for no limit."""

    combine_hthresh: float | None = None
    """Values above do not count for the median; None for no limit."""

    combine_grow: Count = 1
    """Radius, in pixels, of the neighbourhood in which minmed is stricter."""

    combine_bufsize: PositiveFloat | None = None
    """Buffer of each image in MB; None for as much as is needed."""

    blot: bool = False
    """Carry the median back onto each exposure's pixels."""

    blot_interp: Literal["nearest", "linear", "poly3", "poly5", "spline3", "sinc"] = "poly5"
    """Interpolation of the median."""

    blot_sinscl: PositiveFloat = 1.0
    """Scale of the sinc interpolation."""

    blot_addsky: bool = True
    """Add each exposure's sky level to its part of the median."""

    blot_skyval: float = 0.0
    """Level that is added instead where blot_addsky is off."""

    driz_cr: bool = False
    """Flag pixels that differ from the median as cosmic rays."""

    driz_cr_corr: bool = False
    """Write the masks, and the exposures with the flagged pixels replaced."""

    driz_cr_snr: Pair = (3.5, 3.0)
    """Signal-to-noise ratio above which a pixel is flagged, and that of its neighbours."""

    driz_cr_grow: Count = 1
    """Radius, in pixels, of the neighbourhood in which the second criterion holds."""

    driz_cr_ctegrow: Count = 0
    """Length, in pixels, of the trail behind a cosmic ray that is flagged too."""

    driz_cr_scale: Pair = (1.5, 1.2)
    """Factors of the median's gradient that a difference must exceed, for a pixel and for its neighbours."""

    driz_combine: bool = True
    """Combine the exposures."""

    final_wht_type: Literal["EXP", "IVM", "ERR"] = "EXP"
    """Kind of weights: exposure time, or the inverse variance of the background or of each pixel."""

    final_kernel: Kernel = "square"
    """Shape of the drops by which pixels are spread."""

    final_wt_scl: WeightScale = "exptime"
    """Scale of the weights: the exposure time, its square, or so many times the exposure time."""

    final_pixfrac: float = Field(default=1.0, ge=0, le=1)
    """Linear size of the drops in pixels of the exposure."""

    final_fillval: float | None = None
    """Value of pixels without data; None for NaN."""

    final_maskval: float | None = None
    """Value of pixels that no exposure reaches; None for that of pixels without data."""

    final_bits: GoodBits = 0
    """Data-quality flags of pixels that are still combined; None for all."""

    final_units: Literal["cps", "counts"] = "cps"
    """Units of the mosaic: electrons per second, or electrons."""

    final_wcs: bool = True
    """Choose the mosaic's pixel grid by the parameters that follow."""

    final_refimage: str = ""
    """Image whose pixel grid the mosaic has."""

    final_rot: float | None = 0.0
    """Position angle of the mosaic's y axis, degrees."""

    final_scale: PositiveFloat | None = None
    """Pixel scale of the mosaic, arcsec."""

    final_outnx: OutputPixels = None
    """Columns of the mosaic."""

    final_outny: OutputPixels = None
    """Rows of the mosaic."""

    final_ra: RightAscension = None
    """Right ascension of the mosaic's centre, degrees."""

    final_dec: Declination = None
    """Declination of the mosaic's centre, degrees."""

    final_crpix1: float | None = None
    """Column of the mosaic's reference pixel."""

    final_crpix2: float | None = None
    """Row of the mosaic's reference pixel."""

    gain: str = ""
    """Detector gain, where the header does not have it."""

    gnkeyword: str = "ATODGNA,ATODGNB,ATODGNC,ATODGND"
    """Header keywords of the gain."""

    rdnoise: str = ""
    """Readout noise, where the header does not have it."""

    rnkeyword: str = "READNSEA,READNSEB,READNSEC,READNSED"
    """Header keywords of the readout noise."""

    exptime: str = ""
    """Exposure time, where the header does not have it."""

    expkeyword: str = "EXPTIME"
    """Header keyword of the exposure time."""

    @model_validator(mode="after")
    def _check_limits(self) -> CombinationParameters:
        if self.skylower is not None and self.skyupper is not None and self.skylower >= self.skyupper:
            raise ValueError(f"skylower {self.skylower}, expected less than skyupper {self.skyupper}")
        return self

    @property
    def combined_bits(self) -> int | None:
        """Flags that combined pixels may have once resetbits are taken off; None for all."""
        return self._without_reset(self.final_bits)

    @property
    def sky_pixel_bits(self) -> int | None:
        """Flags that sky pixels may have once resetbits are taken off; None for all."""
        return self._without_reset(self.sky_bits)

    @property
    def separate_bits(self) -> int | None:
        """Flags that pixels of the separate images may have once resetbits are taken off; None for all."""
        return self._without_reset(self.driz_sep_bits)

    def _without_reset(self, bits: int | None) -> int | None:
        """Give good flags, with those that are taken off beforehand among them."""
        return None if bits is None else bits | (self.resetbits or 0)

    @property
    def good_bits(self) -> int:
        """The data-quality flags that combined pixels may have, as one number; 65535 for all."""
        return ALL_BITS if self.final_bits is None else self.final_bits

    @property
    def good_sky_bits(self) -> int:
        """The data-quality flags that sky pixels may have, as one number; 65535 for all."""
        return ALL_BITS if self.sky_bits is None else self.sky_bits
