"""Multi-visit mosaics from Hubble exposures, on one all-sky grid of sky cells."""

from importlib.metadata import version

__version__ = version("multivisit")
