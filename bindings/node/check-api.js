'use strict';

// Checks that the package has every name that docs/api.toml lists for JavaScript, and every error code with its number.

const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const api = readFileSync(join(__dirname, '../../docs/api.toml'), 'utf8');
const types = (name) => readFileSync(join(__dirname, 'types', `${name}.d.ts`), 'utf8');
const problems = [];

/** The part of a declaration file that declares a class. */
function classBody(file, name) {
  const [, body] = new RegExp(`export declare class ${name}\\b[^{]*\\{([^]*?)\\n\\}`).exec(types(file));
  return body;
}

const CLASSES = {
  Node: classBody('node', 'Node'),
  Group: classBody('group', 'Group'),
  err: classBody('error', 'LibraftError'),
};
/** What the list calls by another name than a function or a method. */
const IDIOMS = {
  'options object': /interface NodeOptions[^]*interface GroupOptions/.test(types('options')),
  'async apply': /apply\(.*\): Awaitable/.test(types('machine')),
  'return an array': /Results = readonly Result\[\]/.test(types('results')),
  Writable: /saveSnapshot\(writable: Writable/.test(types('machine')),
  Readable: /restoreSnapshot\(readable: Readable/.test(types('machine')),
  version: /const version: string/.test(types('index')),
  'err.message': /class LibraftError extends Error/.test(types('error')),
  setLogger: /function setLogger\(/.test(types('logger')),
};

function has(name) {
  if (name in IDIOMS) return IDIOMS[name];
  const [owner, member] = name.split('.');
  const bare = member.replace('()', '');
  return new RegExp(`^\\s+(static |readonly )?${bare}[(:]`, 'm').test(CLASSES[owner] ?? '');
}

for (const name of ['Node', 'Group', 'LibraftError', 'setLogger', 'version']) {
  const isExported = new RegExp(`export (declare const ${name}\\b|\\{[^}]*\\b${name}\\b)`).test(types('index'));
  if (!isExported) problems.push(`types/index.d.ts does not export ${name}`);
}

for (const [, names] of api.matchAll(/^javascript = "(.*)"$/gm)) {
  let owner;
  for (const name of names.split(', ')) {
    owner = name.startsWith('.') ? owner : name.split('.')[0];
    const whole = name.startsWith('.') ? owner + name : name;
    if (!has(whole)) problems.push(`docs/api.toml lists ${whole}, which types/ lacks`);
  }
}

const [, callbacks] = /callbacks = \[([^\]]*)\]/.exec(api);
for (const [, snake] of callbacks.matchAll(/"(\w+)"/g)) {
  const name = snake.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  if (!new RegExp(`^\\s+${name}\\??\\(`, 'm').test(types('machine'))) {
    problems.push(`docs/api.toml lists the callback ${name}, which types/machine.d.ts lacks`);
  }
}

const listed = [...api.matchAll(/^([A-Z_0-9]+) = (\d+)$/gm)].map(([, name, number]) => `${name}: ${number}`);
const declared = [...types('error').matchAll(/readonly ([A-Z_0-9]+: \d+);/g)].map(([, code]) => code);
for (const code of listed) if (!declared.includes(code)) problems.push(`types/error.d.ts lacks ${code}`);
for (const code of declared) if (!listed.includes(code)) problems.push(`docs/api.toml lacks ${code}`);

const [, version] = /^version = "(.*)"$/m.exec(readFileSync(join(__dirname, '../../Cargo.toml'), 'utf8'));
if (require('./package.json').version !== version) {
  problems.push(`package.json has another version than Cargo.toml: ${version}`);
}

for (const problem of problems) console.log(problem);
process.exit(problems.length === 0 && listed.length > 0 ? 0 : 1);
