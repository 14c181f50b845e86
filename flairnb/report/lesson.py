"""The lesson for residents: one simulated patient, and what the method makes of it, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from flairnb.errors import FlairnbError
from flairnb.report import steps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from flairnb.cohort.phantom.lesions import LesionMap
    from flairnb.network.weights import Network
    from flairnb.report.lesson_learning import Learned
    from flairnb.report.start import Run

PATIENT = {"participant_id": "lesson", "diagnosis": "SVID", "age": 71.0}
#: Few small lesions, far apart: an error among them can be found.
SMALL = {"participant_id": "lesson", "diagnosis": "MSI", "age": 41.0}
#: Large lesions: learned within seconds, at large voxels.
LARGE = {"participant_id": "lesson-large", "diagnosis": "ALD", "age": 11.0}
#: A usual protocol at 3 T.
TE_MS, TR_MS, TI_MS, FIELD_T = 120.0, 9000.0, 2500.0, 3.0
#: Noise and the coil's brightness from back to front, as shares of the signal (chosen: an ordinary examination).
NOISE_FRACTION, COIL_FRACTION = 0.12, 0.25
LEAST_SPACING_MM = 2.0
#: All features of all blocks are kept at once: 4 GB at 1.5 mm, three times that at 1 mm.
LEAST_READ_MM = 1.5
RADII_MM = (2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Lesson:
    """One simulated patient and the network that reads it.

    Attributes
    ----------
    run : Run
    lesions : LesionMap
        The head and what is ill in it.
    interactive : bool
        Whether somebody moves the sliders.
    """

    run: Run
    lesions: LesionMap
    interactive: bool = False

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """Where the lesions are, on the head's grid."""
        return self.lesions.weight > 0.5

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The brain, on the head's grid."""
        return self.lesions.anatomy.brain

    @property
    def slice_k(self) -> int:
        """The axial slice with most lesion."""
        return int(self.truth.sum(axis=(0, 1)).argmax())

    def flair(self, te_ms: float = TE_MS, tr_ms: float = TR_MS, ti_ms: float = TI_MS, field_t: float = FIELD_T) -> NDArray[np.float32]:
        """Return the head's FLAIR signal without noise, by the signal equation, (I, J, K)."""
        from flairnb.cohort.phantom.signal import Sequence, draw_tissue_table, head_signal

        strength = self.lesions.weight * self.lesions.signal
        table = draw_tissue_table(field_t)
        return head_signal(self.lesions.anatomy.tissue, table, Sequence("flair", te_ms, tr_ms, ti_ms), strength, self.lesions.dark)

    @cached_property
    def examined(self) -> NDArray[np.float32]:
        """The FLAIR with noise and an uneven coil, mean 0 and SD 1 inside the brain, 0 outside."""
        data, rng = self.flair(), np.random.default_rng(self.run.seed)
        data = data * (1 - COIL_FRACTION * np.linspace(-1, 1, data.shape[1])[:, None])
        data = np.abs(data + rng.normal(0, NOISE_FRACTION * np.median(data[self.brain]), data.shape))
        scaled = (data - data[self.brain].mean()) / data[self.brain].std()
        return np.where(self.brain, scaled, 0.0).astype(np.float32)

    @cached_property
    def network(self) -> Network | None:
        """The network that ships, else the run's own, else None."""
        from flairnb.network.onednn import configure
        from flairnb.network.weights import SHIPPED, load_network, shipped_names
        from flairnb.report.quiet import quiet_stderr

        own = self.run.work_dir / steps.MODEL
        # As in notebook 04: a profile says how coarsely the shipped network may look, and 0 leaves it out.
        shipped = shipped_names()[-1:] if self.run.settings.infer.shipped_spacing_mm else []
        places = [*[SHIPPED / name for name in shipped], own]
        for place in places:
            try:
                with quiet_stderr():
                    configure(self.run.jobs)
                    return load_network(place)
            except FlairnbError:
                continue
        return None

    @cached_property
    def read_spacing_mm(self) -> float:
        """The voxel size that the network gets."""
        edge = self.lesions.anatomy.spacing_mm if self.network is None else self.network.spacing_mm
        return float(max(edge, self.run.settings.infer.shipped_spacing_mm, LEAST_READ_MM))

    @cached_property
    def read(self) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """The image, brain and truth at the voxel size that the network gets."""
        from flairnb.geometry import Grid, isotropic_grid
        from flairnb.resampling import resample

        anatomy = self.lesions.anatomy
        source = Grid(anatomy.shape, anatomy.affine)
        grid = isotropic_grid(source.shape, source.affine, self.read_spacing_mm)
        image = resample(self.examined, anatomy.affine, grid)
        brain, truth = (resample(mask.astype(np.float32), anatomy.affine, grid) > 0.5 for mask in (self.brain, self.truth))
        return np.where(brain, image, 0.0).astype(np.float32), brain, truth

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """What the network says of the patient, on the grid of `read`: seen whole, unless it learned on small patches."""
        from dataclasses import replace

        from flairnb.network.inference import predict, suited

        image, brain, _ = self.read
        plain = replace(self.run.settings.infer, method="whole", coarser_look=0.0)
        return predict(self.network.model, image, brain, suited(plain, self.network.model, self.network.trained_patch))

    @cached_property
    def large(self) -> Lesson:
        """Another patient, with large lesions."""
        return open_lesson(self.run, patient=LARGE)

    @cached_property
    def small(self) -> Lesson:
        """Another patient, with few small lesions."""
        return open_lesson(self.run, patient=SMALL)

    @cached_property
    def learned(self) -> Learned:
        """What was seen while a small network learned from this patient; takes some seconds at first use."""
        from flairnb.network.onednn import configure
        from flairnb.report.lesson_learning import learn
        from flairnb.report.quiet import quiet_stderr

        with quiet_stderr():
            configure(self.run.jobs)
            return learn(self)


def open_lesson(run: Run, interactive: bool = False, patient: Mapping[str, Any] = PATIENT) -> Lesson:
    """Draw the lesson's patient: a head with small-vessel disease, always the same for a seed."""
    from dataclasses import replace

    from flairnb.cohort.phantom.subject import draw_subject

    settings = replace(run.settings.cohort, head_spacing_mm=max(LEAST_SPACING_MM, run.settings.cohort.head_spacing_mm))
    lesions, _ = draw_subject(patient, run.seed, settings)
    return Lesson(run, lesions, interactive)


def signal(lesson: Lesson, te_ms: float = TE_MS, tr_ms: float = TR_MS, ti_ms: float = TI_MS, field_t: float = FIELD_T) -> Figure:
    """Draw the signal equation for four tissues and the head it makes.

    Notes
    -----
    The echo comes TE after TI, and before the next inversion: a longer TI
    cannot be played. The curves end there; for a TI beyond, the picture is that
    of the end, and the title says so.
    """
    from flairnb.cohort.phantom.signal import flair_signal, relaxation
    from flairnb.present.lesson_figures import TISSUE_LINES, signal_curves

    latest = tr_ms - te_ms
    times, shown_ms = np.linspace(500, min(4000, latest), 141), min(ti_ms, latest)
    values = {name: relaxation(name, field_t) for name in TISSUE_LINES}
    curves = {name: np.array([float(flair_signal(r.pd, r.t1_ms, r.t2_ms, te_ms, tr_ms, t)) for t in times]) for name, r in values.items()}
    picture = seen(self_masked(lesson, lesson.flair(te_ms, tr_ms, shown_ms, field_t)), lesson.slice_k)
    title = f"TE {te_ms:.0f}, TR {tr_ms:.0f} ms, {field_t:g} T"
    if ti_ms > latest:
        title += f"\nTI {ti_ms:.0f} ms comes too late: at most {latest:.0f} ms"
    return signal_curves(times, curves, shown_ms, picture, title)


def threshold(lesson: Lesson, cut_sd: float = 2.0) -> Figure:
    """Draw what a plain threshold on brightness marks, finds and adds."""
    from flairnb.present.lesson_figures import threshold_figure

    image, k = lesson.examined, lesson.slice_k
    lesion, other = image[lesson.truth & lesson.brain], image[lesson.brain & ~lesson.truth]
    table = sweep(image[lesson.brain], lesson.truth[lesson.brain], np.linspace(-1, 5, 61))
    picture = np.where(lesson.brain, image, image.min())
    return threshold_figure(lesion, other, cut_sd, table, seen(picture, k), seen(lesson.brain & (image > cut_sd), k))


def cut(lesson: Lesson, probability: float = 0.5) -> Any:
    """Draw sensitivity, PPV and Dice over the probability at which the network's map is cut."""
    from flairnb.present.lesson_figures import sweep_figure

    if lesson.network is None:
        return no_network()
    _, brain, truth = lesson.read
    return sweep_figure(sweep(lesson.probability[brain], truth[brain], np.linspace(0.02, 0.98, 49)), probability)


def slip(lesson: Lesson, shift_mm: float = 2.0, larger_mm: float = 0.0) -> Figure:
    """Draw what a shift of the outline, or drawing it farther out or in, costs small and large lesions."""
    from flairnb.present.lesson_figures import dice_by_shift

    del lesson
    return dice_by_shift(RADII_MM, shift_mm, larger_mm)


def blocks(lesson: Lesson, feature: int = 0) -> Any:
    """Draw what each block of the network makes of the slice with most lesion.

    Parameters
    ----------
    lesson : Lesson
    feature : int
        0 the feature that varies most over the slice, 1 the next, and so on.
    """
    from flairnb.present.lesson_figures import feature_maps

    if lesson.network is None:
        return no_network()
    image, brain, truth = lesson.read
    outputs, k = block_outputs(lesson.network.model, image), int(truth.sum(axis=(0, 1)).argmax())
    maps = [("what it gets", seen(np.where(brain, image, image.min()), k))]
    for name, values in outputs.items():
        plane = values[:, :, min(k * values.shape[2] // image.shape[2], values.shape[2] - 1)]
        order = np.argsort(-plane.reshape(-1, plane.shape[-1]).std(axis=0))
        maps.append((f"{name}: {' x '.join(map(str, values.shape[:3]))}", plane[..., order[min(feature, len(order) - 1)]][::-1, ::-1].T))
    maps += [("lesion probability", seen(lesson.probability, k))]
    return feature_maps(maps, "One feature of each block, the same slice; red: the true lesions", seen(truth, k))


def block_outputs(model: Any, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the features after each block, name to (i, j, k, features), on the image cut to fit the network."""
    import keras

    from flairnb.network.inference import size_multiple

    multiple = size_multiple(model)
    shape = [-(-n // multiple) * multiple for n in image.shape]
    padded = np.pad(image, [(0, n - m) for n, m in zip(shape, image.shape, strict=True)])
    names = [layer.name for layer in model.layers if layer.name.endswith("_residual")]
    layers = keras.Model(model.input, [model.get_layer(name).output for name in names])
    found = layers(padded[None, ..., None], training=False)
    found = found if isinstance(found, (list, tuple)) else [found]
    return {name.removesuffix("_residual"): np.asarray(values)[0] for name, values in zip(names, found, strict=True)}


def sweep(values: NDArray, truth: NDArray[np.bool_], cuts: NDArray) -> pd.DataFrame:
    """Return sensitivity, PPV and Dice of `values > cut`, one row a cut; NaN where nothing is marked."""
    import pandas as pd

    total, rows = int(truth.sum()), []
    for at in cuts:
        marked = values > at
        both, n = int((marked & truth).sum()), int(marked.sum())
        rows.append(
            (float(at), both / total if total else np.nan, both / n if n else np.nan, 2 * both / (n + total) if n + total else np.nan)
        )
    return pd.DataFrame(rows, columns=["cut", "sensitivity", "ppv", "dice"])


def seen(volume: NDArray, k: int) -> NDArray:
    """Return axial slice `k` of a right-anterior-superior volume by the radiological convention."""
    return volume[::-1, ::-1, k].T


def self_masked(lesson: Lesson, data: NDArray) -> NDArray:
    """Return a head's signal with everything but the brain dark."""
    return np.where(lesson.brain, data, 0.0)


def no_network() -> Any:
    """Return a sentence for where no trained network is at hand."""
    from IPython.display import Markdown

    return Markdown("*No trained network here yet: `flairnb run 03` makes one.*")


def play(lesson: Lesson, draw: Callable[..., Any], **sliders: tuple[float, float, float, float]) -> Any:
    """Return a picture with sliders, or the picture at their start values where nobody moves them.

    Parameters
    ----------
    lesson : Lesson
    draw : callable
        Of this module: takes the lesson and the sliders' values.
    **sliders
        Name to (start, lowest, highest, step).
    """
    from flairnb.report.lesson_play import WHOLE, with_sliders

    if not lesson.interactive:
        return draw(lesson, **{name: int(start) if name in WHOLE else start for name, (start, *_) in sliders.items()})
    return with_sliders(partial(draw, lesson), sliders)


def numbers(lesson: Lesson) -> dict[str, float]:
    """Return notebook 11's numbers: the best a threshold can do, and what one slip costs a small lesion."""
    from flairnb.present.lesson_figures import moved_ball_dice

    table = sweep(lesson.examined[lesson.brain], lesson.truth[lesson.brain], np.linspace(-1, 5, 61))
    return {"best_threshold_dice": float(table["dice"].max()), "dice_2mm_slip_2mm": moved_ball_dice(2.0, 2.0)}
