"""The lesson: what its pictures and questions claim holds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from flairnb import settings
from flairnb.cohort.phantom.signal import csf_null_ti_ms, relaxation
from flairnb.errors import InputError
from flairnb.present.lesson_figures import moved_ball_dice
from flairnb.report import lesson, lesson_doubt, lesson_learning, lesson_play, lesson_reach


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    run = SimpleNamespace(seed=2019, settings=settings.load("smoke"), work_dir=tmp_path_factory.mktemp("work"), jobs=1)
    return lesson.open_lesson(run)


@pytest.mark.parametrize(("radius", "shift"), [(2.0, 2.0), (5.0, 2.0), (10.0, 2.0), (3.0, 5.0)])
def test_the_closed_form_of_a_moved_ball_is_what_counting_gives(radius, shift):
    at = np.stack(np.meshgrid(*[np.arange(-16, 16.01, 0.2)] * 3, indexing="ij"))
    one = (at**2).sum(axis=0) <= radius**2
    other = ((at - np.array([shift, 0, 0])[:, None, None, None]) ** 2).sum(axis=0) <= radius**2
    assert np.isclose(2 * (one & other).sum() / (one.sum() + other.sum()), moved_ball_dice(radius, shift), atol=0.02)


@pytest.mark.parametrize(
    ("radius", "shift", "larger"), [(5.0, 0.0, 2.0), (5.0, 1.0, 2.0), (5.0, 4.0, 2.0), (5.0, 4.0, -2.0), (3.0, 9.0, 1.0)]
)
def test_the_closed_form_of_two_balls_is_what_counting_gives(radius, shift, larger):
    at = np.stack(np.meshgrid(*[np.arange(-16, 16.01, 0.2)] * 3, indexing="ij"))
    one = (at**2).sum(axis=0) <= radius**2
    other = ((at - np.array([shift, 0, 0])[:, None, None, None]) ** 2).sum(axis=0) <= (radius + larger) ** 2
    assert np.isclose(2 * (one & other).sum() / (one.sum() + other.sum()), moved_ball_dice(radius, shift, larger), atol=0.02)


def test_csf_vanishes_where_the_answer_says_and_the_lesion_shines(patient):
    assert np.isclose(csf_null_ti_ms(relaxation("csf", 3.0).t1_ms, lesson.TR_MS), 2500, atol=60)
    head = patient.flair()
    assert head[patient.truth].mean() > 1.2 * head[patient.brain & ~patient.truth].mean()
    flat = patient.flair(te_ms=20.0)
    assert flat[patient.truth].mean() / flat[patient.brain].mean() < head[patient.truth].mean() / head[patient.brain].mean()


def test_no_threshold_finds_the_lesions_alone(patient):
    found = lesson.numbers(patient)
    assert 0.05 < found["best_threshold_dice"] < 0.8


def test_sweeping_counts_as_by_hand():
    table = lesson.sweep(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]), np.array([0.5, 0.95]))
    assert table.iloc[0].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert table["sensitivity"][1] == 0 and np.isnan(table["ppv"][1]) and table["dice"][1] == 0


def test_without_a_network_the_lesson_says_so_and_goes_on(patient, monkeypatch):
    monkeypatch.setattr("flairnb.network.weights.shipped_names", lambda: [])
    assert "flairnb run 03" in lesson.blocks(patient).data and "flairnb run 03" in lesson.cut(patient).data
    for draw in (lesson.signal, lesson.threshold, lesson.slip):
        assert lesson.play(patient, draw)._repr_png_()[:4] == b"\x89PNG"


def test_every_question_has_its_answer_folded_away_and_no_script():
    for topic, questions in lesson_play.QUESTIONS.items():
        page = lesson_play.ask(topic).data
        assert page.count("<details>") == len(questions) and "<script" not in page
        assert all(0 <= q.right < len(q.choices) and q.why for q in questions)
    assert sum(map(len, lesson_play.QUESTIONS.values())) >= 8
    with pytest.raises(InputError, match="expected one of signal"):
        lesson_play.ask("gadolinium")


def test_a_clicked_answer_is_checked_and_explained():
    box = lesson_play.ask("signal", interactive=True).children[0]
    box.choice.value = "TI about 1.0 s"
    assert "Not quite" in box.said.value
    box.choice.value = "TI about 2.5 s"
    assert "Right" in box.said.value and "ln 2" in box.said.value


def test_a_slider_draws_the_picture_anew():
    box = lesson_play.with_sliders(lambda shift_mm: lesson.slip(None, shift_mm), {"shift_mm": (2.0, 0.0, 10.0, 0.5)})
    first = bytes(box.picture.value)
    box.sliders["shift_mm"].value = 6.0
    assert first[:4] == b"\x89PNG" and bytes(box.picture.value) != first


def test_the_code_shown_is_the_packages_own():
    from flairnb.network.unet import down_block

    assert "def down_block" in lesson_play.show_code(down_block).data


@pytest.mark.parametrize(("dilation", "convolutions"), [("none", 2), ("none", 3), ("stride1_only", 2), ("literal", 2)])
def test_a_voxel_has_seen_what_the_lesson_says(dilation, convolutions):
    """By back-propagation through the package's own blocks, with positive weights so that nothing cancels."""
    import keras
    import tensorflow as tf

    from flairnb.network.unet import build_unet

    network = replace(
        settings.load("smoke").network, width=1, levels=2, dilation=dilation, convolutions_per_block=convolutions, norm_in_blocks="none"
    )
    whole = build_unet(network)
    for layer in whole.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.full(layer.kernel.shape, 0.1, dtype=np.float32))
    for block, edge in zip(("input", "down1", "down2"), lesson_reach.reach_vox(network), strict=True):
        model = keras.Model(whole.input, whole.get_layer(f"{block}_residual").output)
        x = tf.ones((1, 64, 64, 64, 1))
        with tf.GradientTape() as tape:
            tape.watch(x)
            features = model(x, training=False)
            middle = features[0, features.shape[1] // 2, features.shape[2] // 2, features.shape[3] // 2, 0]
        hit = np.flatnonzero(tape.gradient(middle, x).numpy()[0, ..., 0].any(axis=(1, 2)))
        assert hit[-1] - hit[0] + 1 == edge, block


def test_the_squares_grow_with_the_blocks(patient):
    widths = lesson_reach.reach_vox(patient.run.settings.network)
    assert widths == sorted(widths) and len(widths) == patient.run.settings.network.levels + 1
    pictures = {lesson_reach.reach(patient, block)._repr_png_() for block in range(len(widths))}
    assert len(pictures) == len(widths)


def test_the_small_network_learns_what_it_sees_and_something_for_others(patient):
    known = patient.learned
    assert known.steps.tolist() == list(range(0, lesson_learning.STEPS + 1, lesson_learning.EVERY)) and len(known.maps) == len(known.steps)
    assert known.loss[-1] < 0.7 * known.loss[0] and known.other_loss[-1] < known.other_loss[0]
    assert known.truth.any() and known.maps[-1][known.truth].mean() > 2 * known.maps[-1][~known.truth].mean()
    early, late = (lesson_learning.learning(patient, steps)._repr_png_() for steps in (0, 60))
    assert early[:4] == late[:4] == b"\x89PNG" and early != late


def test_tiles_side_by_side_meet_where_the_seams_are_drawn():
    brain = np.zeros((90, 80, 5), dtype=bool)
    brain[10:80, 5:75] = True
    # Tiles of 32 begin at 0, 32 and 64 of 90, and at 0, 32 and 64 of 80.
    assert lesson_learning.seams(brain) == ([80 - 32 - 0.5, 80 - 64 - 0.5], [90 - 32 - 0.5, 90 - 64 - 0.5])


def test_drawing_every_outline_farther_out_is_a_bias_in_the_plot(patient):
    second = lesson_doubt.second_mask(patient)
    volumes = [lesson_doubt.lesion_volumes(patient.truth, lesson_doubt.moved_outline(second, mm, patient), patient) for mm in (-2, 0, 3)]
    means = [float((two - one).mean()) for one, two in volumes]
    assert means[0] < means[1] < means[2] and np.allclose(volumes[0][0], volumes[2][0])
    assert np.isclose(volumes[0][0].sum(), patient.truth.sum() * patient.lesions.anatomy.spacing_mm**3 / 1000)
    assert lesson_doubt.readers(patient, 1.0)._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize("seed", [4, 10])
def test_two_panels_of_the_hunt_are_right_and_each_error_shows_in_its_own_alone(patient, seed, monkeypatch):
    """Of seed 4 tall errors reached panels that were called right; of seed 10 one of those held no lesion."""
    from flairnb.present import lesson_pictures

    run = SimpleNamespace(seed=seed, settings=settings.load("demo"), work_dir=patient.run.work_dir, jobs=1)
    drawn = lesson.Lesson(run, lesson.open_lesson(run, patient=lesson.SMALL).lesions)
    monkeypatch.setattr(lesson.Lesson, "small", drawn)
    shown = []
    monkeypatch.setattr(lesson_pictures, "hunt_figure", lambda panels, _reveal: shown.extend(panels))
    lesson_doubt.hunt(drawn)
    true = [lesson.seen(drawn.truth, k) for k in range(drawn.truth.shape[2])]
    right = [outlines for _, outlines, place, what in shown if what == "nothing wrong" and place is None]
    assert len(shown) == 6 and len(right) == 2
    assert all(outlines.any() and any(np.array_equal(outlines, one) for one in true) for outlines in right)
    mask, errors = lesson_doubt.planted(drawn)
    labels, count = ndimage.label(ndimage.binary_dilation(mask != drawn.truth), np.ones((3, 3, 3)))
    panels = {error.at[2] for error in errors}
    assert all(len(panels & set(np.nonzero(labels == number)[2])) <= 1 for number in range(1, count + 1))
    assert all((mask != drawn.truth)[:, :, k].any() for k in panels)


def test_no_inversion_time_is_drawn_whose_echo_comes_after_the_next_inversion(patient, monkeypatch):
    from flairnb.present import lesson_figures

    asked, drawn = [], []
    monkeypatch.setattr(lesson_figures, "signal_curves", lambda *given: drawn.append(given))
    flair = lesson.Lesson.flair
    monkeypatch.setattr(lesson.Lesson, "flair", lambda *given: asked.append(given[3]) or flair(*given))
    for tr, ti in ((9000.0, 4000.0), (3000.0, 2500.0), (3000.0, 4000.0)):
        lesson.signal(patient, te_ms=120.0, tr_ms=tr, ti_ms=ti)
    ends, chosen, titles = ([given[n] for given in drawn] for n in (0, 2, 4))
    assert [times[-1] for times in ends] == [4000, 2880, 2880]
    assert asked == chosen == [4000, 2500, 2880]
    assert ["too late" in title for title in titles] == [False, False, True] and "TI 4000 ms comes too late: at most 2880 ms" in titles[2]
    assert all(np.isfinite(curve).all() and len(curve) == len(given[0]) for given in drawn for curve in given[1].values())


@pytest.mark.parametrize("seed", [2019, 7])
def test_the_hunt_holds_the_four_errors_that_it_names(patient, seed):
    small = lesson.open_lesson(lesson_learning.with_seed(patient.run, seed), patient=lesson.SMALL)
    mask, errors = lesson_doubt.planted(small)
    found = {error.what: error.at for error in errors}
    assert len(found) == 4 and len({at[2] for at in found.values()}) == 4
    i, j, k = found["a lesion was left out"]
    near = np.s_[i - 2 : i + 3, j - 2 : j + 3, k - 1 : k + 2]
    assert small.truth[near].any() and not mask[near].any()
    i, j, k = found["drawn on the wrong side"]
    near, true_side = np.s_[i - 2 : i + 3, j - 2 : j + 3, k - 1 : k + 2], mask.shape[0] - 1 - i
    assert mask[near].any() and not small.truth[near].any() and small.truth[true_side - 2 : true_side + 3, near[1], near[2]].any()
    assert (mask & ~small.brain)[:, :, found["the outline leaves the brain"][2]].any()
    at = found["normal tissue, merely bright"]
    assert mask[at] and not small.truth[at] and small.brain[at]


def test_the_hunts_answer_is_folded_away_in_a_saved_page(patient):
    page = lesson_play.fold(lesson_doubt.hunt(patient, reveal=True), "Reveal").data
    assert page.startswith("<details><summary>") and "data:image/png;base64," in page and "<script" not in page
    assert lesson_doubt.hunt(patient)._repr_png_() != lesson_doubt.hunt(patient, reveal=True)._repr_png_()


def test_where_nobody_moves_the_sliders_the_picture_is_at_their_start(patient):
    drawn = lesson.play(patient, lambda _, **values: values, larger_mm=(2.0, -2.0, 4.0, 1.0), steps=(60.0, 0.0, 60.0, 5.0))
    assert drawn == {"larger_mm": 2.0, "steps": 60} and isinstance(drawn["steps"], int)
    # As section 5 of the lesson says: the second reader's outlines lie farther out, so the bias is above zero.
    shown = lesson.play(patient, lesson_doubt.readers, larger_mm=(2.0, -2.0, 4.0, 1.0))
    label = next(text.get_text() for text in shown.axes[1].get_legend().get_texts() if text.get_text().startswith("bias"))
    same = lesson_doubt.readers(patient, 2.0).axes[1].get_legend().get_texts()
    assert label.startswith("bias +") and label in [text.get_text() for text in same]
