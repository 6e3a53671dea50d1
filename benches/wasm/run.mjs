// Runs the wasm bench in this Node's V8: `node run.mjs MODULE`.
import { readFile } from "node:fs/promises";
import { argv, version, versions } from "node:process";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1" });
const module = await WebAssembly.compile(await readFile(argv[2]));
// What the filter would call of a proxy: nothing does here.
const env = new Proxy({}, { get: () => () => 12 });
const instance = await WebAssembly.instantiate(module, { ...wasi.getImportObject(), env });
wasi.initialize(instance);
console.log(`whole decisions in V8 ${versions.v8} (Node ${version})`);
instance.exports.run();
console.log("pages of a snapshot of a million grants");
instance.exports.run_pages();
