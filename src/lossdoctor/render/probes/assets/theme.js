"use strict";
/* The page follows its reader's theme, or the button. */
(() => {
  const root = document.documentElement, toggle = document.getElementById("theme");
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);
  const label = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-pressed", String(isDark())); };
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  wantsDark.addEventListener("change", label);
  label();
})();
