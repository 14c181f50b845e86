"""The panel of the reading room in which a mask is corrected: brush, region, undo, save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flairnb.errors import GeometryError, InputError
from flairnb.present.brush_pad import TOOLS, brush_pad
from flairnb.present.case_view import Packed, pack
from flairnb.present.niivue_viewer import close_whole
from flairnb.report.correction import Correction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from flairnb.report.review_room import ReviewRoom

HINT = (
    "Draw on the slice with the mouse; wheel: slices; Shift while pressing: the other of add and erase. <b>add region</b>: what is as "
    "bright as the clicked point and touches it; <b>erase region</b>: the whole clicked lesion. The mask on disk is never changed."
)


class EditPanel:
    """Brush, tools and buttons; made when first opened, because the picture has to travel to the browser once more."""

    def __init__(self, room: ReviewRoom) -> None:
        import ipywidgets as w

        self.room, self.pad, self._packed = room, None, None
        self.tool = w.ToggleButtons(options=[(words, tool) for tool, words in TOOLS.items()], style={"button_width": "auto"})
        self.radius = w.FloatSlider(3.0, min=0.5, max=15.0, step=0.5, description="brush, mm")
        self.depth = w.ToggleButtons(options=[("this slice", True), ("ball", False)], style={"button_width": "auto"})
        self.likeness = w.FloatSlider(15.0, min=2.0, max=50.0, step=1.0, description="region +-%")
        self.place = w.VBox()
        for chosen in (self.tool, self.radius):
            chosen.observe(lambda change: self._hold(), "value")
        self.save_button = room.button("save corrected mask", self._save, "warning")
        buttons = w.HBox([room.button("undo", self._undo), self.save_button])
        wraps = {"flex_flow": "row wrap"}
        rows = w.HBox([self.tool, self.depth], layout=wraps), w.HBox([self.radius, self.likeness, buttons], layout=wraps)
        self.box = w.VBox([w.HTML(HINT), *rows, self.place])

    def open(self) -> None:
        """Show the slice, at the viewer's cross."""
        if self.pad is not None or not self.room.name:
            return
        self._packed = self._loaded() or pack(self.room.seen(beside=False))
        self.pad = brush_pad(self._packed, self._bytes(), self._drawn)
        self._hold()
        self.place.children = (self.pad,)
        for slider in getattr(self.room.shown, "window", ()):
            slider.observe(lambda change: self._grey(), "value")
        self._grey()
        self.go_to(self.room.cross_mm())

    def _hold(self) -> None:
        if self.pad is not None:
            self.pad.tool, self.pad.radius_mm = self.tool.value, self.radius.value

    def forget(self) -> None:
        """Take the slice away: another case or mask is shown."""
        if self.pad is not None:
            self.place.children = ()
            close_whole(self.pad)
            self.pad = None

    def go_to(self, world_mm: ArrayLike | None) -> None:
        """Show the slice of a point, RAS+ mm."""
        if self.pad is not None and world_mm is not None:
            self.pad.go_to(world_mm)

    def _drawn(self, tool: str, points_mm: NDArray) -> None:
        """Take a stroke from the pad; what goes wrong is said in the room, for here only a log would hear of it."""
        self.room.safely(lambda: self._take(tool, points_mm))

    def _take(self, tool: str, points_mm: NDArray) -> None:
        try:
            self.stroke(tool, points_mm)
        except GeometryError as error:
            self.room.say(f"error: the slice that was drawn on does not fit the open case ({error}). Open the case again.")

    def stroke(self, tool: str, points_mm: NDArray) -> None:
        """Do what the reader did with the mouse.

        Parameters
        ----------
        tool : {"add", "erase", "grow", "erase lesion"}
        points_mm : (n, 3) float array
            The way of the mouse, RAS+ mm; of the last two tools the first counts.

        Raises
        ------
        InputError
            When no point lies in the image, another case than the one shown is
            open, or a part of what is added could not be seen: it lies beyond
            what pad and viewer show. No mask is changed.
        """
        correction = self.room.session.correct(self.room.mask.value, self.room.name)
        before = len(correction.edits)
        try:
            self._apply(correction, tool, points_mm)
        finally:
            self._show(moved=len(correction.edits) != before)

    def _apply(self, correction: Correction, tool: str, points_mm: NDArray) -> None:
        if tool in ("add", "erase"):
            correction.stroke(points_mm, self.radius.value, tool == "add", self.depth.value)
        elif tool == "grow":
            correction.grow(points_mm[0], self.likeness.value / 100)
        else:
            correction.erase_lesion(points_mm[0])
        hidden = self._beyond(correction)
        if hidden and tool in ("add", "grow"):
            correction.undo()
            raise InputError(
                f"correction: expected a change within the slices that are shown, received one of which {hidden} voxels lie beyond them. "
                "Take a smaller brush, or stay away from the edge."
            )

    def _beyond(self, correction: Correction) -> int:
        return 0 if self._packed is None else self._packed.beyond(correction.mask, correction.flair.affine)

    def _undo(self) -> None:
        correction = self.room.session.correct(self.room.mask.value, self.room.name)
        correction.undo()
        if self._beyond(correction):
            # A lesion far out that was erased before this picture was cut: cut it anew, with it.
            self.room.draw()
        else:
            self._show(moved=True)

    def _save(self) -> None:
        self.room.say(f"saved: {self.room.session.save_correction(self.room.mask.value, self.room.name).name}")

    def _show(self, moved: bool) -> None:
        if self.pad is not None:
            self.pad.show_mask(self._bytes())
        if moved:
            self.room.list_lesions()
            if hasattr(self.room.shown, "refresh"):
                self.room.shown.refresh(self.room.seen())

    def _bytes(self) -> Any:
        seen = self.room.seen(beside=False)
        return self._packed.fit(seen.masks[self._name()], seen.flair.affine)

    def _name(self) -> str:
        value = self.room.mask.value
        return value if self.room.session.blinded else self.room.session.names()[value]

    def _loaded(self) -> Packed | None:
        return getattr(self.room.shown, "packed", None)

    def _grey(self) -> None:
        if self.pad is None:
            return
        level, width = getattr(self.room.shown, "window", (self.room.level, self.room.width))
        low, high = self._packed.window
        self.pad.low, self.pad.high = (low + (high - low) * (level.value + side * width.value / 2) / 100 for side in (-1, 1))
