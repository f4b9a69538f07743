// In a frame of another site: providers refuse to be framed, and cookies of a frame do not count.
// So the consent page is opened in a window, and how that ended is heard over a socket, since a
// provider may cut the window off from the one that opened it.
(function () {
  var form = document.getElementById("leave");
  if (!form || window.parent === window) return;
  form.target = "_blank";
  form.setAttribute("rel", "opener");
  var carried = document.createElement("input");
  carried.type = "hidden";
  carried.name = "ws_client_id";
  var isOver = false;

  function connected(integration, connection) {
    if (isOver) return;
    isOver = true;
    window.parent.postMessage({
      type: "connect",
      payload: { providerConfigKey: integration, connectionId: connection, isPending: false }
    }, "*");
    var heading = document.createElement("h1");
    heading.textContent = "Connected";
    var text = document.createElement("p");
    text.textContent = "The account is connected.";
    document.querySelector("main").replaceChildren(heading, text);
  }

  function refused(message) {
    var problem = document.getElementById("problem");
    problem.textContent = message;
    problem.hidden = false;
  }

  function listen() {
    var socket = new WebSocket(window.location.origin.replace(/^http/, "ws") + "/");
    socket.onmessage = function (event) {
      var told = JSON.parse(event.data);
      if (told.message_type === "connection_ack") {
        carried.value = told.ws_client_id;
        form.appendChild(carried);
      } else if (told.message_type === "success") {
        connected(told.provider_config_key, told.connection_id);
      } else {
        refused(told.error_desc);
      }
    };
    // The server closes it once it has told how an attempt ended; the next one has another id.
    socket.onclose = function () {
      carried.remove();
      if (!isOver) window.setTimeout(listen, 1000);
    };
  }

  listen();
  window.addEventListener("message", function (event) {
    if (event.origin !== window.location.origin || !event.data) return;
    if (event.data.type !== "connect") return;
    connected(event.data.payload.providerConfigKey, event.data.payload.connectionId);
  });
})();
