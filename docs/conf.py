"""Sphinx: ``sphinx-build docs build/docs``."""

from importlib import metadata

project = "harness"
author = "The harness authors"
copyright = author  # noqa: A001
release = metadata.version("harness")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "harness"
pygments_style = "friendly"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are listed, not documented twice
default_role = "literal"
python_use_unqualified_type_names = True
