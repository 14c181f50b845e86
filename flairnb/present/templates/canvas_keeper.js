// Beside NiiVue's canvas. A change of JupyterLab's theme takes the page's styles away for a moment: NiiVue then gives its
// canvas 0 x 0 pixels, and measures it anew only when the window's size changes. So it is told that it did.
const SAYS = "Examination in axial, coronal, sagittal and 3D views; the patient's right is on the left. Drag: move the cross; wheel: slices";

function render({ el }) {
  el.style.display = "none";
  const look = () => {
    const canvas = el.closest(".flairnb-niivue")?.querySelector("canvas");
    if (!canvas) return;
    if (!canvas.hasAttribute("aria-label")) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", SAYS);
    }
    const box = canvas.parentElement.getBoundingClientRect();
    if (!(canvas.width && canvas.height) && box.width && box.height) window.dispatchEvent(new Event("resize"));
  };
  const timer = setInterval(look, 500);
  return () => clearInterval(timer);
}
export default { render };
