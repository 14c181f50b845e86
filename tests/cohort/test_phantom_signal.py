from __future__ import annotations

import numpy as np
import pytest

from flairnb.cohort.phantom import signal
from flairnb.cohort.phantom.tissue import PARENCHYMA, Tissue
from flairnb.errors import InputError

CODE = {name: code for code, name in enumerate(signal.TISSUES)}
CLINICAL = signal.Sequence("flair", te_ms=136, tr_ms=9000, ti_ms=2500)


@pytest.mark.parametrize("tr_ms", [5000, 9000, 12000])
def test_csf_gives_no_flair_signal_at_its_null_inversion_time(tr_ms):
    csf = signal.relaxation("csf", 1.5)
    ti_ms = signal.csf_null_ti_ms(csf.t1_ms, tr_ms)
    assert abs(signal.flair_signal(1.0, csf.t1_ms, csf.t2_ms, 100, tr_ms, ti_ms)) < 1e-12


def test_null_inversion_time_is_t1_ln2_for_endless_tr():
    assert signal.csf_null_ti_ms(4300, 1e6) == pytest.approx(4300 * np.log(2))


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_flair_order_is_csf_white_grey_lesion(field):
    table = signal.draw_tissue_table(field)
    s = signal.tissue_signal(table, CLINICAL)
    lesion = CLINICAL.signal(table.lesion.pd, table.lesion.t1_ms, table.lesion.t2_ms)
    assert s[CODE["csf"]] < 0.35 * s[CODE["wm"]] < s[CODE["wm"]] < s[CODE["gm"]] < lesion
    assert 1.1 < s[CODE["gm"]] / s[CODE["wm"]] < 1.5
    assert 1.6 < lesion / s[CODE["wm"]] < 3.0
    assert s[CODE["fat"]] > s[CODE["wm"]] > 3 * s[CODE["skull"]]


@pytest.mark.parametrize("field", [1.5, 3.0])
@pytest.mark.parametrize(
    "sequence",
    [
        signal.Sequence("spin_echo", te_ms=12, tr_ms=500),
        signal.Sequence("mprage", te_ms=3, tr_ms=2300, ti_ms=900, flip_deg=9),
        signal.Sequence("spgr", te_ms=3, tr_ms=9, flip_deg=15),
    ],
    ids=lambda s: s.kind,
)
def test_t1w_order_is_csf_lesion_grey_white(field, sequence):
    table = signal.draw_tissue_table(field)
    s = signal.tissue_signal(table, sequence)
    lesion = sequence.signal(table.lesion.pd, table.lesion.t1_ms, table.lesion.t2_ms)
    assert s[CODE["csf"]] < lesion < s[CODE["gm"]] < s[CODE["wm"]]


def test_flair_grows_with_t2_and_falls_with_te():
    t2 = np.array([40.0, 80, 160, 320])
    assert (np.diff(signal.flair_signal(1, 1000, t2, 136, 9000, 2500)) > 0).all()
    assert signal.flair_signal(1, 1000, 80, 90, 9000, 2500) > signal.flair_signal(1, 1000, 80, 136, 9000, 2500)


def test_three_tesla_lengthens_t1_of_brain_but_not_of_csf():
    for name in ("wm", "gm", "skin_muscle"):
        assert signal.relaxation(name, 3.0).t1_ms > signal.relaxation(name, 1.5).t1_ms
    assert signal.relaxation("csf", 3.0).t1_ms == signal.relaxation("csf", 1.5).t1_ms


def test_mprage_steady_state_agrees_with_stepping_through_the_pulses():
    t1, tr, ti, flip, n, spacing = 830.0, 2300.0, 900.0, 9.0, 160, 7.0
    m, angle = 1.0, np.deg2rad(flip)

    def recover(m, t):
        return 1 + (m - 1) * np.exp(-t / t1)

    for _ in range(30):
        m = recover(-m, ti - n // 2 * spacing)
        for echo in range(n):
            if echo == n // 2:
                centre = abs(m) * np.sin(angle)
            m = recover(m * np.cos(angle), spacing)
        m = recover(m, tr - ti - (n - n // 2) * spacing)
    assert signal.mprage_signal(1.0, t1, tr, ti, flip, (n, spacing)) == pytest.approx(centre, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "blood"), [("flair", 0.05), ("spin_echo", 0.05), ("spgr", 1.0), ("mprage", 1.0)], ids=lambda value: str(value)
)
def test_fat_is_what_suppression_leaves_and_flowing_blood_gives_no_spin_echo(kind, blood):
    table = signal.draw_tissue_table(1.5)
    sequence = signal.Sequence(kind, te_ms=12, tr_ms=2000, ti_ms=900, flip_deg=12, fat_fraction_left=0.2)
    found, plain = signal.tissue_signal(table, sequence), sequence.signal(table.pd, table.t1_ms, table.t2_ms)
    left = {"fat": 0.2, "marrow": 0.2, "vessel": blood, "background": 0.0, "air": 0.0}
    np.testing.assert_allclose(found, [left.get(name, 1.0) * value for name, value in zip(signal.TISSUES, plain, strict=True)])
    assert plain[CODE["fat"]] > 0.05 and plain[CODE["vessel"]] > 0.02


def test_flair_of_fat_by_hand():
    """TE 100, TR 9000, TI 2500 ms: 0.8 (1 - 2 exp(-2500/288) + exp(-9000/288)) exp(-100/165), and a quarter of it."""
    table = signal.draw_tissue_table(1.5)
    full, quarter = (signal.Sequence("flair", 100, 9000, 2500, fat_fraction_left=left) for left in (1.0, 0.25))
    assert signal.tissue_signal(table, full)[CODE["fat"]] == pytest.approx(0.436, abs=0.001)
    assert signal.tissue_signal(table, quarter)[CODE["fat"]] == pytest.approx(0.109, abs=0.001)


def test_head_signal_mixes_lesion_and_core_and_leaves_csf_alone(rng):
    tissue = rng.choice([CODE["csf"], CODE["wm"], CODE["gm"]], size=(7, 8, 9)).astype(np.uint8)
    table = signal.draw_tissue_table(3.0)
    plain = signal.head_signal(tissue, table, CLINICAL)
    strong = signal.head_signal(tissue, table, CLINICAL, strength=np.ones(tissue.shape))
    full = CLINICAL.signal(table.lesion.pd, table.lesion.t1_ms, table.lesion.t2_ms)
    assert np.allclose(strong[tissue != CODE["csf"]], full)
    assert np.array_equal(strong[tissue == CODE["csf"]], plain[tissue == CODE["csf"]])
    half = signal.head_signal(tissue, table, CLINICAL, strength=np.full(tissue.shape, 0.5))
    wm = tissue == CODE["wm"]
    assert (plain[wm] < half[wm]).all() and (half[wm] < strong[wm]).all()
    core = signal.head_signal(tissue, table, CLINICAL, dark=np.ones(tissue.shape))
    assert np.ptp(core) < 1e-6 and core.max() < plain[wm].min()


def test_drawn_tissue_table_is_repeatable_and_stays_near_the_published_values():
    a = signal.draw_tissue_table(1.5, np.random.default_rng(3))
    b = signal.draw_tissue_table(1.5, np.random.default_rng(3))
    table = signal.draw_tissue_table(1.5)
    assert np.array_equal(a.t2_ms, b.t2_ms)
    assert np.abs(a.t1_ms / table.t1_ms - 1).max() < 0.15


def test_nominal_echo_times_of_3d_flair_shrink_to_their_contrast():
    assert signal.effective_te_ms(396, "3D") == pytest.approx(0.42 * 396)
    assert signal.effective_te_ms(136, "2D") == 136
    assert signal.effective_te_ms(120, "3D") == 120


def test_every_value_names_a_source():
    assert set(signal.TISSUES) <= set(signal.RELAXATION)
    assert all(r.source for pair in signal.RELAXATION.values() for r in pair)


def test_unknown_tissue_field_or_sequence_is_refused():
    with pytest.raises(InputError, match="tissue"):
        signal.relaxation("liver", 1.5)
    with pytest.raises(InputError, match="field strength"):
        signal.relaxation("wm", 7.0)
    with pytest.raises(InputError, match="sequence"):
        signal.Sequence("epi", 1, 1).signal(1.0, 1.0, 1.0)


def test_tissue_codes_agree_with_the_anatomy():
    assert [t.name.lower() for t in Tissue] == list(signal.TISSUES)
    assert {int(t) for t in PARENCHYMA} <= set(signal.PARENCHYMA)
