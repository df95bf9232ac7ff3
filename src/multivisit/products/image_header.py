"""Headers of the images of a mosaic: SCI, WHT, CTX and ERR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multivisit.products.header import add_history, total_time, with_long_strings_declared
from multivisit.products.keywords import CHIP_KEYWORDS, MULTIPLE, combine_keyword, put_all
from multivisit.products.members import combined_exposures, combined_photometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io import fits

    from multivisit.products.header import ProductDescription
    from multivisit.sky.grid import OutputGrid

__all__ = ["error_header", "image_header", "science_header", "weight_header"]

_WEIGHT_KEYWORDS = ("WCSNAME", "EXPNAME", "CCDCHIP")
_INVERSE_VARIANCE = ("(ELECTRONS/S)**-2", "inverse variance of a pixel's rate")
_WEIGHT_UNITS = {
    "EXP": ("UNITLESS", "weights have no units"),
    "IVM": _INVERSE_VARIANCE,
    "ERR": _INVERSE_VARIANCE,
}
_PHOTOMETRY_COMMENTS = {
    "PHOTMODE": "observation configuration of the first chip",
    "PHOTFLAM": "inverse sensitivity, erg/s/cm2/Angstrom/electron",
    "PHOTFNU": "inverse sensitivity, Jy*s/electron",
    "PHOTZPT": "ST magnitude zero point",
    "PHOTPLAM": "[Angstrom] pivot wavelength",
    "PHOTBW": "[Angstrom] RMS bandwidth of filter and detector",
}


def science_header(product: ProductDescription) -> fits.Header:
    """Make the header of the SCI extension.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.

    Returns
    -------
    Header
        Complete but for CHECKSUM and DATASUM.
    """
    photometry = combined_photometry(product.chips)
    exposures = combined_exposures(product.chips)
    header = image_header(
        product,
        "SCI",
        product.grid.shape,
        bits=-32,
        cards=[
            ("BUNIT", _units(product), "units of the pixels"),
            ("EXPTIME", total_time(exposures), "[s] sum over the exposures"),
            ("NCOMBINE", len(exposures), "number of exposures combined"),
            *_member_cards(product),
            ("S_REGION", product.s_region, ""),
            *((key, value, _PHOTOMETRY_COMMENTS[key]) for key, value in photometry.keywords.items()),
        ],
    )
    for note in photometry.notes:
        add_history(header, note)
    return header


def weight_header(product: ProductDescription) -> fits.Header:
    """Make the header of the WHT extension.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.

    Returns
    -------
    Header
        Complete but for CHECKSUM and DATASUM.
    """
    kind = product.parameters.final_wht_type
    return image_header(
        product,
        "WHT",
        product.grid.shape,
        bits=-32,
        cards=[
            ("BUNIT", *_WEIGHT_UNITS[kind]),
            ("WHTTYPE", kind, "what the weights are"),
            *(card for card in _member_cards(product) if card[0] in _WEIGHT_KEYWORDS),
        ],
    )


def error_header(product: ProductDescription) -> fits.Header:
    """Make the header of the ERR extension.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.

    Returns
    -------
    Header
        Complete but for CHECKSUM and DATASUM.
    """
    cards = [("BUNIT", _units(product), "units of the standard errors")]
    return image_header(product, "ERR", product.grid.shape, bits=-32, cards=cards)


def _units(product: ProductDescription) -> str:
    return "ELECTRONS/S" if product.parameters.final_units == "cps" else "ELECTRONS"


def _member_cards(product: ProductDescription) -> list[tuple[str, object, str]]:
    """What the images' headers say of the members."""
    names = {chip.chip.wcs_name or "" for chip in product.chips}
    headers = [chip.header for exposure in combined_exposures(product.chips) for chip in exposure.chips]
    return [
        ("WCSNAME", names.pop() if len(names) == 1 else MULTIPLE, "WCS solution of the members"),
        *((rule.keyword, combine_keyword(rule, headers), rule.comment) for rule in CHIP_KEYWORDS),
    ]


def image_header(
    product: ProductDescription,
    name: str,
    shape: Sequence[int],
    *,
    bits: int,
    cards: Sequence[tuple[str, object, str]] = (),
) -> fits.Header:
    """Make the header of an image extension: structure, the cards given, and the grid's WCS.

    Parameters
    ----------
    product : ProductDescription
        What the file will hold.
    name : str
        EXTNAME.
    shape : sequence of int
        Shape of the image, the fastest axis last. Axes beyond two stand before the image's.
    bits : int
        BITPIX: -32 for float32, 32 for int32.
    cards : sequence of (str, object, str), optional
        Keyword, value, comment: put before the WCS.

    Returns
    -------
    Header
        Complete but for CHECKSUM and DATASUM.
    """
    from astropy.io import fits

    axes = [("NAXIS" + str(number), length, "") for number, length in enumerate(reversed(shape), start=1)]
    header = fits.Header()
    put_all(
        header,
        [
            ("XTENSION", "IMAGE", "image extension"),
            ("BITPIX", bits, "IEEE single precision" if bits < 0 else "integers"),
            ("NAXIS", len(shape), "number of axes"),
            *axes,
            ("PCOUNT", 0, "required"),
            ("GCOUNT", 1, "required"),
            ("EXTNAME", name, "extension name"),
            ("EXTVER", 1, "extension version"),
            ("INHERIT", True, "the primary header's keywords hold here too"),
            *cards,
            *_wcs_cards(product.grid),
        ],
    )
    return with_long_strings_declared(header)


def _wcs_cards(grid: OutputGrid) -> list[tuple[str, object, str]]:
    """The grid's world coordinates; by LTV and LTM physical coordinates are the projection cell's pixels."""
    (cd1_1, cd1_2), (cd2_1, cd2_2) = grid.cd
    is_north_up = grid.cd_matrix is None
    owner = "image" if grid.projection_cell_crpix is None else "projection cell"
    physical = f"physical pixels are the {owner}'s"
    # The default of LONPOLE is another one where the tangent point is the north pole.
    lonpole = [("LONPOLE", 180.0, "[deg] native longitude of the pole")] if grid.crval[1] >= 90.0 else []
    return [
        ("WCSAXES", 2, "number of world coordinate axes"),
        ("CTYPE1", "RA---TAN", "right ascension, gnomonic projection"),
        ("CTYPE2", "DEC--TAN", "declination, gnomonic projection"),
        ("CUNIT1", "deg", "unit of axis 1"),
        ("CUNIT2", "deg", "unit of axis 2"),
        ("CRVAL1", float(grid.crval[0]), "[deg] right ascension of the tangent point"),
        ("CRVAL2", float(grid.crval[1]), "[deg] declination of the tangent point"),
        ("CRPIX1", float(grid.crpix[0]), "column of the tangent point"),
        ("CRPIX2", float(grid.crpix[1]), "row of the tangent point"),
        ("CD1_1", cd1_1, "[deg] East is to the left" if is_north_up else "[deg] to the East, by column"),
        ("CD1_2", cd1_2, "" if is_north_up else "[deg] to the East, by row"),
        ("CD2_1", cd2_1, "" if is_north_up else "[deg] to the North, by column"),
        ("CD2_2", cd2_2, "[deg] North is up" if is_north_up else "[deg] to the North, by row"),
        *lonpole,
        ("RADESYS", "ICRS", "reference frame"),
        ("ORIENTAT", grid.orientation, "[deg] position angle of the rows' axis"),
        ("VAFACTOR", 1.0, "velocity aberration is corrected"),
        # Negative, since by custom physical = (pixel - LTV) / LTM: it counts in the projection cell.
        ("LTV1", 0.0 - grid.ltv[0], physical),
        ("LTV2", 0.0 - grid.ltv[1], physical),
        ("LTM1_1", 1.0, "scale of the physical pixels"),
        ("LTM2_2", 1.0, "scale of the physical pixels"),
    ]
