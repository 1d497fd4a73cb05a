// Has Perfetto's trace processor read a trace, and prints what it answers to questions in SQL.
//
// Standard input: `engine_bundle.js` of Perfetto's page, the WebAssembly beside it, and the trace, one behind the other. Arguments: how long the first two
// are, then the questions. For each question one line is printed: a JSON array of rows, each an array of values. Nothing of Cordon is used here:
// this is the other opinion.
//
// The page runs the trace processor in a worker, which gets a port and answers bytes with bytes: messages of
// protos/perfetto/trace_processor/trace_processor.proto, of which the few fields that are needed are written and read by hand.
"use strict";
const fs = require("fs");
const vm = require("vm");

const [program, assembly, ...questions] = process.argv.slice(1);
const input = fs.readFileSync(0);
const middle = Number(program);
const end = middle + Number(assembly);
const print = console.log;
const exit = process.exit.bind(process);
const fail = (why) => {
  console.error(why);
  exit(1);
};

// Methods of the service, and fields of a message (TraceProcessorRpc).
const APPEND = 1;
const FINALIZE = 2;
const QUERY = 3;
const SENT = { request: 2, bytes: 101, query: 103 };
const RECEIVED = { fatal: 5, append: 201, query: 203 };
// What a cell holds (QueryResult.CellsBatch.CellType): NULL, or the next one of these.
const NULL = 1;
const CELLS = { 2: "integers", 3: "numbers", 4: "texts" };

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

function field(which, content) {
  if (typeof content === "number") return Buffer.concat([varint(which << 3), varint(content)]);
  return Buffer.concat([varint((which << 3) | 2), varint(content.length), content]);
}

/** The number that begins at a place, and where it ends. */
function number(bytes, at) {
  for (let value = 0n, shift = 0n; ; shift += 7n) {
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

/** The fields of a message, in their order: which one, and a BigInt or the bytes. */
function* fields(bytes) {
  for (let at = 0, key, size; at < bytes.length; ) {
    [key, at] = number(bytes, at);
    const [which, kind] = [Number(key >> 3n), Number(key & 7n)];
    if (kind === 0) {
      [key, at] = number(bytes, at);
      yield [which, key];
      continue;
    }
    if (kind === 2) [size, at] = number(bytes, at);
    else size = kind === 1 ? 8 : 4;
    yield [which, bytes.subarray(at, (at += Number(size)))];
  }
}

/** The numbers of a packed field. */
function packed(bytes) {
  const numbers = [];
  for (let at = 0, value; at < bytes.length; ) {
    [value, at] = number(bytes, at);
    numbers.push(Number(BigInt.asIntN(64, value)));
  }
  return numbers;
}

/** The rows of an answer, which may come in several messages. */
function rows(results) {
  let columns = 0;
  const cells = [];
  for (const [which, content] of results.flatMap((result) => [...fields(result)])) {
    if (which === 1) columns++;
    if (which === 2 && content.length > 0) fail(`a question: ${content}`);
    if (which !== 3) continue;
    const batch = { kinds: [], integers: [], numbers: [], texts: [] };
    for (const [part, bytes] of fields(content)) {
      if (part === 1) batch.kinds.push(...packed(bytes));
      if (part === 2) batch.integers.push(...packed(bytes));
      if (part === 3) for (let at = 0; at < bytes.length; at += 8) batch.numbers.push(bytes.readDoubleLE(at));
      if (part === 5) batch.texts.push(...bytes.toString().split("\0"));
    }
    cells.push(...batch.kinds.map((kind) => (kind === NULL ? null : batch[CELLS[kind]].shift())));
  }
  const all = [];
  while (cells.length > 0) all.push(cells.splice(0, columns));
  return all;
}

/** Starts the worker; a function that sends it a message and gives back what it answers in the field `wanted`. */
function start() {
  globalThis.self = globalThis;
  globalThis.WorkerGlobalScope = class {};
  globalThis.importScripts = () => {};
  globalThis.location = { href: "file:///" };
  globalThis.XMLHttpRequest = class {
    open() {}
    send() {
      this.response = new Uint8Array(input.subarray(middle, end)).buffer;
    }
  };
  // What is built for pages refuses to run where this is.
  delete globalThis.process;
  console.log = console.warn = () => {};
  vm.runInThisContext(input.subarray(0, middle).toString());
  let answers = [];
  const port = { postMessage: (bytes) => answers.push(Buffer.from(bytes)) };
  return [
    () => globalThis.onmessage({ data: port }),
    (method, wanted, ...parts) => {
      answers = [];
      const message = Buffer.concat([field(SENT.request, method), ...parts]);
      port.onmessage({ data: new Uint8Array(field(1, message)) });
      const found = answers.flatMap((answer) => [...fields(answer)]).flatMap(([, message]) => [...fields(message)]);
      const fatal = found.find(([which]) => which === RECEIVED.fatal);
      if (fatal) fail(`the trace processor: ${fatal[1]}`);
      return found.filter(([which]) => which === wanted).map(([, content]) => content);
    },
  ];
}

const [connect, ask] = start();
// The worker is ready once what it has waited for has been carried out.
setTimeout(() => {
  connect();
  for (const result of ask(APPEND, RECEIVED.append, field(SENT.bytes, input.subarray(end)))) {
    const error = [...fields(result)].find(([which]) => which === 2);
    if (error) fail(`the trace: ${error[1]}`);
  }
  ask(FINALIZE);
  for (const question of questions) {
    print(JSON.stringify(rows(ask(QUERY, RECEIVED.query, field(SENT.query, field(1, Buffer.from(question)))))));
  }
});
