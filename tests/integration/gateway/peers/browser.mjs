// What a page has: fetch and WebSocket. Logs in, files, lists, follows by a ticket, and reads what is wrong.
const url = process.argv[2];
const json = (path, body, headers = {}) =>
  fetch(url + path, {
    method: body ? "POST" : "GET",
    headers: { ...(body ? { "content-type": "application/json" } : {}), ...headers },
    body: body && JSON.stringify(body),
  }).then((answer) => answer.json());

const { tokens } = await json("/api/auth/login", { email: "ann@example.org", password: process.env.PASSWORD });
const known = { authorization: `Bearer ${tokens.access_token}` };
const file = () => json("/api/tickets", { title: "Port it" }, { ...known, "idempotency-key": "from-a-page" });
const [made, again] = [await file(), await file()];
const listed = await json("/api/tickets", undefined, known);
const refusal = await json("/api/tickets", { title: "" }, known);

const { ticket } = await json("/api/auth/ws-ticket", {}, known);
const socket = new WebSocket(`${url.replace("http", "ws")}/ws?ticket=${ticket}`);
const reason = "nobody needs it any more ".repeat(20); // so long that it comes compressed
const events = [];
await new Promise((resolve, reject) => {
  socket.onerror = () => reject(new Error("the socket failed"));
  socket.onclose = (closed) => reject(new Error(`closed: ${closed.code}`));
  socket.onmessage = (message) => {
    const told = JSON.parse(message.data);
    if (told.type === "ready") {
      socket.send(JSON.stringify({ type: "subscribe", rooms: [`ticket:${made.key}`], cursor: 0 }));
      json(`/api/tickets/${made.id}/cancel`, { reason }, known);
    } else if (told.event) {
      events.push(told.event);
      if (told.data.reason === reason) resolve();
    }
  };
});
const compressed = socket.extensions.startsWith("permessage-deflate");
socket.close();
console.log(
  JSON.stringify({
    made: made.key,
    again: again.key,
    listed: listed.tickets.map((each) => each.key),
    event: events[0],
    compressed,
    code: refusal.code,
    field: refusal.details.flatMap((each) => each.field_violations ?? [])[0].field,
  }),
);
