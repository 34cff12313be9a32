// Fetches live parts of a page again: when the server hints that their topic changed, and every ten seconds anyway.
(() => {
  "use strict";
  const POLL_MS = 10_000;
  const RETRY_MS = 5_000;
  let paused = false;

  const parts = () => Array.from(document.querySelectorAll("[data-live-topic]"));

  const refresh = (topic) => {
    if (paused || document.hidden) return;
    for (const part of parts()) {
      if (!topic || part.dataset.liveTopic.split(" ").includes(topic)) htmx.trigger(part, "refresh");
    }
  };

  const listen = () => {
    const first = parts()[0];
    if (!first) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const token = encodeURIComponent(first.dataset.liveToken);
    const socket = new WebSocket(`${scheme}://${location.host}/live/?token=${token}`);
    socket.onmessage = (message) => refresh(JSON.parse(message.data).topic);
    // A refused socket is closed with 4401 or 4403: polling goes on without it.
    socket.onclose = (event) => { if (event.code < 4400) setTimeout(listen, RETRY_MS); };
  };

  const announce = (part) => {
    const told = part.querySelector("[data-live-summary]")?.dataset.liveSummary;
    const status = document.getElementById("live-status");
    if (told && status && status.textContent !== told) status.textContent = told;
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (!parts().length) return;
    for (const bar of document.querySelectorAll(".live-bar")) {
      bar.hidden = false;
      const button = bar.querySelector("button");
      button.addEventListener("click", () => {
        paused = !paused;
        button.setAttribute("aria-pressed", String(paused));
        button.textContent = paused ? button.dataset.resume : button.dataset.pause;
        refresh();
      });
    }
    const open = new Set();
    document.addEventListener("toggle", ({ target }) => {
      if (target.id && target.isConnected) open[target.open ? "add" : "delete"](target.id);
    }, true);
    document.addEventListener("htmx:afterSwap", (event) => {
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      announce(event.target);
    });
    document.addEventListener("visibilitychange", () => refresh());
    setInterval(refresh, POLL_MS);
    listen();
  });
})();
