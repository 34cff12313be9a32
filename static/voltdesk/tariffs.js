// The editor's rows: add, remove, move. Without this script, the order is typed and "Add a row" asks the server.
(() => {
  "use strict";
  const form = document.getElementById("tariff-form");
  const list = form?.querySelector(".tariff-rows");
  const template = document.getElementById("tariff-row");
  const total = form?.querySelector("[name=rows-TOTAL_FORMS]");
  if (!list || !template || !total) return;

  const shown = () => Array.from(list.children).filter((row) => !row.classList.contains("gone"));
  const renumber = () => shown().forEach((row, index) => {
    row.querySelector("[data-row-number]").textContent = index + 1;
    row.querySelector("[name$=-ORDER]").value = index + 1;
  });
  const prepare = (row) => {
    row.querySelectorAll("[data-row-up], [data-row-down], [data-row-remove]").forEach((button) => { button.hidden = false; });
    row.querySelectorAll(".order, .remove").forEach((label) => { label.hidden = true; });
    if (row.querySelector("[name$=-DELETE]").checked) row.classList.add("gone");
  };
  const add = () => {
    const holder = document.createElement("template");
    holder.innerHTML = template.innerHTML.replaceAll("__prefix__", total.value);
    total.value = Number(total.value) + 1;
    const row = holder.content.querySelector("li");
    list.append(row);
    prepare(row);
    renumber();
    row.querySelector("input[type=checkbox]")?.focus();
  };

  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const row = button?.closest("li");
    if (!button) return;
    if (button.matches("[data-row-add]")) {
      event.preventDefault();
      add();
      return;
    }
    if (!row) return;
    if (button.matches("[data-row-remove]")) {
      row.querySelector("[name$=-DELETE]").checked = true;
      row.classList.add("gone");
    }
    const rows = shown();
    const at = rows.indexOf(row);
    if (button.matches("[data-row-up]") && at > 0) rows[at - 1].before(row);
    if (button.matches("[data-row-down]") && at < rows.length - 1) rows[at + 1].after(row);
    renumber();
    if (button.matches("[data-row-up], [data-row-down]")) button.focus();
  });
  Array.from(list.children).forEach(prepare);
  renumber();
})();
