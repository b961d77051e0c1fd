// Runs before the first paint, so that a chosen theme never flashes. Without a choice the system's theme holds.
(() => {
  try {
    const chosen = localStorage.getItem("monoscope-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage may be forbidden; the system's theme holds
  }
})();
