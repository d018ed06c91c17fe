"use strict";
// A click on a heading sorts each part of its table by itself: numbers first, by value, then texts.
for (const table of document.querySelectorAll("table")) {
  const head = table.tHead.rows[0];
  if (head.cells.length < 3) continue;
  [...head.cells].forEach((cell, column) => {
    cell.tabIndex = 0;
    cell.title = "sort";
    const sort = () => {
      const now = cell.getAttribute("aria-sort");
      const next = column > 0 ? (now === "descending" ? "ascending" : "descending")
        : (now === "ascending" ? "descending" : "ascending");
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const text = row => row.cells[column] ? row.cells[column].textContent : "";
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(row => row.cells[0].tagName === "TD");
        rows.sort((a, b) => {
          if (column === 0) return sign * text(a).localeCompare(text(b));
          const number = row => parseFloat(text(row).replaceAll(",", ""));  // 1,234 and 5 [4, 6]
          const x = number(a), y = number(b);
          if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
          return sign * (x - y);
        });
        rows.forEach(row => body.append(row));
      }
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
