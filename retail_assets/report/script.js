"use strict";
// Sorting and filtering of tables, tooltips of charts. The page is whole without it.

const texts = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function sortValue(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(left, right, isNumber) {
  if (left === "" || right === "") return (left === "") - (right === "");
  return isNumber ? Number(left) - Number(right) : texts.compare(left, right);
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const isNumber = heading.classList.contains("number");
  const current = heading.getAttribute("aria-sort");
  const direction = current ? (current === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort((a, b) => sign * compare(sortValue(a, column), sortValue(b, column), isNumber)));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.getElementById(input.dataset.filters).tBodies[0].rows];
  const output = document.querySelector(`output[for="${input.dataset.filters}"]`);
  input.addEventListener("input", () => {
    const sought = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(sought);
    output.textContent = sought ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}

const tip = document.getElementById("tip");
let marked = null;
let byPointer = false;
let rest = "";

function show(mark, x, y, pointer) {
  hide();
  marked = mark;
  byPointer = pointer;
  mark.classList.add("at");
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const left = Math.min(x + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const top = y + 16 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 12 : y + 16;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hide() {
  if (marked) marked.classList.remove("at");
  marked = null;
  tip.hidden = true;
}

for (const drawing of document.querySelectorAll(".drawing")) {
  const marks = [...drawing.querySelectorAll("[role='graphics-symbol'][aria-label]")].filter((mark) => mark.tagName === "path");
  for (const mark of marks) mark.setAttribute("pointer-events", "all");
  // What the keyboard shows stays while the page scrolls below a pointer at rest.
  const leave = () => byPointer && hide();
  drawing.addEventListener("pointermove", (event) => {
    const at = `${event.clientX} ${event.clientY}`;
    if (at === rest) return;
    rest = at;
    if (marks.includes(event.target)) show(event.target, event.clientX, event.clientY, true);
    else leave();
  });
  drawing.addEventListener("pointerdown", (event) => {
    if (marks.includes(event.target)) show(event.target, event.clientX, event.clientY, true);
  });
  drawing.addEventListener("pointerleave", leave);
  drawing.addEventListener("blur", hide);
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !marks.length) return;
    event.preventDefault();
    const position = marks.indexOf(marked);
    const mark = marks[position < 0 ? (step > 0 ? 0 : marks.length - 1) : (position + step + marks.length) % marks.length];
    const box = mark.getBoundingClientRect();
    show(mark, box.left + box.width / 2, box.top + box.height / 2, false);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
