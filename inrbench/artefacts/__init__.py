"""Neural data sets on disk: how they are written, opened, made of a cell, read, exchanged. See `inrbench.artefact`."""
