"""Models on disk: how they are opened, and what is written of compressed ones."""
