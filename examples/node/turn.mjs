// Streams one turn through gRPC over TLS with nothing but the descriptor set.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const descriptors = fileURLToPath(new URL("../../gen/descriptors/soma.binpb", import.meta.url));
const definition = loader.loadFileDescriptorSetFromBuffer(readFileSync(descriptors), {
  keepCase: true, longs: String, enums: String, oneofs: true,
});
const { soma } = grpc.loadPackageDefinition(definition);
const { SOMA_CA_FILE, SOMA_API_KEY, SOMA_GRPC_TARGET } = process.env;

const bearer = grpc.credentials.createFromMetadataGenerator((_context, done) => {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${SOMA_API_KEY}`);
  done(null, metadata);
});
const credentials = grpc.credentials.combineChannelCredentials(
  grpc.credentials.createSsl(readFileSync(SOMA_CA_FILE)), bearer,
);
const sessions = new soma.orchestrator.v1.Sessions(SOMA_GRPC_TARGET, credentials);
const turns = new soma.orchestrator.v1.Turns(SOMA_GRPC_TARGET, credentials);

const session = await new Promise((resolve, reject) =>
  sessions.CreateSession({ persona: "guide" }, { deadline: Date.now() + 10_000 },
    (error, reply) => (error ? reject(error) : resolve(reply))));
const events = turns.StreamTurn(
  { session_id: session.id, input: { text: process.argv[2] ?? "What is SomaAgent?" }, request_id: randomUUID() },
  { deadline: Date.now() + 120_000 },
);
let ended = false;
for await (const event of events) {
  if (event.event === "delta") process.stdout.write(event.delta.text);
  if (event.event === "completed") {
    console.log(`\n[${event.completed.finish_reason}, seq ${event.seq}]`);
    ended = true;
  }
  if (event.event === "refused" || event.event === "failed") throw new Error(event[event.event].message);
}
sessions.close();
turns.close();
if (!ended) throw new Error("the stream ended without an end");
