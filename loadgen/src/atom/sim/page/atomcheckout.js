// The checkout script of the simulated Atom: lays the hosted page over the merchant's, and posts what came of it.
"use strict";

function AtomPaynetz(options, env) {
  const origin = "{{origin}}";
  const query = new URLSearchParams({
    atomTokenId: options.atomTokenId,
    merchId: options.merchId,
    returnUrl: options.returnUrl,
    env: env,
  });
  const frame = document.createElement("iframe");
  frame.id = "atom-checkout";
  frame.title = "Atom payment page";
  frame.src = origin + "/checkout?" + query;
  const style = frame.style;
  style.position = "fixed";
  style.inset = "0";
  style.width = "100%";
  style.height = "100%";
  style.border = "0";
  style.background = "#fff";
  style.zIndex = "2147483647";
  document.body.appendChild(frame);

  window.addEventListener("message", function hear(event) {
    if (event.origin !== origin || event.source !== frame.contentWindow) {
      return;
    }
    window.removeEventListener("message", hear);
    if (event.data.kind === "close") {
      frame.remove();
      return;
    }
    const form = document.createElement("form");
    form.method = "post";
    form.action = options.returnUrl;
    for (const [name, value] of event.data.fields) {
      const input = document.createElement("input");
      input.type = "hidden";
      input.name = name;
      input.value = value;
      form.appendChild(input);
    }
    document.body.appendChild(form);
    form.submit();
  });
}
