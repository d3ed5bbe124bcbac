// Elements of a page.

const byId = id => document.getElementById(id);
const filled = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const number = x => Number(x.toPrecision(3)).toString();
const counted = (n, name) => `${n} ${name}${n === 1 ? "" : "s"}`;
const range = n => Array.from({ length: n }, (_, i) => i);
