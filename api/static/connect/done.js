// Tells whoever opened or framed this page that an account is connected. Names only, no secrets.
(function () {
  var outcome = document.getElementById("outcome");
  var message = {
    type: "connect",
    payload: {
      providerConfigKey: outcome.dataset.integration,
      connectionId: outcome.dataset.connection,
      isPending: false
    }
  };
  if (window.parent !== window) window.parent.postMessage(message, "*");
  if (window.opener) {
    window.opener.postMessage(message, "*");
    window.setTimeout(function () { window.close(); }, 1500);
  }
})();
