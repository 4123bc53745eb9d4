// The JavaScript interpreter of a context, for node; see kernel.py, which does the same for Python.
// Cells are evaluated by node's own inspector, as its console does: const and let stay and may be declared anew,
// await works at the top.  A worker watches the FIFO "interrupt", since the main thread may be in a loop.
'use strict';
const fs = require('fs');
const net = require('net');
const util = require('util');
const path = require('path');
const vm = require('vm');
const url = require('url');
const inspector = require('inspector');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

const MOST = 8 * 1024 * 1024;
const MOST_RESULTS = 500;
const MOST_SKIPPED = 500;
// By them it opens what it needs when a cell has left no number for a file.
const SPARE = 6;
const KIND = /^[a-z]{1,30}\/[A-Za-z0-9.+_-]{1,80}$/;
// What node says of an import in what it evaluates.
const NO_IMPORT = /^(Cannot use import statement|Invalid host defined options|A dynamic import callback)/;
const BYTES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'application/pdf'];
// What is text or comment, or a regular expression where one may stand; an import() of a cell; and what begins or ends a
// part. As in languages.py.
const PART = /'(?:\\[^]|[^'\\\n])*'?|"(?:\\[^]|[^"\\\n])*"?|\/\*[^]*?(?:\*\/|$)|\/\/[^\n]*|(?:^|[(,=:[!&|?;]|\breturn)\s*\/(?![*/])(?:\\[^]|\[(?:\\[^]|[^\]\\\n])*\]?|[^/\\[\n])*\/?|(?<![.\w$])import(?=\s*\()|[`{}]/g;
const TEMPLATE = /\\[^]|`|\$\{/g;
// By these the code of a cell reaches this one: not by Symbol.for, since a cell may have a Symbol of its own.
const LOAD = '_sandyard_import';
const TAKE = '_sandyard_take';
// A cell may put others in their places, and what it declares at its top is global: "function process".
const { process, Array, Atomics, Buffer, Error, Int32Array, Object, Promise, SharedArrayBuffer, String, Symbol, Uint8Array } = globalThis;
const { stringify } = JSON;
const DISPLAY = Symbol.for('Jupyter.display');

// Not as a file: a thread that waits in a read would keep the process from its exit.
function lines(fifo, take) {
  let rest = '';
  const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  new net.Socket({ fd, readable: true, writable: false }).setEncoding('utf8').on('data', (data) => {
    const found = (rest + data).split('\n');
    rest = found.pop();
    found.forEach(take);
  });
}

// Nothing that the inspector evaluates may import() by itself.
function importing(code) {
  if (!code.includes('import')) return code;
  const opened = [];
  let made = '';
  for (let place = 0; ;) {
    const within = opened[opened.length - 1] === '`';
    const part = within ? TEMPLATE : PART;
    part.lastIndex = place;
    const found = part.exec(code);
    if (!found) return made + code.slice(place);
    const [text] = found;
    made += code.slice(place, found.index) + (text === 'import' ? `globalThis.${LOAD}` : text);
    place = found.index + text.length;
    if (text === '}' || (within && text === '`')) opened.pop();
    else if (text === '`' || text === '{' || text === '${') opened.push(text[text.length - 1]);
  }
}
// What loads for the cells, from the folder that they begin in.
function loader(filename) {
  try {
    const importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
    return vm.runInThisContext('(name, ...more) => (more.length ? import(name, more[0]) : import(name))', { filename, importModuleDynamically });
  } catch (error) {
    // An older node: packages are those that require() finds, or node's own.
    const { resolve } = require('module').createRequire(filename);
    return async (name) => {
      const found = resolve(name);
      return import(path.isAbsolute(found) ? url.pathToFileURL(found).href : found);
    };
  }
}

if (!isMainThread) {
  const session = new inspector.Session();
  session.connectToMainThread();
  const answered = new Int32Array(workerData.answered);
  lines(`${workerData.folder}/interrupt`, (asked) => {
    Atomics.store(answered, 0, 0);
    parentPort.postMessage(asked);
    // A main thread that does not answer is busy with the cell: only then is there something to be stopped. Behind an
    // await node itself would not survive that: whoever waits kills all of it then.
    if (Atomics.wait(answered, 0, 0, 300) === 'timed-out' && Atomics.load(answered, 1)) session.post('Runtime.terminateExecution', () => {});
  });
} else {
  main(process.argv[2]);
}

function main(folder) {
  const session = new inspector.Session();
  session.connect();
  const answered = new SharedArrayBuffer(8);
  let current = '';
  let stop = null;
  let count = 0;
  let shown = [];
  let skipped = [];
  let room = MOST;
  let streams = [-1, -1];
  const worker = new Worker(__filename, { workerData: { folder, answered } });
  worker.on('message', (asked) => {
    Atomics.store(new Int32Array(answered), 0, 1);
    Atomics.notify(new Int32Array(answered), 0);
    if (stop && (asked === 'any' || asked === current)) stop();
  });
  // What an error tells of its way ends where the cell does.
  Error.prepareStackTrace = (error, frames) => {
    const own = frames.findIndex((frame) => frame.getFileName() === __filename);
    const kept = own < 0 ? frames : frames.slice(0, own);
    while (own >= 0 && kept.length && /^node:inspector/.test(kept[kept.length - 1].getFileName())) kept.pop();
    let told = '<error>';
    try { told = `${error}`; } catch (failure) { /* its text cannot be made */ }
    return [told, ...kept.map((frame) => `    at ${frame}`)].join('\n');
  };
  // Nothing that a cell has left behind ends the context.
  for (const kind of ['uncaughtException', 'unhandledRejection']) {
    process.on(kind, (error) => {
      try { console.error(error); } catch (failure) { /* its text cannot be made */ }
    });
  }

  [process.stdout, process.stderr].forEach((stream, at) => {
    stream.write = (data, encoding, done) => {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data, typeof encoding === 'string' ? encoding : 'utf8');
      try {
        for (let sent = 0; streams[at] >= 0 && sent < bytes.length;) sent += fs.writeSync(streams[at], bytes, sent);
      } catch (error) { /* whoever listened is gone */ }
      const called = typeof encoding === 'function' ? encoding : done;
      if (called) process.nextTick(called);
      return true;
    };
  });
  // What a cell starts with streams "of its own" gets those of the cell.
  function led(stdio) {
    const all = typeof stdio === 'string' ? [stdio, stdio, stdio] : stdio;
    if (!Array.isArray(all)) return stdio;
    return all.map((one, at) => {
      const to = one === process.stdout || one === 1 ? 1 : one === process.stderr || one === 2 ? 2 : one === 'inherit' ? at : 0;
      return to === 1 || to === 2 ? (streams[to - 1] >= 0 ? streams[to - 1] : 'ignore') : one;
    });
  }
  const children = require('child_process');
  const spawn = children.ChildProcess.prototype.spawn;
  children.ChildProcess.prototype.spawn = function (options) {
    options.stdio = led(options.stdio);
    return spawn.call(this, options);
  };
  for (const name of ['spawnSync', 'execFileSync', 'execSync']) {
    const own = children[name];
    children[name] = (...words) => own(...words.map((one) => (one?.stdio ? { ...one, stdio: led(one.stdio) } : one)));
  }

  function written(kind, value) {
    if (!KIND.test(kind)) return undefined;
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    if (BYTES.includes(kind)) return typeof value === 'string' ? Buffer.from(value, 'base64').toString('base64') : undefined;
    return typeof value === 'string' ? value : stringify(value);
  }
  function skip(why) {
    if (skipped.length < MOST_SKIPPED) skipped.push(why);
  }
  function add(data, isMain) {
    const kept = {};
    for (const kind of Object.keys(data)) {
      let text;
      try { text = written(kind, data[kind]); } catch (error) { /* of the cell's own */ }
      if (text === undefined) { skip(`${kind.slice(0, 80)}: not of a form that can be shown`); continue; }
      // As it takes place in the answer.
      const size = text.length > room ? text.length : Buffer.byteLength(stringify(text));
      if (shown.length >= MOST_RESULTS || size > room) skip(`${kind} of ${text.length} characters: too much to show`);
      else { room -= size; kept[kind] = text; }
    }
    if (Object.keys(kept).length) shown.push({ data: kept, main: isMain });
  }
  function show(value, isMain) {
    let data = {};
    try {
      const method = value?.[DISPLAY];
      if (typeof method === 'function') data = { ...method.call(value) };
    } catch (error) { /* of the cell's own */ }
    if (!('text/plain' in data)) data['text/plain'] = util.inspect(value);
    add(data, isMain);
  }
  globalThis.require = require('module').createRequire(path.join(process.cwd(), 'cell.js'));
  Object.defineProperty(globalThis, LOAD, { value: loader(path.join(process.cwd(), 'cell.js')), enumerable: false });
  globalThis.display = (...values) => values.forEach((value) => show(value, false));

  // The value behind what the inspector calls an object.
  let taken;
  Object.defineProperty(globalThis, TAKE, { value: (value) => { taken = value; }, enumerable: false });
  const post = (method, options) => new Promise((resolve) => {
    session.post(method, options, (error, answer) => resolve(error ? { failed: error } : answer));
  });
  let everything;
  async function valueOf(remote) {
    if (remote.type === 'undefined') return undefined;
    everything = everything || (await post('Runtime.evaluate', { expression: 'globalThis' })).result.objectId;
    const argument = remote.objectId ? { objectId: remote.objectId }
      : remote.unserializableValue ? { unserializableValue: remote.unserializableValue } : { value: remote.value };
    taken = undefined;
    await post('Runtime.callFunctionOn', {
      functionDeclaration: `function (value) { this.${TAKE}(value); }`,
      objectId: everything, arguments: [argument],
    });
    return taken;
  }
  function told(error) {
    const own = (line) => !/^\s+at /.test(line) || !(line.includes('node:') || line.includes(__filename) || line.includes('new Promise (<anonymous>)'));
    const attempt = (make, otherwise) => { try { return String(make()); } catch (failure) { return otherwise; } };
    let isError = util.types.isNativeError(error);
    try { isError = isError || error instanceof Error; } catch (failure) { /* of the cell's own */ }
    const none = 'its text cannot be made';
    const value = attempt(() => (isError ? error.message : util.inspect(error)), none).slice(0, 60000);
    return {
      name: isError ? attempt(() => error.name, 'Error') : typeof error,
      value: NO_IMPORT.test(value) ? `${value}: a cell has no such import; use require('...') or await import('...')` : value,
      traceback: attempt(() => util.inspect(error), none).split('\n').filter(own).join('\n').slice(0, 60000),
    };
  }
  async function run(code) {
    const interrupted = new Promise((resolve) => { stop = () => resolve({ stopped: true }); });
    const expression = `${importing(code)}\n//# sourceURL=cell-${count}`;
    // Its first part runs within this very call.
    Atomics.store(new Int32Array(answered), 1, 1);
    const evaluated = post('Runtime.evaluate', { expression, replMode: true, awaitPromise: true });
    Atomics.store(new Int32Array(answered), 1, 0);
    const answer = await Promise.race([evaluated, interrupted]);
    stop = null;
    if (answer.stopped || answer.failed) {
      return { name: 'Interrupted', value: 'the cell was interrupted', traceback: 'Interrupted: the cell was interrupted' };
    }
    if (answer.exceptionDetails) {
      const { exception, text } = answer.exceptionDetails;
      return told(exception ? await valueOf(exception) : new Error(text));
    }
    const value = await valueOf(answer.result);
    if (value !== undefined) { globalThis._ = value; show(value, true); }
    return null;
  }
  const spare = [];
  const known = fs.statSync(`${folder}/language`);
  function hold() {
    try {
      while (spare.length < SPARE) spare.push(fs.openSync(`${folder}/language`));
    } catch (error) { /* so many as there are */ }
  }
  // But for what a cell has put in their place.
  function release() {
    for (const fd of spare.splice(0)) {
      try {
        const there = fs.fstatSync(fd);
        if (there.ino === known.ino && there.dev === known.dev) fs.closeSync(fd);
      } catch (error) { /* the cell has closed it */ }
    }
  }
  // Where somebody waits, it would be for ever. The shell that keeps an interpreter tells of its end.
  function giveUp(pid, place) {
    if (fs.existsSync(`${place}/end`) && fs.existsSync(`/proc/${pid}`)) process.exit(1);
  }
  async function cell(line) {
    const gap = line.indexOf(' ');
    const pid = line.slice(0, gap);
    const place = line.slice(gap + 1);
    current = path.basename(place);
    let code;
    let end;
    let waiting;
    release();
    try {
      // Where a cell has closed one of the first three files, what is opened next would be the output of all that it starts.
      let first;
      do first = fs.openSync('/dev/null', 'r+'); while (first < 3);
      fs.closeSync(first);
      fs.writeFileSync(`${place}/begun`, '');
      if (fs.existsSync(`${place}/cancelled`)) return;
      code = fs.readFileSync(`${place}/cell`, 'utf8');
      // The cell may take its folder away.
      end = fs.openSync(`${place}/end`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
      waiting = fs.fstatSync(end);
      streams = [8, 9].map((at) => fs.openSync(`/proc/${pid}/fd/${at}`, fs.constants.O_WRONLY));
    } catch (error) {
      giveUp(pid, place);
      return;
    } finally {
      hold();
    }
    process.env.SANDYARD_ARTIFACTS = `${place}/artifacts`;
    [shown, skipped, room] = [[], [], MOST];
    count += 1;
    const before = process.cpuUsage();
    let error;
    try { error = await run(code); } catch (failure) { error = told(failure); }
    const used = process.cpuUsage(before);
    streams.forEach((stream) => { try { fs.closeSync(stream); } catch (failure) { /* the cell has closed it */ } });
    streams = [-1, -1];
    release();
    const answer = { results: shown, error, skipped, cpu: (used.user + used.system) / 1e6 };
    try {
      fs.writeFileSync(`${place}/results.json`, stringify(answer));
    } catch (failure) { /* nobody waits any more */ }
    try {
      // The cell may have closed that file, or put another in its place.
      let there;
      try { there = fs.fstatSync(end); } catch (failure) { /* closed */ }
      if (!there || there.ino !== waiting.ino) end = fs.openSync(`${place}/end`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
      fs.writeSync(end, error ? '1\n' : '0\n');
      fs.closeSync(end);
    } catch (failure) { giveUp(pid, place); }
    hold();
  }

  hold();
  let turn = Promise.resolve();
  lines(`${folder}/queue`, (line) => { turn = turn.then(() => cell(line)); });
}
