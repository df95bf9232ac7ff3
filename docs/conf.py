"""How the documentation is built: offline, and any warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import multivisit

project = "multivisit"
author = "The multivisit developers"
copyright = author
version = release = multivisit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "command_reference",
    "quality_limits",
    "parameter_reference",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
# The published interface hands on classes of other folders, so a short name can have two homes.
suppress_warnings = ["ref.python"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
numpydoc_validation_checks = set()

html_theme = "pydata_sphinx_theme"
html_title = f"multivisit {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "light"}
