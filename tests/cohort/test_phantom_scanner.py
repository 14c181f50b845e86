from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from flairnb.cohort.phantom import kspace, protocol, scanner, signal
from flairnb.errors import InputError
from flairnb.geometry import spacing_mm, voxel_volume_mm3

ROW = {"manufacturer": "Siemens", "field_strength_t": 1.5, "dimension": "2D", "te_ms": 136.0, "tr_ms": 9000.0, "ti_ms": 2500.0}
SHAPE = (76, 92, 84)
SPACING = 2.0


@pytest.fixture(scope="module")
def head():
    """An ellipsoid 'brain' of known volume in a 2 mm head grid: (map, brain, affine)."""
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = [-75.0, -91.0, -83.0]
    grid = np.meshgrid(*[np.arange(n) * SPACING + o for n, o in zip(SHAPE, affine[:3, 3], strict=True)], indexing="ij")
    r = np.sqrt((grid[0] / 60) ** 2 + (grid[1] / 75) ** 2 + (grid[2] / 55) ** 2)
    brain = r < 1
    smooth = np.clip((1.02 - r) / 0.04, 0, 1).astype(np.float32)
    return smooth, brain, affine


def _plain(dimension="2D", **changes):
    drawn = protocol.draw_flair_protocol({**ROW, "dimension": dimension}, np.random.default_rng(5))
    return replace(drawn, bias=0.0, centre=0.0, ghost=0.0, motion=0.0, gibbs=1.0, snr=1e6, **changes)


def test_draws_repeat_with_the_seed_and_follow_the_row():
    a, b = (protocol.draw_flair_protocol(ROW, np.random.default_rng(8)) for _ in range(2))
    assert a == b
    assert (a.sequence.te_ms, a.sequence.tr_ms, a.sequence.ti_ms) == (136, 9000, 2500)
    assert a.dimension == "2D" and a.field_strength_t == 1.5


def test_missing_inversion_time_nulls_csf():
    drawn = protocol.draw_flair_protocol({**ROW, "ti_ms": 0}, np.random.default_rng(0))
    csf = signal.relaxation("csf", 1.5)
    assert drawn.sequence.signal(1.0, csf.t1_ms, csf.t2_ms) < 1e-9
    nan = protocol.draw_flair_protocol({**ROW, "ti_ms": float("nan")}, np.random.default_rng(0))
    assert nan.sequence.ti_ms == pytest.approx(drawn.sequence.ti_ms)


def test_two_dimensional_protocols_are_thick_and_three_dimensional_ones_are_not():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        flat = protocol.draw_flair_protocol(ROW, rng)
        in_plane = np.array(flat.field_of_view_mm) / flat.reconstruction
        assert 3 <= flat.slice_mm <= 6 and 0.4 < in_plane.min() <= in_plane.max() < 1.4
        volume = protocol.draw_flair_protocol({**ROW, "dimension": "3D", "te_ms": 390.0, "tr_ms": 5000.0}, rng)
        assert volume.slice_mm <= 1.2 and volume.flow == 0 and volume.sequence.te_ms < 180


def test_three_tesla_fields_are_less_even_than_those_at_one_and_a_half():
    def spread(field):
        values = []
        for seed in range(30):
            rng = np.random.default_rng(seed)
            drawn = protocol.draw_flair_protocol({**ROW, "field_strength_t": field}, rng)
            values.append(kspace.receive_field((15, 17, 9), drawn, rng).std())
        return np.median(values)

    assert spread(3.0) > 1.3 * spread(1.5) > 0.03


@pytest.mark.parametrize("dimension", ["2D", "3D"])
@pytest.mark.parametrize("storage", ["LAS", "RAS", "LPS", "PSR", "AIL"])
def test_volume_and_centre_survive_slices_pose_and_storage(head, dimension, storage):
    smooth, brain, affine = head
    rng = np.random.default_rng(11)
    pose = scanner.draw_pose(rng)
    placed = scanner.prescribe(_plain(dimension, storage=storage), brain, affine, pose, rng)
    fraction = scanner.sample_fraction(placed, smooth, affine)
    assert fraction.shape == placed.grid.shape
    assert "".join(nib.aff2axcodes(placed.grid.affine)) == storage
    true_ml = smooth.sum() * SPACING**3 / 1000
    assert fraction.sum() * voxel_volume_mm3(placed.grid.affine) / 1000 == pytest.approx(true_ml, rel=0.02)
    at = np.array(np.nonzero(fraction > 0.01))
    weight = fraction[tuple(at)]
    centre = placed.grid.affine[:3, :3] @ ((at * weight).sum(axis=1) / weight.sum()) + placed.grid.affine[:3, 3]
    assert np.abs(centre - pose[:3, 3] - pose[:3, :3] @ [0, 0, 0]).max() < 0.6


def test_image_lies_on_its_fraction_map_after_zero_filling(head):
    smooth, brain, affine = head
    rng = np.random.default_rng(2)
    wanted = _plain(
        matrix=(160, 192), reconstruction=(280, 336), field_of_view_mm=(200.0, 240.0), storage="LPS", white_matter_counts=1000.0
    )
    placed = scanner.prescribe(wanted, brain, affine, scanner.draw_pose(rng), rng)
    fraction = scanner.sample_fraction(placed, smooth, affine)
    image = scanner.acquire(placed, smooth * 0.2, affine, 0.2, rng)
    assert image.dtype == np.int16 and image.shape == (280, 336, placed.slices)
    assert np.abs(image / 1000.0 - fraction)[fraction > 0.95].mean() < 0.02
    assert np.corrcoef(image.ravel(), fraction.ravel())[0, 1] > 0.998


def test_slices_cover_the_brain_and_are_oblique(head):
    _, brain, affine = head
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pose = scanner.draw_pose(rng)
        placed = scanner.prescribe(_plain(), brain, affine, pose, rng)
        world = pose @ affine @ np.vstack([np.argwhere(brain).T, np.ones(brain.sum())])
        at = np.linalg.inv(placed.grid.affine) @ world
        assert (at[:3].min(axis=1) > -1).all()
        assert (at[:3].max(axis=1) < np.array(placed.grid.shape)).all()
        assert np.abs(placed.grid.affine[:3, :3]).min() > 0
        assert spacing_mm(placed.grid.affine)[2] == pytest.approx(placed.protocol.slice_mm + placed.protocol.gap_mm)


def test_second_series_shows_the_head_at_the_moved_position(head):
    smooth, brain, affine = head
    rng = np.random.default_rng(4)
    first, movement = scanner.draw_pose(rng), scanner.draw_movement(rng)
    centres = []
    for pose in (first, movement @ first):
        placed = scanner.prescribe(_plain("3D"), brain, affine, pose, rng)
        fraction = scanner.sample_fraction(placed, smooth, affine)
        at = np.array(np.nonzero(fraction > 0.5)).mean(axis=1)
        centres.append(placed.grid.affine @ [*at, 1.0])
    assert np.allclose(movement @ centres[0], centres[1], atol=0.15)


@pytest.mark.parametrize("profile", ["gaussian", "trapezoid"])
def test_slice_profiles_sum_to_one_and_have_the_nominal_width(profile):
    weight = scanner.slice_profile(_plain(profile=profile, slice_mm=5.0, gap_mm=1.0), 40)
    half = weight > weight.max() / 2
    assert weight.sum() == pytest.approx(1.0)
    assert half.sum() * 6.0 / 40 == pytest.approx(5.0, abs=0.3)


@pytest.mark.parametrize(
    ("profile", "variance_mm2"),
    [("gaussian", (5.0 / 2.355) ** 2), ("trapezoid", (5.0**2 + 1.5**2) / 12)],  # the second: a box of 5 mm blurred by one of 1.5
)
def test_slices_blur_a_small_ball_by_their_profile_and_no_more(head, profile, variance_mm2):
    _, brain, affine = head
    away = sum((n - c) ** 2 for n, c in zip(np.indices(SHAPE), (36, 47, 40), strict=True))
    ball = np.exp(-away / (2 * 1.5**2)).astype(np.float32)
    wanted = _plain(profile=profile, slice_mm=5.0, gap_mm=0.0, storage="LAS")
    placed = scanner.prescribe(wanted, brain, affine, np.eye(4), np.random.default_rng(3))
    seen = scanner.sample_fraction(placed, ball, affine).sum(axis=(0, 1))
    at_mm = 5.0 * np.arange(len(seen))
    middle = np.average(at_mm, weights=seen)
    blur = np.average((at_mm - middle) ** 2, weights=seen) - (1.5 * SPACING) ** 2
    assert blur == pytest.approx(variance_mm2, abs=0.9)  # interpolation adds some, the end of the profile's tail takes some


def test_noise_is_rician_with_the_stated_signal_to_noise(rng):
    p = _plain(matrix=(64, 48), reconstruction=(64, 48))
    p = replace(p, snr=20.0)
    background = kspace.through_k_space(np.zeros((64, 48, 9), dtype=np.float32), p, rng)
    flat = kspace.through_k_space(np.ones((64, 48, 9), dtype=np.float32), p, rng)
    # Rayleigh mean sigma * sqrt(pi / 2); far from zero the Rician spread is sigma.
    assert background.mean() * 20 == pytest.approx(np.sqrt(np.pi / 2), rel=0.05)
    assert flat.std() * 20 == pytest.approx(1.0, rel=0.08)


def test_motion_and_ghosts_put_signal_outside_the_head():
    image = np.zeros((64, 48, 5), dtype=np.float32)
    image[24:40, 10:38] = 1
    outside = []
    for changes in ({}, {"motion": 0.1}, {"ghost": 0.05}):
        p = replace(_plain(matrix=(64, 48), reconstruction=(64, 48)), **changes)
        out = kspace.through_k_space(image.copy(), p, np.random.default_rng(1))
        outside.append(out[:16].mean() + out[48:].mean())
    assert outside[1] > 2 * outside[0] and outside[2] > 2 * outside[0]


def test_inflow_brightens_csf_only_and_mostly_low_in_the_head(rng):
    fluid = rng.random((31, 33, 40)) < 0.3
    plain = np.full(fluid.shape, 0.1, dtype=np.float32)
    gain = np.zeros(40)
    for _ in range(12):
        out = kspace.add_csf_inflow(plain, fluid, 1.0, 0.4, rng)
        assert np.array_equal(out[~fluid], plain[~fluid])
        assert (out >= plain).all()
        gain += (out - plain).sum(axis=(0, 1))
    assert gain[:20].sum() > 3 * gain[20:].sum()
    assert kspace.add_csf_inflow(plain, fluid, 1.0, 0.0, rng) is plain


def test_unknown_dimension_and_empty_brain_are_refused(head):
    with pytest.raises(InputError, match="dimension"):
        protocol.draw_flair_protocol({**ROW, "dimension": "4D"}, np.random.default_rng(0))
    with pytest.raises(InputError, match="brain"):
        scanner.prescribe(_plain(), np.zeros((7, 8, 9), dtype=bool), np.eye(4), np.eye(4), np.random.default_rng(0))
