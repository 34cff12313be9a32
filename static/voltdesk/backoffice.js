// A link with data-dialog opens its page's form in a dialog; without this script it is a page of its own.
(() => {
  "use strict";
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const dialog = document.getElementById("dialog");
    if (!dialog) return;
    event.preventDefault();
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const form = page.querySelector("form[data-dialog-form]");
    if (!answer.ok || !form) {
      location.assign(link.href);
      return;
    }
    form.action = link.href;
    dialog.replaceChildren(document.adoptNode(form));
    dialog.showModal();
  });
  document.addEventListener("click", (event) => {
    const close = event.target.closest("dialog.vd-dialog [data-close]");
    if (!close) return;
    event.preventDefault();
    close.closest("dialog").close();
  });
})();
