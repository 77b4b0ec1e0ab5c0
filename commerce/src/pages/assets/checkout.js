// Opens the gateway's payment window with the options the server wrote into the page.
// The gateway's own script, loaded before this one, defines AtomPaynetz.
"use strict";

(function () {
  const place = document.getElementById("checkout");
  const button = document.getElementById("open-window");
  const problem = document.getElementById("window-problem");

  function open() {
    if (typeof AtomPaynetz !== "function") {
      problem.hidden = false;
      return;
    }
    new AtomPaynetz(JSON.parse(place.dataset.options), place.dataset.env);
  }

  button.addEventListener("click", open);
  open();
})();
