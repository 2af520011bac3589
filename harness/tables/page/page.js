"use strict";
(() => {
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");
  for (const tools of all(document, ".tools")) tools.hidden = false;

  // Sorting stays within a block of comparable rows: every tbody is sorted by itself.
  const sortBy = (table, heading, button) => {
    const place = heading.cellIndex;
    const before = heading.getAttribute("aria-sort");
    const first = button.dataset.better === "↑" ? "descending" : "ascending";
    const turned = before === "ascending" ? "descending" : "ascending";
    const order = before ? turned : first;
    for (const other of all(table, "thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const text = "text" in button.dataset;
    const value = (row) => row.cells[place].dataset.v ?? "";
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
      rows.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
        return sign * (text ? x.localeCompare(y) : Number(x) - Number(y));
      });
      body.append(...rows);
    }
  };

  const showColumns = (table, wanted) => {
    let shown = 0;
    for (const heading of table.tHead.rows[0].cells) {
      const { group } = heading.dataset;
      const leading = "leading" in heading.dataset;
      const visible = !group || wanted === "all" || (wanted === "leading" ? leading : group === wanted);
      shown += visible ? 1 : 0;
      if (!group) continue;
      heading.hidden = !visible;
      for (const body of table.tBodies) {
        for (const row of body.rows) if (row.cells.length > 1) row.cells[heading.cellIndex].hidden = !visible;
      }
    }
    for (const heading of all(table, "tr.block th")) heading.colSpan = shown;
  };

  for (const section of all(document, ".board-section")) {
    const table = section.querySelector("table");
    const search = section.querySelector("[data-row-filter]");
    const block = section.querySelector("[data-block-filter]");
    const references = section.querySelector("[data-references]");
    const found = section.querySelector(".found");
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let [count, total] = [0, 0];
      for (const body of table.tBodies) {
        const reference = "reference" in body.dataset;
        const wanted = reference ? references.checked : !block || !block.value || body.dataset.block === block.value;
        let any = false;
        for (const row of body.rows) {
          if (row.classList.contains("block")) continue;
          const name = row.dataset.name.toLowerCase();
          const visible = wanted && (reference || words.every((word) => name.includes(word)));
          row.hidden = !visible;
          any ||= visible;
          total += reference ? 0 : 1;
          count += visible && !reference ? 1 : 0;
        }
        body.hidden = !any;
      }
      found.textContent = count === total ? "" : `${count} of ${total} rows`;
    };
    for (const input of [search, block, references]) input?.addEventListener("input", filter);
    for (const button of all(table, ".sort")) {
      button.addEventListener("click", () => sortBy(table, button.closest("th"), button));
    }
    const choices = all(section, "[data-columns]");
    for (const button of choices) {
      button.addEventListener("click", () => {
        for (const other of choices) other.setAttribute("aria-pressed", String(other === button));
        showColumns(table, button.dataset.columns);
      });
    }
    if (choices.length) showColumns(table, "leading");
  }

  for (const ledger of all(document, ".ledger")) {
    const search = ledger.querySelector("[data-claim-filter]");
    const buttons = all(ledger, "[data-verdict]");
    const found = ledger.querySelector(".found");
    const untested = ledger.querySelector("[data-untested]");
    const claims = all(ledger, ".claim");
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.verdict);
      let count = 0;
      for (const claim of claims) {
        const text = claim.querySelector(".what").textContent.toLowerCase();
        claim.hidden = !wanted.includes(claim.dataset.word) || !words.every((word) => text.includes(word));
        count += claim.hidden ? 0 : 1;
      }
      if (untested) {
        untested.hidden = !untested.querySelector(".claim:not([hidden])");
        if (words.length) untested.open = true;
      }
      found.textContent = count === claims.length ? "" : `${count} of ${claims.length} claims`;
    };
    search.addEventListener("input", filter);
    for (const button of buttons) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        filter();
      });
    }
  }

  const viewer = document.getElementById("viewer");
  const image = viewer.querySelector("img");
  const thumbs = all(document, ".thumb");
  let current = 0;
  const show = (place) => {
    current = (place + thumbs.length) % thumbs.length;
    const picture = thumbs[current].querySelector("img");
    image.src = picture.src;
    image.alt = picture.alt;
    image.className = picture.className;
    viewer.querySelector(".caption").textContent = picture.alt;
    viewer.querySelector(".place").textContent = `${current + 1} of ${thumbs.length}`;
  };
  thumbs.forEach((thumb, place) => thumb.addEventListener("click", () => {
    show(place);
    viewer.showModal();
  }));
  for (const button of all(viewer, "[data-step]")) {
    button.addEventListener("click", () => show(current + Number(button.dataset.step)));
  }
  viewer.querySelector("[data-close]").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(current + step);
  });
  viewer.addEventListener("close", () => thumbs[current].focus());

  // On paper everything that can be unfolded is.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = all(document, "details:not([open])");
    for (const one of unfolded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of unfolded) one.open = false;
  });
})();
