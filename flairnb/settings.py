"""Typed settings; their values live in `profiles.toml`, their sources here.

`load("demo")` gives the values of a profile. The `paper` profile is complete;
the others list only what differs from it, or from the profile that their
`based_on` names. What a setting may be stands beside its source, and is
checked when settings are built: before any work begins.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from flairnb.errors import SettingsError
from flairnb.provenance import content_hash

PROFILES = ("smoke", "demo", "phantom", "public", "paper", "robust", "finetune")
#: NumPy's and TensorFlow's generators take no larger seed.
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Allowed:
    """What a setting may be.

    Attributes
    ----------
    words : str
        What the error says after "expected".
    holds : callable
        Takes a value of the setting's type and tells whether it may be that.
    choices : tuple
        Of a closed set, its values; else empty.
    """

    words: str
    holds: Callable[[Any], bool]
    choices: tuple[Any, ...] = ()


def _one_of(*choices: str | int) -> Allowed:
    *others, last = map(repr, choices)
    return Allowed(" or ".join([", ".join(others), last] if others else [last]), lambda value: value in choices, choices)


def _least(low: float, words: str = "") -> Allowed:
    return Allowed(words or f"{low:g} or more", lambda value: low <= value < math.inf)


def _above_zero(high: float = math.inf) -> Allowed:
    return Allowed(
        "above 0" + (f", up to {high:g}" if math.isfinite(high) else ""), lambda value: 0 < value <= high and math.isfinite(value)
    )


def _share(below_one: bool = False) -> Allowed:
    if below_one:
        return Allowed("0 or more, below 1", lambda value: 0 <= value < 1)
    return Allowed("0 to 1", lambda value: 0 <= value <= 1)


_ODD = Allowed("an odd number of 1 or more", lambda value: value > 0 and value % 2 == 1)
_COARSER = Allowed("0, or above 1 up to 4", lambda value: value == 0 or 1 < value <= 4)
_STEPS_OR_NONE = Allowed("numbers of 0 or more", lambda steps: all(step >= 0 for step in steps))
_STEPS_OF_LEVELS = Allowed("one or more numbers of 0 or more", lambda steps: len(steps) > 0 and _STEPS_OR_NONE.holds(steps))


def _of(source: str, allowed: Allowed | None = None) -> Any:
    """Declare a field with the place in the article, or the reason, its value comes from, and what else it may be."""
    return field(metadata={"source": source, "allowed": allowed})


@dataclass(frozen=True)
class CohortSettings:
    """Who is in the cohort, and where the images come from."""

    source: str = _of("'phantom' (simulated) or 'manifest'; the article's patients are closed", _one_of("phantom", "manifest"))
    manifest: str = _of("path of a hospital's manifest; used when source is 'manifest'")
    validation_per_disease: int = _of("Methods, Diseases and Training/Validation Assignment: 5 random cases of each disease", _least(1))
    training_per_disease: int = _of("0: Table 1's 275 cases over 18 diseases; else this many of each (demo, smoke)", _least(0))
    healthy_training: int = _of("Methods, Diseases and Training/Validation Assignment: 20 healthy brains", _least(0))
    diagnoses: tuple[str, ...] = _of("empty: all 19; else only these keys (smoke)")
    head_spacing_mm: float = _of("not reported (phantom only); resolution of the simulated head before it is scanned", _above_zero())


@dataclass(frozen=True)
class PrepareSettings:
    """Image Preprocessing."""

    spacing_mm: float = _of("Methods, Image Preprocessing: 1 mm3 isotropic, linear interpolation", _above_zero())
    n4: bool = _of("not reported; ANTs' usual companion of brain extraction, on the image that leads it")
    n4_flair: bool = _of("not reported; off, because N4 takes large lesions for bias: see flairnb.prepare.case")
    n4_shrink: int = _of("not reported; ANTs default 4", _least(1))
    working_spacing_mm: float = _of("not reported; brain extraction and registration run at this spacing for speed", _above_zero())
    affine_iterations: tuple[int, ...] = _of("not reported; coarse to fine", _STEPS_OF_LEVELS)
    syn_iterations: tuple[int, ...] = _of("not reported; coarse to fine, empty for affine only", _STEPS_OR_NONE)
    refine_mask: bool = _of("not reported; the template's mask is refined by the head's own intensities")
    normalise_in: str = _of("not reported; mean and SD inside the brain mask ('brain')", _one_of("brain"))


@dataclass(frozen=True)
class NetworkSettings:
    """CNN Model Architecture (U-Net)."""

    width: int = _of("not reported; 16 is what fits the printed batch into the 12 GB that the maker states for the printed GPU", _least(1))
    levels: int = _of("Methods, CNN Model Architecture: 4 down-sampled blocks, 4 up-sampled blocks", _least(1))
    convolutions_per_block: int = _of("not reported; 2, as in the cited U-Net", _least(1))
    kernel: int = _of("Methods, CNN Model Architecture: 3 x 3 x 3 across the network", _ODD)
    dilation: str = _of(
        "'factor of 2 in all convolutional layers'; read as stride-1 layers ('stride1_only'), or 'literal', 'none'",
        _one_of("stride1_only", "literal", "none"),
    )
    norm_in_blocks: str = _of(
        "not reported; batch normalisation is printed for the last three layers only ('none' or 'batch')", _one_of("none", "batch")
    )
    crosslink: str = _of("not reported; 'concat' as in the cited U-Net, or 'add'", _one_of("concat", "add"))
    head_convolutions: int = _of("Methods, CNN Model Architecture: 3 additional conv + ReLU + BN layers", _least(0))
    classes: int = _of("Methods, CNN Model Architecture: softmax; lesion and background", _least(2))


@dataclass(frozen=True)
class TrainSettings:
    """How the network is trained."""

    recipe: str = _of("'paper' (Adam, constant rate) or 'robust' (AdamW, warm-up and cosine, averaged weights)", _one_of("paper", "robust"))
    patch: int = _of("Methods, Image Preprocessing: 96 voxel cubes", _least(1, "1 voxel or more"))
    patches_per_case: int = _of("Methods, Image Preprocessing: 80 per case", _least(1))
    augmentations: int = _of("Methods, Image Preprocessing: 3 random augmentations per case", _least(0))
    lesion_fraction: float = _of("Methods, Image Preprocessing: as many patches with as without lesion", _share())
    batch: int = _of("Methods, CNN Model Architecture: six 3D patches", _least(1))
    epochs: int = _of(
        "Methods, CNN Model Architecture: 50 epochs; finetune: ours, 20, which with 40 cases are 1,600 updates; "
        "the last run of the shipped weights' training had 2,000",
        _least(1),
    )
    learning_rate: float = _of(
        "Methods, CNN Model Architecture: Adam, 1e-5; finetune: 5e-4, the highest rate of the last run of the shipped weights' training",
        _above_zero(),
    )
    loss: str = _of(
        "Methods, CNN Model Architecture: cross-entropy; 'dice_cross_entropy' in the robust recipe",
        _one_of("cross_entropy", "dice_cross_entropy"),
    )
    rotation_deg: float = _of("'small random rotations', size not reported; chosen", _least(0))
    translation_mm: float = _of("'translations', size not reported; chosen", _least(0))
    scaling_fraction: float = _of("'scaling', size not reported; chosen", _share(below_one=True))
    freeform_mm: float = _of("'free-form deformations', size not reported; chosen", _least(0))
    coarsest_mm: float = _of(
        "robust recipe only; patches come at voxel sizes from the volume's own up to this; 0 keeps the volume's own", _least(0)
    )
    precision: str = _of(
        "not reported; 'auto' is float16 on a GPU, float32 on a CPU; also float32, bfloat16 (float32 on a CPU without it), float16",
        _one_of("auto", "float32", "bfloat16", "float16"),
    )
    weight_decay: float = _of("robust recipe only", _least(0))
    warmup_fraction: float = _of("robust recipe only", _share())
    ema_momentum: float = _of("robust recipe only; 0 switches it off", _share(below_one=True))
    clip_norm: float = _of("robust recipe only; 0 switches it off", _least(0))
    max_minutes: float = _of("0: no limit; else training stops after this time and says so", _least(0))


@dataclass(frozen=True)
class InferSettings:
    """How the trained network is applied."""

    method: str = _of(
        "Methods, Image Preprocessing: 'tiled' (dense cubes, averaged); 'whole' is one pass over the brain", _one_of("tiled", "whole")
    )
    patch: int = _of("Methods, Image Preprocessing: 96 voxel cubes", _least(1, "1 voxel or more"))
    step: int = _of("Methods, Image Preprocessing: step of 32", _least(1, "1 voxel or more"))
    threshold: float = _of("not reported; 0.5 is the larger of two softmax classes", _above_zero(1))
    min_lesion_ml: float = _of("not reported; 0 keeps every lesion", _least(0, "0 or more ml"))
    flips: bool = _of("not in the article; the mean of the brain and of its left-right mirror image, at twice the time")
    coarser_look: float = _of("ours; the mean with a second look at voxels this many times larger; 0 leaves it out", _COARSER)
    shipped_spacing_mm: float = _of(
        "ours; voxel size at which the shipped network is applied beside the run's own; 0 leaves it out", _least(0)
    )
    memory_gb: float = _of("not reported; 'whole' splits the brain where one pass would need more", _above_zero())


@dataclass(frozen=True)
class BaselineSettings:
    """Comparison Algorithms; the article gives their names and references, no setting."""

    tuning_cases: int = _of(
        "not reported; a method's cut is chosen on so many training cases with lesions, spread evenly; 0: on all", _least(0)
    )
    lga_kappa: float = _of("not reported; Schmidt et al. 2012: 0.3. A kappa chosen on training cases stands beside it", _above_zero(1))
    knn_neighbours: int = _of("not reported; BIANCA's own 40", _least(1))
    knn_lesion_points: int = _of(
        "not reported; Griffanti et al. 2016: 2000 of each training case (demo: fewer, as its voxels are larger)", _least(1)
    )
    knn_other_points: int = _of("not reported; Griffanti et al. 2016: 10000 of each training case, none at a lesion's border", _least(1))
    knn_spatial_weight: float = _of("not reported; BIANCA's own 1, the weight of MNI coordinates; 0 leaves them out", _least(0))
    external: str = _of("ours; folder with masks of outside tools, sub-<label>_desc-<tool>_mask.nii.gz; empty for none")


@dataclass(frozen=True)
class EvaluateSettings:
    """How masks are scored."""

    connectivity: int = _of("not reported; lesions are components joined by face, edge or corner (26)", _one_of(6, 18, 26))
    bootstrap: int = _of("ours; resamples of cases for 95% intervals", _least(1))
    specificity_over: str = _of("not reported; 'brain' voxels or the whole 'grid'", _one_of("brain", "grid"))


@dataclass(frozen=True)
class AuditSettings:
    """What the audit of chapter 12 does beyond its minutes."""

    cases: int = _of("ours; validation cases of middling lesion volume in which one choice at a time is changed", _least(0))
    training_epochs: int = _of(
        "ours; epochs to train for each choice that the article leaves open; 0 shows the committed table instead", _least(0)
    )


_SECTIONS: dict[str, type] = {
    "cohort": CohortSettings,
    "prepare": PrepareSettings,
    "network": NetworkSettings,
    "train": TrainSettings,
    "infer": InferSettings,
    "baselines": BaselineSettings,
    "evaluate": EvaluateSettings,
    "audit": AuditSettings,
}


@dataclass(frozen=True)
class Settings:
    """All settings of a run; `profile` and `seed` name it."""

    profile: str
    seed: int
    cohort: CohortSettings
    prepare: PrepareSettings
    network: NetworkSettings
    train: TrainSettings
    infer: InferSettings
    baselines: BaselineSettings
    evaluate: EvaluateSettings
    audit: AuditSettings


def load(profile: str = "demo", overrides: str | Mapping[str, Any] | Sequence[str] = "", seed: int = 2019) -> Settings:
    """Load a profile and apply overrides.

    Parameters
    ----------
    profile : str
        One of `PROFILES`.
    overrides : str, mapping or sequence of str
        ``"train.epochs=3 network.width=8"`` (see `split_words`), a list of
        such words, or ``{"train.epochs": 3}``. Values are TOML; anything else
        is a string as it stands.
    seed : int
        Seed of everything random in the run, 0 to `LARGEST_SEED`.

    Raises
    ------
    SettingsError
        Unknown profile or key (with the nearest match), a wrong type, a value
        that the setting may not have, or patches that do not fit the network.
    """
    table = profile_table(profile)
    items = _override_items(overrides)
    for key, value in items:
        section, _, name = key.partition(".")
        if section not in table or name not in table[section]:
            known = [f"{s}.{n}" for s in table for n in table[s]]
            raise SettingsError(f"setting {key!r}: expected a known key{_nearest(key, known)}. `flairnb run --help` shows the form.")
        table[section][name] = value
    sections = {name: _build(name, cls, table[name]) for name, cls in _SECTIONS.items()}
    _check_patches(sections["network"], sections["train"], sections["infer"])
    if "infer.step" in dict(items):
        _check_step(sections["network"], sections["infer"])
    if not 0 <= int(seed) <= LARGEST_SEED:
        raise SettingsError(f"seed: expected 0 to {LARGEST_SEED}, received {seed}.")
    return Settings(profile=profile, seed=int(seed), **sections)


def profile_table(profile: str) -> dict[str, dict[str, Any]]:
    """Return a profile's values as ``{section: {name: value}}``."""
    profiles = tomllib.loads(resources.files("flairnb").joinpath("profiles.toml").read_text(encoding="utf-8"))
    if profile not in PROFILES:
        raise SettingsError(f"profile {profile!r}: expected one of {', '.join(PROFILES)}{_nearest(profile, PROFILES)}.")
    table = {section: dict(values) for section, values in profiles["paper"].items()}
    own = profiles[profile]
    base = profiles[own.pop("based_on")] if "based_on" in own else {}
    for section, values in [*base.items(), *own.items()]:
        table[section] |= values
    return table


def _nearest(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"; did you mean {match[0]!r}?" if match else ""


def split_words(text: str) -> list[str]:
    """Split a text into its ``key=value`` words; blanks belong to a value unless another ``key=`` follows them.

    So words may be joined by blanks and split again.

    Examples
    --------
    >>> split_words("data_dir=/data/my cohort  train.epochs=3")
    ['data_dir=/data/my cohort', 'train.epochs=3']
    """
    return [word for word in re.split(r"\s+(?=[\w.]+=)", text.strip()) if word]


def _override_items(overrides: str | Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    words = split_words(overrides) if isinstance(overrides, str) else list(overrides)
    items = []
    for word in words:
        key, separator, text = word.partition("=")
        if not separator:
            raise SettingsError(f"override {word!r}: expected section.name=value, for example train.epochs=3.")
        items.append((key.strip(), _toml_value(text.strip())))
    return items


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _build(section: str, cls: type, values: Mapping[str, Any]) -> Any:
    ready = {}
    for f in dataclasses.fields(cls):
        if f.name not in values:
            raise SettingsError(f"profiles.toml: [paper.{section}] lacks {f.name}.")
        ready[f.name] = _typed(f"{section}.{f.name}", str(f.type), values[f.name])
        _check(f"{section}.{f.name}", f.metadata["allowed"], ready[f.name])
    unknown = set(values) - set(ready)
    if unknown:
        raise SettingsError(f"profiles.toml: [{section}] has unknown keys {sorted(unknown)}.")
    return cls(**ready)


def _typed(key: str, kind: str, value: Any) -> Any:
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "tuple[int, ...]" and isinstance(value, list | tuple) and all(isinstance(v, int) for v in value):
        return tuple(value)
    if kind == "tuple[str, ...]" and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise SettingsError(f"setting {key!r}: expected {kind}, found {value!r} ({type(value).__name__}).")


def _check(key: str, allowed: Allowed | None, value: Any) -> None:
    """Raise `SettingsError`, with the nearest choice, unless a setting may have a value."""
    if allowed is None or allowed.holds(value):
        return
    shown = f"{value:g}" if isinstance(value, float) else repr(_plain(value))
    hint = _nearest(value, allowed.choices) if isinstance(value, str) else ""
    raise SettingsError(f"{key}: expected {allowed.words}, received {shown}{hint or '.'}")


def _check_step(network: NetworkSettings, infer: InferSettings) -> None:
    """Raise `SettingsError` for a step that was asked for and leaves gaps between tiles; one that was not follows a smaller patch."""
    if infer.method == "tiled" and infer.step > infer.patch:
        raise SettingsError(
            f"infer.patch: expected a multiple of {2**network.levels} and a step of 1 to patch, "
            f"found patch {infer.patch}, step {infer.step}."
        )


def _check_patches(network: NetworkSettings, train: TrainSettings, infer: InferSettings) -> None:
    """Raise `SettingsError` for patches that the network cannot halve often enough."""
    multiple = 2**network.levels
    tiled = {"infer.patch": infer.patch} if infer.method == "tiled" else {}
    for key, patch in {"train.patch": train.patch, **tiled}.items():
        if patch % multiple:
            raise SettingsError(f"{key}: expected a multiple of {multiple} (network.levels={network.levels}), received {patch}.")


def as_dict(settings: Any) -> Any:
    """Return settings as plain nested dicts (tuples as lists)."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return as_dict(value)
    return list(value) if isinstance(value, tuple) else value


def settings_hash(*parts: Any) -> str:
    """Return 12 hexadecimal digits of one or more settings objects or plain values."""
    return content_hash(*[_plain(p) for p in parts])


def describe(profiles: Sequence[str] = PROFILES) -> list[dict[str, Any]]:
    """Return one row a setting: its key, its value in each profile, its source."""
    tables = {p: profile_table(p) for p in profiles}
    rows = []
    for section, cls in _SECTIONS.items():
        for f in dataclasses.fields(cls):
            values = {p: _plain(tables[p][section][f.name]) for p in profiles}
            rows.append({"setting": f"{section}.{f.name}", **values, "source": f.metadata["source"]})
    return rows
