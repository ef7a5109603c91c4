// A client by openapi-fetch, with types that openapi-typescript made of the document; tsc holds it to them.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

declare const process: { argv: string[]; env: Record<string, string> };

type Ticket = components["schemas"]["swarm.ticket.v1.Ticket"];

const api = createClient<paths>({ baseUrl: process.argv[2] });
const login = await api.POST("/api/auth/login", {
  body: { email: "ann@example.org", password: process.env.PASSWORD },
});
const headers = { authorization: `Bearer ${login.data?.tokens?.access_token}` };

async function file(title: string): Promise<Ticket | null | undefined> {
  const params = { header: { "Idempotency-Key": "typed" } };
  return (await api.POST("/api/tickets", { body: { title }, params, headers })).data;
}

const made = await file("Port it");
const again = await file("Port it");
const listed = await api.GET("/api/tickets", { headers, params: { query: { page_size: 10 } } });
const events = await api.GET("/api/tickets/{id}/events", { headers, params: { path: { id: made?.key ?? "" } } });
const refused = await api.POST("/api/tickets", { body: { title: "" }, headers });

console.log(
  JSON.stringify({
    made: made?.key,
    again: again?.key,
    listed: listed.data?.tickets?.map((each) => each.key),
    event: events.data?.events?.[0]?.type,
    code: refused.error?.code,
  }),
);
