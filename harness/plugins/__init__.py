"""How plugins are found and how their options are checked."""
