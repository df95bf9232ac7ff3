"""The default parameters of every pipeline, detector and condition: what differs from the models' own.

The defaults of the models are the base. Here is what each detector has of its own and, for the combination,
what each condition has. The values are those that the published parameter files give when the files of all
conditions that apply are merged; two pipelines are published: 'mvm' (multi-visit) and 'svm' (single-visit).

Conditions have the published names, without the detector:

=========================  ==========================================================================
any_n1                     one exposure
any_n2, any_n3, n4, n6     at least so many (up to the next that the detector has)
blue_n2, blue_n6           the same for the far-ultraviolet filters of ACS/SBC
pre_n2, post_n2, ...       the same for WFC3/UVIS before and after 2012 November 8, when post-flash began
grism_n2, grism_n4         the same for the grisms of WFC3/IR
single_basic, total_basic  products of one exposure, and of all filters
filter_basic               a product of one filter for which there is no other condition
=========================  ==========================================================================
"""

from __future__ import annotations

from typing import Any, Final

from multivisit.plan.parameters.values import Pipeline

__all__ = [
    "ALIGNMENT",
    "ASTRODRIZZLE",
    "BASE",
    "CATALOGS_OF_PIPELINE",
    "CATALOG_EXCEPTIONS",
    "CATALOG_GENERATION",
    "IR",
    "PC",
    "QUALITY_CONTROL",
    "SBC",
    "UVIS",
    "Detector",
    "Values",
]

Values = dict[str, Any]
Detector = tuple[str, str]

WFC: Final = ("acs", "wfc")
HRC: Final = ("acs", "hrc")
SBC: Final = ("acs", "sbc")
UVIS: Final = ("wfc3", "uvis")
IR: Final = ("wfc3", "ir")
PC: Final = ("wfpc2", "pc")

# ------------------------------------------------------------------------------------------- combination

BASE: Final[dict[Pipeline, Values]] = {
    "mvm": {"final_bits": 65535, "driz_sep_bits": 65535, "sky_bits": 16},
    "svm": {
        "final_bits": 336,
        "driz_sep_bits": 336,
        "sky_bits": 16,
        "resetbits": 4096,
        "driz_sep_kernel": "square",
        "driz_cr_scale": "1.2 0.7",
        "context": True,
    },
}
"""What all conditions of a pipeline have in common. The published multi-visit files ask for a context
extension too, which the published code then leaves out: it is off there."""

_REJECTION: Final[Values] = {"driz_separate": True, "median": True, "blot": True, "driz_cr": True}
_NO_SKY: Final[Values] = {"skysub": False}
_MEDIAN: Final[Values] = {"combine_type": "median"}
_SMALLER_DROPS: Final[Values] = {**_MEDIAN, "final_pixfrac": 0.8}

# A tenth in single precision, as the files have it.
_TENTH: Final = 0.10000000149011612

_ROUGH: Final[Values] = {
    "runfile": "",
    "in_memory": True,
    "driz_sep_bits": 528,
    "driz_sep_kernel": "turbo",
    "driz_sep_rot": 0.0,
    "combine_type": "median",
    "driz_cr_snr": "5.0 4.0",
    "driz_cr_scale": "3.0 2.4",
}
"""What the basic conditions have in common."""

_BASICS: Final[dict[str, Values]] = {
    "filter_basic": {
        **_ROUGH,
        **_REJECTION,
        "resetbits": 4096,
        "skystat": "mode",
        "skywidth": _TENTH,
        "driz_sep_wcs": True,
        "final_fillval": 0.0,
        "final_bits": 528,
    },
    "single_basic": {
        **_ROUGH,
        **_NO_SKY,
        "resetbits": 0,
        "static": False,
        "sky_bits": 0,
        "final_bits": 65535,
    },
}
_TOTAL: Final[Values] = {
    **_ROUGH,
    "resetbits": 0,
    "static": False,
    "skywidth": _TENTH,
    "final_fillval": 0.0,
}

_SBC: Final[Values] = {
    "resetbits": 4096,
    "static": False,
    "sky_bits": 0,
    "driz_sep_bits": 0,
    "driz_sep_kernel": "turbo",
    "median_newmasks": False,
    "driz_cr_scale": "1.2 0.7",
    "final_bits": 0,
}
_SBC_COUNTS: Final[Values] = {**_SBC, "skystat": "mean", "gnkeyword": "", "rnkeyword": ""}
_SBC_SINGLE: Final[Values] = {**_SBC, **_NO_SKY, "final_bits": 65535, "preserve": True}

_IR_REJECTION: Final[Values] = {"driz_cr_snr": "5.0 4.0", "driz_cr_scale": "3.0 2.4"}
_IR_MULTI: Final[Values] = {**_IR_REJECTION, "driz_sep_bits": 16, "driz_sep_kernel": "square"}
_IR_SINGLE_VISIT: Final[Values] = {**_IR_REJECTION, "driz_sep_kernel": "turbo", "final_bits": 528}
_UVIS_MULTI: Final[Values] = {"sky_bits": 80, "driz_sep_bits": 80, "driz_sep_kernel": "square"}
_PC_MULTI: Final[Values] = {
    "sky_bits": "8,1024",
    "driz_sep_bits": "8,1024",
    "driz_sep_kernel": "square",
    "driz_cr_snr": "4.0 3.5",
}
_PC_SINGLE: Final[Values] = {
    "skymethod": "localmin",
    "sky_bits": 1024,
    "driz_sep_bits": 1024,
    "driz_cr_snr": "5.5 3.5",
    "driz_cr_scale": "2.0 1.5",
}
_PC_VISIT: Final[Values] = {
    **_PC_SINGLE,
    **_REJECTION,
    "driz_sep_wcs": True,
    "driz_sep_scale": 0.0996,
    "final_bits": 1024,
}

# Several exposures of a visit: the minimum guards a median of few; its factors are for two exposures.
_FEW: Final[Values] = {**_REJECTION, "driz_cr_scale": "1.5 1.2"}
_MANY: Final[Values] = {**_REJECTION, **_SMALLER_DROPS}
_HRC_VISIT: Final[Values] = {"final_scale": 0.025, "sky_bits": 64, "driz_sep_bits": 64, "final_bits": 64}
_UVIS_OLD: Final[Values] = {"sky_bits": 96, "driz_sep_bits": 352, "final_bits": 352}
_SINGLE_EXPOSURE: Final[Values] = {**_NO_SKY, "driz_cr_scale": "1.5 1.2", "final_bits": 65535}

ASTRODRIZZLE: Final[dict[Pipeline, dict[Detector, dict[str, Values]]]] = {
    "mvm": {
        WFC: {
            **_BASICS,
            "any_n1": _NO_SKY,
            "any_n2": {"sky_bits": 80, "final_bits": 80},
            "total_basic": {**_TOTAL, "final_bits": 336},
        },
        HRC: {
            **_BASICS,
            "any_n1": {**_NO_SKY, "sky_bits": 0},
            "any_n2": {"sky_bits": 80, "final_bits": 80},
            "total_basic": {**_TOTAL, "final_bits": 96},
        },
        SBC: {
            **_BASICS,
            "any_n1": _SBC_SINGLE,
            "any_n2": {**_SBC_COUNTS, **_NO_SKY},
            "blue_n2": _SBC_COUNTS,
            "blue_n6": {**_SBC_COUNTS, **_SMALLER_DROPS},
            "total_basic": {**_TOTAL, "final_bits": 0},
        },
        UVIS: {
            **_BASICS,
            "any_n1": {**_UVIS_MULTI, **_NO_SKY},
            "post_n2": {**_UVIS_MULTI, "final_bits": 80},
            "total_basic_pre": {**_TOTAL, "final_bits": 96},
            "total_basic_post": {**_TOTAL, "final_bits": 336},
        },
        IR: {
            **_BASICS,
            "any_n1": {**_IR_MULTI, **_NO_SKY},
            "any_n2": {**_IR_MULTI, "final_bits": 528},
            "total_basic": {**_TOTAL, "final_bits": 528},
        },
        PC: {
            "any_n1": {**_PC_MULTI, **_NO_SKY},
            "any_n2": {**_PC_MULTI, "final_bits": "2,8,1024"},
            "filter_basic": {**_PC_MULTI, "final_bits": "2,8,1024"},
            "single_basic": {**_PC_MULTI, **_NO_SKY},
            "total_basic": {**_PC_MULTI, "final_bits": "2,8,1024"},
        },
    },
    "svm": {
        WFC: {
            **_BASICS,
            "any_n1": {**_SINGLE_EXPOSURE, "static": False, "driz_sep_kernel": "turbo"},
            "any_n2": {**_FEW, "sky_bits": 80},
            "any_n6": {**_MANY, "sky_bits": 80},
            "total_basic": {**_TOTAL, "final_bits": 336},
        },
        HRC: {
            **_BASICS,
            "any_n1": {
                **_SINGLE_EXPOSURE,
                "static": False,
                "driz_sep_kernel": "turbo",
                "driz_sep_wcs": True,
                "final_scale": 0.025,
            },
            "any_n2": {**_FEW, **_HRC_VISIT},
            "any_n6": {**_MANY, **_HRC_VISIT},
            "total_basic": {**_TOTAL, "final_bits": 96},
        },
        SBC: {
            **_BASICS,
            "any_n1": _SBC_SINGLE,
            "any_any": {**_SBC_COUNTS, **_NO_SKY, "final_scale": 0.025},
            "blue_n2": {**_SBC_COUNTS, "use_static": False, "final_scale": 0.025},
            "blue_n6": {**_SBC_COUNTS, **_SMALLER_DROPS, "use_static": False, "final_scale": 0.025},
            "total_basic": {
                **_SBC_COUNTS,
                **_NO_SKY,
                **_MEDIAN,
                "runfile": "",
                "resetbits": 0,
                "use_static": False,
                "final_scale": 0.025,
            },
        },
        UVIS: {
            **_BASICS,
            "any_n1": {**_SINGLE_EXPOSURE, "sky_bits": 80},
            "pre_n2": {**_FEW, **_UVIS_OLD},
            "pre_n6": {**_MANY, **_UVIS_OLD},
            "post_n2": {**_FEW, "sky_bits": 80},
            "post_n6": {**_MANY, "sky_bits": 80},
            "total_basic_pre": {**_TOTAL, "final_bits": 96},
            "total_basic_post": {**_TOTAL, "final_bits": 336},
        },
        IR: {
            **_BASICS,
            "any_n1": {**_IR_SINGLE_VISIT, **_NO_SKY, "driz_sep_bits": 16, "driz_sep_kernel": "square"},
            "any_n2": {**_IR_SINGLE_VISIT, **_REJECTION, "driz_sep_bits": 65535},
            "any_n4": {**_IR_SINGLE_VISIT, **_REJECTION, **_MEDIAN, "driz_sep_bits": 528},
            "grism_n2": {**_IR_SINGLE_VISIT, "driz_sep_bits": 65535, "median_newmasks": False},
            "grism_n4": {**_IR_SINGLE_VISIT, **_MEDIAN, "driz_sep_bits": 528, "median_newmasks": False},
            "total_basic": {**_TOTAL, "final_bits": 528},
        },
        PC: {
            "any_n1": {**_PC_SINGLE, **_NO_SKY, "final_bits": 65533},
            "any_n2": {**_PC_VISIT, "final_bits": 61437},
            "any_n3": _PC_VISIT,
            "any_n4": {**_PC_VISIT, **_MEDIAN},
            "filter_basic": {**_PC_VISIT, **_MEDIAN},
            "single_basic": {**_PC_SINGLE, **_NO_SKY, "final_bits": 65533},
            "total_basic": {**_PC_VISIT, **_MEDIAN},
        },
    },
}
"""What each condition has of its own, on top of `BASE`."""

# --------------------------------------------------------------------------------------------- alignment

_WIDE_ALIGNMENT: Final[dict[str, Values]] = {
    "generate_source_catalogs": {"box_size": 27, "bkg_estimator": "SExtractorBackground", "num_sources": 500},
    "match_2dhist_fit": {"searchrad": 400},
}
_NOT_CLASSIFIED: Final[dict[str, Values]] = {"generate_source_catalogs": {"classify": False}}

ALIGNMENT: Final[dict[Detector, dict[str, Values]]] = {
    WFC: {**_WIDE_ALIGNMENT, "general": {"MAX_SOURCES_PER_CHIP": 500}},
    HRC: {},
    SBC: _NOT_CLASSIFIED,
    UVIS: _WIDE_ALIGNMENT,
    IR: _NOT_CLASSIFIED,
    PC: {},
}
"""The alignment parameters that a detector has of its own, in both pipelines."""

# --------------------------------------------------------------------------------------- source catalogs

_SMALL: Final[Values] = {"bkg_box_size": 13}
_SMALL_CROWD: Final[Values] = {"rw2d_biggest_source": 0.045, "rw2d_source_fraction": 0.15}
_INFRARED: Final[Values] = {
    **_SMALL,
    "good_fwhm": (0.9, 2.0),
    "aperture_1": 0.15,
    "aperture_2": 0.45,
    "cr_residual": 0.0,
}

CATALOG_GENERATION: Final[dict[Detector, Values]] = {
    WFC: {},
    HRC: {**_SMALL, "aperture_1": 0.03, "aperture_2": 0.125, "sourcex": _SMALL_CROWD},
    SBC: {
        **_SMALL,
        "nsigma": 6.0,
        "aperture_1": 0.07,
        "aperture_2": 0.125,
        "scale": 100.0,
        "cr_residual": 0.0,
        "nsigma_clip": 6.0,
        "maxiters": 1,
        "sourcex": {**_SMALL_CROWD, "segm_nsigma": 10.0, "rw2d_size": 23},
    },
    UVIS: {},
    IR: {**_INFRARED, "sourcex": {**_SMALL_CROWD, "rw2d_size": 11}},
    PC: {**_INFRARED, "sourcex": {**_SMALL_CROWD, "rw2d_size": 11}},
}
"""The catalog parameters that a detector has of its own, in both pipelines."""

_FWHM: Final[dict[Detector, float]] = {WFC: 0.076, HRC: 0.073, SBC: 0.065, UVIS: 0.076, IR: 0.14, PC: 0.14}
"""Width of a star, arcsec."""


def _multi_visit(fwhm: float) -> Values:
    return {"dao": {"TWEAK_FWHMPSF": fwhm}, "sourcex": {"fwhm": fwhm}}


def _single_visit(fwhm: float) -> Values:
    nothing = {"TWEAK_FWHMPSF": None, "TWEAK_THRESHOLD": None}
    crowd = {"fwhm": None, "source_box": 6, "rw2d_nsigma": 2.0, "rw2d_biggest_pixels": 25000}
    return {"TWEAK_FWHMPSF": fwhm, "dao": nothing, "sourcex": crowd}


CATALOGS_OF_PIPELINE: Final[dict[Pipeline, dict[Detector, Values]]] = {
    "mvm": {detector: _multi_visit(fwhm) for detector, fwhm in _FWHM.items()},
    "svm": {detector: _single_visit(fwhm) for detector, fwhm in _FWHM.items()},
}
"""The catalog parameters in which the pipelines differ."""

CATALOG_EXCEPTIONS: Final[dict[tuple[Pipeline, Detector], Values]] = {
    ("mvm", WFC): {"dao": {"TWEAK_THRESHOLD": None}, "sourcex": {"fwhm": 0.13, "source_box": 15}},
    ("mvm", IR): {"nsigma": 1.0},
    ("mvm", PC): {"nsigma": 1.0},
    ("svm", SBC): {"sourcex": {"rw2d_nsigma": 10.0}},
    ("svm", IR): {"sourcex": {"segm_nsigma": 5.0}},
    ("svm", PC): {"cr_residual": 0.05},
}
"""What one detector has in one pipeline alone."""

# --------------------------------------------------------------------------------------- quality control

_SCALE_FACTORS: Final = (
    *(0.0, 0.0, 6.49853e-06, 3.68727e-05, 0.0001412972, 0.0003151877, 0.001023391, 0.003134859),
    *(0.02602436, 0.1820539, 1.0),
)
_INFRARED_SWARMS: Final[Values] = {
    "HLA_plate_scale": 0.09,
    "eppsky_limit": 100.0,
    "selfradius": 10.0,
    "clip_radius_list": (140.0, 120.0, 100.0, 80.0, 60.0, 40.0, 20.0, 10.0, 5.0, 2.0, 0.0),
    "scale_factor_list": (1e-05, 2.3e-05, 4e-05, 8e-05, 0.0002, 0.0006, 0.015, 0.05, 0.15, 0.9, 1.0),
    "proximity_binary": True,
    "ctr_list_radius_list": (125, 100, 80, 30, 50, 20, 15),
    "ctr_list_threshold_list": (2000000, 1800000, 500000, 250000, 100000, 40000, 20000),
    "cuts_list": (2000000.0, 1800000.0, 1000000.0, 500000.0, 70000.0, 20000.0, 0.0),
    "selfradii_list": (125.0, 100.0, 35.0, 30.0, 20.0, 15.0, 10.0),
    "scale_factor_list_orig": _SCALE_FACTORS,
}

QUALITY_CONTROL: Final[dict[Detector, tuple[tuple[float, float], Values]]] = {
    WFC: (
        (0.9, 1.23),
        {
            "clip_radius_list": (120.0, 100.0, 80.0, 60.0, 40.0, 30.0, 20.0, 10.0, 5.0, 2.0, 0.0),
            "scale_factor_list": _SCALE_FACTORS,
        },
    ),
    HRC: ((0.9, 1.6), {"HLA_plate_scale": 0.025, "scale_factor_list": _SCALE_FACTORS}),
    SBC: (
        (0.15, 0.45),
        {
            "HLA_plate_scale": 0.03,
            "scale_factor_list": (
                *(0.0, 1.778106e-05, 3.821292e-05, 9.017166e-05, 0.0002725184, 0.001269197),
                *(0.007007126, 0.03839166, 0.2553349, 1.0),
            ),
        },
    ),
    UVIS: (
        (0.75, 1.0),
        {
            "HLA_plate_scale": 0.03962,
            "scale_factor_list": (2.3e-06, 4e-06, 8e-06, 2e-05, 0.0005, 0.005, 0.005, 0.015, 0.45, 1.0),
            "proximity_binary": True,
        },
    ),
    IR: ((0.25, 0.55), _INFRARED_SWARMS),
    PC: ((0.25, 0.55), _INFRARED_SWARMS),
}
"""A detector's limits of the concentration index where the table has none, and its swarm parameters."""
