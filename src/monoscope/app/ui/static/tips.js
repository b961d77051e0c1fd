// One tooltip for every element that carries data-tip.

export function startTips(tip) {
  const hide = () => (tip.hidden = true);
  const place = (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (!target) return hide();
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const box = target.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const x = Math.max(6, Math.min(innerWidth - width - 6, box.left + box.width / 2 - width / 2));
    const y = box.top > height + 12 ? box.top - height - 6 : box.bottom + 6;
    tip.style.transform = `translate(${x}px, ${y}px)`;
  };
  document.addEventListener("pointerover", place);
  document.addEventListener("focusin", place);
  document.addEventListener("scroll", hide, { capture: true, passive: true });
  document.addEventListener("keydown", hide);
}
