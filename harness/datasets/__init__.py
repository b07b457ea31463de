"""Questions and texts made by the package itself."""
