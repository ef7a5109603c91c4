// @grpc/grpc-js: logs in, files, lists, follows, and reads what is wrong. Arguments: address, descriptor set.
const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, descriptors] = process.argv.slice(2);
const kept = { keepCase: true, longs: String, enums: String };
const packages = grpc.loadPackageDefinition(
  loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), kept),
);
const service = (Service) => new Service(address, grpc.credentials.createInsecure());
const auth = service(packages.swarm.auth.v1.AuthService);
const tickets = service(packages.swarm.ticket.v1.TicketService);

const unary = (client, name, request, metadata = new grpc.Metadata()) =>
  new Promise((resolve, reject) =>
    client[name](request, metadata, { deadline: Date.now() + 20_000 }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    ),
  );

const first = (stream) =>
  new Promise((resolve, reject) => {
    stream.once("data", (event) => {
      stream.cancel();
      resolve(event);
    });
    stream.on("error", (error) => error.code !== grpc.status.CANCELLED && reject(error));
  });

async function story() {
  const { tokens } = await unary(auth, "Login", { email: "ann@example.org", password: process.env.PASSWORD });
  const known = () => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${tokens.access_token}`);
    return metadata;
  };
  const once = known();
  once.set("idempotency-key", "from-node");
  const file = () => unary(tickets, "CreateTicket", { spec: { title: "Port it" }, hold: true }, once);
  const [made, again] = [await file(), await file()];
  const listed = await unary(tickets, "ListTickets", {}, known());
  const event = await first(tickets.WatchTicket({ id: made.ticket.id }, known()));
  const refusal = await unary(tickets, "CreateTicket", { spec: {} }, known()).catch((error) => error);
  return {
    made: made.ticket.key,
    again: again.ticket.key,
    listed: listed.tickets.map((ticket) => ticket.key),
    event: event.event.type,
    code: grpc.status[refusal.code],
    details: refusal.metadata.get("grpc-status-details-bin").map((each) => each.toString("base64")),
  };
}

story().then((told) => console.log(JSON.stringify(told)));
