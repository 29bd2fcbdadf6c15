// node check.js FILE...: checks dashboards against Grafana's schema, by TypeScript: an object that is written out may have no member
// that its type does not know. Prints what is wrong, with the panel it is in, and exits 1.
'use strict';

const fs = require('fs');
const path = require('path');
const ts = require('typescript');

// source returns a program in which each panel is a constant of its type, and whose constant each of its lines belongs to.
function source(dashboard) {
  const owners = [];
  let text = "import type * as kind from './schema';\n";
  const add = (owner, type, value) => {
    text += `export const c${owners.length}: kind.${type} = ${JSON.stringify(value, null, 1)};\n`;
    owners.push({ owner, until: text.split('\n').length - 1 });
  };
  const { panels, ...rest } = dashboard;
  add('the dashboard itself', 'dashboard', rest);
  for (const panel of panels) {
    add(`panel ${JSON.stringify(panel.title)}`, panel.type, panel);
  }
  return { text, owner: line => owners.find(o => line < o.until).owner };
}

function check(file) {
  const { text, owner } = source(JSON.parse(fs.readFileSync(file, 'utf8')));
  const name = path.join(__dirname, 'dashboard.ts'); // only in memory
  const options = { strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, types: [] };
  const host = ts.createCompilerHost(options);
  const [read, exists] = [host.getSourceFile, host.fileExists];
  host.getSourceFile = (f, ...more) => path.resolve(f) === name ? ts.createSourceFile(f, text, options.target) : read(f, ...more);
  host.fileExists = f => path.resolve(f) === name || exists(f);
  return ts.getPreEmitDiagnostics(ts.createProgram([name], options, host)).map(d => {
    const message = ts.flattenDiagnosticMessageText(d.messageText, '\n  ');
    if (!d.file || path.resolve(d.file.fileName) !== name) {
      return `${d.file ? d.file.fileName : file}: ${message}`;
    }
    const { line } = d.file.getLineAndCharacterOfPosition(d.start);
    return `${file}: ${owner(line)}: ${text.split('\n')[line].trim()}\n  ${message}`;
  });
}

const problems = process.argv.slice(2).flatMap(check);
problems.forEach(p => console.error(p));
process.exitCode = problems.length > 0 ? 1 : 0;
