// Unpacks what is compressed in the package, from node_modules to here: the browser, libraries of which a
// machine may have none, and fonts.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";

const packed = (name) => brotliDecompressSync(readFileSync(`node_modules/@sparticuz/chromium/bin/${name}.br`));
writeFileSync("chromium", packed("chromium"), { mode: 0o755 });
for (const name of ["al2023.tar", "fonts.tar"]) execFileSync("tar", ["-x"], { input: packed(name) });
rmSync("node_modules", { recursive: true });
