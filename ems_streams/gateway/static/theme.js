// Dark or light: as the system has it, until somebody chooses; the choice is remembered.

const KEY = "ems.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "as the system has it", light: "light", dark: "dark" };
const system = matchMedia("(prefers-color-scheme: dark)");

const stored = () => (Object.hasOwn(NEXT, localStorage.getItem(KEY) ?? "") ? localStorage.getItem(KEY) : "auto");

export const isDark = () => (stored() === "auto" ? system.matches : stored() === "dark");

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  dispatchEvent(new Event("themechange"));
}

export function startTheme(button) {
  const show = () => {
    const text = `Colours: ${WORDS[stored()]}`;
    button.dataset.choice = stored();
    button.title = `${text}. Press for ${WORDS[NEXT[stored()]]}.`;
    button.querySelector(".sr").textContent = text;
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, NEXT[stored()]);
    apply();
    show();
  });
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    apply();
    show();
  });
  apply();
  show();
}
