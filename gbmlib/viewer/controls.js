// Buttons, choices and sliders of the viewers (viewer.js, volume_view.js): each is a control that keyboards and screen
// readers know, under the looks of controls.css.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// One of several {value: text}, as a row of buttons; radio buttons underneath, which keyboards and screen readers know.
function choice(label, options, chosen, choose) {
  const name = "gbm-" + Math.random().toString(36).slice(2); // the groups of two viewers must not mix
  const group = element("div", { class: "gbm-choice", role: "radiogroup", "aria-label": label });
  for (const [value, text] of Object.entries(options)) {
    const input = element("input", { type: "radio", name, value, onchange: () => choose(value) });
    input.checked = value === chosen;
    group.append(element("label", {}, input, element("span", {}, text)));
  }
  return group;
}

function check(group, chosen) {
  for (const input of group.querySelectorAll("input")) input.checked = input.value === chosen;
}

function slider(label, { min, max, step, value }, change) {
  const input = element("input", { type: "range", min, max, step, "aria-label": label });
  input.value = value;
  input.oninput = () => change(Number(input.value));
  return input;
}

// One of several {value: text} where a row of buttons would be too wide; without a visible name, which its place has.
function select(label, options, chosen, choose) {
  const entries = Object.entries(options).map(([value, text]) => element("option", { value }, text));
  const made = element("select", { "aria-label": label, onchange: () => choose(made.value) }, ...entries);
  made.value = chosen;
  return made;
}

const button = (text, onclick, label = text) => element("button", { type: "button", onclick, "aria-label": label }, text);

const row = (label, control) => element("div", { class: "gbm-row" }, element("span", {}, label), control);

const swatch = (colour) => element("i", { style: `background: ${colour}`, "aria-hidden": "true" });

// A control beside its name, as many in a row as find room.
const picked = (name, control, ...beside) =>
  element("label", { class: "gbm-pick" }, element("span", {}, name), ...beside, control);

// A name over its value, for the lines of figures.
const part = (label, ...value) => element("span", {}, element("small", {}, label), element("b", {}, ...value));
