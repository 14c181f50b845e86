"""Volumes as large as they come: the still picture and then the viewer arrive; how soon is written down, not asserted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOM = """
from flairnb.report import review, review_cases
session = review.Session(review_cases.find_cases(source={folder!r}, order="case"), "read-{name}")
"""


@pytest.fixture
def large(lab, request):
    """A folder as `flairnb segment` leaves it, with a head of the size and voxels asked for."""
    from flairnb.images import Image, write_image
    from flairnb.provenance import write_json

    shape, spacing = request.param
    folder = lab[1] / f"large{shape[2]}"
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    x, y, z = np.ogrid[tuple(slice(-s * (n - 1) / 2, s * (n - 1) / 2, n * 1j) for n, s in zip(shape, spacing, strict=True))]
    brain = (x / 68) ** 2 + (y / 85) ** 2 + (z / 62) ** 2 < 1
    head = (x / 78) ** 2 + (y / 98) ** 2 + (z / 80) ** 2 < 1
    data = (100 + 30 * np.sin(x / 6) * np.cos(y / 7) + z * 0.2) * brain + 60 * (head & ~brain)
    lesion = ((x - 25) ** 2 + (y - 15) ** 2 + z**2 < 12**2) & brain
    data = (data + 90 * lesion + np.random.default_rng(1).normal(0, 4, shape)).astype(np.float32)
    flair, mask = Image(data, affine), {"flair": "sub-big_FLAIR.nii.gz"}
    write_image(folder / "sub-big_FLAIR.nii.gz", data, flair, np.int16)
    for name, what in (
        ("label-lesion_desc-unet_mask", lesion),
        ("label-lesion_desc-manual_mask", np.roll(lesion, 3, 1)),
        ("desc-brain_mask", brain),
    ):
        write_image(folder / f"sub-big_{name}.nii.gz", what, flair, np.uint8)
    write_image(folder / "sub-big_label-lesion_desc-unet_probseg.nii.gz", (lesion * 0.9).astype(np.float32), flair)
    write_json(folder / "sub-big_desc-summary.json", {"expected_dice": 0.8, "lesion_volume_ml": 7.0, "input": mask})
    return folder


@pytest.mark.parametrize(
    "large", [((512, 512, 40), (0.45, 0.45, 4.0)), ((256, 256, 256), (1.0, 1.0, 1.0))], indirect=True, ids=["512", "256"]
)
def test_a_large_case_is_seen_still_and_then_moves(run_in_lab, large):
    tab = run_in_lab([ROOM.format(folder=str(large), name=large.name)], large.name)
    tab.wait_until_done(120)
    start = time.monotonic()
    add = "(() => {{ const n = window.jupyterapp.shell.currentWidget.content; n.model.sharedModel.addCell({{cell_type: 'code',"
    add += " source: {code!r}}}); n.activeCellIndex = n.widgets.length - 1; window.jupyterapp.commands.execute('notebook:run-cell'); }})()"
    tab.evaluate(add.format(code="review.room(session)"))
    tab.wait_for(
        "[...document.querySelectorAll('.jp-OutputArea img')].some(i => i.naturalWidth > 100 && i.offsetHeight > 0)",
        120,
        "the still picture",
    )
    still = time.monotonic() - start
    canvas = ".jp-OutputArea canvas"
    first = tab.picture_when(canvas, lambda shot: shot.max() > 200 and shot.std() > 10, 300, "the viewer's picture")
    moving = time.monotonic() - start
    tab.keep(f"{large.name}_first", first)
    if os.environ.get("FLAIRNB_SHOTS"):
        with (Path(os.environ["FLAIRNB_SHOTS"]) / "seconds.tsv").open("a") as table:
            table.write(f"{large.name}\t{still:.1f}\t{moving:.1f}\n")
    tab.evaluate("[...document.querySelectorAll('.jp-OutputArea button')].find(b => b.textContent.trim() === 'errors').click()")
    tab.picture_when(canvas, lambda shot: shot.shape != first.shape or np.abs(shot.astype(float) - first).mean() > 0.05, 120, "the errors")
    tab.keep(f"{large.name}_errors")
    assert tab.left_this_machine() == [] and tab.real_errors() == []
