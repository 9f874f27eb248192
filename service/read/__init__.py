"""Bytes to facts: headers, normalisation, segmentations. Nothing here writes."""
