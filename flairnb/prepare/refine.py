from __future__ import annotations


def refine_brain(channels, prior, spacing_mm, head):
    return prior
