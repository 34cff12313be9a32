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

  // Where the reader is in a part: what was scrolled how far, and which link or button has the focus.
  const scrolled = (part) => Array.from(part.querySelectorAll("[role=region][tabindex]"));
  const focusable = (part) => Array.from(part.querySelectorAll("a[href], button, summary, [tabindex]"));
  const called = (one) => one && `${one.tagName} ${one.getAttribute("href") ?? one.className}`;
  const remember = (part) => ({
    offsets: scrolled(part).map((one) => [one.scrollLeft, one.scrollTop]),
    at: focusable(part).indexOf(document.activeElement),
    focused: called(document.activeElement),
  });
  const restore = (part, { offsets, at, focused }) => {
    const again = at >= 0 && focusable(part);
    const wanted = again && (called(again[at]) === focused ? again[at] : again.find((one) => called(one) === focused));
    if (wanted) wanted.focus({ preventScroll: true });
    scrolled(part).forEach((one, number) => one.scrollTo(...(offsets[number] ?? [0, 0])));
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
    const places = new WeakMap();
    document.addEventListener("htmx:beforeSwap", (event) => places.set(event.target, remember(event.target)));
    document.addEventListener("htmx:afterSwap", (event) => {
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (places.has(event.target)) restore(event.target, places.get(event.target));
      announce(event.target);
    });
    document.addEventListener("visibilitychange", () => refresh());
    setInterval(refresh, POLL_MS);
    listen();
  });
})();
