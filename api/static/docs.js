"use strict";

// The key lives in this function's variables and nowhere else.
(() => {
  const encoded = location.pathname.split("/").filter(Boolean).pop();
  const environment = decodeURIComponent(encoded);
  const ask = document.getElementById("ask");
  const input = document.getElementById("key");
  const button = ask.querySelector("button");
  const problem = document.getElementById("problem");

  document.title = `Endpoints of ${environment}`;
  document.getElementById("environment").textContent = environment;

  const answer = async (key) => {
    const headers = { Authorization: `Bearer ${key}` };
    const response = await fetch(`../openapi/${encoded}.json`, { headers, cache: "no-store" });
    if (response.ok) return response.json();
    const { error } = await response.json();
    throw new Error(error.message);
  };

  const show = (spec, key) => {
    ask.remove();
    SwaggerUIBundle({
      spec,
      domNode: document.getElementById("document"),
      deepLinking: true,
      displayRequestDuration: true,
      docExpansion: "list",
      persistAuthorization: false,
      validatorUrl: null,
      // The commands that it shows for copying are those without the key.
      showMutatedRequest: false,
      requestInterceptor: (request) => {
        if (new URL(request.url, location.href).origin === location.origin) {
          request.headers.Authorization = `Bearer ${key}`;
        }
        return request;
      },
    });
  };

  ask.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = input.value.trim();
    problem.textContent = "";
    button.disabled = true;
    try {
      show(await answer(key), key);
    } catch (error) {
      problem.textContent = error.message;
      button.disabled = false;
      input.select();
    }
  });
})();
