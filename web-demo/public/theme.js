// Before the first paint, so that a page chosen to be dark does not flash white. Only the choice is stored; without one the
// system's preference holds.
(() => {
  try {
    const theme = localStorage.getItem("bicast-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is forbidden: the system's preference holds.
  }
})();
