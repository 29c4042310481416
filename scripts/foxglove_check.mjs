// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The thfm_ros authors
// Reads a perception.mcap with the libraries by which Foxglove reads MCAP files of ROS 2, with the
// definitions in the file alone: every message of every topic is decoded, and counted.
//
//   npm install @mcap/core @mcap/nodejs @mcap/support @foxglove/rosmsg @foxglove/rosmsg2-serialization
//   node scripts/foxglove_check.mjs drive/perception.mcap
//
// The packages are looked for beside the current folder, not beside this script.
import { open } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const load = createRequire(join(process.cwd(), "package.json"));
const { McapIndexedReader } = load("@mcap/core");
const { FileHandleReadable } = load("@mcap/nodejs");
const { loadDecompressHandlers } = load("@mcap/support");
const { parse } = load("@foxglove/rosmsg");
const { MessageReader } = load("@foxglove/rosmsg2-serialization");

const file = await open(process.argv[2], "r");
const mcap = await McapIndexedReader.Initialize({
  readable: new FileHandleReadable(file),
  decompressHandlers: await loadDecompressHandlers(),
});
const readers = new Map();
for (const [id, channel] of mcap.channelsById) {
  const definition = new TextDecoder().decode(mcap.schemasById.get(channel.schemaId).data);
  readers.set(id, new MessageReader(parse(definition, { ros2: true })));
}
const counts = {};
let bodies;
for await (const message of mcap.readMessages()) {
  const { topic } = mcap.channelsById.get(message.channelId);
  const content = readers.get(message.channelId).readMessage(message.data);
  counts[topic] = (counts[topic] ?? 0) + 1;
  if (topic === "/thfm/bodies") bodies = content;
}
await file.close();
console.log(counts);
console.log("the last bodies:", bodies.header, bodies.bodies.map((body) => body.id));
