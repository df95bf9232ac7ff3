"""Multi-visit mosaics from Hubble exposures, on one all-sky grid of sky cells."""

import logging
from importlib.metadata import version

__version__ = version("multivisit")

# A library is silent unless the host program asks for its messages.
logging.getLogger(__name__).addHandler(logging.NullHandler())
