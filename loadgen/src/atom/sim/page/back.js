"use strict";
const form = document.getElementById("back");
const kind = form.dataset.kind;
if (window.parent !== window) {
  // Inside the merchant's page: the script there goes on. The fields are ciphertext, and the page is the one that paid.
  window.parent.postMessage({ kind: kind, fields: [...new FormData(form)] }, "*");
} else if (kind === "return") {
  form.submit();
} else {
  window.close();
}
