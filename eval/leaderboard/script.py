"""The page's script: sorting, filtering, opening a task by its link. The page works without it."""

from __future__ import annotations

SCRIPT = """
"use strict";
(() => {
  const board = document.querySelector(".board");
  const body = board.tBodies[0];

  const sortBy = (header) => {
    const place = header.cellIndex;
    const down = header.getAttribute("aria-sort") !== "descending";
    for (const other of board.querySelectorAll("th[aria-sort]")) {
      other.setAttribute("aria-sort", "none");
    }
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[place].dataset.sort;
    const compare = (first, second) => {
      const [a, b] = [value(first), value(second)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const numeric = header.dataset.type === "number";
      const order = numeric ? Number(a) - Number(b) : b.localeCompare(a);
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  };
  for (const header of board.querySelectorAll("th[aria-sort]")) {
    header.querySelector("button").addEventListener("click", () => sortBy(header));
  }

  const field = document.querySelector("#filter");
  const empty = document.querySelector("#no-match");
  const filter = () => {
    const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const fits = (node) => words.every((word) => node.dataset.find.includes(word));
    const runs = [...body.rows];
    const tasks = [...document.querySelectorAll(".task")];
    const anyRun = runs.some(fits);
    const anyTask = tasks.some(fits);
    for (const row of runs) row.hidden = anyRun && !fits(row);
    for (const task of tasks) task.hidden = anyTask && !fits(task);
    for (const family of document.querySelectorAll(".family")) {
      family.hidden = !family.querySelector(".task:not([hidden])") || isOff(family);
    }
    empty.hidden = !words.length || anyRun || anyTask;
  };
  const isOff = (node) => {
    const button = document.querySelector(`.controls button[data-family="${node.dataset.family}"]`);
    return button !== null && button.getAttribute("aria-pressed") === "false";
  };
  field.addEventListener("input", filter);

  for (const button of document.querySelectorAll(".controls button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      for (const cell of board.querySelectorAll(`[data-family="${button.dataset.family}"]`)) {
        cell.hidden = shown;
      }
      filter();
    });
  }

  const openLinked = () => {
    const linked = document.getElementById(location.hash.slice(1));
    if (linked && linked.matches("details")) {
      linked.open = true;
      linked.scrollIntoView();
    }
  };
  addEventListener("hashchange", openLinked);
  openLinked();
})();
"""
