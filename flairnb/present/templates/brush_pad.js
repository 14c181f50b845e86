// One axial slice with a mask on it, to paint on. Rows run from the front, columns from the patient's right.
const bits = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function render({ model, el }) {
  const [slices, rows, columns] = model.get("shape");
  const [rowMm, columnMm] = model.get("step_mm");
  const scale = model.get("width_px") / (columns * columnMm);
  const wide = Math.round(columns * columnMm * scale), high = Math.round(rows * rowMm * scale);
  const canvas = document.createElement("canvas");
  canvas.className = "flairnb-brush";
  canvas.setAttribute("role", "img");
  canvas.width = wide;
  canvas.height = high;
  canvas.style.cssText = `width:${wide}px;height:${high}px;cursor:none;touch-action:none;background:black`;
  const layer = document.createElement("canvas");
  layer.width = columns;
  layer.height = rows;
  const pen = canvas.getContext("2d"), under = layer.getContext("2d");
  // A stroke belongs to the slice that it began on, whatever is turned or called up meanwhile.
  let stroke = null, began = 0, mouse = null, opposite = false;

  const place = () => (stroke ? began : Math.max(0, Math.min(slices - 1, model.get("k"))));
  const height = (mm) => `z ${mm < 0 ? "\u2212" : "+"}${Math.abs(mm).toFixed(0)} mm`;
  const paints = () => ["add", "erase"].includes(model.get("tool"));
  const adding = () => (model.get("tool") === "add") !== opposite;

  function draw() {
    const grey = bits(model.get("image")), mask = bits(model.get("mask")), k = place();
    const low = model.get("low"), span = Math.max(model.get("high") - low, 1), offset = k * rows * columns;
    const picture = under.createImageData(columns, rows), marks = under.createImageData(columns, rows);
    const [red, green, blue] = model.get("colour");
    for (let n = 0; n < rows * columns; n++) {
      const at = offset + n, value = (255 * (grey[at] - low)) / span;
      picture.data.set([value, value, value, 255], 4 * n);
      if ((mask[at >> 3] >> (7 - (at & 7))) & 1) marks.data.set([red, green, blue, model.get("opacity") * 255], 4 * n);
    }
    under.putImageData(picture, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(layer, 0, 0, wide, high);
    under.putImageData(marks, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(layer, 0, 0, wide, high);
    words(k);
    if (stroke) stroke.forEach(([r, c]) => disk(r, c, true));
    if (mouse) disk(mouse[0], mouse[1], false);
  }

  function words(k) {
    pen.fillStyle = "white";
    pen.font = "bold 15px sans-serif";
    pen.fillText("R", 8, 20);
    pen.fillText("L", wide - 18, 20);
    pen.font = "13px sans-serif";
    const at = `slice ${k + 1} of ${slices}, ${height(model.get("z_mm")[k])}`;
    pen.fillText(at, 8, high - 10);
    canvas.setAttribute("aria-label", `Axial slice to draw on with the mouse, ${at}; the patient's right is on the left`);
    const [r, c, slice] = model.get("cross");
    if (slice !== k) return;
    const x = (c + 0.5) * columnMm * scale, y = (r + 0.5) * rowMm * scale;
    pen.strokeStyle = "rgb(64,230,100)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 6 * dx, y + 6 * dy);
      pen.lineTo(x + 14 * dx, y + 14 * dy);
    }
    pen.stroke();
  }

  function disk(r, c, filled) {
    const x = (c + 0.5) * columnMm * scale, y = (r + 0.5) * rowMm * scale;
    pen.beginPath();
    pen.arc(x, y, paints() ? Math.max(model.get("radius_mm") * scale, 2) : 4, 0, 2 * Math.PI);
    pen.strokeStyle = pen.fillStyle = adding() ? "rgba(64,230,100,0.9)" : "rgba(255,110,70,0.9)";
    if (filled) { pen.globalAlpha = 0.35; pen.fill(); pen.globalAlpha = 1; } else { pen.lineWidth = 1.5; pen.stroke(); }
  }

  function where(event) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) * wide) / box.width, y = ((event.clientY - box.top) * high) / box.height;
    return [y / (rowMm * scale) - 0.5, x / (columnMm * scale) - 0.5];
  }

  function end() {
    stroke = null;
    opposite = false;
    draw();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    opposite = event.shiftKey;
    mouse = where(event);
    began = place();
    stroke = [mouse];
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    mouse = where(event);
    if (stroke && paints()) stroke.push(mouse);
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    if (!stroke) return;
    model.send({ stroke, k: began, tool: paints() ? (adding() ? "add" : "erase") : model.get("tool") });
    end();
  });
  // The browser took the pointer away, for a scroll by finger or a dialogue: nothing was drawn.
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => { mouse = null; if (!stroke) draw(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (stroke) return;
    model.set("k", Math.max(0, Math.min(slices - 1, place() - Math.sign(event.deltaY))));
    model.save_changes();
    draw();
  }, { passive: false });
  const watched = ["image", "mask", "k", "low", "high", "radius_mm", "tool", "cross", "opacity"].map((name) => `change:${name}`).join(" ");
  model.on(watched, draw);
  el.appendChild(canvas);
  draw();
  return () => model.off(watched, draw);
}
export default { render };
